"""One sidecar of all hands out and pushes what was recorded, as long as it holds the lease.

Everything that must not be lost lies in the store, so another goes on where this one stopped. For
the moment in which two believe to hold the lease, events may be pushed twice, under the same
`jti`; they are never handed out twice.
"""

from collections.abc import Mapping
from typing import Protocol

import msgspec
import trio

from sidecar.service.observations.observations import DaemonEvent, Telemetry, WorkerFailed
from sidecar.service.ports.calls import Overloaded, Unavailable
from sidecar.shared_signals.service.dispatch import Dispatcher
from sidecar.shared_signals.service.push_delivery import PushDelivery, essence
from sidecar.shared_signals.service.recipients import Recipients
from sidecar.shared_signals.service.stream_store import StreamStore
from sidecar.shared_signals.wire.security_events import StreamStatus
from sidecar.shared_signals.wire.stream_api import POLL, PUSH
from sidecar.shared_signals.wire.stream_config import Outgoing
from sidecar.wire.settings.transmitter import Recipient, Transmitter

GLANCE = 0.2
"""Seconds between looks for what was recorded."""

PATIENCE = 1.0
"""Seconds until what failed is tried again, or the lease of another looked at."""

COUNTING = 5.0
"""Seconds between counts of what waits."""


class Leadership(Protocol):
    """The lease under which one sidecar works."""

    @property
    def held(self) -> bool:
        """Return whether it is known to be ours; asks nobody."""

    async def holds(self) -> bool:
        """Return whether it is ours.

        Takes it where it is free. Raises `Unavailable`, `Overloaded`.
        """


class Levels(Protocol):
    """The metrics of delivery: how much waits, and whether this sidecar delivers."""

    def delivering(self, yes: bool) -> None:  # noqa: FBT001 - its one argument
        """Set whether this sidecar delivers."""

    def backlogs(self, counts: Mapping[str, int]) -> None:
        """Set how many events wait, by recipient."""


class StreamDelivery:
    """Delivers when it is this sidecar's turn."""

    def __init__(  # noqa: PLR0913 - one place wires it
        self,
        *,
        settings: Transmitter,
        lease: Leadership,
        store: StreamStore,
        recipients: Recipients,
        dispatcher: Dispatcher,
        push_delivery: PushDelivery,
        telemetry: Telemetry,
        levels: Levels,
    ) -> None:
        self._settings = settings
        self._lease = lease
        self._store = store
        self._recipients = recipients
        self._dispatcher = dispatcher
        self._push_delivery = push_delivery
        self._telemetry = telemetry
        self._levels = levels
        self._served: dict[str, tuple[Outgoing, trio.CancelScope]] = {}

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Deliver whenever the lease is ours, for ever."""
        task_status.started()
        while True:
            if await self._leads():
                self._record("delivering-shared-signals", delivering=True)
                try:
                    await self._lead()
                finally:
                    self._served.clear()
                    self._levels.backlogs({})
                    self._record("not-delivering-shared-signals", delivering=False)
            else:
                await trio.sleep(PATIENCE)

    def _record(self, event: str, *, delivering: bool) -> None:
        self._levels.delivering(delivering)
        self._telemetry.record(DaemonEvent(event=event))

    async def _leads(self) -> bool:
        try:
            return await self._lease.holds()
        except (Unavailable, Overloaded):
            return self._lease.held

    async def _lead(self) -> None:
        async with trio.open_nursery() as nursery:
            laid_out = False
            counted = -COUNTING
            while await self._leads():
                try:
                    if not laid_out:
                        await self._lay_out()
                        laid_out = True
                    more = await self._dispatcher.turn()
                    self._reconcile(nursery)
                    if trio.current_time() - counted >= COUNTING:
                        await self._count()
                        counted = trio.current_time()
                    pause = 0.0 if more else GLANCE
                except (Unavailable, Overloaded):
                    pause = PATIENCE
                except Exception as error:  # noqa: BLE001 - a worker loop: counted, and on
                    self._telemetry.record(WorkerFailed(where="transmitter", error=error))
                    pause = PATIENCE
                await trio.sleep(pause)
            nursery.cancel_scope.cancel()

    async def _lay_out(self) -> None:
        """See that the streams of the configuration are there, as they are configured."""
        known = {stream.id: stream for stream in await self._store.streams()}
        for recipient in self._recipients:
            before = known.get(recipient.name)
            if recipient.stream is None:
                if before is not None and before.fixed:
                    await self._store.delete(before)
                continue
            after = self._fixed(recipient, before)
            if after != before:
                await self._store.replace(before, after)

    def _fixed(self, recipient: Recipient, before: Outgoing | None) -> Outgoing:
        push_to = recipient.stream.push_to if recipient.stream else ""
        method = PUSH if push_to else POLL
        if before is None or not before.fixed:
            return Outgoing(
                id=recipient.name,
                recipient=recipient.name,
                method=method,
                endpoint_url=push_to,
                default_subjects=self._settings.default_subjects,
                fixed=True,
            )
        return msgspec.structs.replace(before, method=method, endpoint_url=push_to)

    def _reconcile(self, nursery: trio.Nursery) -> None:
        """Have each enabled push stream served, as it now is."""
        wanted = {
            stream.id: stream
            for stream in self._dispatcher.streams
            if stream.method == PUSH and stream.status is StreamStatus.ENABLED
        }
        for name, (stream, scope) in list(self._served.items()):
            if name not in wanted or essence(wanted[name]) != essence(stream):
                scope.cancel()
                del self._served[name]
        for name, stream in wanted.items():
            if name not in self._served:
                scope = trio.CancelScope()
                self._served[name] = (stream, scope)
                nursery.start_soon(self._serve, stream, scope)

    async def _serve(self, stream: Outgoing, scope: trio.CancelScope) -> None:
        with scope:
            try:
                await self._push_delivery.serve(stream)
            except (Unavailable, Overloaded):
                await trio.sleep(PATIENCE)
            except Exception as error:  # noqa: BLE001 - a worker loop: counted, and on
                self._telemetry.record(WorkerFailed(where="push", error=error))
                await trio.sleep(PATIENCE)
            # It ended by itself: what the stream now is decides whether it is served again.
            if self._served.get(stream.id, (None, None))[1] is scope:
                del self._served[stream.id]

    async def _count(self) -> None:
        counts = {recipient.name: 0 for recipient in self._recipients}
        for stream in self._dispatcher.streams:
            counts[stream.recipient] += (await self._store.backlog(stream.id, 0)).count
        self._levels.backlogs(counts)
