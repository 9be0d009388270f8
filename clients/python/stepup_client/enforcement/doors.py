"""Ask the sidecar about a request: synchronously, and on whichever event loop runs."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Collection, Iterable, Iterator
from functools import cached_property
from typing import Any, TypeVar

from stepup_client.connection.asynchronous import AsyncClient
from stepup_client.connection.protocol import Decision, Refused, Unreachable
from stepup_client.enforcement.standings import Standings, Woken
from stepup_client.gate import (
    Gate,
    Incoming,
    Reply,
    before_asking,
    outcome,
    question,
    refused,
    unreached,
)
from stepup_client.pool import PooledClient

RETRY = 1.0
"""Seconds between looks for a sidecar that is gone, while a stream waits for it."""

T = TypeVar("T")


def _asked(
    gate: Gate, incoming: Incoming, contexts: Collection[str]
) -> Decision | Reply | dict[str, Any]:
    """Return the arguments of `check`, or what is decided without asking."""
    found = before_asking(gate, incoming)
    return question(gate, incoming, contexts) if found is None else found


def _without_a_decision(
    gate: Gate, contexts: Collection[str], error: Refused | Unreachable
) -> Decision | Reply:
    """Decide where the sidecar gave no decision."""
    if isinstance(error, Refused):
        return refused(gate, contexts, error)
    return unreached(gate, contexts, error)


class SyncDoor:
    """Asks in the thread that it is called in."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate

    @cached_property
    def client(self) -> PooledClient:
        """Return the connections of this door, which are opened when first needed."""
        gate = self.gate
        return PooledClient(gate.socket, timeout=gate.timeout, connections=gate.connections)

    @cached_property
    def standings(self) -> Standings:
        """Return the watches of this door's streams."""
        return Standings(self.gate.socket, self.gate.timeout)

    def close(self) -> None:
        """Close what lies idle; the next call opens another."""
        self.client.close()

    def ask(self, incoming: Incoming, contexts: Collection[str]) -> Decision | Reply:
        """Return the decision for a call that passes, else the client's answer."""
        asked = _asked(self.gate, incoming, contexts)
        if not isinstance(asked, dict):
            return asked
        try:
            return outcome(self.client.check(**asked))
        except (Refused, Unreachable) as error:
            return _without_a_decision(self.gate, contexts, error)

    def while_standing(
        self, chunks: Iterable[T], incoming: Incoming, contexts: Collection[str], session: str
    ) -> Iterator[T]:
        """Yield the chunks of a stream, until its session loses its standing.

        It looks between two chunks, and so wants a stream that sends something now and then (a
        comment, in server-sent events).
        """
        woken = Woken()
        patience = _Patience(self.gate)
        try:
            with self.standings.following(session, woken.set):
                for chunk in chunks:
                    if woken.is_due(patience.pause) and patience.is_over(
                        self.ask(incoming, contexts)
                    ):
                        return
                    yield chunk
        finally:
            close = getattr(chunks, "close", None)
            if close is not None:
                close()


class AsyncDoor:
    """Asks on the loop that it is called in, asyncio or trio."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate

    @cached_property
    def _on_asyncio(self) -> AsyncClient:
        from stepup_client.on_asyncio import AsyncioClient  # noqa: PLC0415 - where it runs

        gate = self.gate
        return AsyncioClient(gate.socket, timeout=gate.timeout, connections=gate.connections)

    @cached_property
    def _on_trio(self) -> AsyncClient:
        from stepup_client.on_trio import TrioClient  # noqa: PLC0415 - it may not be installed

        gate = self.gate
        return TrioClient(gate.socket, timeout=gate.timeout, connections=gate.connections)

    @property
    def client(self) -> AsyncClient:
        """Return the connections of this door for the running loop."""
        trio = sys.modules.get("trio")
        if trio is not None and trio.lowlevel.in_trio_task():
            return self._on_trio
        return self._on_asyncio

    @cached_property
    def standings(self) -> Standings:
        """Return the watches of this door's streams."""
        return Standings(self.gate.socket, self.gate.timeout)

    def close(self) -> None:
        """Close what lies idle; the next call opens another."""
        for name in ("_on_asyncio", "_on_trio"):
            if name in self.__dict__:
                self.__dict__[name].close()

    async def ask(self, incoming: Incoming, contexts: Collection[str]) -> Decision | Reply:
        """Return the decision for a call that passes, else the client's answer."""
        asked = _asked(self.gate, incoming, contexts)
        if not isinstance(asked, dict):
            return asked
        try:
            return outcome(await self.client.check(**asked))
        except (Refused, Unreachable) as error:
            return _without_a_decision(self.gate, contexts, error)

    async def until_lost(
        self, incoming: Incoming, contexts: Collection[str], session: str
    ) -> Reply:
        """Return when the call would not pass any more, with what it would be answered.

        Where the sidecar is gone, and the call would not pass without it, that is after
        `Gate.patience`.
        """
        notice = self.client.loop.notice()
        patience = _Patience(self.gate)
        with self.standings.following(session, notice.wake):
            # What has happened between the check and now, this first look finds.
            while True:
                found = await self.ask(incoming, contexts)
                if patience.is_over(found) and isinstance(found, Reply):
                    return found
                await notice.wait(patience.pause)

    async def while_standing(
        self,
        chunks: AsyncIterator[T],
        incoming: Incoming,
        contexts: Collection[str],
        session: str,
    ) -> AsyncIterator[T]:
        """Do as `SyncDoor.while_standing` for streams whose framework runs them itself."""
        woken = Woken()
        patience = _Patience(self.gate)
        with self.standings.following(session, woken.set):
            async for chunk in chunks:
                if woken.is_due(patience.pause) and patience.is_over(
                    await self.ask(incoming, contexts)
                ):
                    return
                yield chunk


class _Patience:
    """The time that a stream may go on. `pause`: seconds until it is checked again unasked."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._tries = 0
        self.pause = gate.recheck

    def is_over(self, found: Decision | Reply) -> bool:
        """Return whether the stream must end with this, the latest answer."""
        is_gone = isinstance(found, Reply) and found.kind == "unavailable"
        self._tries = self._tries + 1 if is_gone else 0
        self.pause = RETRY if is_gone else self._gate.recheck
        return isinstance(found, Reply) and not 0 < self._tries * RETRY <= self._gate.patience
