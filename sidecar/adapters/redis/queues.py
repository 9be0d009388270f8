"""Queues on the store: the port `service.ports.store.Queues`, by way of its batches."""

from collections.abc import Sequence

from sidecar.adapters.redis.commands import Operation, Outcome
from sidecar.adapters.redis.store import RedisStore
from sidecar.service.ports.store import (
    Append,
    Appended,
    Browse,
    Claim,
    Counted,
    Entries,
    Finish,
    Join,
    JoinResult,
    Length,
)


class RedisQueues:
    """All raise `Unavailable` and `Overloaded`."""

    def __init__(self, store: RedisStore) -> None:
        self._store = store

    async def append(self, one: Append, *joins: Join) -> tuple[Appended, list[JoinResult]]:
        """Append and join, in one round trip."""
        outcomes = await self._submit((one, *joins))
        (appended,) = (outcome for outcome in outcomes if isinstance(outcome, Appended))
        return appended, [outcome for outcome in outcomes if isinstance(outcome, JoinResult)]

    async def finish(self, *finishes: Finish) -> list[Counted]:
        """Take out entries."""
        outcomes = await self._submit(finishes)
        return [outcome for outcome in outcomes if isinstance(outcome, Counted)]

    async def claim(self, *claims: Claim) -> list[Entries]:
        """Take over what nobody finishes."""
        outcomes = await self._submit(claims)
        return [outcome for outcome in outcomes if isinstance(outcome, Entries)]

    async def browse(self, browse: Browse) -> Entries:
        """Look at entries."""
        (entries,) = [one for one in await self._submit((browse,)) if isinstance(one, Entries)]
        return entries

    async def lengths(self, *lengths: Length) -> list[int]:
        """Return how many entries there are in each."""
        outcomes = await self._submit(lengths)
        return [outcome.count for outcome in outcomes if isinstance(outcome, Counted)]

    async def _submit(self, operations: Sequence[Operation]) -> list[Outcome]:
        return await self._store.submit(operations)
