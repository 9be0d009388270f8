"""Checks that look into the shared table first, and ask the sidecar where that says nothing.

checks = SharedChecks(PooledClient(), SharedView())
decision = checks.check(shown, context="c1", ip=address)
"""

from __future__ import annotations

from collections.abc import Iterable

from stepup_client.connection.calls import AsyncCalls, Calls
from stepup_client.connection.protocol import Decision
from stepup_client.shared.view import SharedView, VerifiedToken


class SharedChecks:
    """Checks by a view, else by a client that blocks. Raises what the client raises."""

    def __init__(self, client: Calls, view: SharedView) -> None:
        self._client, self._view = client, view

    def check(
        self,
        shown: VerifiedToken,
        *,
        context: str | Iterable[str] = "",
        ip: str = "",
        user_agent: str = "",
    ) -> Decision:
        """Return whether a call with this token may pass."""
        contexts = _kept(context)
        if self._view.allows(shown, contexts, ip=ip, user_agent=user_agent):
            return _allowed(shown)
        return self._client.check(shown.token, context=contexts, ip=ip, user_agent=user_agent)


class AsyncSharedChecks:
    """Checks by a view, else by a client on an event loop. Raises what the client raises."""

    def __init__(self, client: AsyncCalls, view: SharedView) -> None:
        self._client, self._view = client, view

    async def check(
        self,
        shown: VerifiedToken,
        *,
        context: str | Iterable[str] = "",
        ip: str = "",
        user_agent: str = "",
    ) -> Decision:
        """Return whether a call with this token may pass."""
        contexts = _kept(context)
        if self._view.allows(shown, contexts, ip=ip, user_agent=user_agent):
            return _allowed(shown)
        return await self._client.check(shown.token, context=contexts, ip=ip, user_agent=user_agent)


def _kept(context: str | Iterable[str]) -> str | tuple[str, ...]:
    """Return the contexts so that they can be read twice."""
    return context if isinstance(context, str) else tuple(context)


def _allowed(shown: VerifiedToken) -> Decision:
    return Decision("allow", 200, session=shown.session, subject=shown.user)
