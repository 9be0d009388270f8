"""Recipients fetch what waits for them (RFC 8936)."""

from typing import Protocol

import trio

from sidecar.service.observations.observations import Telemetry
from sidecar.service.observations.transmitter import TransmissionOutcome, Transmitted
from sidecar.shared_signals.service.stream_management import NoSuchStream
from sidecar.shared_signals.service.stream_store import StreamStore
from sidecar.shared_signals.wire.security_events import StreamStatus
from sidecar.shared_signals.wire.stream_api import POLL, PollRequest, PollResponse
from sidecar.shared_signals.wire.stream_config import Outgoing
from sidecar.wire.events.security_event_names import Fault
from sidecar.wire.settings.transmitter import Recipient

GLANCE = 0.25
"""Seconds between looks while a recipient waits: events may come by way of another sidecar."""

_ERRORS = frozenset(fault.value for fault in Fault)


class Signer(Protocol):
    """A signer of Security Event Tokens."""

    def sign(self, claims: bytes) -> str:
        """Return the token with these claims. Raises `Unavailable` where there is no key."""


class PollServer:
    """Answers polls; `most` events in one answer, after `wait` seconds at the latest."""

    def __init__(
        self,
        *,
        store: StreamStore,
        signer: Signer,
        telemetry: Telemetry,
        most: int,
        wait: float,
    ) -> None:
        self._store = store
        self._signer = signer
        self._telemetry = telemetry
        self._most = most
        self._wait = wait

    async def poll(self, who: Recipient, stream: str, request: PollRequest) -> PollResponse:
        """Take out what is acknowledged, then give what waits.

        Raises `NoSuchStream`, `Unavailable`.

        What was given and not acknowledged is given again. With nothing there it is answered when
        something comes, or time is up; at once where the recipient asks for that, or for nothing.
        """
        await self._find(who, stream)
        await self._acknowledge(who, stream, request)
        most = self._most if request.max_events is None else min(self._most, request.max_events)
        deadline = trio.current_time() + self._wait
        while True:
            found = await self._find(who, stream)
            carries = found.status is StreamStatus.ENABLED
            backlog = await self._store.backlog(stream, most if carries else 0)
            waits = most and not (request.return_immediately or backlog.first)
            if not waits or trio.current_time() >= deadline:
                break
            await trio.sleep(min(GLANCE, max(0.0, deadline - trio.current_time())))
        sets = {one.id: self._signer.sign(one.claims) for one in backlog.first}
        return PollResponse(sets=sets, more_available=carries and backlog.count > len(sets))

    async def _acknowledge(self, who: Recipient, stream: str, request: PollRequest) -> None:
        taken = await self._store.done(stream, request.ack)
        refused = await self._store.done(stream, tuple(request.set_errs))
        if taken:
            self._record(who, stream, TransmissionOutcome.DELIVERED, len(taken))
        for one in refused:
            err = request.set_errs[one].err
            detail = err if err in _ERRORS else "an error without a standard name"
            self._record(who, stream, TransmissionOutcome.REFUSED, 1, detail)

    def _record(
        self, who: Recipient, stream: str, fate: TransmissionOutcome, count: int, detail: str = ""
    ) -> None:
        self._telemetry.record(
            Transmitted(
                event="",
                outcome=fate,
                recipient=who.name,
                stream=stream,
                detail=detail,
                count=count,
            )
        )

    async def _find(self, who: Recipient, stream: str) -> Outgoing:
        for one in await self._store.streams():
            if one.id == stream and one.recipient == who.name and one.method == POLL:
                return one
        raise NoSuchStream
