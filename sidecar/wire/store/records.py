"""Facts as fields of a record, and back.

A field is `GROUP:STAMP`; how its value is written, `wire.facts.values` says: of two values the
later fact's is the greater one, which is what `lattice.join` keeps. What one call shows lies in two
fields, each of the group of the first of its facts; what an event says has a field for each fact.
What a source says lies in `GROUP@SOURCE:STAMP`, a group that is bounded by itself: no number of
words of one source pushes out those of another. Beside facts a
record has

    who:i                               whose names these are: the namespace
    who:u, who:s, who:d                 user, session and device, in plain text
    owner:USER                          in a locator, a user who has the session: `1` where a token
                                        has shown it, `0` where an event has named it
    app:NAME                            the apps the session was used in
    event:SOURCE/ID                     ids that have counted already, and for what
    fanned:SOURCE/ID                    those whose many sessions are in the backlog
    told:POLICY                         what was last logged and counted of a policy's mark
    claim:POLICY|VALUE                  which sidecar has claimed to log it, and when
    checkpoint:state                    the state up to some stamp
    keep:until                          a token must be stopped for longer than facts are kept
"""

import base64
import functools
import hashlib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import NamedTuple
from urllib.parse import quote, unquote

import msgspec

from sidecar.domain.facts.fact_kinds import (
    AgentSeen,
    AssuranceLowered,
    ClaimsSeen,
    ComplianceReported,
    ContextsShown,
    DeviceBound,
    Fact,
    MarksCleared,
    MembershipsShown,
    NetworkReported,
    PlaceProven,
    Revoked,
    RiskReported,
    Seen,
    Sighted,
    SignalRaised,
    SignedIn,
    Spent,
    StepUpAsked,
)
from sidecar.domain.facts.signal import Signal
from sidecar.domain.session.state import Checkpoint
from sidecar.domain.values.lattice import Record, group_of
from sidecar.domain.values.places import proof_key
from sidecar.domain.values.stamp import Stamp, decode
from sidecar.wire.facts.claimed import decode_claimed, encode_claimed
from sidecar.wire.facts.shown import decode_shown, encode_shown
from sidecar.wire.facts.values import (
    HEAD,
    VERSION,
    Reading,
    Said,
    decode_proof,
    decode_seen,
    decoder_of,
    encode_move,
    encode_plain,
    encode_proof,
    encode_where_seen,
    head_of,
    moment_of,
    said_in,
    said_under,
    stamp_in,
    whole_head_of,
)
from sidecar.wire.store.event_keys import event_field, event_key

WHO_ISSUER = b"who:i"
WHO_USER = b"who:u"
WHO_SESSION = b"who:s"
WHO_DEVICE = b"who:d"
CHECKPOINT = b"checkpoint:state"
_KEEP = b"keep:until"
LOGGED = b"told:"
"""Begins the fields of what was last logged, by policy."""
_APP = b"app:"
OWNERS = b"owner"
"""The group of a locator's fields that name who has the session."""

_OWNER = OWNERS + b":"

_SHOWN: Mapping[str, type[Fact]] = {
    "place": Sighted,
    "device": DeviceBound,
    "agent": AgentSeen,
    "auth": SignedIn,
}
_CLAIMED: Mapping[str, type[Fact]] = {"claims": ClaimsSeen, "member": MembershipsShown}
_PLAIN: Mapping[str, type[Fact]] = {
    "contexts": ContextsShown,
    "assurance": AssuranceLowered,
    "network": NetworkReported,
    "risk": RiskReported,
    "signal": SignalRaised,
    "compliance": ComplianceReported,
    "revoked": Revoked,
    "ended": Revoked,
    "barred": Revoked,
    "raised": SignalRaised,
    "asked": StepUpAsked,
    "cleared": MarksCleared,
    "spent": Spent,
}
_COPIES = frozenset({"ended", "barred", "raised"})
_GROUP_OF = {
    kind: group
    for group, kind in (*_SHOWN.items(), *_CLAIMED.items(), *_PLAIN.items())
    if group not in _COPIES
}
_TOGETHER = {kind: place for place, kind in enumerate((*_SHOWN.values(), *_CLAIMED.values()))}
"""Kinds of facts of which one value holds several; its group is that of the first of them."""

_LATEST = frozenset({b"seen", b"ended", b"barred", b"raised", b"proven"})
"""Groups that keep the latest of each kind, so that no number of others can push it out."""

_NAMED_OTHERWISE = _LATEST | {b"spent", b"checkpoint"}
"""Groups whose fields are named by something else than the stamp of a fact."""

_HISTORY_OF = {b"ended": b"revoked", b"barred": b"revoked", b"raised": b"signal"}


def _read_shown(said: Said, source: str) -> list[Fact]:
    return decode_shown(stamp_in(said), source, said[2])


def _read_claimed(said: Said, source: str) -> list[Fact]:
    return decode_claimed(stamp_in(said), source, said[2])


_READINGS: Mapping[bytes, Reading] = {
    **dict.fromkeys((group.encode() for group in _SHOWN), _read_shown),
    **dict.fromkeys((group.encode() for group in _CLAIMED), _read_claimed),
    **{group.encode(): decoder_of(kind) for group, kind in _PLAIN.items()},
    b"seen": decode_seen,
    b"move": decode_seen,
    b"proven": decode_proof,
}
_KINDS: Mapping[bytes, frozenset[type[Fact]]] = {
    **dict.fromkeys((group.encode() for group in _SHOWN), frozenset(_SHOWN.values())),
    **dict.fromkeys((group.encode() for group in _CLAIMED), frozenset(_CLAIMED.values())),
    **{group.encode(): frozenset({kind}) for group, kind in _PLAIN.items()},
    b"seen": frozenset({Seen}),
    b"move": frozenset({Seen}),
    b"proven": frozenset({PlaceProven}),
}
"""The kinds of facts that a value of a group may hold."""

_encode = msgspec.msgpack.Encoder().encode
_checkpoint_decoder = msgspec.msgpack.Decoder(Checkpoint)


class InvalidRecord(Exception):  # noqa: N818 - named by who must act: whoever wrote the store
    """A field that is not ours, or that another version wrote. Names the field, not its value.

    `stamp` is the fact's, as far as it can be made out. `ends`: it may have been a revocation;
    `helps`: it can only have been to the session's advantage. `foreign`: another version wrote it.
    """

    def __init__(self, field: bytes, value: bytes) -> None:
        super().__init__(f"field {field[:64]!r} cannot be read")
        group = _kind_of(field)
        self.field = field
        self.foreign = value[:1] != VERSION
        self.stamp = stamp_of(field, value)
        self.ends = group in {b"revoked", b"ended", b"barred"}
        self.helps = group in {b"auth", b"proven", b"cleared"}


def stamp_of(field: bytes, value: bytes) -> Stamp:
    """Return the stamp of a fact that cannot be read, by its name or else its value.

    Where neither says: the beginning of time, of which every sign-in is the later one.
    """
    with suppress(ValueError):
        if _kind_of(field) not in _NAMED_OTHERWISE:
            return decode(field.partition(b":")[2].decode())
    with suppress(ValueError):
        return Stamp(moment_of(value), "")
    with suppress(ValueError):
        return decode(value.partition(b"\0")[0].decode())
    return Stamp(1, "")


def encode_facts(facts: Iterable[Fact]) -> Record:
    """Return the fields of facts, each by itself.

    Beside the history of all, the latest signal of each name is kept, the latest revocation of
    each device, and apart from these the latest of all of a user's or a session's, by each source:
    none of them can be pushed out by others, however many come.
    """
    record: Record = {}
    for fact in facts:
        group = _GROUP_OF[type(fact)]
        by = _by(fact)
        name = f"{group}{by}:{fact.stamp.encode()}".encode()
        if group in _SHOWN:
            record[name] = head_of(fact.stamp) + encode_shown(fact.stamp, (fact,))
            continue
        if group in _CLAIMED:
            record[name] = head_of(fact.stamp) + encode_claimed(fact.stamp, (fact,))
            continue
        said = encode_plain(fact)
        record[name] = head_of(fact.stamp) + said
        match fact:
            case Revoked(device=""):
                record[f"ended{by}:".encode()] = whole_head_of(fact.stamp) + said
            case Revoked(device=device):
                record[f"barred{by}:{device}".encode()] = whole_head_of(fact.stamp) + said
            case SignalRaised(name=signal):
                record[f"raised{by}:{signal}".encode()] = whole_head_of(fact.stamp) + said
    return record


def encode_together(facts: Iterable[Fact]) -> dict[bytes, tuple[bytes, tuple[Fact, ...]]]:
    """Return the fields of what one call shows, with the facts of each.

    They are of one stamp that nothing else has, so that no other field is ever named like theirs:
    surroundings go into one value, what the token says of its user into another.
    """
    shown = sorted(facts, key=lambda fact: _TOGETHER.get(type(fact), len(_TOGETHER)))
    fields: dict[bytes, tuple[bytes, tuple[Fact, ...]]] = {}
    for kinds, encode in ((_SHOWN, encode_shown), (_CLAIMED, encode_claimed)):
        some = tuple(fact for fact in shown if _GROUP_OF[type(fact)] in kinds)
        if some:
            stamp = some[0].stamp
            name = f"{_GROUP_OF[type(some[0])]}{_by(some[0])}:{stamp.encode()}".encode()
            fields[name] = head_of(stamp) + encode(stamp, some), some
    for fact in shown:
        if type(fact) not in _TOGETHER:
            fields |= {name: (value, (fact,)) for name, value in encode_facts((fact,)).items()}
    return fields


def _by(fact: Fact) -> str:
    """Return the suffix that distinguishes the groups of a source from those of all others."""
    return f"@{_quoted(fact.source)}" if fact.source else ""


@functools.lru_cache(maxsize=1024)
def _quoted(source: str) -> str:
    """Return a source's name as it stands in fields; sources are few, their facts many."""
    return quote(source, safe="")


@functools.lru_cache(maxsize=1024)
def _source_of(by: bytes) -> str:
    """Return the source that a group's name ends with."""
    return unquote(by.decode(), errors="strict")


def _kind_of(field: bytes) -> bytes:
    """Return the kind of facts that a field's group holds, whoever says them."""
    return group_of(field).partition(b"@")[0]


def encode_seen(fact: Seen, *, moved: bool) -> Record:
    """Return the fields of a sighting in the user's record.

    One holds the session's latest, by each source; if the session moved, one more stays when it
    moves on.
    """
    by = _by(fact)
    value = whole_head_of(fact.stamp) + encode_where_seen(fact)
    record: Record = {f"seen{by}:{fact.session}".encode(): value}
    if moved:
        value = head_of(fact.stamp) + encode_move(fact)
        record[f"move{by}:{fact.stamp.encode()}".encode()] = value
    return record


def last_seen(record: Mapping[bytes, bytes], session: str) -> float:
    """Return when a session was last noted as seen, by a user's record (seconds); 0.0: never."""
    field = f"seen:{session}".encode()
    return stamp_of(field, record[field]).seconds if field in record else 0.0


def encode_proven(facts: Iterable[PlaceProven]) -> Record:
    """Return the fields of places that a user has proven, in the user's record.

    One holds the latest proof of each way of signing in, of each place and device, by 96 bits of
    their digest: two that anybody made to collide would be two of their own, of which one stays.
    """
    record: Record = {}
    for fact in facts:
        hashed = hashlib.blake2b(proof_key(fact).encode(), digest_size=12).digest()
        name = b"proven:" + base64.urlsafe_b64encode(hashed)
        record[name] = whole_head_of(fact.stamp) + encode_proof(fact)
    return record


def encode_spent(fact: Spent) -> tuple[bytes, bytes]:
    """Return the field that records that a proof is spent, and its value: one for each proof."""
    return f"spent:{fact.auth_time}".encode(), whole_head_of(fact.stamp) + encode_plain(fact)


def spent_in(record: Mapping[bytes, bytes], auth_time: int) -> Spent | None:
    """Return on what a proof was spent; None if it was not, or what says so cannot be read."""
    field = f"spent:{auth_time}".encode()
    facts, _ = decode_facts({field: record[field]}) if field in record else ([], [])
    return next((fact for fact in facts if isinstance(fact, Spent)), None)


def decode_facts(record: Mapping[bytes, bytes]) -> tuple[list[Fact], list[InvalidRecord]]:
    """Return the facts of a record, and the fields that could not be read (which are left out)."""
    facts: list[Fact] = []
    broken: list[InvalidRecord] = []
    for field, value in record.items():
        group, _, name = field.partition(b":")
        kind, _, by = group.partition(b"@")
        reading = _READINGS.get(kind)
        if reading is None:
            continue
        try:
            if kind not in _NAMED_OTHERWISE:
                said = said_under(name, value)
            else:
                said = said_in(value)
                if kind in _HISTORY_OF and _is_twice(kind, by, said, record):
                    continue
            if value[:1] != VERSION:
                broken.append(InvalidRecord(field, value))
                continue
            source = _source_of(by) if by else ""
            if kind == b"seen":
                facts += decode_seen(said, source, name.decode())
            else:
                facts += reading(said, source)
        except (msgspec.MsgspecError, ValueError):
            broken.append(InvalidRecord(field, value))
    return facts, broken


def kinds_in(record: Mapping[bytes, bytes]) -> frozenset[type[Fact]] | None:
    """Return the kinds of facts that a record may hold, by the names of its fields.

    None: it has a checkpoint, which stands for facts that are not there any more.
    """
    if CHECKPOINT in record:
        return None
    return _kinds_of(frozenset({field.partition(b":")[0] for field in record}))


@functools.lru_cache(maxsize=4096)
def _kinds_of(groups: frozenset[bytes]) -> frozenset[type[Fact]]:
    nothing: frozenset[type[Fact]] = frozenset()
    return nothing.union(*(_KINDS.get(group.partition(b"@")[0], nothing) for group in groups))


def _is_twice(kind: bytes, by: bytes, said: Said, record: Mapping[bytes, bytes]) -> bool:
    """Return whether this is the latest of its kind, and the history has it as well."""
    history = _HISTORY_OF[kind]
    group = history + b"@" + by if by else history
    return b"%b:%016d%b" % (group, int.from_bytes(said[0]), said[1]) in record


def holds_fact(field: bytes) -> bool:
    """Return whether a field of this name holds a fact."""
    return _kind_of(field) in _READINGS


def encode_checkpoint(checkpoint: Checkpoint) -> Record:
    """Return the field of a checkpoint: of two, the one that reaches further is the greater."""
    return {CHECKPOINT: whole_head_of(checkpoint.state.last) + _encode(checkpoint)}


def decode_checkpoint(record: Mapping[bytes, bytes]) -> Checkpoint | None:
    """Return the checkpoint of a record; None where it has none or it cannot be read."""
    value = record.get(CHECKPOINT)
    if value is None:
        return None
    try:
        return _checkpoint_decoder.decode(said_in(value)[2]) if value[:1] == VERSION else None
    except (msgspec.MsgspecError, ValueError):
        return None


def devices_in(record: Mapping[bytes, bytes]) -> set[str]:
    """Return the devices that a record binds its session to. What cannot be read is left out."""
    return {fact.device for fact in bindings_in(record)}


def devices_of(record: Mapping[bytes, bytes]) -> set[str]:
    """Return the devices a session has been on, by its record and the checkpoint in it."""
    checkpoint = decode_checkpoint(record)
    devices = devices_in(record)
    if checkpoint is not None and checkpoint.state.device:
        devices.add(checkpoint.state.device)
    return devices


def bindings_in(record: Mapping[bytes, bytes]) -> list[DeviceBound]:
    """Return all that is said in a session's record of its device.

    What cannot be read is left out.
    """
    facts = decode_facts(_of_kind(record, b"device", b"place"))[0]
    return [fact for fact in facts if isinstance(fact, DeviceBound)]


def sighted_in(record: Mapping[bytes, bytes]) -> list[Sighted]:
    """Return the sightings of a session in a record. What cannot be read is left out."""
    facts = decode_facts(_of_kind(record, b"place"))[0]
    return [fact for fact in facts if isinstance(fact, Sighted)]


def _of_kind(record: Mapping[bytes, bytes], *kinds: bytes) -> Record:
    begins = tuple(kind + end for kind in kinds for end in (b":", b"@"))
    return {field: value for field, value in record.items() if field.startswith(begins)}


class Owned(NamedTuple):
    """The owner of a session, by its locator: a user, and whether a token has shown it."""

    user: str
    shown: bool


def owner_fields(user: str, *, shown: bool) -> Record:
    """Return the field of a user who has a session.

    Of two values that of a token is the greater one, so that no number of users whom events name
    can push one out whom a token has shown.
    """
    return {_OWNER + user.encode(): b"1" if shown else b"0"}


def owners_of(record: Mapping[bytes, bytes]) -> tuple[Owned, ...]:
    """Return all who have a session, by its locator: whom tokens have shown first."""
    owners = [
        Owned(field[len(_OWNER) :].decode("utf-8", "replace"), value == b"1")
        for field, value in record.items()
        if field.startswith(_OWNER)
    ]
    return tuple(sorted(owners, key=lambda one: (not one.shown, one.user)))


def encode_event(signal: Signal) -> Record:
    """Return the field that records that an event has counted, and for what."""
    moment = f"{signal.stamp.time:016d}"
    value = f"{moment}\0{signal.content}" if signal.content else moment
    return {event_field(event_key(signal)): value.encode()}


def counts_for_another(record: Mapping[bytes, bytes], signal: Signal) -> bool:
    """Return whether an event's id has counted in a record for an event that says otherwise."""
    known = record.get(event_field(event_key(signal)), b"").partition(b"\0")[2]
    return bool(known and signal.content) and known != signal.content.encode()


def keep_until(expire_at: int) -> Record:
    """Return a field that keeps a record until then (unix ms), though nothing is known yet.

    A record without fields is none, and would forget how long its facts to come must live.
    """
    return {_KEEP: b"%016d" % expire_at}


def fanned_field(event: str) -> bytes:
    """Return the field that records that the sessions of an event are in the backlog."""
    return f"fanned:{event}".encode()


def app_field(app: str) -> bytes:
    """Return the field that records that a session was used in an app."""
    return _APP + app.encode()


def apps_of(record: Mapping[bytes, bytes]) -> tuple[str, ...]:
    """Return the apps that a session was used in."""
    return tuple(sorted(field[len(_APP) :].decode() for field in record if field.startswith(_APP)))


def last_logged_field(policy: str) -> bytes:
    """Return the field of what was last logged of a policy's mark."""
    return LOGGED + policy.encode()


def claim_field(policy: str, value: bytes, turn: int = 1) -> bytes:
    """Return the field by which one sidecar claims to log this value of a policy's mark.

    `turn`: the first, or the one after that whose owner did not log it.
    """
    first = b"claim:" + policy.encode() + b"|" + value
    return first if turn == 1 else first + b"|%d" % turn


def claimed_at(claim: bytes) -> int:
    """Return when something was claimed (unix ms), as a claim's value says; 0: it does not."""
    digits = claim[:16]
    return int(digits) if len(digits) == 16 and digits.isdigit() else 0


def claimed_in(
    record: Mapping[bytes, bytes], policy: str, value: bytes, turn: int = 1
) -> tuple[int, int]:
    """Return the last turn, from `turn` on, in which a value was claimed, and when (unix ms)."""
    while claim_field(policy, value, turn + 1) in record:
        turn += 1
    return turn, claimed_at(record.get(claim_field(policy, value, turn), b""))


def logged_in(record: Mapping[bytes, bytes], policy: str) -> bytes:
    """Return the value of what was last logged of a policy's mark; empty: nothing was."""
    return record.get(last_logged_field(policy), b"")


def last_logged_of(record: Mapping[bytes, bytes]) -> dict[str, bytes]:
    """Return what was last logged, by policy."""
    # Most records have nothing of it, and all of it is asked for after each event.
    if LOGGED not in b"\n".join(record):
        return {}
    return {
        field[len(LOGGED) :].decode(): value
        for field, value in record.items()
        if field.startswith(LOGGED)
    }


def has_open_facts(group: bytes) -> bool:
    """Return whether a group holds facts of which more than the latest count."""
    kind = _kind_of(group)
    return kind in _READINGS and kind not in _LATEST


def folded_of(record: Mapping[bytes, bytes]) -> bytes:
    """Up to where a session's record is folded, as its values begin; empty: nothing is."""
    return record.get(CHECKPOINT, b"")[:HEAD]
