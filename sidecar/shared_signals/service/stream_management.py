"""A recipient's acts on its streams (SSF 1.0, "Management API for SET Event Streams").

A recipient sees no streams but its own: another's is as if it were not there.
"""

from collections.abc import Callable

import msgspec

from sidecar.service.observations.observations import Telemetry
from sidecar.service.observations.transmitter import TransmissionOutcome, Transmitted
from sidecar.service.ports.calls import Unavailable
from sidecar.shared_signals.service.stream_store import Handout, StreamStore
from sidecar.shared_signals.wire.outbound import Voice, payload_of
from sidecar.shared_signals.wire.security_events import StreamStatus, Verification
from sidecar.shared_signals.wire.stream_api import Status, StreamConfiguration
from sidecar.shared_signals.wire.stream_config import (
    ChangeRequest,
    CreateRequest,
    Facade,
    InvalidStreamRequest,
    Outgoing,
    StatusRequest,
    SubjectRequest,
    VerificationRequest,
    placed,
)
from sidecar.wire.settings.transmitter import DefaultSubjects, Recipient, Transmitter
from sidecar.wire.store.keys import digest
from sidecar.wire.subjects.subject_ids import InvalidSubjectId, decode_subject, encode_subject

ATTEMPTS = 5
"""How often a change is tried that another came before."""


class NoSuchStream(Exception):  # noqa: N818 - named by who must act: the recipient
    """The recipient has no stream of this id."""


class StreamForbidden(Exception):  # noqa: N818 - the recipient
    """The recipient may not do this; the message says what, and quotes nothing."""


class TooManyStreams(Exception):  # noqa: N818 - the recipient
    """The recipient has as many streams as it may have."""


class TooOften(Exception):  # noqa: N818 - the recipient
    """It was asked for again too soon; `retry_after` in seconds."""

    def __init__(self, retry_after: int) -> None:
        super().__init__("verifications are asked for too often")
        self.retry_after = retry_after


class Management:
    """The verbs of the management API. All raise `Unavailable`, and what they say."""

    def __init__(  # noqa: PLR0913 - one place wires it
        self,
        *,
        settings: Transmitter,
        store: StreamStore,
        voice: Callable[[], Voice],
        poll_endpoint: Callable[[str], str],
        telemetry: Telemetry,
        clock: Callable[[], float],
        new_id: Callable[[], str],
    ) -> None:
        self._settings = settings
        self._store = store
        self._voice = voice
        self._poll_endpoint = poll_endpoint
        self._telemetry = telemetry
        self._clock = clock
        self._new_id = new_id

    async def create(self, who: Recipient, request: CreateRequest) -> StreamConfiguration:
        """Return a new stream.

        Raises `InvalidStreamRequest`, `StreamForbidden`, `TooManyStreams`.
        """
        if not who.max_streams:
            raise StreamForbidden("this recipient may not create streams")
        own = [one for one in await self._of(who) if not one.fixed]
        if len(own) >= who.max_streams:
            raise TooManyStreams("this recipient has as many streams as it may have")
        method, endpoint, authorization = placed(request.delivery, who.push_prefixes)
        stream = Outgoing(
            id=self._new_id(),
            recipient=who.name,
            method=method,
            endpoint_url=endpoint,
            authorization=authorization,
            requested=request.events_requested or None,
            description=request.description,
            default_subjects=self._settings.default_subjects,
        )
        await self._store.replace(None, stream)
        return self._facade(who, stream).show(stream)

    async def read(self, who: Recipient, stream: str) -> StreamConfiguration:
        """Return one stream. Raises `NoSuchStream`."""
        found = await self._find(who, stream)
        return self._facade(who, found).show(found)

    async def read_all(self, who: Recipient) -> list[StreamConfiguration]:
        """Return all streams of the recipient."""
        return [self._facade(who, one).show(one) for one in await self._of(who)]

    async def update(
        self, who: Recipient, request: ChangeRequest, *, whole: bool
    ) -> StreamConfiguration:
        """Change what the request names, or all (`whole`), where what it leaves out is deleted.

        Raises `NoSuchStream`, `InvalidStreamRequest`, `StreamForbidden`.
        """

        def change(stream: Outgoing) -> Outgoing:
            if stream.fixed:
                raise StreamForbidden("this stream is the transmitter's configuration")
            self._facade(who, stream).check(request, stream)
            after = stream
            if request.delivery is not None or whole:
                method, endpoint, authorization = placed(request.delivery, who.push_prefixes)
                after = msgspec.structs.replace(
                    after,
                    method=method,
                    endpoint_url=endpoint,
                    authorization=authorization,
                    failing_since=0.0,
                )
            if request.events_requested is not None or whole:
                after = msgspec.structs.replace(after, requested=request.events_requested or None)
            if request.description is not None or whole:
                after = msgspec.structs.replace(after, description=request.description or "")
            return after

        after = await self._change(who, request.stream_id, change)
        return self._facade(who, after).show(after)

    async def delete(self, who: Recipient, stream: str) -> None:
        """Delete a stream. Raises `NoSuchStream`, `StreamForbidden`."""
        found = await self._find(who, stream)
        if found.fixed:
            raise StreamForbidden("this stream is the transmitter's configuration")
        await self._store.delete(found)

    async def status(self, who: Recipient, stream: str) -> Status:
        """Return whether a stream carries events. Raises `NoSuchStream`."""
        return _status(await self._find(who, stream))

    async def set_status(self, who: Recipient, request: StatusRequest) -> Status:
        """Pause, disable or enable a stream. Raises `NoSuchStream`.

        A disabled stream holds nothing; one that is enabled has all of its patience again.
        """
        after = await self._change(
            who,
            request.stream_id,
            lambda stream: msgspec.structs.replace(
                stream, status=request.status, reason=request.reason, failing_since=0.0
            ),
        )
        if after.status is StreamStatus.DISABLED:
            await self._store.clear(after.id)
        return _status(after)

    async def add_subject(self, who: Recipient, request: SubjectRequest) -> None:
        """Have a stream be about a subject.

        Raises `NoSuchStream`, `InvalidStreamRequest`, `StreamForbidden`.
        """
        stream = await self._find(who, request.stream_id)
        await self._subject(stream, request, exception=_is_none(stream))

    async def remove_subject(self, who: Recipient, request: SubjectRequest) -> None:
        """Have a stream no longer be about a subject. Raises as `add_subject`."""
        stream = await self._find(who, request.stream_id)
        await self._subject(stream, request, exception=not _is_none(stream))

    async def verify(self, who: Recipient, request: VerificationRequest) -> None:
        """Send the verification event. Raises `NoSuchStream`, `TooOften`."""
        now = self._clock()

        def change(stream: Outgoing) -> Outgoing:
            wait = stream.verified_at + self._settings.min_verification_interval - now
            if stream.verified_at and wait > 0:
                raise TooOften(int(wait) + 1)
            return msgspec.structs.replace(stream, verified_at=now)

        stream = await self._change(who, request.stream_id, change)
        event = Verification(state=request.state or "")
        token = self._voice().about_stream(self._new_id(), event, stream.id, who.audience, now)
        lost = await self._store.enqueue(Handout(stream.id, token.id, payload_of(token)))
        if lost:
            dropped = TransmissionOutcome.DROPPED
            self._telemetry.record(
                Transmitted(event="", outcome=dropped, recipient=who.name, count=lost)
            )

    async def _subject(self, stream: Outgoing, request: SubjectRequest, *, exception: bool) -> None:
        try:
            subject = decode_subject(dict(request.subject), "subject")
        except InvalidSubjectId as error:
            raise InvalidStreamRequest(str(error)) from None
        raw = msgspec.json.encode(encode_subject(subject), order="deterministic")
        name = digest(raw.decode())
        if not exception:
            await self._store.drop_subject(stream.id, name)
        elif not await self._store.put_subject(stream.id, name, raw, self._settings.max_subjects):
            raise StreamForbidden("the stream has as many subjects as it may have")

    async def _change(
        self, who: Recipient, stream: str, change: Callable[[Outgoing], Outgoing]
    ) -> Outgoing:
        for _ in range(ATTEMPTS):
            before = await self._find(who, stream)
            after = change(before)
            if await self._store.replace(before, after):
                return after
        raise Unavailable("the stream is being changed by others")

    async def _of(self, who: Recipient) -> list[Outgoing]:
        return [one for one in await self._store.streams() if one.recipient == who.name]

    async def _find(self, who: Recipient, stream: str) -> Outgoing:
        for one in await self._of(who):
            if one.id == stream:
                return one
        raise NoSuchStream

    def _facade(self, who: Recipient, stream: Outgoing) -> Facade:
        return Facade(
            self._settings.issuer,
            who.audience,
            who.events,
            self._settings.min_verification_interval,
            self._poll_endpoint(stream.id),
        )


def _is_none(stream: Outgoing) -> bool:
    return stream.default_subjects is DefaultSubjects.NONE


def _status(stream: Outgoing) -> Status:
    return Status(stream_id=stream.id, status=stream.status.value, reason=stream.reason)
