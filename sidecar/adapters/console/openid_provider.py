"""Asks the OpenID provider of the console: what it offers, and whose a code is.

What it offers, and its keys, are asked for again after `FRESH`. Without them nobody can sign in
this way, and who has a credential still can: so nothing older stands in for them.
"""

import ssl
from collections.abc import Awaitable, Mapping
from http import HTTPStatus
from typing import NamedTuple, TypeVar
from urllib.parse import urlsplit

import trio

from sidecar.adapters.http.causes import call_failures, calling, cause_of, tls_context
from sidecar.adapters.tokens.documents import Documents, body_of, check_onward
from sidecar.adapters.tokens.issuer_signatures import unsigned
from sidecar.adapters.tokens.keys import KeySource, metadata_addresses
from sidecar.service.ports.calls import Unavailable
from sidecar.wire.checks.url_credentials import without_credentials
from sidecar.wire.console.openid import (
    InvalidProvider,
    ProviderEndpoints,
    ProviderPerson,
    believed_issuer,
    endpoints_of,
    person_of,
    redemption_of,
)
from sidecar.wire.settings.admin import OpenIdSettings
from sidecar.wire.settings.tokens import Tokens
from sidecar.wire.tokens.claims import Flaw, InvalidToken
from sidecar.wire.tokens.jws import bounded_object, read_jws

FRESH = 300.0
"""Seconds for which the metadata and the keys count."""

PAUSE = 1.0
"""Seconds for which a provider is left alone that could not be asked."""

AT_ONCE = 8
"""Codes that are redeemed at a time; another one waits for its next try."""

MAX_ID_TOKEN = 65536

_SAID_NO = (HTTPStatus.BAD_REQUEST, HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)


_T = TypeVar("_T")


class ProviderRefused(Exception):  # noqa: N818 - named by who must act: the provider
    """The provider gives no token for a code, with this error code."""


class _Known(NamedTuple):
    endpoints: ProviderEndpoints
    keys: KeySource
    tls: ssl.SSLContext
    until: float


class OpenIdProvider:
    """One provider, as it is configured for its whole life here.

    `tls` None: the authorities of the system are trusted.
    """

    def __init__(self, openid: OpenIdSettings, tls: ssl.SSLContext | None = None) -> None:
        self.openid = openid
        self._tls = tls
        self._turn = trio.Lock()
        self._places = trio.Semaphore(AT_ONCE)
        self._known: _Known | None = None
        self._trouble = ""
        self._paused_until = 0.0

    async def endpoints(self) -> ProviderEndpoints:
        """Return where the provider is asked. Raises `Unavailable`, after `timeout` at most."""
        return (await self._within(self._asked())).endpoints

    async def redeem(self, code: str, verifier: str, nonce: str, now: float) -> ProviderPerson:
        """Return who signed in, of a code; `now` is in seconds since the epoch.

        Raises `ProviderRefused`, `InvalidToken`; `Unavailable`, after `timeout` at most.
        """
        try:
            self._places.acquire_nowait()
        except trio.WouldBlock:
            raise Unavailable("too many sign-ins are under way: try again") from None
        try:
            return await self._within(self._redeemed(code, verifier, nonce, now))
        finally:
            self._places.release()

    async def _within(self, asking: Awaitable[_T]) -> _T:
        try:
            with trio.fail_after(self.openid.timeout):
                return await asking
        except trio.TooSlowError:
            raise Unavailable(f"{self._where}: it did not answer in time") from None
        except InvalidProvider as error:
            raise Unavailable(f"{self._where}: {error}") from None

    @property
    def _where(self) -> str:
        return without_credentials(self.openid.issuer)

    async def _asked(self) -> _Known:
        """Return what the provider offers, asked for lately; callers share a question."""
        async with self._turn:
            now = trio.current_time()
            if self._known is not None and now < self._known.until:
                return self._known
            self._known = None
            if now < self._paused_until:
                raise Unavailable(self._trouble)
            found: dict[str, object] = {}
            self._trouble = f"{self._where}: it did not answer in time"
            try:
                self._known = await self._ask(found)
            except (Unavailable, InvalidProvider) as error:
                self._trouble = str(error)
                raise
            finally:
                self._paused_until = trio.current_time() + PAUSE
            return self._known

    async def _ask(self, found: dict[str, object]) -> _Known:
        if self._tls is None:  # to read the authorities takes longer than the loop has
            self._tls = await trio.to_thread.run_sync(tls_context)
        tls = self._tls
        keys = KeySource(
            believed_issuer(self.openid),
            Tokens(jwks_timeout=self.openid.timeout),
            documents=Documents(tls),
            on_metadata=found.update,
        )
        await keys.renew()
        if not keys.ready:
            trouble = keys.trouble
            raise Unavailable(trouble if "://" in trouble else f"{self._where}: {trouble}")
        endpoints = endpoints_of(found)
        check_onward(metadata_addresses(self.openid.issuer)[0], endpoints.token)
        return _Known(endpoints, keys, tls, trio.current_time() + FRESH)

    async def _redeemed(self, code: str, verifier: str, nonce: str, now: float) -> ProviderPerson:
        known = await self._asked()
        text = _id_token_of(await self._post(known, code, verifier))
        parts = read_jws(text, MAX_ID_TOKEN)
        flaw = await unsigned(text, parts, self.openid.algorithms, known.keys)
        if flaw is not None:
            raise InvalidToken(Flaw.BAD_SIGNATURE, flaw)
        return person_of(parts, self.openid, nonce, now)

    async def _post(self, known: _Known, code: str, verifier: str) -> Mapping[str, object]:
        """Return what the token endpoint says of a code, once: a code is for one attempt."""
        form, headers = redemption_of(self.openid, known.endpoints, code, verifier)
        address = known.endpoints.token
        try:
            client = calling(known.tls, urlsplit(address).hostname or "")
            async with (
                client,
                client.stream("POST", address, data=form, headers=headers) as response,
            ):
                status = response.status_code
                if status in _SAID_NO:
                    own = status == HTTPStatus.UNAUTHORIZED
                    cure = "it refuses our own credentials" if own else "it refuses the code"
                    raise ProviderRefused(f"{cure} (status {status})")
                body = await body_of(response)
        except call_failures() as error:
            raise Unavailable(cause_of(error, address)) from None
        try:
            return bounded_object(body)
        except ValueError:
            raise InvalidProvider("its answer is not a plain JSON object") from None


def _id_token_of(answer: Mapping[str, object]) -> str:
    text = answer.get("id_token")
    if not isinstance(text, str) or not text.isascii():
        raise InvalidProvider("its answer has no ID token")
    return text
