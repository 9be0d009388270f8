"""A session put together from its records: its own, its user's, its devices'."""

from collections.abc import Iterable, Mapping

from sidecar.domain.evaluator import Evaluator
from sidecar.domain.facts import Fact, Sighted
from sidecar.domain.state import Checkpoint, State
from sidecar.wire.records import decode_checkpoint, decode_facts, devices_in


def facts_of(records: Iterable[Mapping[bytes, bytes]]) -> list[Fact]:
    """The facts of several records. What cannot be read is left out: see `InvalidRecord`."""
    return [fact for record in records for fact in decode_facts(record)[0]]


def sighted_in(record: Mapping[bytes, bytes]) -> list[Sighted]:
    """The sightings of a session in a record."""
    return [fact for fact in facts_of((record,)) if isinstance(fact, Sighted)]


def devices_of(record: Mapping[bytes, bytes]) -> set[str]:
    """The devices a session has been on, as far as its record tells."""
    checkpoint = decode_checkpoint(record)
    devices = devices_in(record)
    if checkpoint is not None and checkpoint.state.device:
        devices.add(checkpoint.state.device)
    return devices


def assemble(
    evaluator: Evaluator,
    session: str,
    record: Mapping[bytes, bytes],
    others: Iterable[Mapping[bytes, bytes]],
) -> tuple[State, list[Fact], Checkpoint | None]:
    """Fold a session's record and those of its user and devices."""
    facts = facts_of((record, *others))
    checkpoint = decode_checkpoint(record)
    return evaluator.fold(session, facts, checkpoint), facts, checkpoint
