"""What requests to end sessions need to know of the store: ids that have counted, known users."""

from collections.abc import Callable

from sidecar.domain.signal import SessionRevoked
from sidecar.service.store import Join, Load, Store
from sidecar.wire.naming import Names, digest

_FOR = b"for"


class RequestIds:
    """Remembers for all sidecars what the id of a request has counted for, `life` seconds long.

    Two sidecars that are asked at a time agree: who comes first writes, and both read it.
    """

    def __init__(
        self, *, store: Store, names: Names, clock: Callable[[], float], life: float
    ) -> None:
        self._store = store
        self._names = names
        self._clock = clock
        self._life = life

    async def claim(self, event_id: str, content: str) -> bool:
        """Whether it counts for this, and for nothing else. Raises `Unavailable`, `Overloaded`."""
        now = int(self._clock() * 1000)
        key = self._names.answers_record(f"request {event_id}")
        until = now + int(self._life * 1000)
        join = Join(key, {_FOR: content.encode()}, until, now, unless=_FOR, confirm=True)
        (answer,) = await self._store.join(join)
        return answer.record.get(_FOR) == content.encode()


class KnownUsers:
    """Knows whether a user was ever told of here."""

    def __init__(self, *, store: Store, names: Names, clock: Callable[[], float]) -> None:
        self._store = store
        self._names = names
        self._clock = clock

    async def is_known(self, signal: SessionRevoked) -> bool:
        """Whether anything is known of the user. Raises `Unavailable`, `Overloaded`."""
        user = digest(signal.subject.issuer, signal.subject.user)
        record, index = self._names.user_record(user), self._names.user_index(user)
        (found,) = await self._store.load(Load(record, index, int(self._clock() * 1000)))
        return bool(found.record or found.members)
