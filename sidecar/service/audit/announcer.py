"""What is found of a session is recorded for those outside that want to know, before it is told.

The order matters. First the announcement is recorded, under an id that follows from what it says;
then the telling is claimed (see `entries`). A sidecar that dies in between leaves the claim to
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
    """What became of news. `BEHIND`: others have recorded what it does not know of."""

    FRESH = "fresh"
    KNOWN = "known"
    BEHIND = "behind"


class Recorded(msgspec.Struct, frozen=True):
    """What became of each of several news, and how many older announcements had to go."""

    outcomes: tuple[Shelved, ...]
    dropped: int = 0


class Outbox(Protocol):
    """Where announcements wait until they are handed to the streams of recipients."""

    async def record(self, news: Sequence[TopicAnnouncement]) -> Recorded:
        """Append those that are not the last that was recorded of their topic.

        Raises `Unavailable`: then some may have been recorded, and all can be again.
        """


class Announcer:
    """Finds and records what is worth telling others."""

    def __init__(self, outbox: Outbox, telemetry: Telemetry) -> None:
        self._outbox = outbox
        self._telemetry = telemetry

    def tellings(
        self,
        whose: Whose,
        told: Mapping[str, bytes],
        present: Present,
        missing: Sequence[AuditEntry],
    ) -> list[AuditEntry]:
        """`missing` with its news, and what else is news of a session, given what was told."""
        whom = SessionOwner(whose.session, whose.subject, whose.issuer)
        return [
            *(_with_news(telling, whom, present) for telling in missing),
            *(AuditEntry(one.topic, one.value, None, one) for one in news_of(whom, told, present)),
        ]

    def fades(self, told: Mapping[str, bytes]) -> bool:
        """Return whether time alone may bring news of a session."""
        return fades(told)

    async def record(self, tellings: Sequence[AuditEntry]) -> frozenset[str]:
        """Record what these tell others; gives the ids of news that must not be claimed now.

        Those are behind what another has recorded. It may be about to claim it; if it died, a
        later look finds that nobody did. Raises `Unavailable`: then none must be claimed.
        """
        news = [telling.news for telling in tellings if telling.news is not None]
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


def _with_news(telling: AuditEntry, whom: SessionOwner, present: Present) -> AuditEntry:
    revoked = present.standing.revoked
    if telling.policy != REVOKED or revoked is None:
        return telling
    news = revocation(whom, present.state, telling.value, revoked.since or 0, revoked.value)
    return telling._replace(news=news)
