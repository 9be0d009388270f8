"""Entries of a history, and how they are written: a field by the entry's id, a value by its moment.

The id follows from what the entry says of whom, so that sidecars which find the same write the
same field, and the store keeps one. It begins with the place that its kind has among entries of one
moment: what was said comes before what it led to. Members that are empty are left out.

A history is bounded, and those who write into it are not to push out one another's entries: each
source has a share of it, and each kind of entry that is not a source's. Where a history is full,
the oldest entry of the largest share goes. The value begins with the moment and the share, which
stand there for the store to read, also where the entry is sealed.
"""

from collections.abc import Collection, Iterable, Iterator
from enum import StrEnum
from typing import NamedTuple

import msgspec

from sidecar.domain.sources.origin import Origins
from sidecar.domain.values.lattice import Record
from sidecar.wire.store.keys import digest, digest_once

GROUP = b"h:"
LONGEST = 1024
"""Characters of an entry's text; what is longer is cut. A sender's claims may be a megabyte."""
_DIGITS = 16
_CUT = "..."


class EntryKind(StrEnum):
    """The kind of an entry."""

    SIGNAL = "signal"
    ACT = "act"
    PROOF = "proof"
    MARKED = "marked"
    CLEARED = "cleared"
    REVOKED = "revoked"
    CHALLENGED = "challenged"
    DENIED = "denied"


class Entry(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One thing that happened. `session` empty: to all of the user's, or of the device's.

    `what` is the type of a signal, or why a mark was cleared; `source` said it, in an `event`.
    `policy` marked, for `signal` and in `contexts` (empty: all); `by` are the events that brought
    it. `decision` is the id of a check's answer, and `user` and `issuer` say whose that was.
    """

    kind: EntryKind = msgspec.field(name="k")
    session: str = msgspec.field(name="s", default="")
    what: str = msgspec.field(name="w", default="")
    source: str = msgspec.field(name="o", default="")
    event: str = msgspec.field(name="e", default="")
    policy: str = msgspec.field(name="p", default="")
    signal: str = msgspec.field(name="n", default="")
    text: str = msgspec.field(name="x", default="")
    contexts: tuple[str, ...] = msgspec.field(name="c", default=())
    by: Origins = msgspec.field(name="b", default=())
    device: str = msgspec.field(name="v", default="")
    report_only: bool = msgspec.field(name="r", default=False)
    decision: str = msgspec.field(name="d", default="")
    user: str = msgspec.field(name="u", default="")
    issuer: str = msgspec.field(name="i", default="")


_PLACES = {
    EntryKind.SIGNAL: 0,
    EntryKind.ACT: 0,
    EntryKind.PROOF: 1,
    EntryKind.MARKED: 2,
    EntryKind.CLEARED: 3,
    EntryKind.REVOKED: 4,
    EntryKind.CHALLENGED: 5,
    EntryKind.DENIED: 5,
}


def id_of(kind: EntryKind, *what: object) -> str:
    """Return the id of an entry of this kind that is known by all of `what`."""
    return f"{_PLACES[kind]}{digest_once(*map(str, what))}"


class Dated(NamedTuple):
    """An entry with its moment (microseconds since the epoch) and its id."""

    moment: int
    id: str
    entry: Entry

    @property
    def share(self) -> str:
        """The share of a history that it takes up, by its source and kind."""
        if self.entry.kind is EntryKind.SIGNAL:
            return f"by.{digest(self.entry.source)}"
        return self.entry.kind.value


_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(Entry)


def field_of(one: Dated) -> bytes:
    """Return the field of an entry."""
    return GROUP + one.id.encode()


def encode_entry(one: Dated) -> tuple[bytes, bytes]:
    """Return the field and the value of an entry."""
    entry = one.entry
    if len(entry.text) > LONGEST:
        text = entry.text[: LONGEST - len(_CUT)] + _CUT
        entry = msgspec.structs.replace(entry, text=text)
    value = f"{one.moment:0{_DIGITS}d}{one.share}\0".encode() + _encode(entry)
    return field_of(one), value


def decode_entries(record: Record) -> Iterator[Dated]:
    """Yield what can be read of a history; `unread_in` counts what is left out."""
    for field, value in record.items():
        head, zero, tail = value.partition(b"\0")
        moment = head[:_DIGITS]
        if not (field.startswith(GROUP) and zero and moment.isdigit()):
            continue
        try:
            entry = _decoder.decode(tail)
            name = field[len(GROUP) :].decode()
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
        yield Dated(int(moment), name, entry)


def unread_in(record: Record, read: Collection[Dated]) -> int:
    """Return how many entries of a history are not among those that were read of it.

    Another version wrote them, or they are damaged.
    """
    return sum(field.startswith(GROUP) for field in record) - len(read)


def newest_of(entries: Iterable[Dated], bound: int) -> list[Dated]:
    """Return as many as may stay, sorted: beyond them the oldest of the largest share goes."""
    shares: dict[str, list[Dated]] = {}
    total = 0
    for one in sorted(entries, key=place_of, reverse=True):
        shares.setdefault(one.share, []).append(one)
        total += 1
    for _ in range(total - bound):
        most = max(map(len, shares.values()))
        fullest = (share for share in shares.values() if len(share) == most)
        min(fullest, key=lambda share: place_of(share[-1])).pop()
    return sorted((one for share in shares.values() for one in share), key=place_of)


def place_of(one: Dated) -> tuple[int, str]:
    """Return by what entries are in order: the moment, and for one moment the id."""
    return one.moment, one.id


WHOSE = b"whose:"
"""The field of a decision's record that names the user, by the user's digest."""


def encode_whose(user: str) -> Record:
    """Return the record of a decision in the history of a user."""
    return {WHOSE: b"0" * _DIGITS + user.encode()}


def whose_of(record: Record) -> str:
    """Return the digest of the user whose history has a decision; empty: it is not known."""
    return record.get(WHOSE, b"")[_DIGITS:].decode("ascii", "replace")
