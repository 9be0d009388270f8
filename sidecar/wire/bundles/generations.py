"""The record of which bundle is in force: each activation, under a number that only grows.

    propose:TERM   a bundle that all are to have at hand, until when, by whom and why
    active:TERM    it is to be in force from a moment on
    sealed:TERM    the moment from which it is, once all that read `active:TERM` could have
    dropped:TERM   it is not to be, after all
    left:SIDECAR   that a sidecar has ended

Values begin with sixteen digits, as the lattice wants it (`domain.values.lattice`): of the terms,
which are numbers of activations, the latest ones stay. Moments are microseconds since the epoch.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple, TypeVar

import msgspec

PROPOSE, ACTIVE, SEALED, DROPPED = b"propose:", b"active:", b"sealed:", b"dropped:"
_NAMING = (PROPOSE, ACTIVE)
LEFT = b"left:"
_DIGITS = 16
_T = TypeVar("_T")


class PolicyAct(StrEnum):
    """An operator's act that has a bundle in force."""

    ACTIVATE = "activate"
    ROLLBACK = "rollback"


class Generation(msgspec.Struct, frozen=True):
    """A bundle that is named for the whole fleet: `term` says as which activation.

    `moment`: from when it is in force; of a proposal until when it stands. `at` and `by`: who asked
    for it and when. `signed_by`: whose signature it has.
    """

    term: int
    sequence: int
    digest: str
    moment: int
    act: PolicyAct
    by: str
    reason: str
    at: int
    signed_by: str = ""


class NamedGenerations(NamedTuple):
    """The record's word: activations from the latest on, the final moment, what is proposed.

    `term` is the latest that is named. `unread`: so many later than the latest activation cannot be
    read, as a newer version wrote them, or they are damaged.
    """

    activations: tuple[Generation, ...] = ()
    sealed: int | None = None
    proposal: Generation | None = None
    term: int = 0
    unread: int = 0

    @property
    def latest(self) -> Generation | None:
        """The generation that is in force, or will be."""
        return self.activations[0] if self.activations else None


def number(value: int) -> bytes:
    """Return a number as the lattice compares it."""
    return f"{value:0{_DIGITS}d}".encode()


def field_of(group: bytes, term: int) -> bytes:
    """Return the name of a field of a term."""
    return group + number(term)


def encode(value: Generation | int, term: int) -> bytes:
    """Return the value of a field of a term."""
    return number(term) + msgspec.msgpack.encode(value)


def generations_in(record: Mapping[bytes, bytes], now: int) -> NamedGenerations:
    """Return what the record says; what cannot be read is a newer version's, and left out."""
    active = _generations(record, ACTIVE)
    latest = active[0] if active else None
    ended = {int(f[len(DROPPED) :]) for f in record if f.startswith(DROPPED) and _is_term(f)}
    done = max(ended | {latest.term if latest else 0})
    proposed = _generations(record, PROPOSE)
    is_open = proposed and proposed[0].term > done and now < proposed[0].moment
    named = {int(f.partition(b":")[2]) for f in record if f.startswith(_NAMING) and _is_term(f)}
    unread = named - {one.term for one in (*active, *proposed)}
    sealed = None if latest is None else record.get(field_of(SEALED, latest.term))
    return NamedGenerations(
        tuple(active),
        None if sealed is None else _decoded(sealed, int),
        proposed[0] if is_open else None,
        max(named, default=0),
        sum(term > (latest.term if latest else 0) for term in unread),
    )


def _is_term(field: bytes) -> bool:
    digits = field.partition(b":")[2]
    return len(digits) == _DIGITS and digits.isdigit()


def _generations(record: Mapping[bytes, bytes], group: bytes) -> list[Generation]:
    found = (_decoded(value, Generation) for f, value in record.items() if f.startswith(group))
    return sorted((one for one in found if one is not None), key=lambda one: -one.term)


def _decoded(value: bytes, kind: type[_T]) -> _T | None:
    try:
        return msgspec.msgpack.decode(value[_DIGITS:], type=kind)
    except msgspec.MsgspecError:
        return None
