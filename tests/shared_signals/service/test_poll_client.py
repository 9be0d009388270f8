"""Polling: only what is durable is acknowledged, by one sidecar at a time, and nothing is lost."""

import itertools
import math
from collections.abc import Callable, Collection

import pytest
import trio
from trio.testing import MockClock

from sidecar.service.audit.lease import TERM, Lease
from sidecar.service.observations.observations import WorkerFailed
from sidecar.service.observations.receiver import Polled
from sidecar.service.ports.calls import Overloaded, Unavailable
from sidecar.service.records.fleet import FleetRecords
from sidecar.shared_signals.service.poll_client import LONGEST_PAUSE, Poller
from sidecar.shared_signals.wire.security_event_tokens import InvalidSet, SetError
from sidecar.shared_signals.wire.stream_api import PollRequest, PollResponse
from sidecar.wire.events.security_event_names import Fault
from sidecar.wire.settings.receiver import KnownTransmitter
from sidecar.wire.store.keys import StoreKeys
from tests import waiting
from tests.service.memory import MemoryStore, Records

IDP = KnownTransmitter(
    name="idp", issuer="https://idp.example", audiences=("us",), poll_url="https://idp.example/p"
)
PATIENCE = 30.0


class Outbox:
    """A transmitter's end: keeps what is not acknowledged. `faults` come first."""

    def __init__(self, *sets: str) -> None:
        self.waiting = dict.fromkeys(sets, "SET")
        self.requests: list[tuple[float, PollRequest]] = []
        self.faults: list[Exception] = []
        self.acknowledged: list[str] = []
        self.refused: dict[str, SetError] = {}
        self.at_once = 100

    async def poll(self, request: PollRequest) -> PollResponse:
        self.requests.append((trio.current_time(), request))
        if self.faults:
            raise self.faults.pop(0)
        for token_id in (*request.ack, *request.set_errs):
            self.waiting.pop(token_id, None)
        self.acknowledged += request.ack
        self.refused |= request.set_errs
        if not self.waiting:
            await trio.sleep(PATIENCE)  # as a transmitter does that has nothing; virtual time
        sets = dict(list(self.waiting.items())[: self.at_once])
        return PollResponse(sets=sets, more_available=len(sets) < len(self.waiting))


class Taker:
    """Takes SETs by their text; fails as it is set to, once for each fault."""

    def __init__(self) -> None:
        self.taken = 0
        self.faults: list[Exception] = []

    async def take(self, text: str, senders: Collection[str], shown: str = "") -> object:
        assert senders == ("idp",)
        if self.faults:
            raise self.faults.pop(0)
        self.taken += 1
        return None


def clock() -> float:
    return 1_800_000_000 + trio.current_time()


class Pod:
    def __init__(self, outbox: Outbox, store: MemoryStore, name: str = "a") -> None:
        self.taker = Taker()
        self.telemetry = Records()
        self.poller = Poller(
            transmitter=IDP,
            polls=outbox,
            receiving=self.taker,
            lease=Lease(
                work="poll",
                sidecar=name,
                records=FleetRecords(store, StoreKeys("su"), clock),
                clock=clock,
            ),
            telemetry=self.telemetry,
            jitter=lambda: 0.0,
        )

    def polled(self) -> list[Polled]:
        return [one for one in self.telemetry.of(Polled) if isinstance(one, Polled)]


async def run(*pods: Pod, until: Callable[[], bool]) -> None:
    async with trio.open_nursery() as nursery:
        for pod in pods:
            await nursery.start(pod.poller.run)
        await waiting.until(until, within=math.inf, every=0.5)
        nursery.cancel_scope.cancel()


async def test_what_is_taken_is_acknowledged_with_the_next_poll(
    autojump_clock: MockClock,
) -> None:
    outbox = Outbox("1", "2", "3")
    outbox.at_once = 2
    pod = Pod(outbox, MemoryStore())
    await run(pod, until=lambda: not outbox.waiting)
    acks = [request.ack for _, request in outbox.requests]
    assert acks[:3] == [(), ("1", "2"), ("3",)]
    assert pod.taker.taken == 3
    assert outbox.requests[0][1].max_events == IDP.poll_batch


async def test_what_is_refused_is_reported_with_its_code(
    autojump_clock: MockClock,
) -> None:
    outbox = Outbox("1")
    pod = Pod(outbox, MemoryStore())
    pod.taker.faults = [InvalidSet(Fault.INVALID_KEY, "unknown")]
    await run(pod, until=lambda: not outbox.waiting)
    assert outbox.refused == {"1": SetError("invalid_key", "unknown")}
    assert outbox.acknowledged == []


@pytest.mark.parametrize("fault", [Unavailable("gone"), Overloaded(3)])
async def test_what_cannot_be_kept_is_neither_acknowledged_nor_refused_and_comes_again(
    fault: Exception,
    autojump_clock: MockClock,
) -> None:
    outbox = Outbox("1", "2")
    pod = Pod(outbox, MemoryStore())
    pod.taker.faults = [fault]
    await run(pod, until=lambda: not outbox.waiting)
    assert sorted(outbox.acknowledged) == ["1", "2"]
    assert outbox.refused == {}
    assert len(outbox.requests[1][1].ack) == 1


async def test_a_transmitter_that_fails_is_asked_ever_more_seldom_and_logged_once(
    autojump_clock: MockClock,
) -> None:
    outbox = Outbox("1")
    outbox.faults = [Unavailable(why) for why in ["down"] * 7 + ["no, it refuses"] * 3]
    pod = Pod(outbox, MemoryStore())
    await run(pod, until=lambda: not outbox.waiting)
    times = [at for at, _ in outbox.requests]
    pauses = [round(b - a) for a, b in itertools.pairwise(times)]
    assert pauses[:10] == [1, 2, 4, 8, 16, 32, 60, 60, 60, 60]
    assert max(pauses) <= LONGEST_PAUSE
    # Each cause is logged once.
    changes = [one.detail for one in pod.polled() if one.changed]
    assert changes == ["down", "no, it refuses", ""]
    assert not pod.poller.trouble


async def test_a_transmitter_that_asks_to_wait_is_waited_for(
    autojump_clock: MockClock,
) -> None:
    outbox = Outbox("1")
    outbox.faults = [Overloaded(20)]
    await run(Pod(outbox, MemoryStore()), until=lambda: not outbox.waiting)
    (first, _), (second, _) = outbox.requests[:2]
    assert second - first >= 20


async def test_an_error_of_ours_is_counted_and_polling_goes_on(
    autojump_clock: MockClock,
) -> None:
    outbox = Outbox("1")
    outbox.faults = [RuntimeError("ours")]
    pod = Pod(outbox, MemoryStore())
    await run(pod, until=lambda: not outbox.waiting)
    assert len(pod.telemetry.of(WorkerFailed)) == 1


async def test_one_of_many_polls_and_another_goes_on_where_it_dies(
    autojump_clock: MockClock,
) -> None:
    outbox, store = Outbox(), MemoryStore()
    a, b = Pod(outbox, store, "a"), Pod(outbox, store, "b")
    end = trio.current_time() + 20 * TERM
    await run(a, b, until=lambda: trio.current_time() > end)
    assert sorted(bool(one.polled()) for one in (a, b)) == [False, True]
    idle = a if b.polled() else b
    outbox.waiting = {"1": "SET"}
    await run(idle, until=lambda: not outbox.waiting)
    assert idle.taker.taken == 1


async def test_with_the_store_away_nobody_polls(
    autojump_clock: MockClock,
) -> None:
    outbox, store = Outbox("1"), MemoryStore()
    store.away = True
    pod = Pod(outbox, store)
    end = trio.current_time() + 60
    await run(pod, until=lambda: trio.current_time() > end)
    assert outbox.requests == []
    store.away = False
    await run(pod, until=lambda: not outbox.waiting)


async def test_a_sidecar_that_dies_before_it_acknowledges_loses_nothing(
    autojump_clock: MockClock,
) -> None:
    outbox, store = Outbox("1"), MemoryStore()
    first = Pod(outbox, store, "a")
    await run(first, until=lambda: first.taker.taken == 1)
    outbox.acknowledged.clear()
    outbox.waiting = {"1": "SET"}
    second = Pod(outbox, store, "b")
    await run(second, until=lambda: not outbox.waiting)
    assert outbox.acknowledged == ["1"]
