"""Push delivery of events to a recipient, one after the other, until it has them (RFC 8935).

In order: the next is not sent before the one before it is done. An answer that says that this
event is wrong ends it, too. Whatever else goes wrong is tried again, with growing pauses, no sooner
than `Retry-After` asks, and at once with another `Authorization`; after `give_up` seconds the
stream is paused, and keeps what waits in it.
"""

import random
from collections.abc import Callable
from enum import StrEnum
from typing import Protocol, assert_never

import msgspec
import trio

from sidecar.service.observations.observations import Telemetry
from sidecar.service.observations.transmitter import TransmissionOutcome, Transmitted
from sidecar.service.ports.backoff import doubled, spread
from sidecar.shared_signals.service.poll_server import Signer
from sidecar.shared_signals.service.recipients import Recipients
from sidecar.shared_signals.service.stream_store import StreamStore, Waiting
from sidecar.shared_signals.wire.outbound import Voice, payload_of
from sidecar.shared_signals.wire.security_events import KINDS, StreamStatus, StreamUpdated, name_of
from sidecar.shared_signals.wire.stream_config import Outgoing
from sidecar.wire.settings.transmitter import Push

BATCH = 32
GLANCE = 0.25
"""Seconds between looks for what waits."""


class PushResult(StrEnum):
    """The meaning of an answer to a push."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    FAILED = "failed"


class PushResponse(msgspec.Struct, frozen=True):
    """An answer to a push: `detail` for the log; `retry_after` seconds that the recipient asks for.

    `detail` is one of a closed set, and never what the recipient wrote.
    """

    fate: PushResult
    detail: str = ""
    retry_after: float = 0.0


class Courier(Protocol):
    """A client that posts tokens."""

    async def post(self, url: str, token: str, authorization: str) -> PushResponse:
        """Post it; never raises for what the other end does."""


class PushDelivery:
    """Pushes what waits in streams."""

    def __init__(  # noqa: PLR0913 - one place wires it
        self,
        *,
        settings: Push,
        store: StreamStore,
        recipients: Recipients,
        courier: Courier,
        signer: Signer,
        voice: Callable[[], Voice],
        telemetry: Telemetry,
        clock: Callable[[], float],
        new_id: Callable[[], str],
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._settings = settings
        self._store = store
        self._recipients = recipients
        self._courier = courier
        self._signer = signer
        self._voice = voice
        self._telemetry = telemetry
        self._clock = clock
        self._new_id = new_id
        self._jitter = jitter

    async def serve(self, stream: Outgoing) -> None:
        """Push what waits in a stream, until it is paused or changed. Raises `Unavailable`."""
        while True:
            backlog = await self._store.backlog(stream.id, BATCH)
            for one in backlog.first:
                pushed = await self._deliver(stream, one)
                if pushed is None:
                    return
                stream = pushed
            if not backlog.first:
                await trio.sleep(GLANCE)

    async def _deliver(self, stream: Outgoing, one: Waiting) -> Outgoing | None:
        """Push one event until it is delivered or refused; return the stream as it then is.

        Returns None where it is paused, or another by now.
        """
        failures = 0
        while True:
            shown = self._shown(stream)
            answer = await self._post(stream, one.claims)
            match answer.fate:
                case PushResult.ACCEPTED | PushResult.REFUSED:
                    await self._store.done(stream.id, (one.id,))
                    accepted = answer.fate is PushResult.ACCEPTED
                    fate = (
                        TransmissionOutcome.DELIVERED if accepted else TransmissionOutcome.REFUSED
                    )
                    self._record(stream, _event_in(one.claims), fate, answer.detail)
                    return await self._note(stream, 0.0)
                case PushResult.FAILED:
                    self._record(
                        stream, _event_in(one.claims), TransmissionOutcome.RETRIED, answer.detail
                    )
                case _:
                    assert_never(answer.fate)
            noted = await self._note(stream, stream.failing_since or self._clock())
            if noted is None:
                return None
            stream = noted
            left = stream.failing_since + self._settings.give_up - self._clock()
            if left <= 0:
                await self._pause(stream, answer.detail)
                return None
            asked = min(answer.retry_after, left)
            await trio.sleep(asked)
            rest = min(self._pause_after(failures), left) - asked
            with trio.move_on_after(max(0.0, rest)):
                while self._shown(stream) == shown:  # noqa: ASYNC110 - files notify nobody
                    await trio.sleep(GLANCE)
            failures += 1

    async def _post(self, stream: Outgoing, claims: bytes) -> PushResponse:
        token = self._signer.sign(claims)
        return await self._courier.post(stream.endpoint_url, token, self._shown(stream))

    def _shown(self, stream: Outgoing) -> str:
        """Return the `Authorization` that the recipient is shown now."""
        if stream.fixed:
            return self._recipients.authorization(stream.recipient)
        return stream.authorization

    def _pause_after(self, failures: int) -> float:
        settings = self._settings
        longest = doubled(settings.retry_base, settings.retry_cap, failures)
        return spread(longest, self._jitter())

    async def _note(self, stream: Outgoing, failing_since: float) -> Outgoing | None:
        """Keep since when nothing gets through: who takes over does not begin anew to count.

        None where the stream is another by now: then it is served anew.
        """
        if stream.failing_since == failing_since:
            return stream
        return await self._put(stream, failing_since=failing_since)

    async def _put(self, stream: Outgoing, **changes: object) -> Outgoing | None:
        for known in await self._store.streams():
            if known.id == stream.id and essence(known) == essence(stream):
                after = msgspec.structs.replace(known, **changes)
                return after if await self._store.replace(known, after) else None
        return None

    async def _pause(self, stream: Outgoing, detail: str) -> None:
        """Pause, and notify the recipient if it listens just now (SSF 1.0, "Stream Updated")."""
        reason = f"nothing could be delivered for {self._settings.give_up:g} s: {detail}"
        paused = await self._put(
            stream, status=StreamStatus.PAUSED, reason=reason, failing_since=0.0
        )
        if paused is None:
            return  # somebody changed it meanwhile: it is served as it now is
        self._record(stream, "", TransmissionOutcome.GIVEN_UP, detail)
        recipient = self._recipients.get(stream.recipient)
        if recipient is not None:
            event = StreamUpdated(status=StreamStatus.PAUSED, reason=reason)
            token = self._voice().about_stream(
                self._new_id(), event, stream.id, recipient.audience, self._clock()
            )
            await self._post(stream, payload_of(token))

    def _record(self, stream: Outgoing, event: str, fate: TransmissionOutcome, detail: str) -> None:
        self._telemetry.record(
            Transmitted(
                event=event,
                outcome=fate,
                recipient=stream.recipient,
                stream=stream.id,
                detail=detail,
            )
        )


def essence(stream: Outgoing) -> Outgoing:
    """Return what of a stream matters to whoever serves it."""
    return msgspec.structs.replace(stream, failing_since=0.0, verified_at=0.0)


def _event_in(claims: bytes) -> str:
    """Return the event's name, for the metric; empty for what cannot be read."""
    try:
        uri = next(iter(msgspec.json.decode(claims)["events"]))
        return name_of(KINDS[uri])
    except (msgspec.DecodeError, LookupError, TypeError, StopIteration):
        return ""
