"""Opaque tokens: their issuer is asked (RFC 7662), and the answer kept for a while.

A positive answer counts for `cache_for` and never longer than the token; a negative one for
`cache_refusals_for`. Both caches are keyed by a digest of the token and bounded. Concurrent callers
with one token share a question. With the issuer slow or gone, questions pause (`circuit_breaker`);
a token that was active a short while ago (`max_staleness`) is then handed out as `unconfirmed`, and
nothing is said of one that is new.

An answer that says nothing concerns the token that was asked about and no other: that one is not
asked about again for `FIRST_PAUSE`. So do a 400, with which some issuers and firewalls answer to
what is no token of theirs, and a 403. Failures of the issuer are: no connection, no answer in time,
a status from 500 on, 429, and 401, which is about our own credential.
"""

from __future__ import annotations

import contextlib
import math
import random
import uuid
from collections import OrderedDict
from collections.abc import Callable
from enum import StrEnum
from http import HTTPStatus
from typing import NamedTuple, TypeAlias, TypeVar

import httpx
import msgspec
import trio
from jwt.api_jwt import encode
from jwt.exceptions import PyJWTError

from sidecar.adapters.http.causes import call_failures, cause_of
from sidecar.adapters.tokens.circuit_breaker import FIRST_PAUSE, Breaker
from sidecar.adapters.tokens.documents import MAX_BYTES, body_of, client_for, read_file
from sidecar.adapters.tokens.issuer_signatures import Unsigned, unsigned
from sidecar.adapters.tokens.keys import KeySource
from sidecar.service.ports.calls import Unavailable
from sidecar.wire.checks.url_credentials import without_credentials
from sidecar.wire.settings.settings import Issuer
from sidecar.wire.tokens.claims import InvalidToken, Token
from sidecar.wire.tokens.introspection import (
    ANSWER_TYPES,
    ActiveToken,
    InvalidAnswer,
    assertion_claims,
    authorization,
    plain_answer,
    question,
    read_answer,
    signed_answer,
)
from sidecar.wire.tokens.jws import read_jws

_OF_THE_ISSUER = (HTTPStatus.UNAUTHORIZED, HTTPStatus.TOO_MANY_REQUESTS)


class IntrospectionOutcome(StrEnum):
    """The outcome of a question: a closed set, fit for a metric's label."""

    ACTIVE = "active"
    REFUSED = "refused"  # not active, or not for us
    INVALID = "invalid"  # an answer that says nothing of the token
    FAILED = "failed"  # no answer: the issuer's failure, or ours
    SKIPPED = "skipped"  # not asked: it failed just now


OnAnswer: TypeAlias = Callable[[str, IntrospectionOutcome, float, str], None]
"""Is called for each question: issuer, outcome, seconds, and why there was no answer."""


def _ignore(issuer: str, outcome: IntrospectionOutcome, seconds: float, detail: str) -> None:
    """Do nothing."""


class _Known(NamedTuple):
    """The last answer about a token that was active."""

    believed: ActiveToken
    unconfirmed: Token


class _Refusal(NamedTuple):
    error: InvalidToken
    since: float


_Entry = TypeVar("_Entry")


class Introspector:
    """Asks one issuer about its opaque tokens. `run` must be running.

    `keys` are the issuer's, where its answers are signed.
    """

    def __init__(
        self,
        issuer: Issuer,
        bound: int,
        *,
        keys: KeySource | None = None,
        on_answer: OnAnswer = _ignore,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.issuer = issuer
        self._settings = issuer.introspection
        self.bound = bound
        self.keys = keys
        self._on_answer = on_answer
        self._breaker = Breaker(jitter)
        self._wanted = frozenset[str]()
        self._known: OrderedDict[bytes, _Known] = OrderedDict()
        self._refused: OrderedDict[bytes, _Refusal] = OrderedDict()
        self._asking: dict[bytes, trio.Event] = {}
        self._set_aside: OrderedDict[bytes, float] = OrderedDict()
        concurrent = self._settings.concurrent
        self._turns = trio.Semaphore(concurrent)
        # A quarter is kept for tokens that were active, which nobody can make up.
        self._turns_of_new = trio.Semaphore(concurrent - concurrent // 4)
        self._client: httpx.AsyncClient | None = None
        self._trouble = "it is not asked yet"

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Hold the connections open until cancelled."""
        try:
            client = client_for(self._settings.endpoint)
        except Unavailable as error:  # a reload must not end by what the environment has wrong
            self._trouble = str(error)
            task_status.started()
            await trio.sleep_forever()
        async with client:
            self._client = client
            task_status.started()
            try:
                await trio.sleep_forever()
            finally:
                self._client = None

    def show(self, issuer: Issuer) -> None:
        """Be known to the issuer by these secrets from now on; all else must be as it was.

        What it refused by others it may answer now: it is asked at once.
        """
        if issuer.introspection != self._settings:
            self._breaker.answered()
        self.issuer, self._settings = issuer, issuer.introspection

    @property
    def _where(self) -> str:
        return without_credentials(self._settings.endpoint)

    @property
    def prefix(self) -> str:
        """Return what this issuer's opaque tokens begin with."""
        return self._settings.prefix

    def want_claims(self, names: frozenset[str]) -> None:
        """Keep these claims, too: policies ask for them. What was read without them is dropped."""
        if names != self._wanted:
            self._wanted = names
            self._known.clear()

    def cached(self, digest: bytes, now: float, since: float = 0.0) -> Token | None:
        """Return the token if it was confirmed lately, and not before `since`.

        Nothing is waited for.
        """
        known = self._known.get(digest)
        if known is None:
            return None
        token, validity = known.believed
        age = now - token.confirmed_at
        if token.confirmed_at < since or not 0 <= age < self._settings.cache_for:
            return None
        if not validity.begins <= now < validity.ends:
            return None
        self._known.move_to_end(digest)
        return token

    async def verify(self, token: str, digest: bytes, now: float, since: float = 0.0) -> Token:
        """Return what the issuer says of the token, no older than `since` (seconds; at most `now`).

        Raises `InvalidToken`; and `Unavailable` where nothing is known of it.
        """
        while True:
            found = self.cached(digest, now, since)
            if found is not None:
                return found
            self._refuse_again(digest, now)
            under_way = self._asking.get(digest)
            if under_way is None:
                return await self._ask(token, digest, now)
            await under_way.wait()

    def _refuse_again(self, digest: bytes, now: float) -> None:
        refusal = self._refused.get(digest)
        if refusal is None:
            return
        if 0 <= now - refusal.since < self._settings.cache_refusals_for:
            known = refusal.error
            raise InvalidToken(known.code, known.description, known.expected, known.issuer)
        del self._refused[digest]

    async def _ask(self, token: str, digest: bytes, now: float) -> Token:
        self._asking[digest] = done = trio.Event()
        began = trio.current_time()
        outcome, detail = IntrospectionOutcome.ACTIVE, ""
        try:
            wanted = self._wanted
            answer = await self._answer(token, digest, now)
            believed = read_answer(answer, self.issuer, now, wanted)
        except InvalidToken as error:
            outcome = IntrospectionOutcome.REFUSED
            self._breaker.answered()
            self._known.pop(digest, None)
            error.issuer = error.issuer or self.issuer.issuer
            _keep(self._refused, digest, _Refusal(error.with_traceback(None), now), self.bound)
            raise
        except (InvalidAnswer, _Failed) as error:
            outcome = (
                IntrospectionOutcome.INVALID
                if isinstance(error, InvalidAnswer)
                else IntrospectionOutcome.FAILED
            )
            detail = str(error)
            if isinstance(error, _IssuerFailed):
                self._breaker.failed(digest)
            until = trio.current_time() + FIRST_PAUSE
            _keep(self._set_aside, digest, until, self.bound)
            return self._unconfirmed(digest, now)
        except _Paused:
            outcome = IntrospectionOutcome.SKIPPED
            return self._unconfirmed(digest, now)
        except trio.Cancelled:
            outcome, detail = IntrospectionOutcome.FAILED, "nobody waits for the answer any more"
            raise
        else:
            self._breaker.answered()
            unconfirmed = msgspec.structs.replace(believed.token, unconfirmed=True)
            if wanted == self._wanted:
                _keep(self._known, digest, _Known(believed, unconfirmed), self.bound)
            return believed.token
        finally:
            self._breaker.ended(digest)
            del self._asking[digest]
            done.set()
            self._on_answer(self.issuer.issuer, outcome, trio.current_time() - began, detail)

    def _unconfirmed(self, digest: bytes, now: float) -> Token:
        """Return the token as it was known lately; raises `Unavailable` where it was not."""
        known = self._known.get(digest)
        if known is not None:
            validity = known.believed.validity
            age = now - known.unconfirmed.confirmed_at
            longest = self._settings.cache_for + self._settings.max_staleness
            if 0 <= age < longest and validity.begins <= now < validity.ends:
                return known.unconfirmed
        raise Unavailable("the token's issuer cannot be asked about it")

    # The question

    async def _answer(self, token: str, digest: bytes, now: float) -> dict[str, object]:
        """Return what a 200 answer says; raises `InvalidAnswer`, `_Failed` or `_Paused`."""
        known = digest in self._known
        if trio.current_time() < self._set_aside.get(digest, -math.inf):
            raise _Paused
        if not self._breaker.admit(digest, known=known):
            raise _Paused
        is_asked = False
        try:
            with trio.fail_after(self._settings.timeout):
                async with contextlib.nullcontext() if known else self._turns_of_new, self._turns:
                    is_asked = True
                    body = await self._post(token, now)
                return await self._opened(body, now) if self.keys else plain_answer(body)
        except trio.TooSlowError:
            if not is_asked:
                raise _Failed("too many other questions are under way") from None
            raise _IssuerFailed(f"{self._where}: it did not answer in time") from None
        except Unavailable as error:
            raise _Failed(str(error)) from error
        except call_failures() as error:
            raise _IssuerFailed(cause_of(error, self._settings.endpoint)) from None

    async def _post(self, token: str, now: float) -> bytes:
        if self._client is None:
            raise Unavailable(self._trouble)
        settings = self._settings
        assertion = await self._assertion(now) if settings.private_key_file else ""
        asked = question(token, assertion)
        headers = authorization(settings)
        if self.keys is not None:
            headers["Accept"] = f"application/{ANSWER_TYPES[0]}"
        address = settings.endpoint
        async with self._client.stream("POST", address, data=asked, headers=headers) as response:
            status = response.status_code
            if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _OF_THE_ISSUER:
                refused = status == HTTPStatus.UNAUTHORIZED
                cure = "; it refuses our own credentials" if refused else ""
                raise _IssuerFailed(f"{self._where}: the answer has status {status}{cure}")
            try:
                return await body_of(response)
            except Unavailable as error:
                raise InvalidAnswer(f"{self._where}: {error}") from None

    async def _opened(self, body: bytes, now: float) -> dict[str, object]:
        """Return what a signed answer says (RFC 9701); one that is not signed is none."""
        try:
            text = body.decode("ascii").strip()
            parts = read_jws(text, MAX_BYTES)
        except (UnicodeDecodeError, InvalidToken):
            raise InvalidAnswer("the answer is no signed JWT") from None
        if self.keys is None:
            raise InvalidAnswer(f"the answer: {Unsigned.ALGORITHM}")
        fault = await unsigned(text, parts, self.issuer.algorithms, self.keys)
        if fault is not None:
            raise InvalidAnswer(f"the answer: {fault}")
        return signed_answer(parts, self.issuer, now)

    async def _assertion(self, now: float) -> str:
        """Return a fresh assertion.

        The key is read each time, so that a new one needs no restart.
        """
        settings = self._settings
        pem = await read_file(settings.private_key_file)
        headers = {"kid": settings.private_key_id} if settings.private_key_id else None
        claims = assertion_claims(self.issuer, now, uuid.uuid4().hex)
        try:
            return encode(claims, pem, settings.private_key_algorithm, headers=headers)
        except (PyJWTError, ValueError, TypeError):
            raise Unavailable("the private key is not one for its algorithm") from None


class _Failed(Exception):  # noqa: N818 - stays in here
    """There was no answer."""


class _IssuerFailed(_Failed):
    """The issuer itself failed, whatever it was asked about."""


class _Paused(Exception):  # noqa: N818 - stays in here
    """It failed just now, and is left alone for a while."""


def _keep(cache: OrderedDict[bytes, _Entry], digest: bytes, entry: _Entry, bound: int) -> None:
    cache[digest] = entry
    cache.move_to_end(digest)
    while len(cache) > bound:
        cache.popitem(last=False)
