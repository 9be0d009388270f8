"""The re-score of all live sessions, once after each change of what they are judged by.

Enforcement does not wait for this: a session is judged anew wherever it is read. What waits is
that its marks are logged and counted, and that its address is looked up in new location data.

What sessions are judged by is a *generation*: a digest of policies and location data. A sidecar
that comes to judge by another one asks for it, in a record that all share; the latest that was
asked for is the current one. All sidecars of that generation then share the work, as a backlog:
whoever takes the item that says where to read on replaces it by a page of sessions and by the
next such item. So the sessions are listed once, each page is looked at by one sidecar, and what
one that died had taken is taken by another. As logging is a join (see `entries`), a session that
is looked at twice is logged once.

Where only policies are others than those of the generation before, by which all had been judged,
sessions are passed over that the difference cannot concern (`policy_change`): a look at their
records shows it. A sidecar that did not judge by the generation before knows no difference.

It gives way: it rests as long as it worked, and for as long as fresh signals wait.
"""

import random
from collections.abc import Callable, Sequence
from typing import NamedTuple

import trio

from sidecar.domain.evaluation.rules.policy_change import KnownKinds, PolicyChange
from sidecar.domain.facts.relocation import relocated
from sidecar.domain.policy.conditional_access import Policy
from sidecar.domain.values.lattice import Record, join
from sidecar.domain.values.location import Place
from sidecar.domain.values.stamp import MICROSECONDS, Stamp
from sidecar.service.audit.auditor import Auditor
from sidecar.service.audit.backlog import STALE, Backlogs, Outlook, TakenItem
from sidecar.service.audit.entries import marked_policies
from sidecar.service.audit.pager import Choice, Pager, Pause
from sidecar.service.audit.turns import Turns
from sidecar.service.observations.observations import (
    DaemonEvent,
    FactsSetAside,
    SetAsideReason,
    Telemetry,
    WorkerFailed,
)
from sidecar.service.ports.calls import Overloaded, Unavailable
from sidecar.service.ports.store import Store
from sidecar.service.records.fact_reader import OwnRecords, SessionRecord, StoredSession
from sidecar.service.records.facts import FactRecords
from sidecar.service.records.fleet import FleetRecords
from sidecar.wire.store.backlog_items import (
    CountAll,
    SessionPage,
    WalkAll,
    WalkIndex,
    decode_item,
    encode_item,
    page_of,
)
from sidecar.wire.store.keys import SessionName, StoreKeys
from sidecar.wire.store.records import kinds_in, last_logged_of, sighted_in
from sidecar.wire.store.rescore_records import (
    WANT,
    Finished,
    Progress,
    RescoreRequest,
    backlog_of,
    current_of,
    finished_of,
    previous_of,
)

TERM = STALE
"""Seconds between looks while others work; a dead one's work is taken over within two of them."""

IDLE = 30.0
"""Seconds between looks where there is nothing to do here."""

ROLLOUT = 600.0
"""Seconds after which a sidecar that starts with another generation than the current asks for it.

Sooner, it is taken for a straggler of the rollout that brought the current one.
"""

COUNTED = 16
"""Pages that are counted between two notes of how far the counting is."""


class JudgedBy(NamedTuple):
    """Policies, and a digest of all else that sessions are judged by (`world`)."""

    policies: tuple[Policy, ...]
    world: str


class AllSessionsRescorer:
    """This sidecar's part in going through all sessions.

    `use` names the generation that this sidecar judges by; `share` is the part of its time that
    the work may take; `place_of` looks up addresses in the data of that generation.
    """

    def __init__(  # noqa: PLR0913 - one place wires it
        self,
        *,
        sidecar: str,
        store: Store,
        records: FactRecords,
        fleet: FleetRecords,
        backlogs: Backlogs,
        auditor: Auditor,
        names: StoreKeys,
        place_of: Callable[[str], Place],
        telemetry: Telemetry,
        clock: Callable[[], float],
        share: Callable[[], float],
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._sidecar = sidecar
        self._store = store
        self._records = records
        self._fleet = fleet
        self._backlogs = backlogs
        self._auditor = auditor
        self._names = names
        self._place_of = place_of
        self._telemetry = telemetry
        self._clock = clock
        self._pager = Pager(sidecar=sidecar, backlogs=backlogs, auditor=auditor, share=share)
        self._pause = Pause(TERM)
        self._jitter = jitter
        self._generation = ""
        self._before: str | None = None
        self._judged_by: JudgedBy | None = None
        self._judged_before: JudgedBy | None = None
        self._change: tuple[RescoreRequest, PolicyChange | None] | None = None
        self._asking = False
        self._wake = trio.Event()
        self._known: set[str] = set()
        self._outlook = Outlook()
        self._finished: RescoreRequest | None = None
        self.progress = Progress()

    def use(self, generation: str, judged_by: JudgedBy | None = None) -> None:
        """Judge by this generation from now on; where it is another than before, ask for it.

        `judged_by` is what the generation is the digest of; None: nobody is passed over.
        """
        if generation != self._generation:
            self._before = self._generation or None
            self._generation = generation
            self._judged_before, self._judged_by = self._judged_by, judged_by
            self._asking = True
            self._wake.set()

    async def status(self) -> Progress:
        """Return how far the re-score is, as all sidecars see it.

        Raises `Unavailable`, `Overloaded`.
        """
        await self._look()
        return self.progress

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Do what there is to do, for ever."""
        task_status.started()
        while True:
            try:
                pause = await self.turn()
            except (Unavailable, Overloaded):
                pause = TERM
            except Exception as error:  # noqa: BLE001 - a worker loop: counted, and on
                self._telemetry.record(WorkerFailed(where="rescore-all", error=error))
                pause = IDLE
            with trio.move_on_after(pause * (0.5 + self._jitter())):
                await self._wake.wait()

    async def turn(self) -> float:
        """Ask if there is need, and do what there is to do; gives when to look again."""
        self._wake = trio.Event()
        current = await self._look()
        if self._asking:
            self._asking = False
            try:
                current = await self._ask(current)
            except (Unavailable, Overloaded):
                self._asking = True
                raise
        while current is not None and self._is_wanted(current):
            if not self._outlook.begun:
                first = encode_item(CountAll())
                await self._backlogs.begin(backlog_of(current), self._moment(), first)
            item = await self._backlogs.take(backlog_of(current), self._sidecar)
            if item is not None:
                await self._do(current, item)
                self._pause.reset()
            current = await self._look()
            if item is None and not self._outlook.finished:
                return self._pause.take()
            if current is not None and self._outlook.finished and not self.progress.finished:
                await self._finish(current)
        return IDLE

    def _is_wanted(self, current: RescoreRequest) -> bool:
        """Return whether this sidecar can do anything for the current generation."""
        ours = current.generation == self._generation and not self._wake.is_set()
        return ours and not self.progress.finished

    async def _ask(self, current: RescoreRequest | None) -> RescoreRequest | None:
        generation, before = self._generation, self._before
        if current is not None:
            if current.generation == generation:
                return current
            # One that was wanted before is wanted again by who goes back to it.
            age = self._clock() - current.at / MICROSECONDS
            back = current.generation == before or (before is None and age > ROLLOUT)
            if generation in self._known and not back:
                return current
        await self._fleet.want_rescore(generation, self._moment())
        return await self._look()

    async def _look(self) -> RescoreRequest | None:
        record = await self._fleet.load_rescore()
        self._known = {f[len(WANT) :].decode() for f in record if f.startswith(WANT)}
        current = current_of(record)
        if current is None:
            self.progress, self._outlook = Progress(), Outlook()
            return None
        if self._change is None or self._change[0] != current:
            self._change = (current, self._changed(record, current))
        finished = finished_of(record, current)
        if finished is None or self._finished != current:
            self._outlook = await self._backlogs.outlook(backlog_of(current))
        self._finished = current if finished else None
        self.progress = self._seen(current, finished)
        return current

    def _changed(self, record: Record, current: RescoreRequest) -> PolicyChange | None:
        """Return by which policies all that were judged before are judged otherwise now.

        None: that is not known, or not all of it.
        """
        before, after, previous = self._judged_before, self._judged_by, previous_of(record, current)
        if before is None or after is None or previous is None:
            return None
        if current.generation != self._generation or previous.generation != self._before:
            return None
        if finished_of(record, previous) is None or before.world != after.world:
            return None
        return PolicyChange(before.policies, after.policies)

    def _seen(self, current: RescoreRequest, finished: Finished | None) -> Progress:
        outlook = self._outlook
        begun = outlook.begun / MICROSECONDS
        done = finished.done if finished else outlook.done
        expected = done if finished else max(outlook.expected, done)
        until = finished.at / MICROSECONDS if finished else self._clock()
        rate = done / max(1e-3, until - begun) if begun else 0.0
        return Progress(
            state="done" if finished else "running" if outlook.begun else "waiting",
            generation=current.generation,
            done=done,
            expected=expected,
            asked=current.at / MICROSECONDS,
            begun=begun,
            finished=until if finished else 0.0,
            rate=round(rate, 1),
            seconds_left=round((expected - done) / rate, 1) if rate else 0.0,
            sidecars=outlook.workers,
        )

    async def _do(self, current: RescoreRequest, item: TakenItem) -> None:
        match decode_item(item.body):
            case CountAll(bookmark):
                await self._count(current, item, bookmark)
            case WalkAll(bookmark):
                await self._walk(current, item, bookmark)
            case SessionPage() as page:
                await self._pager.work(
                    backlog_of(current),
                    item,
                    page.names(),
                    lambda n: self._judge(current, n),
                    self._choice(current),
                )
            case WalkIndex() | None:
                # Not ours: a newer version's, whose generation is another, too.
                self._telemetry.record(
                    FactsSetAside(reason=SetAsideReason.VERSION, facts=1, group="backlog")
                )
                await self._backlogs.replace(backlog_of(current), item)

    async def _count(self, current: RescoreRequest, item: TakenItem, bookmark: bytes) -> None:
        """Count first, so that progress means something."""
        expected = 0
        for _ in range(COUNTED):
            found = await self._store.scan(self._names.every_session(), bookmark)
            expected += len(found.keys)
            bookmark = found.bookmark
            if not bookmark:
                break
        following = CountAll(bookmark) if bookmark else WalkAll()
        await self._backlogs.replace(
            backlog_of(current), item, encode_item(following), expected=expected
        )

    async def _walk(self, current: RescoreRequest, item: TakenItem, bookmark: bytes) -> None:
        found = await self._store.scan(self._names.every_session(), bookmark)
        names = [name for key in found.keys if (name := self._names.name_of_record(key))]
        following = [encode_item(page_of("reload", names))] if names else []
        if found.bookmark:
            following.append(encode_item(WalkAll(found.bookmark)))
        await self._backlogs.replace(backlog_of(current), item, *following)

    def _choice(self, current: RescoreRequest) -> Choice | None:
        """Return the function that finds which sessions are to be judged anew; None: all are."""
        change = self._change[1] if self._change and self._change[0] == current else None
        if change is None:
            return None

        async def concerned(names: Sequence[SessionName]) -> list[SessionName]:
            found: list[SessionName] = []
            sessions = await self._records.load_own(names)
            turns = Turns(share=1)  # the pager rests when all have been looked at
            for one in sessions:
                await turns.give_way()
                if _can_concern(change, one):
                    found.append(one.name)
            return found

        return concerned

    async def _judge(self, current: RescoreRequest, names: Sequence[SessionName]) -> None:
        sessions = await self._auditor.read(names)
        await self._relocate(current, sessions)
        await self._auditor.judge_anew("reload", sessions)

    async def _relocate(self, current: RescoreRequest, sessions: Sequence[StoredSession]) -> None:
        """Look addresses up anew: by new data one may be elsewhere. All sidecars find the same."""
        writes = []
        for session in sessions:
            seen = (*sighted_in(session.record), *sighted_in(session.others[0]))
            stamp = Stamp(current.at, f"relocated-{current.generation}")
            sighted = relocated(seen, self._place_of, stamp)
            if sighted is not None:
                write = self._records.amend((sighted,), of=SessionRecord(session.name))
                session.record = join(session.record, write.said.fields)
                writes.append(write)
        if writes:
            await self._records.join(*writes)

    async def _finish(self, current: RescoreRequest) -> None:
        """Record that it is done; of all sidecars that see it, one logs it."""
        at, done = self._moment(), self._outlook.done
        if await self._fleet.finish_rescore(current, Finished(at, done)):
            seconds = round((at - current.at) / MICROSECONDS, 3)
            fields: dict[str, str | int | float | bool] = {"sessions": done, "seconds": seconds}
            self._telemetry.record(DaemonEvent(event="all-sessions-rescored", fields=fields))
        await self._look()

    def _moment(self) -> int:
        return int(self._clock() * MICROSECONDS)


def _can_concern(change: PolicyChange, session: OwnRecords) -> bool:
    """Return whether a session may be judged otherwise, by what was read of it."""
    own, user = kinds_in(session.session), kinds_in(session.user)
    if own is None or user is None or change.can_concern(KnownKinds(own | user)):
        return True
    return not all(map(change.keeps, marked_policies(last_logged_of(session.session))))
