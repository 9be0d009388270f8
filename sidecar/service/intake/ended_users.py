"""The store as requests to end sessions need it: ids that have counted, known users."""

from collections.abc import Callable
from enum import Enum, auto
from itertools import islice

from sidecar.domain.facts.signal import SessionRevoked, Subject
from sidecar.service.ports.calls import Overloaded, Unavailable
from sidecar.service.records.fact_reader import (
    FactReader,
    Listed,
    LocatorRecord,
    SessionRecord,
    UserRecord,
)
from sidecar.service.records.fleet import FleetRecords
from sidecar.service.view.view import View
from sidecar.wire.store.entries import Identified, identified_in
from sidecar.wire.store.keys import digest
from sidecar.wire.store.records import owners_of
from sidecar.wire.tokens.claims import is_stand_in


class RequestIds:
    """Remembers for all sidecars what the id of a request has counted for, `life` seconds long.

    Two sidecars that are asked at a time agree: who comes first writes, and both read it.
    """

    def __init__(self, *, records: FleetRecords, life: Callable[[], float]) -> None:
        self._records = records
        self._life = life

    async def claim(self, event_id: str, content: str) -> bool:
        """Return whether it counts for this, and for nothing else.

        Raises `Unavailable`, `Overloaded`.
        """
        return await self._records.claim_request(event_id, content, self._life())

    async def end(self, event_id: str) -> bool:
        """Note that a request was answered as done; False where one of this id had been.

        Raises `Unavailable`, `Overloaded`.
        """
        return await self._records.end_request(event_id, self._life())


class Meant(Enum):
    """The meaning of a logout by session here."""

    SESSION = auto()
    """That session; or it cannot be known now."""

    USER = auto()
    """One of the user's sessions here, whose tokens name none: none can be distinguished."""

    NOTHING = auto()
    """No session: the issuer's tokens name none, and the logout names no user."""

    STRANGER = auto()
    """A session that nobody has shown here."""


SESSIONS_LOOKED_AT = 1024


class KnownUsers:
    """Knows whether a user, or a session, was ever heard of here."""

    def __init__(self, *, records: FactReader, view: View) -> None:
        self._records = records
        self._view = view

    async def is_known(self, signal: SessionRevoked) -> bool:
        """Return whether anything is known of the user. Raises `Unavailable`, `Overloaded`."""
        found = await self._of_user(signal.subject)
        return bool(found.record or found.sessions)

    async def meant_by(self, signal: SessionRevoked) -> Meant:
        """Return what the session of a logout is here, as far as that can be known.

        Never raises.
        """
        subject = signal.subject
        namespace, session = subject.issuer, subject.session
        if not session or self._view.find_session(session, (namespace,)):
            return Meant.SESSION
        try:
            (located,) = await self._records.load(LocatorRecord(digest(namespace, session)))
            if owners_of(located):
                return Meant.SESSION
            if subject.user and await self._has_nameless(subject):
                return Meant.USER
        except (Unavailable, Overloaded):
            return Meant.SESSION
        lives = (live.session for live in self._view if live.namespace == namespace)
        if not any(map(is_stand_in, islice(lives, SESSIONS_LOOKED_AT))):
            return Meant.STRANGER
        return Meant.USER if subject.user else Meant.NOTHING

    async def _has_nameless(self, subject: Subject) -> bool:
        """Return whether the user has a session whose tokens do not name it."""
        found = await self._of_user(subject)
        looked_at = found.sessions[:SESSIONS_LOOKED_AT]
        records = await self._records.load(*map(SessionRecord, looked_at))
        nameless = Identified("", "", "")
        return any(is_stand_in(identified_in(one, nameless).session) for one in records)

    async def _of_user(self, subject: Subject) -> Listed:
        of = UserRecord(digest(subject.issuer, subject.user))
        (found,) = await self._records.load_listed(of)
        return found
