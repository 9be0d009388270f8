"""Queues on the store: the port `service.ports.store.Queues`, by way of its batches."""

from collections.abc import Sequence

from sidecar.adapters.redis.commands import Operation, Outcome, PresentKey
from sidecar.adapters.redis.store import RedisStore
from sidecar.service.ports.calls import Unavailable
from sidecar.service.ports.store import (
    Append,
    Appended,
    Browse,
    Claim,
    Counted,
    Entries,
    Finish,
    Hold,
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
        return _appended(await self._submit((one, *joins)))

    async def append_all(
        self, batch: Sequence[tuple[Append, Sequence[Join]]]
    ) -> list[tuple[Appended, list[JoinResult]] | Unavailable]:
        """Append and join of each, all in one round trip; each fails alone."""
        groups: list[tuple[Operation, ...]] = [(one, *joins) for one, joins in batch]
        answers: list[tuple[Appended, list[JoinResult]] | Unavailable] = []
        for outcomes in await self._store.submit_all(groups):
            if isinstance(outcomes, Unavailable):
                answers.append(outcomes)
                continue
            answers.append(_appended(outcomes))
        return answers

    async def finish(self, *finishes: Finish) -> list[Counted]:
        """Take out entries."""
        outcomes = await self._submit(finishes)
        return [outcome for outcome in outcomes if isinstance(outcome, Counted)]

    async def hold(self, *holds: Hold) -> list[Counted]:
        """Have entries count as taken just now."""
        outcomes = await self._submit(holds)
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
        """Return how many entries there are in each.

        Where there is one server it is first asked whether there is any of these queues: an empty
        one is none (`lua/finish.lua`).
        """
        if self._store.is_one_server and len(lengths) > 1 and not await self._any(lengths):
            return [0] * len(lengths)
        outcomes = await self._submit(lengths)
        return [outcome.count for outcome in outcomes if isinstance(outcome, Counted)]

    async def _any(self, lengths: Sequence[Length]) -> bool:
        """Return whether there is any of these queues, as far as that can be asked."""
        asked = (PresentKey(tuple(one.key for one in lengths)),)
        try:
            outcomes = await self._submit(asked)
        except Unavailable:
            return True  # the one server of a Cluster refuses keys of several slots
        return any(one.count for one in outcomes if isinstance(one, Counted))

    async def _submit(self, operations: Sequence[Operation]) -> list[Outcome]:
        return await self._store.submit(operations)


def _appended(outcomes: Sequence[Outcome]) -> tuple[Appended, list[JoinResult]]:
    (appended,) = (outcome for outcome in outcomes if isinstance(outcome, Appended))
    return appended, [outcome for outcome in outcomes if isinstance(outcome, JoinResult)]
