"""The rights (ACL) that the store's user needs, and which of them a server does not grant it.

A right that is missing is missing until somebody grants it; and what needs it may come up rarely,
as a device's record does. So a server is asked about all of them, and not only about those that
were needed last.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from redis.client import Redis
from redis.exceptions import NoPermissionError, NoScriptError

from sidecar.adapters.redis.commands import RIGHTS, RIGHTS_SHA
from sidecar.adapters.redis.links import call
from sidecar.wire.settings.settings import StoreSettings
from sidecar.wire.store.address import Cluster, parse_store_address
from sidecar.wire.store.keys import SessionName, StoreKeys

_NAMED = 8
_COMMAND = re.compile(r"run the '([^']{1,64})' command")


class NeededRight(NamedTuple):
    """A right as `ACL SETUSER` spells it, and a whole command that is refused without it.

    `is_spared`: a daemon does without it, and takes the store longer.
    """

    right: str
    command: tuple[bytes | str | int, ...]
    what: str = ""
    is_spared: bool = False


_RECORDS: tuple[tuple[str, ...], ...] = (
    ("HGETALL",),
    ("HGET", "f"),
    ("HMGET", "f"),
    ("HSET", "f", "v"),
    ("HSETNX", "f", "v"),
    ("HDEL", "f"),
    ("HLEN",),
    ("HINCRBY", "f", "1"),
    ("PEXPIRETIME",),
    ("PEXPIREAT", "1"),
    ("PEXPIRE", "1"),
    ("EXISTS",),
    ("DEL",),
    ("ZADD", "1", "m"),
    ("ZRANGEBYSCORE", "0", "1"),
    ("ZREMRANGEBYSCORE", "0", "1"),
    ("ZSCAN", "0"),
    ("XADD", "*", "f", "v"),
    ("XLEN",),
    ("XRANGE", "-", "+"),
    ("XACK", "g", "0-1"),
    ("XDEL", "0-1"),
    ("XCLAIM", "g", "c", "0", "0-1"),
    ("XPENDING", "g"),
)
"""Commands on one key, which stands behind the name."""

_TRANSMITTER: tuple[tuple[str, ...], ...] = (
    ("GET",),
    ("SET", "v"),
    ("INCR",),
    ("HEXISTS", "f"),
    ("HVALS",),
    ("ZCARD",),
    ("ZPOPMIN", "1"),
    ("ZRANGE", "0", "1"),
    ("ZREM", "m"),
    ("XTRIM", "MAXLEN", "1"),
)


def needs_of(
    settings: StoreSettings, *, transmits: bool = False, hears: bool = True
) -> tuple[NeededRight, ...]:
    """Return every right that a daemon with these settings needs; keys and channels first.

    One that has no view `hears` no news, and publishes none.
    """
    names = StoreKeys(settings.prefix)
    key = names.epoch_record("rights")
    needs = [*_keys(names, settings.prefix)]
    if hears:
        needs += _channels(names, settings.prefix)
    commands = (*_RECORDS, *_TRANSMITTER) if transmits else _RECORDS
    needs += [NeededRight(f"+{name.lower()}", (name, key, *rest)) for name, *rest in commands]
    needs.append(NeededRight("+hscan", ("HSCAN", key, "0"), is_spared=True))
    if transmits:
        needs.append(NeededRight("+eval", ("EVAL", "return 1", 0)))
    needs += [
        NeededRight("+evalsha", ("EVALSHA", RIGHTS_SHA, 0)),
        NeededRight("+xreadgroup", ("XREADGROUP", "GROUP", "g", "c", "STREAMS", key, ">")),
        NeededRight("+xgroup|create", ("XGROUP", "CREATE", key, "g", "0")),
        NeededRight("+scan", ("SCAN", 0)),
        NeededRight("+info", ("INFO", "server")),
        NeededRight("+ping", ("PING",)),
        NeededRight("+script|load", ("SCRIPT", "LOAD", "return 1")),
        *_of_settings(settings),
    ]
    return tuple(needs)


def least_rights(needs: Iterable[NeededRight]) -> tuple[str, ...]:
    """Return the rights of a user that has these and no others, as `ACL SETUSER` takes them."""
    rights = dict.fromkeys(need.right for need in needs)
    return ("resetkeys", "resetchannels", "-@all", *rights)


def _keys(names: StoreKeys, prefix: str) -> Iterable[NeededRight]:
    """Return a key of each kind: a pattern may leave out some of them."""
    some = "rights"
    kinds = (
        names.epoch_record(some),
        names.beats_record(some, some),
        names.user_record(some),
        names.user_index(some),
        names.session_record(SessionName(some, some)),
        names.device_record(some),
        names.user_history(some),
        names.device_history(some),
        names.decision_record(some),
        names.device_index(some),
        names.locator(some),
        names.sidecars_record(),
        names.sidecars_index(),
        names.policies_record(),
        names.policies_index(),
        names.answers_record(some),
        names.lease_record(some),
        names.rescore_record(),
        names.backlog(some),
        names.backlog_counts(some),
        *names.work_logs(),
        names.dead_letters(),
        names.transmitter(some),
    )
    # What a script may do with a key that it is given needs both reading and writing.
    return (
        NeededRight(f"~{prefix}:*", ("EVALSHA", RIGHTS_SHA, 1, key), f"key {key.decode()}")
        for key in kinds
    )


def _channels(names: StoreKeys, prefix: str) -> Iterable[NeededRight]:
    """Yield a channel of each kind."""
    some = "rights"
    kinds = (
        names.beats_record(some, some),
        names.user_channel(some),
        names.device_channel(some),
        names.policies_channel(),
        names.sidecars_channel(),
    )
    for channel in kinds:
        command = ("SPUBLISH", channel, "")
        yield NeededRight(f"&{prefix}:*", command, f"channel {channel.decode()}")
    yield NeededRight("+spublish", command)
    yield NeededRight("+ssubscribe", ("SSUBSCRIBE", channel))
    yield NeededRight("+sunsubscribe", ("SUNSUBSCRIBE", channel))


def _of_settings(settings: StoreSettings) -> Iterable[NeededRight]:
    if settings.wait_aof:
        yield NeededRight("+waitaof", ("WAITAOF", 1, settings.wait_replicas, 1))
    elif settings.wait_replicas:
        yield NeededRight("+wait", ("WAIT", settings.wait_replicas, 1))
    target = parse_store_address(settings.url).target if settings.url else None
    if isinstance(target, Cluster):
        yield NeededRight("+cluster|slots", ("CLUSTER", "SLOTS"))
    elif target is not None and target.db:
        yield NeededRight("+select", ("SELECT", target.db))


class Lack(NamedTuple):
    """A right that is missing, for what, and how the server says so, if it does."""

    right: str
    what: str = ""
    words: str = ""


def lacks_of(client: Redis, needs: Sequence[NeededRight]) -> list[Lack]:
    """Ask a server which of these rights it does not grant; none where it cannot be asked.

    Of those that are spared it is not asked. Nothing is written, published or followed. Blocks;
    raises redis-py's errors.
    """
    needs = [need for need in needs if not need.is_spared]
    if not needs:
        return []
    arguments: list[bytes | str | int] = []
    for need in needs:
        arguments += (len(need.command), *need.command)
    try:
        found = _asked(client, arguments)
    except NoPermissionError as error:  # not even for running a script
        words = str(error)
        command = _COMMAND.search(words)
        return [Lack(f"+{command[1]}" if command else "+evalsha", "", words)]
    return _named([(needs[place], words.decode("ascii", "replace")) for place, words in found])


def _asked(client: Redis, arguments: Sequence[bytes | str | int]) -> Any:
    try:
        return call(client, "EVALSHA", RIGHTS_SHA, 0, *arguments)
    except NoScriptError:
        client.script_load(RIGHTS)
        return call(client, "EVALSHA", RIGHTS_SHA, 0, *arguments)


def _named(refused: Sequence[tuple[NeededRight, str]]) -> list[Lack]:
    """Give each missing right once, by the words of the refusals, where they have any."""
    words_of: dict[str, str] = {}
    for _, words in refused:
        words_of.setdefault(_kind_by(words), words)
    lacks: dict[str, Lack] = {}
    for need, words in refused:
        sign = need.right[0]
        if words and _kind_by(words) != sign:
            continue  # the key, channel or command is not granted: that lack is reported by itself
        if need.right == "+ssubscribe" and "&" in words_of:
            continue  # as no server says which of the two it refuses, and a channel it does
        others = "" if sign == "+" else words_of.get(sign, "")
        lacks.setdefault(need.right, Lack(need.right, need.what, words or others))
    return list(lacks.values())


def _kind_by(words: str) -> str:
    """Return which kind of right a server's words say is missing; empty: they do not say."""
    for sign, marks in (("&", "channel"), ("~", " key")):
        if marks in words:
            return sign
    return "+" if " run " in words else ""


def lacks_in_words(lacks: Sequence[Lack]) -> str:
    """Return in words, for the operator, what is missing; empty: nothing."""
    if not lacks:
        return ""
    rights = [f"{one.right} (for the {one.what})" if one.what else one.right for one in lacks]
    if len(rights) > _NAMED:
        rights[_NAMED:] = [f"{len(rights) - _NAMED} more"]
    words = next((one.words for one in lacks if one.words), "")
    return f"the store's user lacks the right {', '.join(rights)}" + (f": {words}" if words else "")
