"""Noticing that the store was emptied, so that a lost mark is not a cleared one.

The store carries an epoch, made by the first sidecar that finds none. A sidecar that has seen one
epoch and then finds none, or another, knows that what the store held is gone. Sidecars then write
back what is in their views (`View.revalidate`), which restores the sessions they serve; for all
other sessions the *floor* is raised: a session first seen after it, that signed in before it, must
sign in anew before its next sensitive call. Sidecars tell each other the floor through the store.

What nobody can know: where all sidecars are new as well, an empty store is simply a new one.
"""

from collections.abc import Callable, Mapping

from sidecar.domain.stamp import MICROSECONDS
from sidecar.service.observations import Telemetry, Told
from sidecar.service.store import Join, Load, Store
from sidecar.service.view import View
from sidecar.wire.naming import Names

_EPOCH = b"epoch:id"
_FLOOR = b"floor:at"


class Guard:
    """Watches over the store's epoch for one sidecar."""

    def __init__(  # noqa: PLR0913 - one place wires it
        self,
        *,
        store: Store,
        view: View,
        names: Names,
        telemetry: Telemetry,
        clock: Callable[[], float],
        new_id: Callable[[], str],
        ttl: float,
    ) -> None:
        self._store = store
        self._view = view
        self._names = names
        self._telemetry = telemetry
        self._clock = clock
        self._new_id = new_id
        self._ttl = ttl
        self._epoch = b""

    async def check(self) -> None:
        """Look at the epoch, as is done whenever the link is whole again. Raises `Unavailable`."""
        key = self._names.sidecars_record()
        (loaded,) = await self._store.load(Load(key))
        found = loaded.record.get(_EPOCH, b"")
        self.heard(loaded.record)
        if found and found == (self._epoch or found):
            self._epoch = found
            return
        if not self._epoch:
            self._epoch = await self._begin({})
            return
        floor = int(self._clock() * MICROSECONDS)
        self._telemetry.record(Told(event="store-emptied", fields={"floor": floor / MICROSECONDS}))
        self._view.raise_floor(floor)
        self._epoch = await self._begin({_FLOOR: b"%016d" % floor})

    async def _begin(self, fields: Mapping[bytes, bytes]) -> bytes:
        now = int(self._clock() * 1000)
        key = self._names.sidecars_record()
        expire_at = now + int(self._ttl * 1000)
        channel = self._names.sidecars_channel()
        epoch = {_EPOCH: self._new_id().encode()}
        first, second = await self._store.join(
            Join(key, epoch, expire_at, now, unless=_EPOCH, publish=channel),
            Join(key, fields, expire_at, now, publish=channel),
        )
        self.heard(second.record)
        return second.record.get(_EPOCH) or first.record[_EPOCH]

    async def keep(self) -> None:
        """Have the epoch outlive every session. Raises `Unavailable`."""
        now = int(self._clock() * 1000)
        join = Join(
            self._names.sidecars_record(), {}, now + int(self._ttl * 1000), now, want_record=False
        )
        await self._store.join(join)

    def heard(self, fields: Mapping[bytes, bytes]) -> None:
        """Take up another sidecar's floor."""
        floor = fields.get(_FLOOR, b"")
        if floor.isdigit():
            self._view.raise_floor(int(floor))
