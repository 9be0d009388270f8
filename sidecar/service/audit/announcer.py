"""Announcements to others of what an audit has found: recorded before the audit logs it.

The order matters. First the announcement is recorded, under an id that follows from what it says;
then the entry is claimed (see `entries`). A sidecar that dies in between leaves the claim to
another, which records the same announcement again, and the record knows it: so everything that
was claimed has been recorded, and nothing is recorded twice in a row.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Protocol

import msgspec

from sidecar.domain.evaluation.announcement import (
    REVOKED,
    Present,
    SessionOwner,
    TopicAnnouncement,
    fades,
    news_of,
    revocation,
)
from sidecar.service.audit.entries import AuditEntry, Whose
from sidecar.service.observations.observations import Telemetry
from sidecar.service.observations.transmitter import TransmissionOutcome, Transmitted
from sidecar.wire.settings.transmitter import kind_of


class Shelved(StrEnum):
    """The outcome of recording news. `BEHIND`: a newer one exists, unknown here."""

    FRESH = "fresh"
    KNOWN = "known"
    BEHIND = "behind"


class Recorded(msgspec.Struct, frozen=True, gc=False):
    """The outcomes of recording several news, and how many older announcements had to go."""

    outcomes: tuple[Shelved, ...]
    dropped: int = 0


class Outbox(Protocol):
    """The place where announcements wait until they are handed to the streams of recipients."""

    async def record(self, news: Sequence[TopicAnnouncement]) -> Recorded:
        """Append those that are not the last that was recorded of their topic.

        Raises `Unavailable`: then some may have been recorded, and all can be again.
        """


class Announcer:
    """Finds and records what is worth announcing to others."""

    def __init__(self, outbox: Outbox, telemetry: Telemetry) -> None:
        self._outbox = outbox
        self._telemetry = telemetry

    def with_news(
        self,
        whose: Whose,
        logged: Mapping[str, bytes],
        present: Present,
        missing: Sequence[AuditEntry],
    ) -> list[AuditEntry]:
        """Return `missing` with its news, and other news of a session that was not logged."""
        whom = SessionOwner(whose.session, whose.subject, whose.issuer)
        return [
            *(_with_news(entry, whom, present) for entry in missing),
            *(
                AuditEntry(one.topic, one.value, None, one)
                for one in news_of(whom, logged, present)
            ),
        ]

    def fades(self, logged: Mapping[str, bytes]) -> bool:
        """Return whether time alone may bring news of a session."""
        return fades(logged)

    async def record(self, entries: Sequence[AuditEntry]) -> frozenset[str]:
        """Record the news of these entries; return the ids of news that must not be claimed now.

        Those are behind what another has recorded. It may be about to claim it; if it died, a
        later look finds that nobody did. Raises `Unavailable`: then none must be claimed.
        """
        news = [entry.news for entry in entries if entry.news is not None]
        if not news:
            return frozenset()
        recorded = await self._outbox.record(news)
        behind = set()
        for one, outcome in zip(news, recorded.outcomes, strict=True):
            if outcome is Shelved.BEHIND:
                behind.add(one.announcement.id)
            elif outcome is Shelved.FRESH:
                event = kind_of(one.announcement.change)
                self._telemetry.record(
                    Transmitted(event=event, outcome=TransmissionOutcome.RECORDED)
                )
        if recorded.dropped:
            self._telemetry.record(
                Transmitted(event="", outcome=TransmissionOutcome.LOST, count=recorded.dropped)
            )
        return frozenset(behind)


def _with_news(entry: AuditEntry, whom: SessionOwner, present: Present) -> AuditEntry:
    revoked = present.standing.revoked
    if entry.policy != REVOKED or revoked is None:
        return entry
    news = revocation(whom, present.state, entry.value, revoked.since or 0, revoked.value)
    return entry._replace(news=news)
