"""Dispatch of announcements to every stream that wants them: once, in order, as a whole."""

from collections.abc import Callable

import msgspec

from sidecar.domain.evaluation.announcement import Announcement
from sidecar.service.observations.observations import Telemetry
from sidecar.service.observations.transmitter import TransmissionOutcome, Transmitted
from sidecar.shared_signals.service.recipients import Recipients
from sidecar.shared_signals.service.stream_store import Handout, StreamStore
from sidecar.shared_signals.wire.outbound import URI_OF, Voice, payload_of
from sidecar.shared_signals.wire.security_events import StreamStatus
from sidecar.shared_signals.wire.stream_config import Outgoing, delivered
from sidecar.shared_signals.wire.subject_matching import StreamSubjects
from sidecar.wire.settings.transmitter import DefaultSubjects, Recipient, kind_of
from sidecar.wire.subjects.subject_ids import InvalidSubjectId, SubjectId, decode_subject

BATCH = 64


class _Known(msgspec.Struct):
    """A stream as it was when last looked at."""

    stream: Outgoing
    recipient: Recipient
    events: frozenset[str]
    subjects: StreamSubjects


class Dispatcher:
    """Hands out. Two may do so at a time: the store lets one of them move the cursor."""

    def __init__(
        self,
        *,
        store: StreamStore,
        recipients: Recipients,
        voice: Callable[[], Voice],
        telemetry: Telemetry,
        clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._recipients = recipients
        self._voice = voice
        self._telemetry = telemetry
        self._clock = clock
        self._known: list[_Known] = []
        self._revision = -1

    @property
    def streams(self) -> tuple[Outgoing, ...]:
        """The streams of configured recipients, as last read."""
        return tuple(known.stream for known in self._known)

    async def turn(self) -> bool:
        """Hand out some; return whether there may be more. Raises `Unavailable`."""
        batch = await self._store.recorded(BATCH)
        if batch.revision != self._revision:
            await self._look(batch.revision)
        if batch.until == batch.cursor:
            return False
        wanted = [
            (one, announcement)
            for announcement in batch.announcements
            if announcement is not None
            for one in self._known
            if _wants(one, announcement)
        ]
        handouts = [self._handout(one, announcement) for one, announcement in wanted]
        lost = await self._store.hand_out(batch, handouts)
        if lost is None:
            return True  # another did it
        for one, announcement in wanted:
            self._record(one, kind_of(announcement.change).value, TransmissionOutcome.HANDED)
        for one in self._known:
            if lost.get(one.stream.id):
                self._record(one, "", TransmissionOutcome.DROPPED, lost[one.stream.id])
        return True

    def _handout(self, one: _Known, announcement: Announcement) -> Handout:
        token = self._voice().token(announcement, one.recipient.audience, self._clock())
        return Handout(one.stream.id, announcement.id, payload_of(token))

    async def _look(self, revision: int) -> None:
        known = []
        for stream in await self._store.streams():
            recipient = self._recipients.get(stream.recipient)
            if recipient is None:
                continue  # no longer configured, or not yet
            subjects = map(_subject, await self._store.subjects(stream.id))
            found = [subject for subject in subjects if subject is not None]
            known.append(
                _Known(
                    stream,
                    recipient,
                    frozenset(delivered(stream, recipient.events)),
                    StreamSubjects(
                        found, self._voice().subject_issuer, self._voice().subject_issuers
                    ),
                )
            )
        self._known, self._revision = known, revision

    def _record(self, one: _Known, event: str, fate: TransmissionOutcome, count: int = 1) -> None:
        self._telemetry.record(
            Transmitted(
                event=event,
                outcome=fate,
                recipient=one.recipient.name,
                stream=one.stream.id,
                count=count,
            )
        )


def _wants(one: _Known, announcement: Announcement) -> bool:
    if one.stream.status is StreamStatus.DISABLED:
        return False
    if URI_OF[kind_of(announcement.change)] not in one.events:
        return False
    excepted = one.subjects.match(announcement)
    return excepted == (one.stream.default_subjects is DefaultSubjects.NONE)


def _subject(raw: bytes) -> SubjectId | None:
    try:
        return decode_subject(msgspec.json.decode(raw))
    except (InvalidSubjectId, msgspec.DecodeError):
        return None
