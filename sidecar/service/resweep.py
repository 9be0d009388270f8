"""The re-score of all live sessions, once after each change of what they are judged by.

Enforcement does not wait for this: a session is judged anew wherever it is read. What waits is
that its marks are logged and counted, and that its address is looked up in new location data.

What sessions are judged by is a *generation*: a digest of policies and location data. A sidecar
that comes to judge by another one asks for it, in a record that all share; the latest that was
asked for is the current one. One sidecar of that generation at a time then goes through all
sessions in the store, holding a lease by terms; it saves how far it got, so that another goes on
where it died. As telling is a join (see `telling`), a session that is looked at twice is told of
once, and the lease saves work only.

It gives way: it rests as long as it worked, and for as long as fresh signals wait.
"""

import random
from collections.abc import Callable, Sequence

import msgspec
import trio

from sidecar.domain.facts import Sighted
from sidecar.domain.lattice import Record, join
from sidecar.domain.location import Place
from sidecar.domain.stamp import MICROSECONDS, Stamp
from sidecar.service.answers import Overloaded, Unavailable
from sidecar.service.assembly import sighted_in
from sidecar.service.lease import TERM, Lease
from sidecar.service.observations import Telemetry, Told, WorkerFailed
from sidecar.service.rescore import Assembled, Rescorer
from sidecar.service.store import Join, Load, Store
from sidecar.wire.naming import Names, SessionName
from sidecar.wire.records import encode_facts
from sidecar.wire.resweeps import (
    SWEEP,
    SWEPT,
    WANT,
    Asked,
    Finished,
    Progress,
    Saved,
    current_of,
    encode_finished,
    encode_saved,
    number,
    progress_of,
    saved_of,
)

SLICE = 64
"""Sessions that are read at once, judged one by one, and followed by a rest."""

IDLE = 30.0
"""Seconds between looks where there is nothing to do here."""

SETTLED = 600.0
"""Seconds after which a sidecar that starts with another generation than the current asks for it.

Sooner, it is taken for a straggler of the rollout that brought the current one.
"""

LIFE = 30 * 86400.0
PATIENCE, GLANCE = 1.0, 0.005


class _HandedError(Exception):
    """Another holds the lease, or another generation is wanted."""


class Resweeper:
    """Goes through all sessions when it is this sidecar's turn.

    `use` names the generation that this sidecar judges by; `share` is the part of its time that
    the work may take; `place_of` looks up addresses in the data of that generation.
    """

    def __init__(  # noqa: PLR0913 - one place wires it
        self,
        *,
        sidecar: str,
        store: Store,
        rescorer: Rescorer,
        names: Names,
        place_of: Callable[[str], Place],
        telemetry: Telemetry,
        clock: Callable[[], float],
        share: float,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._sidecar = sidecar
        self._store = store
        self._rescorer = rescorer
        self._names = names
        self._place_of = place_of
        self._telemetry = telemetry
        self._clock = clock
        self._share = share
        self._jitter = jitter
        self._generation = ""
        self._before: str | None = None
        self._asking = False
        self._wake = trio.Event()
        self._lease = Lease(
            key=names.rescore_record(), sidecar=sidecar, store=store, clock=clock, life=LIFE
        )
        self._known: set[str] = set()
        self._saved: Saved | None = None
        self.progress = Progress()

    def use(self, generation: str) -> None:
        """Judge by this generation from now on; where it is another than before, ask for it."""
        if generation != self._generation:
            self._before = self._generation or None
            self._generation = generation
            self._asking = True
            self._wake.set()

    async def status(self) -> Progress:
        """How far the re-score is, as all sidecars see it. Raises `Unavailable`, `Overloaded`."""
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
                self._telemetry.record(WorkerFailed(where="resweep", error=error))
                pause = IDLE
            with trio.move_on_after(pause * (0.5 + self._jitter())):
                await self._wake.wait()

    async def turn(self) -> float:
        """Ask if there is need, and work if it is this sidecar's turn; gives when to look again."""
        self._wake = trio.Event()
        current = await self._look()
        if self._asking:
            self._asking = False
            try:
                current = await self._ask(current)
            except (Unavailable, Overloaded):
                self._asking = True
                raise
        if current is None or current.generation != self._generation or self.progress.finished:
            return IDLE
        try:
            if await self._lease.holds():
                await self._work(current)
                return IDLE
        except _HandedError:
            pass
        return TERM

    async def _ask(self, current: Asked | None) -> Asked | None:
        generation, before = self._generation, self._before
        if current is not None:
            if current.generation == generation:
                return current
            # One that was wanted before is wanted again by who goes back to it.
            age = self._clock() - current.at / MICROSECONDS
            back = current.generation == before or (before is None and age > SETTLED)
            if generation in self._known and not back:
                return current
        await self._join({WANT + generation.encode(): number(self._moment())})
        return await self._look()

    async def _look(self) -> Asked | None:
        (loaded,) = await self._store.load(Load(self._names.rescore_record()))
        record = loaded.record
        self._known = {f[len(WANT) :].decode() for f in record if f.startswith(WANT)}
        current = current_of(record)
        if current is None:
            self.progress, self._saved = Progress(), None
        else:
            self.progress, self._saved = progress_of(record, current), saved_of(record, current)
        return current

    async def _keep_hold(self) -> None:
        if self._wake.is_set() or not await self._lease.holds():
            raise _HandedError

    async def _work(self, current: Asked) -> None:
        """Go through all sessions from where the last one stopped."""
        saved = self._saved or await self._begin(current)
        while True:
            found = await self._store.scan(self._names.every_session(), saved.bookmark)
            names = [name for key in found.keys if (name := self._names.name_of_record(key))]
            for start in range(0, len(names), SLICE):
                await self._keep_hold()
                begun = trio.current_time()
                await self._judge(current, names[start : start + SLICE])
                await self._give_way(trio.current_time() - begun)
            await self._keep_hold()
            done = saved.done + len(names)
            expected = max(saved.expected, done)
            saved = Saved(saved.revision + 1, done, expected, found.bookmark, self._sidecar)
            if not found.bookmark:
                break
            await self._save(current, saved)
        await self._finish(current, saved.done)

    async def _begin(self, current: Asked) -> Saved:
        """Count first, so that progress means something."""
        expected, bookmark = 0, b""
        while True:
            found = await self._store.scan(self._names.every_session(), bookmark)
            expected += len(found.keys)
            bookmark = found.bookmark
            if not bookmark:
                break
            await self._keep_hold()
        saved = Saved(1, 0, expected, b"", self._sidecar)
        await self._save(current, saved)
        return saved

    async def _judge(self, current: Asked, names: Sequence[SessionName]) -> None:
        sessions = await self._rescorer.read(names)
        await self._relocate(current, sessions)
        await self._rescorer.judge_anew("reload", sessions)

    async def _relocate(self, current: Asked, sessions: Sequence[Assembled]) -> None:
        """The same address may be elsewhere by the new data; whoever finds it says the same."""
        now = int(self._clock() * 1000)
        joins = []
        for session in sessions:
            fields = _moved(session, current, self._place_of)
            if not fields:
                continue
            session.record = join(session.record, fields)
            joins.append(
                Join(
                    self._names.session_record(session.name),
                    fields,
                    now + 60_000,  # at least; a record's expiry only grows
                    now,
                    publish=self._names.user_channel(session.name.user),
                    want_record=False,
                )
            )
        if joins:
            await self._store.join(*joins)

    async def _give_way(self, worked: float) -> None:
        """Rest in proportion to the work, and while fresh signals wait; but not for ever."""
        await trio.sleep(worked * (1 / self._share - 1))
        with trio.move_on_after(PATIENCE):
            while self._rescorer.waiting:  # noqa: ASYNC110 - what waits is another's to know
                await trio.sleep(GLANCE)

    async def _save(self, current: Asked, saved: Saved) -> None:
        fields = {SWEEP + number(current.at): encode_saved(saved)}
        await self._join(fields)
        self._saved, self.progress = saved, progress_of(fields, current)

    async def _finish(self, current: Asked, done: int) -> None:
        at = self._moment()
        await self._join({SWEPT + number(current.at): encode_finished(Finished(at, done))})
        await self._look()
        seconds = round((at - current.at) / MICROSECONDS, 3)
        fields: dict[str, str | int | float | bool] = {"sessions": done, "seconds": seconds}
        self._telemetry.record(Told(event="all-sessions-rescored", fields=fields))

    async def _join(self, fields: dict[bytes, bytes]) -> None:
        now = int(self._clock() * 1000)
        key = self._names.rescore_record()
        await self._store.join(Join(key, fields, now + int(LIFE * 1000), now, want_record=False))

    def _moment(self) -> int:
        return int(self._clock() * MICROSECONDS)


def _moved(session: Assembled, asked: Asked, place_of: Callable[[str], Place]) -> Record:
    """A sighting at the last address, where the data now says that this is elsewhere."""
    seen = [*sighted_in(session.record), *sighted_in(session.others[0])]
    if not seen:
        return {}
    last = max(seen, key=lambda fact: fact.stamp)
    stamp = Stamp(asked.at, f"relocated-{asked.generation}")
    place = place_of(last.ip)
    # Another build that says the same is no move, and a sidecar without data knows of none.
    same = msgspec.structs.replace(place, build=last.place.build) == last.place
    if same or place == Place() or stamp <= last.stamp:
        return {}
    return encode_facts((Sighted(stamp=stamp, ip=last.ip, place=place),))
