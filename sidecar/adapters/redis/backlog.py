"""Backlogs on streams: `lua/backlog.lua`, by the names of `service.audit.backlog`."""

from typing import Any

from sidecar.adapters.redis.commands import BACKLOG, Evaluate, Evaluated
from sidecar.adapters.redis.store import RedisStore
from sidecar.service.audit.backlog import STALE, Outlook, TakenItem
from sidecar.wire.privacy.sealed_forms import UNSEALED, Sealing
from sidecar.wire.store.keys import StoreKeys

LIFE = 30 * 86_400_000
"""Milliseconds after which a backlog that nobody works on is forgotten."""


class RedisBacklogs:
    """The port `service.audit.backlog.Backlogs`. Each call is one script, and may be done again.

    What was taken by a call whose answer was lost is taken again, `stale` seconds later.
    """

    def __init__(
        self,
        store: RedisStore,
        names: StoreKeys,
        *,
        stale: float = STALE,
        sealing: Sealing = UNSEALED,
    ) -> None:
        self._store = store
        self._sealing = sealing
        self._names = names
        self._stale = int(stale * 1000)

    async def begin(self, name: str, moment: int, body: bytes) -> bool:
        """Put the first item, once."""
        return bool(await self._ask(name, "begin", moment, self._sealing.seal_payload(body)))

    async def put(self, name: str, body: bytes, once: str = "") -> None:
        """Put an item behind all others."""
        await self._ask(name, "put", self._sealing.seal_payload(body), once)

    async def take(self, name: str, who: str) -> TakenItem | None:
        """Take an item."""
        found = await self._ask(name, "take", who, self._stale)
        if not found:
            return None
        item, body = found
        return TakenItem(item, self._sealing.open_payload(body))

    async def keep(self, name: str, who: str, item: TakenItem) -> bool:
        """Say that the item is still worked on."""
        return bool(await self._ask(name, "keep", who, item.id))

    async def replace(
        self, name: str, item: TakenItem, *bodies: bytes, done: int = 0, expected: int = 0
    ) -> bool:
        """Have these items instead of this one, and count."""
        sealed = map(self._sealing.seal_payload, bodies)
        return bool(await self._ask(name, "replace", item.id, done, expected, *sealed))

    async def outlook(self, name: str) -> Outlook:
        """Return how far it is."""
        begun, left, done, expected, *workers = await self._ask(name, "look")
        return Outlook(begun, left, done, expected, tuple(one.decode() for one in workers))

    async def _ask(self, name: str, verb: str, *arguments: bytes | str | int) -> Any:
        keys = (self._names.backlog(name), self._names.backlog_counts(name))
        asked = Evaluate(keys, BACKLOG, (verb, LIFE, *arguments))
        replies = [
            found.reply
            for found in await self._store.submit([asked])
            if isinstance(found, Evaluated)  # as it was asked
        ]
        return replies[0]
