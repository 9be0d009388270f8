"""Facts as fields of a record, and back.

A field is `GROUP:STAMP`; its value is the stamp, a zero byte, a byte that names the version of
what follows, and the fact in MessagePack: so of two values the later fact is the greater one, which
is what `lattice.join` keeps. What a source says lies in `GROUP@SOURCE:STAMP`, a group that is
bounded by itself: no number of words of one source pushes out those of another. Beside facts a
record has

    who:issuer                          whose names these are: the namespace
    who:user, who:session, who:device   identifiers in plain text
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

import hashlib
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple
from urllib.parse import quote

import msgspec

from sidecar.domain.facts.facts import (
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

WHO_ISSUER = b"who:issuer"
WHO_USER = b"who:user"
WHO_SESSION = b"who:session"
WHO_DEVICE = b"who:device"
CHECKPOINT = b"checkpoint:state"
_KEEP = b"keep:until"
_LOGGED = b"told:"
_APP = b"app:"
_OWNER = b"owner:"

_GROUPS: Mapping[str, type[Fact]] = {
    "place": Sighted,
    "agent": AgentSeen,
    "device": DeviceBound,
    "auth": SignedIn,
    "contexts": ContextsShown,
    "assurance": AssuranceLowered,
    "claims": ClaimsSeen,
    "member": MembershipsShown,
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
    "seen": Seen,
    "move": Seen,
    "proven": PlaceProven,
}
_COPIES = frozenset({"move", "ended", "barred", "raised"})
_GROUP_OF = {kind: group for group, kind in _GROUPS.items() if group not in _COPIES}
_LATEST = frozenset({b"seen", b"ended", b"barred", b"raised", b"proven"})
"""Groups that keep the latest of each kind, so that no number of others can push it out."""

_HISTORY_OF = {b"ended": b"revoked", b"barred": b"revoked", b"raised": b"signal"}

VERSION = b"\x02"
"""Of the values of facts and checkpoints. Those of another version are set aside, never guessed at:
the first had no version, and its facts no source."""

_DECODERS = {group.encode(): msgspec.msgpack.Decoder(kind) for group, kind in _GROUPS.items()}
_encode = msgspec.msgpack.Encoder().encode
_checkpoint_decoder = msgspec.msgpack.Decoder(Checkpoint)


class InvalidRecord(Exception):  # noqa: N818 - named by who must act: whoever wrote the store
    """A field that is not ours, or that another version wrote. Names the field, not its value.

    `stamp` is the fact's, as far as it can be made out. `ends`: it may have been a revocation;
    `helps`: it can only have been to the session's advantage.
    """

    def __init__(self, field: bytes, value: bytes) -> None:
        super().__init__(f"field {field[:64]!r} cannot be read")
        group = _kind_of(field)
        self.field = field
        self.stamp = stamp_of(field, value)
        self.ends = group in {b"revoked", b"ended", b"barred"}
        self.helps = group in {b"auth", b"proven", b"cleared"}


def stamp_of(field: bytes, value: bytes) -> Stamp:
    """Return the stamp of a fact that cannot be read, by its value or else its name.

    Where neither says: the beginning of time, of which every sign-in is the later one.
    """
    for text in (value.partition(b"\0")[0], field.partition(b":")[2]):
        try:
            return decode(text.decode())
        except ValueError:
            continue
    return Stamp(1, "")


def encode_facts(facts: Iterable[Fact]) -> Record:
    """Return the fields of facts.

    Beside the history of all, the latest signal of each name is kept, the latest revocation of
    each device, and apart from these the latest of all of a user's or a session's, by each source:
    none of them can be pushed out by others, however many come.
    """
    record: Record = {}
    for fact in facts:
        group = _GROUP_OF[type(fact)]
        by = _by(fact)
        stamp = fact.stamp.encode()
        value = _value(fact)
        record[f"{group}{by}:{stamp}".encode()] = value
        match fact:
            case Revoked(device=""):
                record[f"ended{by}:".encode()] = value
            case Revoked(device=device):
                record[f"barred{by}:{device}".encode()] = value
            case SignalRaised(name=name):
                record[f"raised{by}:{name}".encode()] = value
    return record


def _by(fact: Fact) -> str:
    """Return the suffix that distinguishes the groups of a source from those of all others."""
    return f"@{quote(fact.source, safe='')}" if fact.source else ""


def _value(fact: Fact) -> bytes:
    return fact.stamp.encode().encode() + b"\0" + VERSION + _encode(fact)


def _payload(value: bytes) -> bytes:
    """Return what a value holds after its stamp.

    Raises `ValueError` if another version wrote it.
    """
    begin = value.index(b"\0") + 1
    if value[begin : begin + 1] != VERSION:
        raise ValueError("of another version")
    return value[begin + 1 :]


def _kind_of(field: bytes) -> bytes:
    """Return the kind of facts that a field's group holds, whoever says them."""
    return group_of(field).partition(b"@")[0]


def encode_seen(fact: Seen, *, moved: bool) -> Record:
    """Return the fields of a sighting in the user's record.

    One holds the session's latest, by each source; if the session moved, one more stays when it
    moves on.
    """
    stamp, by = fact.stamp.encode(), _by(fact)
    value = _value(fact)
    record: Record = {f"seen{by}:{fact.session}".encode(): value}
    if moved:
        record[f"move{by}:{stamp}".encode()] = value
    return record


def encode_proven(facts: Iterable[PlaceProven]) -> Record:
    """Return the fields of places that a user has proven, in the user's record.

    One holds the latest proof of each way of signing in, of each place and device.
    """
    record: Record = {}
    for fact in facts:
        name = hashlib.blake2b(proof_key(fact).encode(), digest_size=12).hexdigest()
        record[f"proven:{name}".encode()] = _value(fact)
    return record


def encode_spent(fact: Spent) -> tuple[bytes, bytes]:
    """Return the field that records that a proof is spent, and its value: one for each proof."""
    return f"spent:{fact.auth_time}".encode(), _value(fact)


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
        decoder = _DECODERS.get(_kind_of(field))
        if decoder is None or _is_twice(field, value, record):
            continue
        try:
            facts.append(decoder.decode(_payload(value)))
        except (msgspec.MsgspecError, ValueError, UnicodeDecodeError):
            broken.append(InvalidRecord(field, value))
    return facts, broken


def holds_fact(field: bytes) -> bool:
    """Return whether a field of this name holds a fact."""
    return _kind_of(field) in _DECODERS


def _is_twice(field: bytes, value: bytes, record: Mapping[bytes, bytes]) -> bool:
    """Return whether this is the latest of its kind, and the history has it as well."""
    kind, at, source = group_of(field).partition(b"@")
    history = _HISTORY_OF.get(kind)
    if history is None:
        return False
    return history + at + source + b":" + value.partition(b"\0")[0] in record


def encode_checkpoint(checkpoint: Checkpoint) -> Record:
    """Return the field of a checkpoint: of two, the one that reaches further is the greater."""
    stamp = checkpoint.state.last.encode().encode()
    return {CHECKPOINT: stamp + b"\0" + VERSION + _encode(checkpoint)}


def decode_checkpoint(record: Mapping[bytes, bytes]) -> Checkpoint | None:
    """Return the checkpoint of a record; None where it has none or it cannot be read."""
    value = record.get(CHECKPOINT)
    if value is None:
        return None
    try:
        return _checkpoint_decoder.decode(_payload(value))
    except (msgspec.MsgspecError, ValueError, UnicodeDecodeError):
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
    facts = decode_facts(_of_kind(record, b"device"))[0]
    return [fact for fact in facts if isinstance(fact, DeviceBound)]


def sighted_in(record: Mapping[bytes, bytes]) -> list[Sighted]:
    """Return the sightings of a session in a record. What cannot be read is left out."""
    facts = decode_facts(_of_kind(record, b"place"))[0]
    return [fact for fact in facts if isinstance(fact, Sighted)]


def _of_kind(record: Mapping[bytes, bytes], kind: bytes) -> Record:
    begins = (kind + b":", kind + b"@")
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


def event_key(signal: Signal) -> str:
    """Return an event's id within all sources: ids are each source's own."""
    if not signal.source:
        return signal.stamp.id
    return f"{quote(signal.source, safe=':')}/{signal.stamp.id}"


def event_field(event: str) -> bytes:
    """Return the field that records that an event, by its key, has counted."""
    return f"event:{event}".encode()


def encode_event(signal: Signal) -> Record:
    """Return the field that records that an event has counted, and for what."""
    value = (
        f"{signal.stamp.encode()}\0{signal.content}" if signal.content else signal.stamp.encode()
    )
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
    return _LOGGED + policy.encode()


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
    return {
        field[len(_LOGGED) :].decode(): value
        for field, value in record.items()
        if field.startswith(_LOGGED)
    }


def nearly_full(
    record: Mapping[bytes, bytes], bound_of: Callable[[bytes], int], folded: bytes = b""
) -> bool:
    """Return whether a group of facts has used half of its bound since the last checkpoint.

    `folded` is the beginning of the checkpoint's value, up to which all is folded. Then it is time
    for another one: what a bound lets go must have been folded before.
    """
    counts: dict[bytes, int] = {}
    for field, value in record.items():
        if value > folded:
            group = group_of(field)
            counts[group] = counts.get(group, 0) + 1
    return any(
        count * 2 >= bound_of(group)
        for group, count in counts.items()
        if _kind_of(group) in _DECODERS and _kind_of(group) not in _LATEST
    )


def folded_of(record: Mapping[bytes, bytes]) -> bytes:
    """Up to where a session's record is folded, as its values begin; empty: nothing is."""
    return record.get(CHECKPOINT, b"").partition(b"\0")[0]
