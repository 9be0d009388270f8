"""The outcome of each event is counted once, where events come in."""

from collections.abc import Sequence
from typing import get_args

import pytest

from sidecar.domain.facts.signal import RiskLevelChange, Signal, Subject
from sidecar.domain.policy.conditional_access import RiskLevel
from sidecar.domain.values.stamp import at
from sidecar.service.intake.outcomes import CountedEvents, accept_each
from sidecar.service.observations.observations import EventOutcome, EventTaken
from sidecar.service.ports.calls import Accepted, Overloaded, Unavailable
from sidecar.wire.events.members import InvalidSignal
from tests.service.memory import Records

RISK = RiskLevelChange(
    stamp=at(990, "r1"), subject=Subject("alice"), source="siem", label="l", level=RiskLevel.HIGH
)


class Taker:
    """Takes each event in one way."""

    def __init__(self, outcome: Accepted | Exception) -> None:
        self.outcome = outcome

    async def accept_all(self, signals: Sequence[Signal]) -> list[Accepted | Exception]:
        return await accept_each(self.accept, signals)

    async def accept(self, signal: Signal) -> Accepted:
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


@pytest.mark.parametrize(
    ("taken", "outcome", "detail"),
    [
        (Accepted("r1"), EventOutcome.ACCEPTED, ""),
        (Accepted("r1", duplicate=True), EventOutcome.DUPLICATE, ""),
        (Accepted("r1", spooled=True), EventOutcome.SPOOLED, ""),
        (Overloaded(), EventOutcome.OVERLOADED, ""),
        (InvalidSignal("id", "is taken"), EventOutcome.INVALID, "id: is taken"),
        (Unavailable("it is away"), EventOutcome.FAILED, "it is away"),
        (ZeroDivisionError("of alice"), EventOutcome.FAILED, "ZeroDivisionError"),
    ],
)
async def test_each_outcome_is_counted_once_and_handed_on(
    taken: Accepted | Exception, outcome: EventOutcome, detail: str
) -> None:
    telemetry = Records()
    events = CountedEvents(Taker(taken), telemetry)
    if isinstance(taken, Exception):
        with pytest.raises(type(taken)):
            await events.accept(RISK)
    else:
        assert await events.accept(RISK) is taken
    assert telemetry.seen == [
        EventTaken(
            type="risk-level-change",
            outcome=outcome,
            id="r1",
            source="siem",
            label="l",
            detail=detail,
        )
    ]


def test_no_two_signals_are_of_one_kind() -> None:
    kinds = [one.kind for one in get_args(Signal)]
    assert len(set(kinds)) == len(kinds) == len(get_args(Signal))
