"""Operations of the store as Redis commands, and their replies as answers.

A `Join` is one call of `lua/join.lua`, a `Load` plain reads, a queue a stream with one consumer
group in which all sidecars are the same consumer, an `Evaluate` any other script. Joins are
idempotent, so what may or may not have happened is simply done again; `again` then lets the script
count what it finds to be ours as newly brought, because the answer that said so first was lost.
"""

import hashlib
import pkgutil
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias, assert_never, cast

import msgspec

from sidecar.domain.values.lattice import BOUNDS, DEFAULT_BOUND, Record
from sidecar.service.ports.calls import Unavailable
from sidecar.service.ports.store import (
    BEGAN,
    MEMBERS_BOUND,
    Append,
    Appended,
    Browse,
    Claim,
    Counted,
    Enlistment,
    Entries,
    Expires,
    Expiry,
    Finish,
    HistoryAppend,
    HistoryAppended,
    Hold,
    Join,
    JoinResult,
    Length,
    Load,
    Loaded,
    QueueEntry,
    Sign,
)
from sidecar.wire.store.losses import slot_of

FOR_EVER = 1 << 62
"""The expiry, in milliseconds, of a key that has none."""

_BEGAN = 2
"""The join script's word for a record that was not there before."""

SLOTS_AT_ONCE = 64
"""Slots of a Cluster that are asked together when records expire: each is a command of its own."""

Command: TypeAlias = tuple[bytes | str | int, ...]


class Evaluate(msgspec.Struct, frozen=True):
    """A run of one of `SCRIPTS`, by its `sha`."""

    keys: tuple[bytes, ...]
    sha: str
    arguments: Command

    @property
    def key(self) -> bytes:
        """Return a key on whose node it runs. All lie in one Cluster slot."""
        return self.keys[0]


class PresentKey(msgspec.Struct, frozen=True, gc=False):
    """A question for how many of these keys there are. All lie on one server."""

    keys: tuple[bytes, ...]

    @property
    def key(self) -> bytes:
        """Return a key on whose node it is asked."""
        return self.keys[0]


class Evaluated(msgspec.Struct, frozen=True):
    """The answer to an `Evaluate`, as the server gave it."""

    reply: Any


OtherOperation: TypeAlias = (
    Load | Append | Finish | Hold | Claim | Browse | Length | Expiry | Evaluate
)
Operation: TypeAlias = Join | HistoryAppend | PresentKey | Sign | Enlistment | OtherOperation
Outcome: TypeAlias = (
    JoinResult | Loaded | Appended | Entries | Counted | Expires | Evaluated | HistoryAppended
)


def _lua_string(raw: bytes) -> str:
    return '"' + "".join(f"\\{byte:03d}" for byte in raw) + '"'


def render_script(bounds: Mapping[bytes, int] = BOUNDS, default: int = DEFAULT_BOUND) -> str:
    """Return the join script with the lattice's bounds in it."""
    text = _read("join")
    table = ", ".join(f"[{_lua_string(name)}] = {bound}" for name, bound in bounds.items())
    text = text.replace("@BOUNDS@", table).replace("@DEFAULT_BOUND@", str(default))
    text = text.replace("@BEGAN@", f"{len(BEGAN)}:{BEGAN.decode()}")
    return text.replace("@MEMBERS_BOUND@", str(MEMBERS_BOUND))


def _read(name: str) -> str:
    data = pkgutil.get_data("sidecar.adapters.redis", f"lua/{name}.lua")
    if data is None:
        raise FileNotFoundError(name)
    return data.decode("ascii")


def _sha(script: str) -> str:
    return hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()


SCRIPT = render_script()
SCRIPTS = (
    SCRIPT,
    _read("append"),
    _read("claim"),
    _read("backlog"),
    _read("history"),
    _read("finish"),
    _read("expiries"),
)
"""What a server is taught: to join, about queues, backlogs, histories and expiries."""

SHA, _APPEND, _CLAIM, BACKLOG, _HISTORY, _FINISH, _EXPIRIES = map(_sha, SCRIPTS)

RIGHTS = _read("rights")
RIGHTS_SHA = _sha(RIGHTS)


def commands_of(operation: Operation, *, again: bool = False) -> list[Command]:
    """Return the commands of one operation, in order. `again` concerns joins alone."""
    if isinstance(operation, Join):
        return [_join(operation, again=again)]
    if isinstance(operation, HistoryAppend):
        return [_history(operation)]
    if isinstance(operation, PresentKey):
        return [("EXISTS", *operation.keys)]
    if isinstance(operation, Sign):
        return _sign(operation)
    if isinstance(operation, Enlistment):
        return _listing(operation)
    return _others(operation)


def _others(operation: OtherOperation) -> list[Command]:  # noqa: C901 - one case a kind
    match operation:
        case Load():
            commands: list[Command] = [("HGETALL", operation.key)]
            if operation.index is not None:
                commands.append(("ZRANGEBYSCORE", operation.index, operation.now, "+inf"))
            return commands
        case Evaluate():
            keys = operation.keys
            return [("EVALSHA", operation.sha, len(keys), *keys, *operation.arguments)]
        case Append(key=key, payload=payload, bound=bound, group=group):
            return [("EVALSHA", _APPEND, 1, key, payload, bound, group)]
        case Claim(key=key, group=group, idle=idle, count=count):
            return [("EVALSHA", _CLAIM, 1, key, int(idle * 1000), count, group)]
        case Finish(key=key, ids=ids, group=group):
            return [("EVALSHA", _FINISH, 1, key, group, *ids)]
        case Hold(key=key, ids=ids, group=group):
            return [("XCLAIM", key, group, group, 0, *ids, "JUSTID")]
        case Browse(key=key, first=first, count=count):
            return [("XRANGE", key, first or "-", "+", "COUNT", count)]
        case Length(key=key):
            return [("XLEN", key)]
        case Expiry(key=key):
            return [("PEXPIRETIME", key)]
        case never:
            assert_never(never)


def _sign(sign: Sign) -> list[Command]:
    """Return plain commands: a script would be one more to count and to run, for each."""
    news = encode_news(sign.key, {sign.field: sign.content})
    commands: list[Command] = [("HINCRBY", sign.key, sign.field, sign.step)]
    if sign.expire_at:
        commands.append(("PEXPIREAT", sign.key, sign.expire_at))
    commands.append(("SPUBLISH", sign.publish, news))
    return commands


def _listing(one: Enlistment) -> list[Command]:
    commands: list[Command] = [("ZADD", one.key, "GT", one.expire_at, one.member)]
    if one.keep_until:
        commands.append(("ZREMRANGEBYSCORE", one.key, "-inf", f"({one.now}"))
        commands.append(("PEXPIREAT", one.key, one.keep_until))
    return commands


def _history(append: HistoryAppend) -> Command:
    arguments: list[bytes | str | int] = [
        f"{append.oldest:016d}",
        f"{append.oldest - append.lag:016d}",
        append.bound,
        append.slack,
        append.expire_at,
    ]
    for pair in append.fields.items():
        arguments += pair
    return ("EVALSHA", _HISTORY, 1, append.key, *arguments)


def _join(join: Join, *, again: bool) -> Command:
    keys = [join.key, *(index.key for index in join.indexes)]
    if join.members_of is not None:
        keys.append(join.members_of)
    arguments: list[bytes | str | int] = [
        join.expire_at,
        join.now,
        join.unless or b"",
        join.publish or b"",
        1 if join.want_record else join.want_group or 0,
        int(again),
        int(join.confirm),
        int(join.cut),
        len(join.fields),
        len(join.indexes),
    ]
    for pair in join.fields.items():
        arguments += pair
    for index in join.indexes:
        arguments += (index.member, index.expire_at)
    return ("EVALSHA", SHA, len(keys), *keys, *arguments)


def outcome_of(operation: Operation, replies: Sequence[Any]) -> Outcome:  # noqa: C901 - likewise
    """Return the answer that the replies to `commands_of(operation)` give."""
    if isinstance(operation, Join):
        joined, changed, record, members = replies[0]
        return JoinResult(
            tuple(changed), joined > 0, _record(record), tuple(members), began=joined == _BEGAN
        )
    match operation:
        case Load():
            members = replies[1] if len(replies) > 1 else ()
            return Loaded(_record(replies[0]), tuple(members))
        case Evaluate():
            return Evaluated(replies[0])
        case Append():
            return Appended(replies[0])
        case Claim():
            return Entries(tuple(QueueEntry(name, what, times) for name, times, what in replies[0]))
        case Browse():
            found = ((name, _record(what)) for name, what in replies[0])
            return Entries(tuple(QueueEntry(name, what[b"p"]) for name, what in found))
        case Expiry():
            return Expires(_expiry(replies[0]))
        case HistoryAppend(fields=fields):
            names = tuple(fields)
            return HistoryAppended(tuple(names[place - 1] for place in replies[0]))
        case Hold():
            return Counted(len(replies[0]))
        case Finish() | Length() | PresentKey() | Sign() | Enlistment():
            return Counted(replies[0])
        case never:
            assert_never(never)


def _expiry(reply: int) -> int:
    """Return what PEXPIRETIME means (redis.io): -2, there is no key; -1, it stays for ever."""
    return {-2: 0, -1: FOR_EVER}.get(reply, reply)


def _record(flat: Sequence[bytes]) -> Record:
    return dict(zip(flat[::2], flat[1::2], strict=True))


class InvalidNews(Exception):  # noqa: N818 - whoever published must act
    """Not what the join script publishes."""


def encode_news(key: bytes, fields: Record) -> bytes:
    """Return the news of a record's fields, as the join script publishes them."""
    parts = [key]
    for pair in fields.items():
        parts += pair
    return b"".join(b"%d:%s," % (len(part), part) for part in parts)


def decode_news(payload: bytes) -> tuple[bytes, Record]:
    """Return a record's key and its fields that grew, of published news. Raises `InvalidNews`.

    The payload is a row of netstrings (https://cr.yp.to/proto/netstrings.txt).
    """
    parts: list[bytes] = []
    at = 0
    try:
        while at < len(payload):
            colon = payload.index(b":", at, at + 11)
            end = colon + 1 + int(payload[at:colon])
            if payload[end : end + 1] != b"," or end <= colon:
                raise InvalidNews("a part has no end")
            parts.append(payload[colon + 1 : end])
            at = end + 1
    except ValueError:
        raise InvalidNews("a part has no length") from None
    if len(parts) % 2 == 0:
        raise InvalidNews("a key, or a value, is missing")
    return parts[0], _record(parts[1:])


def kind_of(operations: Sequence[Operation]) -> str:
    """Return by what name it is observed how long operations take."""
    if any(isinstance(one, Join | Sign) for one in operations):
        return "join"
    first = operations[0]
    asks = isinstance(first, Evaluate) and first.sha == _EXPIRIES
    return "load" if asks or isinstance(first, Load | Expiry) else "queue"


def expiries_asked(keys: Sequence[bytes], *, at_once: bool) -> list[Evaluate]:
    """Return the questions for when keys expire: one, or in a Cluster one for each slot."""
    groups: dict[int, list[bytes]] = {}
    if at_once:
        groups[0] = list(keys)
    else:
        for key in keys:
            groups.setdefault(slot_of(key), []).append(key)
    return [Evaluate(tuple(group), _EXPIRIES, ()) for group in groups.values() if group]


def expiries_found(
    keys: Sequence[bytes], asked: Sequence[Evaluate], outcomes: Sequence[Outcome]
) -> list[int]:
    """Return what was answered of each key. Raises `Unavailable` where that answers nothing."""
    replies = [cast("Evaluated", one).reply for one in outcomes]
    try:
        if len(replies) == 1 and len(replies[0]) == len(keys):  # as nearly always, of hundreds
            (reply,) = replies
            return cast("list[int]", reply if min(reply) >= 0 else [_expiry(one) for one in reply])
        found: dict[bytes, int] = {}
        for one, reply in zip(asked, replies, strict=True):
            found.update(zip(one.keys, map(_expiry, reply), strict=True))
    except (TypeError, ValueError):
        raise Unavailable("the store does not say when records expire") from None
    return [found[key] for key in keys]
