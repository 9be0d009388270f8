"""Values of facts: a byte for the version, seven for the moment, and what the name does not say.

So of two values the later fact's is the greater one, and a later version's is greater than any of
an earlier one: what only the later one can read is not pushed out by what it cannot. Every version
from this one on begins like that. Where a field is named by the stamp of its fact, the value has no
more of it than the moment; else the event's id follows, and a zero byte. The source is in the name
of the group.
"""

import functools
from collections.abc import Callable
from typing import TypeAlias

import msgspec

from sidecar.domain.facts.fact_kinds import Fact, PlaceProven, Seen
from sidecar.domain.values.stamp import Stamp
from sidecar.wire.facts.shown import WrittenSignIn, trimmed, written_sign_in
from sidecar.wire.facts.sightings import read_where, written_where
from sidecar.wire.store.keys import digest_bytes, digest_text

VERSION = b"\x83"
"""Of the values of facts and checkpoints. Those of another version are set aside, never guessed at:
the second began with digits, which are less, and the first had no version."""

HEAD = 8
"""Bytes of a value before what it says: they put it in order."""

_DIGITS = 16
_NO_MOMENT = 10**_DIGITS
"""Microseconds that no stamp has: its moment has sixteen digits where a field is named by it."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode


def head_of(stamp: Stamp) -> bytes:
    """Return the beginning of the value of a fact of this stamp."""
    return VERSION + stamp.time.to_bytes(HEAD - 1)


def whole_head_of(stamp: Stamp) -> bytes:
    """Return the beginning of a value whose field is not named by the stamp."""
    return b"%b%b\0" % (head_of(stamp), stamp.id.encode())


def moment_of(value: bytes) -> int:
    """Return the moment in a value of this version or a later one. Raises `ValueError`."""
    moment = int.from_bytes(value[1:HEAD])
    if value[:1] < VERSION or len(value) < HEAD or moment >= _NO_MOMENT:
        raise ValueError("of an earlier version, or damaged")
    return moment


Said: TypeAlias = tuple[bytes, bytes, bytes]
"""A value: the moment of its fact as it is written, the event's id, and the rest."""

Reading: TypeAlias = Callable[[Said, str], list[Fact]]
"""Makes the facts of a value, which that source says. Raises `ValueError`, `MsgspecError`."""


def said_under(name: bytes, value: bytes) -> Said:
    """Return what a value of this version says in a field that is named by the stamp."""
    return value[1:HEAD], name[_DIGITS:], value[HEAD:]


def said_in(value: bytes) -> Said:
    """Return what a value of this version says in another field. Raises `ValueError`."""
    end = value.index(b"\0", HEAD)
    return value[1:HEAD], value[HEAD:end], value[end + 1 :]


def stamp_in(said: Said) -> Stamp:
    """Return the stamp of the fact. Raises `ValueError` for what is no text."""
    # As `Stamp` does it, less a call: there is one for each field that is read.
    return tuple.__new__(Stamp, (int.from_bytes(said[0]), said[1].decode()))


def encode_plain(fact: Fact) -> bytes:
    """Return a fact without its stamp and source."""
    whole = _encode(fact)
    return whole[:1] + whole[len(_encode((fact.stamp, fact.source))) :]


@functools.lru_cache(maxsize=1024)
def _written_source(source: str) -> bytes:
    return _encode(source)


def decoder_of(kind: type[Fact]) -> Reading:
    """Return what undoes `encode_plain`, of facts of one kind.

    The stamp is put before the rest as MessagePack has it: it is written in the same order of
    bytes, and so the decoder makes all of the fact.
    """
    decoder = msgspec.msgpack.Decoder(kind)

    def decode(said: Said, source: str) -> list[Fact]:
        moment, event, rest = said
        size = len(event)
        text = _TEXT_HEADS[size] if size < len(_TEXT_HEADS) else b"\xda" + size.to_bytes(2)
        stamp = _STAMP_HEAD + moment + text + event
        return [decoder.decode(rest[:1] + stamp + _written_source(source) + rest[1:])]

    return decode


_STAMP_HEAD = b"\x92\xcf\0"
"""In MessagePack: two elements, of which the first is a number of eight bytes, the first 0."""

_TEXT_HEADS = tuple(bytes((0xA0 | size,)) for size in range(32))
"""In MessagePack: a text of so many bytes."""


def encode_where_seen(fact: Seen) -> bytes:
    """Return a sighting of a user, without the session: its field is named by that."""
    return _encode((written_where(fact.ip, fact.place),))


def encode_move(fact: Seen) -> bytes:
    """Return a sighting of a user, with the session."""
    session = digest_bytes(fact.session) or fact.session
    return _encode((written_where(fact.ip, fact.place), session))


class _Seen(msgspec.Struct, frozen=True, array_like=True, gc=False):
    where: msgspec.Raw
    session: msgspec.Raw = msgspec.Raw(b"\xa0")


class _Proven(msgspec.Struct, frozen=True, array_like=True, gc=False):
    where: msgspec.Raw
    device: str
    signed_in: WrittenSignIn
    source: str = ""


_seen_decoder = msgspec.msgpack.Decoder(_Seen)
_proven_decoder = msgspec.msgpack.Decoder(_Proven)


def decode_seen(said: Said, source: str, session: str = "") -> list[Fact]:
    """Undo `encode_move`; with the `session`, `encode_where_seen`."""
    seen = _seen_decoder.decode(said[2])
    ip, place = read_where(bytes(seen.where))
    whose = session or _session(_decode(seen.session))
    return [Seen(stamp=stamp_in(said), source=source, session=whose, ip=ip, place=place)]


def _session(written: object) -> str:
    match written:
        case bytes():
            return digest_text(written)
        case str():
            return written
        case _:
            raise ValueError("no session")


def encode_proof(fact: PlaceProven) -> bytes:
    """Return a place that is proven; all that say the same are in one field, whoever said it."""
    signed_in = written_sign_in(fact.stamp, fact.authentication)
    where = written_where(fact.ip, fact.place)
    return _encode(trimmed([where, fact.device, signed_in, fact.source]))


def decode_proof(said: Said, _: str) -> list[Fact]:
    """Undo `encode_proof`."""
    proven, stamp = _proven_decoder.decode(said[2]), stamp_in(said)
    ip, place = read_where(bytes(proven.where))
    return [
        PlaceProven(
            stamp=stamp,
            source=proven.source,
            device=proven.device,
            ip=ip,
            place=place,
            authentication=proven.signed_in.read(stamp),
        )
    ]
