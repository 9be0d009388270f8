"""The spool on trio: events are on the disk before they are acknowledged.

Whoever keeps an event queues it; one writer takes all that has queued up, writes it in a thread and
syncs it once, so that many events at a time cost one sync. What may wait is bounded in number and
bytes, the queue included: beyond that callers get `SpoolFull`. No source may fill more than its
share with anything but revocations, for which a tenth is kept free: they are the last to be
refused, and what is needed less may fill a part of that (`sources.shedding`). Where the disk does
not take an event, its caller gets `Unavailable`, and the writer goes on with the next one.

A fault is reported once, when it begins: to `on_incident` as it happens, and to `on_state` as
words for a probe (empty: all is well).
"""

import os
from collections import Counter, deque
from collections.abc import Callable

import trio

from sidecar.adapters.files.spool_segments import SpoolFiles, SpoolInUse
from sidecar.domain.facts.signal import Signal
from sidecar.domain.sources.shedding import Bottleneck, Need, may_fill, need_of, refusal
from sidecar.domain.values.causes import words_of
from sidecar.domain.values.plural import counted, verb
from sidecar.service.intake.spool_fallback import SpoolFull
from sidecar.service.observations.observations import SpoolIncident, SpoolTrouble
from sidecar.service.ports.calls import Unavailable
from sidecar.wire.privacy.sealed_forms import UNSEALED, Sealing
from sidecar.wire.settings.settings import SpoolSettings
from sidecar.wire.store.spool_records import (
    FRAME_BYTES,
    HEADER_BYTES,
    SegmentEnd,
    SegmentReading,
    UnknownRecord,
    decode_signal,
    encode_signal,
)

BATCH = 1024
"""Events that are written together at most."""

KEPT_FREE = 10
"""One part in so many is kept free for revocations."""

RETRY_AFTER = 5
"""Seconds after which a sender may try again when the spool is full."""


class _Ticket:
    """An event whose sender waits for it to be on the disk."""

    __slots__ = ("done", "need", "payload", "revokes", "source", "trouble")

    def __init__(self, signal: Signal, payload: bytes) -> None:
        self.payload = payload
        self.source = signal.source
        self.need = need_of(signal)
        self.revokes = self.need is Need.REVOCATION
        self.trouble = ""
        self.done = trio.Event()

    @property
    def size(self) -> int:
        """Return how many bytes the event takes at most: it may have to begin a segment."""
        return len(self.payload) + FRAME_BYTES + HEADER_BYTES

    def finish(self, trouble: str = "") -> None:
        self.trouble = trouble
        self.done.set()


def _full(need: Need) -> SpoolFull:
    return SpoolFull(RETRY_AFTER, refusal(need, Bottleneck.SPOOL))


class FileSpool:
    """The port `service.intake.spool_fallback.FileSpool`, on a directory of this daemon's own."""

    def __init__(  # noqa: PLR0913 - what it needs, each by name
        self,
        settings: SpoolSettings,
        *,
        on_incident: Callable[[SpoolIncident], None],
        on_state: Callable[[str], None],
        sync: Callable[[int], None] = os.fsync,
        share_of: Callable[[str], float] = lambda _source: 1.0,
        sealing: Sealing = UNSEALED,
    ) -> None:
        self._sealing = sealing
        self._settings = settings
        self._share_of = share_of
        self._of_source = Counter[str]()
        self._on_incident = on_incident
        self._on_state = on_state
        self._sync = sync if settings.fsync else _no_sync
        self._files: SpoolFiles | None = None
        self._using = trio.Lock()
        self._queue: deque[_Ticket] = deque()
        self._reserved = 0
        self._reserved_bytes = 0
        self._idle = trio.lowlevel.ParkingLot()
        self._running = False
        self._waiting = 0
        self._troubles: dict[SpoolTrouble, str] = {}
        self._ends: dict[int, SegmentEnd] = {}
        self._unreadable: set[int] = set()

    @property
    def waiting(self) -> int:
        """Return how many events are on the disk and have not been accepted elsewhere."""
        return self._waiting

    def replace(self, settings: SpoolSettings) -> None:
        """Use the limits of these settings from now on; directory and segment size stay."""
        self._settings = settings

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Write what is to be kept, for ever. Started once what an earlier daemon left is counted.

        Raises `SpoolInUse` where another daemon has the directory; one that cannot be used is
        reported, and tried again with the next event.
        """
        try:
            async with self._using:
                await self._open()
            self._on_state(self._state())
            self._running = True
            task_status.started()
            while True:
                while not self._queue:
                    await self._idle.park()
                await self._write()
        finally:
            self._running = False
            for ticket in self._queue:
                ticket.finish("the spool is closed")
            self._queue.clear()
            with trio.CancelScope(shield=True):
                async with self._using:
                    files, self._files = self._files, None
                    if files is not None:
                        await trio.to_thread.run_sync(files.close)

    # Keeping

    async def keep(self, signal: Signal) -> None:
        """Return once the event is on the disk. Raises `SpoolFull`, `Unavailable`."""
        ticket = _Ticket(signal, self._sealing.seal_payload(encode_signal(signal)))
        if not self._running:
            raise Unavailable("the spool is closed")
        self._reserve(ticket)
        self._queue.append(ticket)
        self._idle.unpark()
        await ticket.done.wait()
        if ticket.trouble:
            raise Unavailable(ticket.trouble)

    def _reserve(self, ticket: _Ticket) -> None:
        settings = self._settings
        used = self._reserved_bytes + (self._files.bytes if self._files is not None else 0)
        events, size = settings.max_events, settings.max_bytes
        if not ticket.revokes:
            events -= events // KEPT_FREE
            size -= size // KEPT_FREE
        share = self._share_of(ticket.source)
        part = may_fill(ticket.need, Bottleneck.SPOOL)
        waiting = self._waiting + self._reserved
        if waiting >= events:
            full = f"{counted(self._waiting, 'event')} {verb(self._waiting, 'waits', 'wait')}"
        elif used + ticket.size > size:
            full = f"it has {used} of {settings.max_bytes} bytes"
        elif not ticket.revokes and (
            waiting >= part * events or self._of_source[ticket.source] >= share * part * events
        ):
            raise _full(ticket.need)  # that is no trouble of the spool's
        else:
            self._reserved += 1
            self._reserved_bytes += ticket.size
            self._of_source[ticket.source] += 1
            return
        if SpoolTrouble.FULL not in self._troubles:
            self._trouble(SpoolTrouble.FULL, f"the spool is full: {full}")
        raise _full(ticket.need)

    async def _write(self) -> None:
        batch = [self._queue.popleft() for _ in range(min(BATCH, len(self._queue)))]
        kept, trouble = 0, "the spool is closed"
        try:
            kept, trouble = await self._append([ticket.payload for ticket in batch])
        finally:
            self._waiting += kept
            self._reserved -= len(batch)
            self._reserved_bytes -= sum(ticket.size for ticket in batch)
            for place, ticket in enumerate(batch):
                if place >= kept:
                    self._leaves(ticket.source)
                ticket.finish("" if place < kept else trouble)

    async def _append(self, payloads: list[bytes]) -> tuple[int, str]:
        """Return how many of the payloads are on the disk, and in words why not all."""
        async with self._using:
            try:
                files = await self._opened()
            except Unavailable as error:
                return 0, str(error)
            appended = await trio.to_thread.run_sync(files.append, payloads)
        if appended.error is None:
            self._fine(SpoolTrouble.WRITE, SpoolTrouble.FULL)
            return appended.kept, ""
        trouble = f"the spool cannot be written: {words_of(appended.error)}"
        self._trouble(SpoolTrouble.WRITE, trouble)
        return appended.kept, trouble

    # Handing on

    async def segments(self) -> list[int]:
        """Return what can be read, in order. What comes from now on goes into later segments."""
        async with self._using:
            try:
                files = await self._opened()
            except Unavailable:
                return []
            await trio.to_thread.run_sync(files.seal)
            return sorted(files.segments)

    async def read(self, segment: int) -> list[Signal]:
        """Return the events of a segment, in order. Raises `Unavailable`."""
        async with self._using:
            files = await self._opened()
            name = files.name(segment)
            try:
                reading = await trio.to_thread.run_sync(files.read, segment)
            except OSError as error:
                detail = f"{name} cannot be read: {words_of(error)}"
                if segment not in self._unreadable:
                    self._unreadable.add(segment)
                    self._trouble(SpoolTrouble.READ, detail)
                raise Unavailable(detail) from error
        self._unreadable.discard(segment)
        if not self._unreadable:
            self._fine(SpoolTrouble.READ)
        known = (_known(self._sealing.open_payload(one)) for one in reading.payloads)
        signals = [signal for signal in known if signal is not None]
        if segment not in self._ends:
            self._ends[segment] = self._judge(name, reading, len(signals))
        return signals

    def _judge(self, name: str, reading: SegmentReading, known: int) -> SegmentEnd:
        """Return how a segment ended, and report an end that is not sound."""
        if reading.flaw is SegmentEnd.TORN:
            detail = (
                f"{name} ends in {counted(reading.unread, 'byte')} of a write that was not finished"
            )
            self._say(SpoolTrouble.TORN, detail)
        unknown = len(reading.payloads) - known
        if reading.flaw in {SegmentEnd.NONE, SegmentEnd.TORN} and not unknown:
            return reading.flaw
        detail = (
            f"{name} is {reading.flaw or SegmentEnd.FOREIGN}: "
            f"{counted(known, 'event')} can be read, {unknown} of another version "
            f"and {counted(reading.unread, 'byte')} cannot be"
        )
        self._trouble(SpoolTrouble.DAMAGED, detail)
        return reading.flaw if reading.flaw is SegmentEnd.DAMAGED else SegmentEnd.FOREIGN

    def accepted(self, signal: Signal) -> None:
        """Count an event that was read and accepted elsewhere as waiting no longer."""
        self._waiting = max(0, self._waiting - 1)
        self._leaves(signal.source)

    def _leaves(self, source: str) -> None:
        self._of_source[source] -= 1
        if self._of_source[source] <= 0:
            del self._of_source[source]

    async def remove(self, segment: int) -> None:
        """Remove a segment of which every event was accepted elsewhere. Raises `Unavailable`.

        One that is damaged is not removed but set aside, for a human.
        """
        async with self._using:
            files = await self._opened()
            damaged = self._ends.get(segment) in {SegmentEnd.DAMAGED, SegmentEnd.FOREIGN}
            work = files.set_aside if damaged else files.remove
            try:
                await trio.to_thread.run_sync(work, segment)
            except OSError as error:
                detail = f"{files.name(segment)} cannot be removed: {words_of(error)}"
                self._trouble(SpoolTrouble.WRITE, detail)
                raise Unavailable(detail) from error
        self._ends.pop(segment, None)
        self._fine(SpoolTrouble.FULL)

    # The directory

    async def _opened(self) -> SpoolFiles:
        """Return the files, opened now if they could not be before.

        Reports why they cannot be opened, and raises `Unavailable`.
        """
        if self._running and self._files is None:
            try:
                await self._open()
            except SpoolInUse as error:
                self._trouble(SpoolTrouble.OPEN, f"the spool cannot be opened: {error}")
        if self._files is None:
            raise Unavailable(self._troubles.get(SpoolTrouble.OPEN, "the spool is closed"))
        return self._files

    async def _open(self) -> None:
        """Open the files, or report why they cannot be opened. Raises `SpoolInUse`."""
        settings = self._settings
        try:
            self._files, waiting = await trio.to_thread.run_sync(
                _open, settings.dir, settings.segment_bytes, self._sync, self._sealing
            )
        except OSError as error:
            self._trouble(SpoolTrouble.OPEN, f"the spool cannot be opened: {words_of(error)}")
        else:
            self._waiting += waiting.total()
            self._of_source.update(waiting)
            self._fine(SpoolTrouble.OPEN)

    # Reports

    def _trouble(self, trouble: SpoolTrouble, detail: str) -> None:
        if self._troubles.get(trouble) != detail:
            self._troubles[trouble] = detail
            self._say(trouble, detail)
            self._on_state(self._state())

    def _say(self, trouble: SpoolTrouble, detail: str) -> None:
        located = f"{self._settings.dir}: {detail}"
        self._on_incident(SpoolIncident(trouble=trouble, detail=located))

    def _fine(self, *troubles: SpoolTrouble) -> None:
        over = [trouble for trouble in troubles if self._troubles.pop(trouble, None)]
        if over:
            self._on_state(self._state())

    def _state(self) -> str:
        return "; ".join(self._troubles.values())


def _open(
    directory: str, segment_bytes: int, sync: Callable[[int], None], sealing: Sealing
) -> tuple[SpoolFiles, Counter[str]]:
    """Open the files; return them, and how many events of each source wait in them."""
    files = SpoolFiles(directory, segment_bytes, sync)
    waiting = Counter[str]()
    for number in files.segments:
        waiting.update(_sources_in(files, number, sealing))
    return files, waiting


def _sources_in(files: SpoolFiles, number: int, sealing: Sealing) -> list[str]:
    try:
        known = map(_known, map(sealing.open_payload, files.read(number).payloads))
        return [signal.source for signal in known if signal is not None]
    except OSError:
        return []  # reported when it is read to be handed on


def _known(payload: bytes) -> Signal | None:
    try:
        return decode_signal(payload)
    except UnknownRecord:
        return None


def _no_sync(fd: int) -> None:
    """Leave it to the operating system when what was written reaches the disk."""
