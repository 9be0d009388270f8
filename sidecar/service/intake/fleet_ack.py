"""The fleet's acknowledgement of an event: `"wait":"everywhere"` of the contract.

Sidecars enlist in the store and keep their entry alive. The one that took an event asks all,
on a channel that all follow, whether their view has the records that the event went into, event
included. Each reads a record whose news has not come yet, and answers.

An entry outlives its sidecar's last sign of life by longer than a view may be stale (the longest
`max_staleness` of any context): so a sidecar that cannot be heard, and is no longer waited for, no
longer allows what is sensitive.
"""

from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import NamedTuple

import msgspec
import trio

from sidecar.service.observations.observations import QueueRejected, Telemetry, WorkerFailed
from sidecar.service.ports.calls import FleetAcknowledgement, Overloaded, Unavailable
from sidecar.service.ports.store import News
from sidecar.service.records.facts import FactRecords
from sidecar.service.records.fleet import FleetRecords, questions_in
from sidecar.service.view.view import View

QUESTIONS = 1024
"""Questions that may wait here; more are not answered, and their event is not acknowledged."""

REMEMBERED = 8192
"""Events taken here of which it is remembered which records they went into."""

WAITS = 64
"""Events of one source that may be waited for at a time; more count as not acknowledged."""

LOOKS = 400
"""How often a second all who wait look for answers, together, while answers are missing."""

NOTED = 3600.0
"""Seconds for which it is known by which policies a sidecar judges, after it said so."""

_FIRST_LOOK, _LAST_LOOK = 0.002, 0.05


class Question(NamedTuple):
    """Asks whether this event of these records is in the view."""

    event: str
    records: tuple[bytes, ...]


class FleetAcknowledger:
    """One sidecar among all: enlisted, asking, and answering.

    `worker` says in words which one it is, and `policy_set` by which policies it judges: for
    whoever looks at the fleet.
    """

    def __init__(  # noqa: PLR0913 - one place wires it
        self,
        *,
        sidecar: str,
        records: FactRecords,
        fleet: FleetRecords,
        news: News,
        view: View,
        telemetry: Telemetry,
        max_staleness: Callable[[], float],
        worker: str = "",
        policy_set: Callable[[], str] = lambda: "",
    ) -> None:
        self._worker = worker
        self._policy_set = policy_set
        self._noted: tuple[str, float] = ("", 0.0)
        self._sidecar = sidecar.encode()
        self._records = records
        self._fleet = fleet
        self._news = news
        self._view = view
        self._telemetry = telemetry
        self._max_staleness = max_staleness
        self._waits = Counter[str]()
        self._placed: OrderedDict[str, dict[bytes, None]] = OrderedDict()
        self._send, self._receive = trio.open_memory_channel[Question](QUESTIONS)

    @property
    def _life(self) -> float:
        return max(24.0, 2.4 * self._max_staleness())

    def remember(self, event: str, record: bytes) -> None:
        """Remember that an event taken here went into this record, among others."""
        self._placed.setdefault(event, {})[record] = None
        self._placed.move_to_end(event)
        while len(self._placed) > REMEMBERED:
            self._placed.popitem(last=False)

    @property
    def waiting(self) -> int:
        """Return how many events are waited for."""
        return self._waits.total()

    async def acknowledged(
        self, event: str, within: float, source: str = ""
    ) -> FleetAcknowledgement:
        """Ask all live sidecars, and wait until all have it, `within` seconds at most.

        Where enough others of its source are waited for nobody is asked: it is not known then who
        has it, besides this sidecar.
        """
        if self._waits[source] >= WAITS:
            self._telemetry.record(QueueRejected(queue="settle-waits"))
            return FleetAcknowledgement(have=1, live=0)
        self._waits[source] += 1
        try:
            return await self._acknowledged(event, within)
        finally:
            self._waits[source] -= 1
            if not self._waits[source]:
                del self._waits[source]

    async def _acknowledged(self, event: str, within: float) -> FleetAcknowledgement:
        records = self._placed.get(event)
        if records is None:
            raise Unavailable("it is not known here where this event went")
        question = msgspec.msgpack.encode(Question(event, tuple(records)))
        have: set[bytes] = set()
        live: set[bytes] = {self._sidecar}
        with trio.move_on_after(within):
            await self._fleet.ask(event, question)
            pause = _FIRST_LOOK
            while True:
                have, live = await self._look(event)
                if live <= have:
                    break
                await trio.sleep(pause)
                pause = min(max(_LAST_LOOK, self.waiting / LOOKS), pause * 2)
        return FleetAcknowledgement(len(have & live), len(live))

    async def _look(self, event: str) -> tuple[set[bytes], set[bytes]]:
        acknowledged = await self._fleet.acknowledged(event)
        # This sidecar took the event: its own view had it before anybody could ask.
        own = {self._sidecar}
        return own | acknowledged.have, own | acknowledged.live

    def heard(self, key: bytes, fields: Mapping[bytes, bytes]) -> bool:
        """Take up news that is a question; False where the news is of something else."""
        if key != self._fleet.key:
            return False
        for question in questions_in(fields):
            try:
                self._send.send_nowait(msgspec.msgpack.decode(question, type=Question))
            except trio.WouldBlock:
                self._telemetry.record(QueueRejected(queue="settle"))
            except msgspec.MsgspecError:
                continue  # a newer sidecar's question: its own time-out ends it
        return True

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Stay enlisted, for ever; take leave at the end."""
        following = False
        try:
            task_status.started()
            while True:
                try:
                    if not following:
                        await self._news.follow(self._fleet.channel)
                        following = True
                    await self._fleet.enlist(self._sidecar, self._life)
                    await self._note_policies()
                except (Unavailable, Overloaded):
                    await trio.sleep(0.2)
                    continue
                await trio.sleep(self._life / 4)
        finally:
            with trio.move_on_after(0.5, shield=True):
                await self._leave()

    async def _note_policies(self) -> None:
        """Say by which policies this sidecar judges, where it has not said so of late."""
        policy_set, now = self._policy_set(), trio.current_time()
        known, until = self._noted
        if policy_set and (policy_set != known or now >= until):
            await self._fleet.note_policies(self._sidecar, self._worker, policy_set, NOTED)
            self._noted = policy_set, now + NOTED / 2

    async def _leave(self) -> None:
        with suppress(Unavailable, Overloaded):
            await self._fleet.leave(self._sidecar, self._life)

    async def answer(
        self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Answer questions, for ever."""
        task_status.started()
        async for question in self._receive:
            try:
                await self._answer(question)
            except (Unavailable, Overloaded):
                continue  # unanswered: whoever asked sees that this sidecar does not have it
            except Exception as error:  # noqa: BLE001 - a worker loop: counted, and on
                self._telemetry.record(WorkerFailed(where="settle", error=error))

    async def _answer(self, question: Question) -> None:
        missing = [
            record
            for record in question.records
            if not self._view.has_event(record, question.event)
        ]
        if missing:
            records = await self._records.load_keys(missing)
            for key, record in zip(missing, records, strict=True):
                self._view.hear(key, record)
        await self._fleet.answer(question.event, self._sidecar)
