"""A session put together from its records: its own, its user's, its devices'.

A fact that cannot be read, or that makes the fold raise, is set aside, so that all else of the
session still counts: in its place stands a `SetAside`, which has the session sign in anew before
its next sensitive call, or ends it where it may have been a revocation. That is a function of the
records and of the program alone: all sidecars of a version do the same, without a word between
them; and a version that knows better takes the fact up again.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import NamedTuple

from sidecar.domain.evaluation.evaluator import Evaluator
from sidecar.domain.facts.fact_kinds import Fact, Revoked, SetAside
from sidecar.domain.session.state import Checkpoint, State
from sidecar.domain.values.lattice import bound_of
from sidecar.domain.values.stamp import Stamp
from sidecar.service.view.upkeep.fullness import nearly_full
from sidecar.wire.store.losses import lost_before
from sidecar.wire.store.records import (
    CHECKPOINT,
    decode_checkpoint,
    decode_facts,
    folded_of,
    stamp_of,
)


class Culprit(NamedTuple):
    """A fact that was set aside: its stamp, and the error if it was the fold's."""

    stamp: Stamp
    error: Exception | None = None


class Folded(NamedTuple):
    """A session's state, and what it was made of."""

    state: State
    facts: list[Fact]
    checkpoint: Checkpoint | None
    culprits: tuple[Culprit, ...] = ()


def facts_of(records: Iterable[Mapping[bytes, bytes]]) -> list[Fact]:
    """Return the facts of several records, with a `SetAside` for each that cannot be read."""
    facts: list[Fact] = []
    for record in records:
        read, broken = decode_facts(record)
        facts += read
        # A sign-in only ever helps a session: without it nothing is loosened.
        facts += [SetAside(stamp=one.stamp, ends=one.ends) for one in broken if not one.helps]
    return facts


def assemble(  # noqa: PLR0913 - a session, and as of when
    evaluator: Evaluator,
    session: str,
    record: Mapping[bytes, bytes],
    others: Iterable[Mapping[bytes, bytes]],
    until: int | None = None,
    *,
    issuer: str = "",
) -> Folded:
    """Fold a session's record and those of its user and devices, whose names are `issuer`'s.

    `until`: as of the sign-ins until that second; None: as of all.
    """
    facts, checkpoint = _gathered(record, others)
    culprits = [Culprit(fact.stamp) for fact in facts if isinstance(fact, SetAside)]
    fold = partial(evaluator.fold, session, checkpoint=checkpoint, until=until, issuer=issuer)
    try:
        state = fold(facts)
    except Exception:  # noqa: BLE001 - whatever it is, the session's other facts must count
        facts, choked = _without_culprits(fold, facts)
        culprits += choked
        state = fold(facts)
    return Folded(state, facts, checkpoint, tuple(culprits))


def forgotten(evaluator: Evaluator, slot: int, records: Iterable[Mapping[bytes, bytes]]) -> int:
    """Return the moment before which something of a session's records may be lost; 0: nothing is.

    The `slot` of its user's records stands for those of its devices and its locator: this is for
    what is said of sessions. A call is decided by each record's own slot (`Live.refold`).
    """
    floor = evaluator.floors.of(slot)
    return max((lost_before(one, floor) for one in records), default=0)


CHECKPOINT_KEEPS = 8
"""How many of the latest steps a checkpoint leaves open to reordering."""


def checkpoint_of(  # noqa: PLR0913 - a session, and what its records were folded to
    evaluator: Evaluator,
    session: str,
    record: Mapping[bytes, bytes],
    others: Iterable[Mapping[bytes, bytes]],
    folded: Callable[[], tuple[State, tuple[Culprit, ...]]],
    *,
    issuer: str = "",
) -> Checkpoint | None:
    """Return a new checkpoint if it is time for one.

    `folded` gives what the records were folded to; it is called only then.
    """
    others = tuple(others)
    folded_until = folded_of(record)
    if not any(nearly_full(one, bound_of, folded_until) for one in (record, *others)):
        return None
    return new_checkpoint(evaluator, session, record, others, folded(), issuer=issuer)


def new_checkpoint(  # noqa: PLR0913 - a session, and what its records were folded to
    evaluator: Evaluator,
    session: str,
    record: Mapping[bytes, bytes],
    others: Iterable[Mapping[bytes, bytes]],
    folded: tuple[State, tuple[Culprit, ...]],
    *,
    issuer: str = "",
) -> Checkpoint | None:
    """Return a checkpoint of records; None where there is nothing yet to begin from.

    What was set aside stays open: a version that knows better is to take it up again.
    """
    state, culprits = folded
    if not state.established or any(culprit.error for culprit in culprits):
        return None
    facts, checkpoint = _gathered(record, others)
    return evaluator.checkpoint(session, facts, checkpoint, CHECKPOINT_KEEPS, issuer=issuer)


def _gathered(
    record: Mapping[bytes, bytes], others: Iterable[Mapping[bytes, bytes]]
) -> tuple[list[Fact], Checkpoint | None]:
    """Return all facts of a session's records, and its checkpoint.

    What an event says of a session lies in its locator, too: it is read once.
    """
    facts = facts_of((record, *(_beside(record, other) for other in others)))
    checkpoint = decode_checkpoint(record)
    if checkpoint is None and CHECKPOINT in record:
        facts.append(SetAside(stamp=stamp_of(CHECKPOINT, record[CHECKPOINT]), ends=True))
    return facts, checkpoint


def _beside(record: Mapping[bytes, bytes], other: Mapping[bytes, bytes]) -> Mapping[bytes, bytes]:
    """Return what another record holds that this one does not."""
    if record.keys().isdisjoint(other):
        return other
    return {field: value for field, value in other.items() if record.get(field) != value}


def _without_culprits(
    fold: Callable[[list[Fact]], State], facts: list[Fact]
) -> tuple[list[Fact], list[Culprit]]:
    """Replace the facts that make the fold raise by `SetAside`; return all, and what was replaced.

    They are found by folding one step more at a time.
    """
    steps: dict[Stamp, list[Fact]] = {}
    for fact in facts:
        steps.setdefault(fact.stamp, []).append(fact)
    kept: list[Fact] = []
    culprits: list[Culprit] = []
    for stamp in sorted(steps):
        try:
            fold([*kept, *steps[stamp]])
        except Exception as error:  # noqa: BLE001 - likewise
            culprits.append(Culprit(stamp, error))
            ends = any(isinstance(fact, Revoked) for fact in steps[stamp])
            kept.append(SetAside(stamp=stamp, ends=ends))
        else:
            kept += steps[stamp]
    return kept, culprits
