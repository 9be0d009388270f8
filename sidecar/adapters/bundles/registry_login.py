"""Shows a registry who asks: a token as it is, or one that its token server gives for a password.

The flow is that of the distribution specification: the registry answers 401 and names a token
server, which is asked for a token, with user and password where these are configured; the token is
shown from then on, for as long as it is good. The password is shown to the registry's own host and
to `token_server` alone: a registry that names another one gets nothing there.
"""

import base64
import ssl
from collections.abc import Callable, Sequence

import httpx
import trio

from sidecar.adapters.bundles.http import unavailable
from sidecar.adapters.http.causes import (
    call_failures,
    calling,
    cause_of,
    invalid_addresses,
    shown_url,
    tls_context,
)
from sidecar.adapters.tokens.documents import body_of
from sidecar.domain.values.causes import words_of
from sidecar.service.ports.calls import Unavailable
from sidecar.wire.bundles.settings import PolicyBundles
from sidecar.wire.bundles.token_challenge import (
    GrantedToken,
    InvalidGrant,
    TokenChallenge,
    read_challenges,
    read_grant,
)
from sidecar.wire.checks.reach import is_loopback

EARLY = 10.0
"""Seconds before its end at which a token is shown no more."""


class RegistryLogin:
    """Shows what the registry of `settings().oci` asks for."""

    def __init__(
        self,
        settings: Callable[[], PolicyBundles],
        monotonic: Callable[[], float] = trio.current_time,
    ) -> None:
        self._settings = settings
        self._monotonic = monotonic
        self._granted = ""
        self._until = float("-inf")
        self._basic = False
        self._tls: ssl.SSLContext | None = None

    def shown(self) -> str:
        """Return what is shown now; empty: nothing."""
        settings = self._settings()
        if settings.token:
            return f"Bearer {settings.token}"
        if self._basic:
            return _basic(settings)
        return f"Bearer {self._granted}" if self._monotonic() < self._until else ""

    async def challenged(self, url: httpx.URL, challenges: Sequence[str]) -> bool:
        """Get a token where one is asked for; return whether asking again may help.

        Raises `InvalidBundle`.
        """
        settings = self._settings()
        if settings.token:
            return False
        asked = read_challenges(challenges)
        if isinstance(asked, TokenChallenge):
            granted = await self._grant(url, asked, settings)
            self._granted = granted.token
            self._until = self._monotonic() + granted.seconds - EARLY
            return True
        self._basic = asked == "basic" and bool(settings.username) and not self._basic
        return self._basic

    async def _grant(
        self, registry: httpx.URL, asked: TokenChallenge, settings: PolicyBundles
    ) -> GrantedToken:
        realm = self._realm(registry, asked, settings)
        query = {name: one for name, one in asked._asdict().items() if name != "realm" and one}
        headers = {"Authorization": _basic(settings)} if settings.username else {}
        where = shown_url(realm)
        try:
            client = calling(self._context(), realm.host)
            async with client, client.stream("GET", realm, params=query, headers=headers) as answer:
                return read_grant(await body_of(answer))
        except call_failures() as error:
            raise unavailable(cause_of(error, realm)) from None
        except (Unavailable, InvalidGrant) as error:
            raise unavailable(f"no token from {where}: {words_of(error)}") from None

    def _realm(
        self, registry: httpx.URL, asked: TokenChallenge, settings: PolicyBundles
    ) -> httpx.URL:
        """Return the token server that is asked. Raises `InvalidBundle` for one that may not be."""
        try:
            realm = httpx.URL(asked.realm)
            trusted = httpx.URL(settings.token_server).host
        except invalid_addresses():
            raise unavailable(f"{registry.host} names no token server") from None
        near = is_loopback(realm.host) and is_loopback(registry.host)
        if realm.scheme != "https" and not near:
            raise unavailable(f"{registry.host} names a token server that is not https")
        if realm.userinfo or realm.host not in {registry.host, trusted}:
            message = f"{registry.host} names the token server {realm.host}"
            raise unavailable(f"{message}, which is not policies.bundle.token_server")
        return realm

    def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = tls_context()
        return self._tls


def _basic(settings: PolicyBundles) -> str:
    """Return user and password as RFC 7617 has them; empty: there are none."""
    if not settings.username:
        return ""
    both = f"{settings.username}:{settings.password}".encode()
    return f"Basic {base64.b64encode(both).decode()}"
