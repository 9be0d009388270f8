"""An act of several events: all of them in the time that one may take, and all or nothing."""

from typing import NoReturn

import msgspec
import pytest
import trio
from trio.testing import MockClock

from sidecar.adapters.admin.acts import ActDoor
from sidecar.adapters.events.intake import EventIntake
from sidecar.adapters.listening.application import RequestRefused
from sidecar.domain.facts.signal import OperatorClear, Subject
from sidecar.domain.values.stamp import at
from sidecar.service.admin.acts import PreparedAct
from sidecar.service.observations.operator import OperatorActed
from sidecar.service.ports.calls import FleetAcknowledgement, Unavailable
from sidecar.wire.events.operator_acts import Order, where_of
from tests.adapters.doors import Services

BODY = b'{"reason": "why", "wait": "everywhere", "timeout": 5, "dismiss_risk": true}'


class Slow(Services):
    """Takes as long as it may to say that nobody else has an event of these ids."""

    def __init__(self, slow: tuple[str, ...]) -> None:
        super().__init__()
        self.slow = slow
        self.asked: list[float] = []

    async def acknowledged(self, event: str, within: float, source: str) -> FleetAcknowledgement:
        self.asked.append(within)
        if event not in self.slow:
            return await super().acknowledged(event, within, source)
        await trio.sleep(within)  # as long as it was given; virtual time
        return FleetAcknowledgement(1, 2)


def crashed(error: Exception) -> NoReturn:
    raise error


class Two:
    """Makes two events of an order."""

    async def prepare(self, order: Order, operator: str) -> PreparedAct:
        await trio.lowlevel.checkpoint()
        subject = Subject(user=order.name)
        return PreparedAct(
            tuple(OperatorClear(stamp=at(1.0, one), subject=subject) for one in "ab"), None
        )


@pytest.mark.parametrize("slow", [(), ("a",), ("b",), ("a", "b")], ids="+".join)
async def test_its_events_are_waited_for_together_and_all_must_be_everywhere(
    autojump_clock: MockClock, slow: tuple[str, ...]
) -> None:
    services, recorded = Slow(slow), list[OperatorActed]()
    door = ActDoor(
        acts=Two(), events=EventIntake(services, services, crashed), record=recorded.append
    )
    where = where_of("/v1/users/ada/clear")
    assert where is not None
    begun = trio.current_time()
    reply = await door.answer(where, "ada", "application/json", BODY)
    answer = msgspec.json.decode(reply.body)
    assert trio.current_time() - begun == (5 if slow else 0)
    assert services.asked == [5, 0 if "a" in slow else 5]
    assert (reply.status_code, answer["settled"]) == (200, not slow)
    assert (answer["have"], answer["live"]) == ((1, 2) if slow else (1, 1))


async def test_it_ends_with_the_event_that_is_not_taken() -> None:
    services, recorded = Services(), list[OperatorActed]()
    services.trouble = Unavailable("the store is away")
    door = ActDoor(
        acts=Two(), events=EventIntake(services, services, crashed), record=recorded.append
    )
    where = where_of("/v1/users/ada/clear")
    assert where is not None
    with pytest.raises(RequestRefused) as refused:
        await door.answer(where, "ada", "application/json", BODY)
    assert (refused.value.status_code, services.signals, len(recorded)) == (503, [], 1)
