"""Entries of a record: facts, and the notes beside them, encoded in one place.

An encoding keeps its facts by field: whoever has encoded them need not decode them again.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple, TypeAlias

import msgspec

from sidecar.domain.facts.fact_kinds import Fact, PlaceProven, Seen, Spent
from sidecar.domain.session.state import Checkpoint
from sidecar.domain.values.lattice import Record
from sidecar.wire.store.records import (
    WHO_DEVICE,
    WHO_ISSUER,
    WHO_SESSION,
    WHO_USER,
    app_field,
    encode_checkpoint,
    encode_facts,
    encode_proven,
    encode_seen,
    encode_spent,
    encode_together,
    keep_until,
    owner_fields,
)


class Identified(NamedTuple):
    """A session's record names the session in plain text; no `device`: it is on none."""

    namespace: str
    user: str
    session: str
    device: str = ""


class UsedIn(NamedTuple):
    """A session was used in this app."""

    app: str


class OwnedBy(NamedTuple):
    """This user has the session of a locator; `shown`: a token has shown it."""

    user: str
    shown: bool


class KeptUntil(NamedTuple):
    """The record must be there until then (unix milliseconds), even without facts."""

    expire_at: int


class Moved(NamedTuple):
    """The user was seen here, and stays so when the session moves on."""

    seen: Seen


class Together(NamedTuple):
    """All that one call shows of a session; no other facts ever have their stamp."""

    facts: tuple[Fact, ...]


Note: TypeAlias = Identified | UsedIn | OwnedBy | KeptUntil | Moved | Together | Checkpoint

Said: TypeAlias = Fact | Note
"""What can be said for a record."""


class Encoded(msgspec.Struct, frozen=True, gc=False):
    """The fields of a record, and which facts they hold."""

    fields: Record
    facts: Mapping[bytes, tuple[Fact, ...]]

    def facts_in(self, fields: Iterable[bytes]) -> list[Fact]:
        """Return the facts of some of the fields, each once though several fields hold it."""
        found = {id(fact): fact for field in fields for fact in self.facts.get(field, ())}
        return list(found.values())


NOTHING_SAID = Encoded({}, {})


def encode(said: Iterable[Said]) -> Encoded:
    """Return the fields of facts and notes."""
    fields: Record = {}
    facts: dict[bytes, tuple[Fact, ...]] = {}
    for one in said:
        match one:
            case Identified():
                fields |= _identity(one)
            case UsedIn(app):
                fields[app_field(app)] = b"1"
            case OwnedBy(user, shown):
                fields |= owner_fields(user, shown=shown)
            case KeptUntil(expire_at):
                fields |= keep_until(expire_at)
            case Checkpoint():
                fields |= encode_checkpoint(one)
            case Together(shown):
                together = encode_together(shown)
                fields |= {field: value for field, (value, _) in together.items()}
                facts |= {field: some for field, (_, some) in together.items()}
            case _:
                fact = one.seen if isinstance(one, Moved) else one
                encoded = _encoded(one)
                fields |= encoded
                facts.update(dict.fromkeys(encoded, (fact,)))
    return Encoded(fields, facts)


def _encoded(one: Fact | Moved) -> Record:
    match one:
        case Moved(seen):
            return encode_seen(seen, moved=True)
        case Seen():
            return encode_seen(one, moved=False)
        case PlaceProven():
            return encode_proven((one,))
        case Spent():
            return dict((encode_spent(one),))
        case _:
            return encode_facts((one,))


def identified_in(record: Mapping[bytes, bytes], otherwise: Identified) -> Identified:
    """Return what a session's record calls it; what it does not say is as in `otherwise`."""

    def said(field: bytes, default: str) -> str:
        return record.get(field, b"").decode("utf-8", "replace") or default

    return Identified(
        said(WHO_ISSUER, otherwise.namespace),
        said(WHO_USER, otherwise.user),
        said(WHO_SESSION, otherwise.session),
        said(WHO_DEVICE, otherwise.device),
    )


def _identity(one: Identified) -> Record:
    fields = {
        WHO_ISSUER: one.namespace.encode(),
        WHO_USER: one.user.encode(),
        WHO_SESSION: one.session.encode(),
    }
    if one.device:
        fields[WHO_DEVICE] = one.device.encode()
    return fields
