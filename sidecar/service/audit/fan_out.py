"""One event that touches very many sessions: a shared device, a service user.

The event is one join, and enforced by that alone. What it did is logged from here: where its index
holds more sessions than an answer gives, the event goes into a backlog before it is acknowledged.
So a sidecar that dies leaves nothing unlogged, others help, and small events are not held up: the
index is read in pages, and each slice of a page gives way to them.
"""

import random
from collections.abc import Callable
from hashlib import sha256

import trio

from sidecar.service.audit.auditor import Auditor
from sidecar.service.audit.backlog import Backlogs, Outlook, TakenItem
from sidecar.service.audit.pager import Pager, Pause
from sidecar.service.observations.observations import (
    FactsSetAside,
    SetAsideReason,
    Telemetry,
    WorkerFailed,
)
from sidecar.service.ports.calls import Overloaded, Unavailable
from sidecar.service.ports.store import Store
from sidecar.wire.store.backlog_items import (
    CountAll,
    SessionPage,
    WalkAll,
    WalkIndex,
    decode_item,
    encode_item,
    page_of,
)
from sidecar.wire.store.keys import listed_name

BACKLOG = "fan-out"

LOOK = 5.0
"""Seconds between looks for what others may have left; with `STALE`, how soon it is taken up."""

IDLE = 120.0
"""The same, where nothing is left: who looks after the work log says if there is (`look_again`)."""


class FanOut:
    """This sidecar's part in the audit of the sessions of large indexes."""

    def __init__(  # noqa: PLR0913 - one place wires it
        self,
        *,
        sidecar: str,
        store: Store,
        backlogs: Backlogs,
        auditor: Auditor,
        telemetry: Telemetry,
        clock: Callable[[], float],
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._sidecar = sidecar
        self._store = store
        self._backlogs = backlogs
        self._auditor = auditor
        self._telemetry = telemetry
        self._clock = clock
        self._jitter = jitter
        self._pager = Pager(sidecar=sidecar, backlogs=backlogs, auditor=auditor, share=lambda: 1.0)
        self._pause = Pause(IDLE)
        self._wake = trio.Event()
        self.outlook = Outlook()

    async def add(self, cause: str, index: bytes) -> None:
        """Have all sessions of an index audited; durable on return.

        A walk that nobody has begun finds what this event did, too: so many events of one user
        leave one walk to begin, and not one each. Raises `Unavailable`, `Overloaded`.
        """
        walk = encode_item(WalkIndex(cause, index))
        await self._backlogs.put(BACKLOG, walk, once=sha256(walk).hexdigest())
        self._wake.set()

    def look_again(self) -> None:
        """Look soon: there is something to do, by whomever it may be done."""
        self._wake.set()

    async def status(self) -> Outlook:
        """Return how far it is, as all sidecars see it. Raises `Unavailable`, `Overloaded`."""
        self.outlook = await self._backlogs.outlook(BACKLOG)
        return self.outlook

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Do what there is to do, for ever."""
        task_status.started()
        while True:
            self._wake = trio.Event()
            try:
                pause = await self.turn()
            except (Unavailable, Overloaded):
                pause = LOOK
            except Exception as error:  # noqa: BLE001 - a worker loop: counted, and on
                self._telemetry.record(WorkerFailed(where="fan-out", error=error))
                pause = LOOK
            with trio.move_on_after(pause * (0.5 + self._jitter())):
                await self._wake.wait()

    async def turn(self) -> float:
        """Work on one item; gives when to look again."""
        item = await self._backlogs.take(BACKLOG, self._sidecar)
        if item is not None:
            await self._do(item)
            self._pause.reset()
        if item is not None or self.outlook.left:
            await self.status()
        return 0.0 if item is not None else self._pause.take()

    async def _do(self, item: TakenItem) -> None:
        match decode_item(item.body):
            case WalkIndex() as walk:
                await self._walk(item, walk)
            case SessionPage() as page:
                cause = page.cause
                await self._pager.work(
                    BACKLOG, item, page.names(), lambda n: self._auditor.rescore(cause, n)
                )
            case CountAll() | WalkAll() | None:
                # Not ours: a newer version's. Its sessions are found as they are next read.
                self._telemetry.record(
                    FactsSetAside(reason=SetAsideReason.VERSION, facts=1, group="backlog")
                )
                await self._backlogs.replace(BACKLOG, item)

    async def _walk(self, item: TakenItem, walk: WalkIndex) -> None:
        now = int(self._clock() * 1000)
        found = await self._store.members(walk.index, now, walk.bookmark)
        names = [name for member in found.keys if (name := listed_name(walk.index, member))]
        following = [encode_item(page_of(walk.cause, names))] if names else []
        if found.bookmark:
            following.append(encode_item(WalkIndex(walk.cause, walk.index, found.bookmark)))
        await self._backlogs.replace(BACKLOG, item, *following, expected=len(names))
