"""Writes: what is to be joined into one record of the store, as repositories make them.

Only here is a join of the store's port built.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple, TypeAlias

import msgspec

from sidecar.domain.values.lattice import Record
from sidecar.service.ports.store import MEMBERS_BOUND, HistoryAppend, Index, Join, JoinResult
from sidecar.wire.store.entries import Encoded
from sidecar.wire.store.keys import SessionName, listed_name


class WriteTerms(msgspec.Struct, frozen=True, gc=False):
    """On which terms a record is written: see `ports.store.Join`. `expire_at` in unix ms."""

    expire_at: int
    now: int
    indexes: tuple[Index, ...] = ()
    unless: bytes | None = None
    publish: bytes | None = None
    members_of: bytes | None = None
    want_record: bool = False
    confirm: bool = False
    history: HistoryAppend | None = None
    want_group: bytes = b""
    cut: bool = True


class Write(msgspec.Struct, frozen=True, gc=False):
    """The facts to join into the record at `key`; services hand it on and do not look inside."""

    key: bytes
    said: Encoded
    terms: WriteTerms

    @property
    def join(self) -> Join:
        """The operation of the store."""
        terms = self.terms
        return Join(
            self.key,
            self.said.fields,
            terms.expire_at,
            terms.now,
            terms.indexes,
            terms.unless,
            terms.publish,
            terms.members_of,
            terms.want_record,
            terms.confirm,
            terms.history,
            terms.want_group,
            terms.cut,
        )


class Written(NamedTuple):
    """The outcome of a write. `joined`: false where it had happened before.

    `sessions` are those in the record's index where that was asked for; None: more than an answer
    gives.
    """

    joined: bool
    record: Record
    sessions: tuple[SessionName, ...] | None = ()


def write_of(key: bytes, fields: Mapping[bytes, bytes], terms: WriteTerms) -> Write:
    """Return a write of fields that hold no facts."""
    return Write(key, Encoded(dict(fields), {}), terms)


Began: TypeAlias = Callable[[bytes, Mapping[bytes, bytes]], None]
"""Takes note that there was no record of this key before these fields were joined."""


def written(
    joins: Iterable[Join],
    answers: Iterable[JoinResult],
    began: Began = lambda _, __: None,
) -> list[Written]:
    """Return what became of writes, by the store's answers; `began` hears of new records.

    Others hear of these by news, where the write is published.
    """
    joins, answers = tuple(joins), tuple(answers)
    for join, one in zip(joins, answers, strict=True):
        if one.began:
            began(join.key, join.fields)
    return [
        Written(one.joined, one.record, _sessions(join.members_of or b"", one.members))
        for join, one in zip(joins, answers, strict=True)
    ]


def _sessions(index: bytes, members: tuple[bytes, ...]) -> tuple[SessionName, ...] | None:
    if len(members) >= MEMBERS_BOUND:
        return None
    return tuple(name for member in members if (name := listed_name(index, member)))
