"""Lists sessions by pages, with the same work for each page however many there are.

The store gives keys in an order of its own, from a bookmark on. A page looks at sessions until it
is full or has looked at `LOOKED_AT`; what is left begins the next one. So a page may be short, or
empty, while there are more: its cursor says so.
"""

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import msgspec

from sidecar.domain.evaluation.decision import STANDINGS
from sidecar.service.admin.inspection import (
    FOREIGN_CURSOR,
    InvalidQuery,
    SessionQuery,
    Summary,
    namespaces_meant,
)
from sidecar.service.ports.store import Scanned
from sidecar.service.records.fact_reader import DeviceRecord, FactReader, UserRecord
from sidecar.wire.names import composed
from sidecar.wire.settings.settings import Settings
from sidecar.wire.store.keys import SessionName, StoreKeys, digest

LIMIT = 100
"""Sessions that a page has at most."""

LOOKED_AT = 400
"""Sessions that are read for a page at most."""

SCANS = 20
"""Questions to the store for a page at most: of keys that are of no session there may be many."""

_TOGETHER = 50


class Scans(Protocol):
    """The part of the store that gives keys."""

    async def scan(self, pattern: str, bookmark: bytes = b"") -> Scanned:
        """Return some keys that match. Raises `Unavailable`, `Overloaded`."""


class Summaries(Protocol):
    """Reads sessions as lines of a list."""

    async def summaries(self, names: Sequence[SessionName], /) -> list[Summary]:
        """Return those of these sessions that live. Raises `Unavailable`, `Overloaded`."""


class SessionPage(msgspec.Struct, frozen=True):
    """Some sessions, of `looked_at` that were read; `cursor` leads to more, empty: no more."""

    sessions: tuple[Summary, ...]
    looked_at: int
    cursor: str = ""


class _Place(NamedTuple):
    """The place of a page: the bookmark of the store, and the last name that was read there."""

    bookmark: bytes = b""
    last: str = ""


class SessionList:
    """Lists sessions."""

    def __init__(
        self,
        *,
        sessions: Summaries,
        store: Scans,
        records: FactReader,
        names: StoreKeys,
        settings: Callable[[], Settings],
    ) -> None:
        self._sessions = sessions
        self._store = store
        self._records = records
        self._names = names
        self._settings = settings

    async def page(self, query: SessionQuery) -> SessionPage:
        """Return a page. Raises `InvalidQuery`, `Unavailable`, `Overloaded`."""
        if query.standing and query.standing not in STANDINGS:
            raise InvalidQuery("standing", f"is one of {', '.join(STANDINGS)}")
        if not 1 <= query.limit <= LIMIT:
            raise InvalidQuery("limit", f"is 1 to {LIMIT}")
        place, shown, looked = _decode(query.cursor), list[Summary](), 0
        for _ in range(SCANS):
            names, following = await self._batch(query, place.bookmark)
            left = [name for name in names if str(name) > place.last]
            while left and looked < LOOKED_AT and len(shown) < query.limit:
                # No more than there is room for, since all of them may be shown.
                count = min(_TOGETHER, query.limit - len(shown), LOOKED_AT - looked)
                batch, left = left[:count], left[count:]
                shown += [
                    one
                    for one in await self._sessions.summaries(batch)
                    if query.standing in {"", one.standing}
                ]
                looked += len(batch)
                place = place._replace(last=str(batch[-1]))
            if left:
                return SessionPage(tuple(shown), looked, _encode(place))
            if not following:
                return SessionPage(tuple(shown), looked)
            place = _Place(following)
            if looked >= LOOKED_AT or len(shown) >= query.limit:
                break
        return SessionPage(tuple(shown), looked, _encode(place))

    async def _batch(self, query: SessionQuery, bookmark: bytes) -> tuple[list[SessionName], bytes]:
        """Return sessions from a bookmark on, in order, and the bookmark to more; empty: none."""
        if query.user or query.device:
            namespaces = namespaces_meant(query.issuer, self._settings())
            wanted = [_of(query, namespace) for namespace in namespaces]
            listed = await self._records.load_listed(*wanted)
            names = {name for one in listed for name in one.sessions}
            return sorted(names, key=str), b""
        found = await self._store.scan(self._names.every_session(), bookmark)
        names = {name for key in found.keys if (name := self._names.name_of_record(key))}
        return sorted(names, key=str), found.bookmark


def _of(query: SessionQuery, namespace: str) -> UserRecord | DeviceRecord:
    if query.user:
        return UserRecord(digest(namespace, composed(query.user)))
    return DeviceRecord(digest(namespace, composed(query.device)))


def _encode(place: _Place) -> str:
    return base64.urlsafe_b64encode(msgspec.msgpack.encode(place)).decode().rstrip("=")


def _decode(cursor: str) -> _Place:
    if not cursor:
        return _Place()
    try:
        raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        return msgspec.msgpack.decode(raw, type=_Place)
    except (binascii.Error, ValueError, msgspec.MsgspecError) as error:
        raise InvalidQuery("cursor", FOREIGN_CURSOR) from error
