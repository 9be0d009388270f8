"""Verification of JWTs: from the text in a request to a `Token` that is believed.

Signatures are verified by PyJWT, with one concrete key and the algorithm that this key is for. All
else is decided here: the form (`wire.tokens.jws`), the keys (`wire.tokens.jwks`), the claims, which
PyJWT would read a second time, and the times, since it reads the clock itself and ours is an
argument.

It happens on the event loop: each token costs it once, some 0.2 ms (benchmarks/tokens.py), of
which a thread could take off less than half. After that `cached` answers in about 2 us.

What a token is bound to (`cnf`: RFC 9449, RFC 8705) is read here; that its client holds it is for
`service.checks.proof_of_possession`, which sees the call.
"""

import re
from collections import OrderedDict
from collections.abc import Iterable
from hashlib import blake2b
from typing import NamedTuple, TypeVar

import trio

from sidecar.adapters.tokens.cache import CachedToken, TokenCache
from sidecar.adapters.tokens.introspection import Introspector
from sidecar.adapters.tokens.keys import KeySource
from sidecar.service.ports.calls import Unavailable
from sidecar.wire.settings.settings import Tokens
from sidecar.wire.tokens.claims import Flaw, InvalidToken, Token, token_of, validity_of
from sidecar.wire.tokens.expectations import Configured, expected_of
from sidecar.wire.tokens.introspection import is_opaque
from sidecar.wire.tokens.issuer_limits import limited
from sidecar.wire.tokens.jwks import ALGORITHMS, Key, signed_by
from sidecar.wire.tokens.jws import Unverified, parted, read_jws
from sidecar.wire.tokens.registered_claims import check_registered

REFUSAL_LIFE = 5.0
"""Seconds for which a refused token is refused without another look."""

# What stays true of a token, whatever the clock says and whichever keys arrive.
_LASTING = frozenset(Flaw) - {
    Flaw.NOT_YET_VALID,  # soon it is
    Flaw.UNKNOWN_KEY,  # soon it may be known
    Flaw.TOO_LARGE,  # cheaper to measure than to digest
}


_CREDENTIALS = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # RFC 6750, section 2.1

_Entry = TypeVar("_Entry")

TRIED_BOUND = 256
"""Tokens that are remembered while their issuers are yet to be asked for keys that fit."""


class _Refused(NamedTuple):
    error: InvalidToken
    since: float
    source: KeySource | None
    generation: int


class _Unfitting(NamedTuple):
    """A token that was read, and the keys by which it is not signed; they are of a generation."""

    parts: Unverified
    source: KeySource
    keys: tuple[Key, ...]
    generation: int


class _Asking:
    """A verification that waits for its issuer; `trouble`: why the issuer has no keys."""

    __slots__ = ("done", "trouble")

    def __init__(self) -> None:
        self.done = trio.Event()
        self.trouble = ""


class TokenVerifier:
    """Verifies the tokens of the issuers whose `KeySource`s it is given, one for each issuer.

    Both caches are keyed by a digest, never the token, and hold `limit` entries at most (at first
    `settings.cache`, or what there is memory for), the least recently used leaving first. Of what
    is believed two texts of one token are one entry; what was refused is known by its text alone,
    as nothing of it was found true. An entry counts only within the token's own validity and while
    its issuer still has the key that signed it.
    """

    def __init__(
        self,
        sources: Iterable[KeySource],
        settings: Tokens,
        introspectors: Iterable[Introspector] = (),
        limit: int | None = None,
    ) -> None:
        self._limit = settings.cache if limit is None else limit
        self._believed = TokenCache(self._limit)
        self._refused: OrderedDict[bytes, _Refused] = OrderedDict()
        self._tried: OrderedDict[bytes, _Unfitting] = OrderedDict()
        self._asking: dict[bytes, _Asking] = {}
        self._wanted = frozenset[str]()
        self.replace(sources, settings, introspectors)

    def replace(
        self,
        sources: Iterable[KeySource],
        settings: Tokens,
        introspectors: Iterable[Introspector] = (),
    ) -> None:
        """Believe these issuers from now on, and forget what was believed before."""
        # The longest prefix first: it is the narrowest.
        self._introspectors = sorted(introspectors, key=lambda one: -len(one.prefix))
        self._sources = {source.issuer.issuer: source for source in sources}
        self._settings = settings
        # New ones, so that a verification under way cannot write into them.
        self._believed = TokenCache(self._limit)
        self._refused = OrderedDict()
        self._tried = OrderedDict()

    def __len__(self) -> int:
        return len(self._believed)

    @property
    def limit(self) -> int:
        """Return how many tokens are kept at most."""
        return self._limit

    @limit.setter
    def limit(self, limit: int) -> None:
        self._limit = limit
        self._believed.shrink(limit)
        while len(self._refused) > limit:
            self._refused.popitem(last=False)

    def want_claims(self, names: frozenset[str]) -> None:
        """Keep these claims, too: policies ask for them. What was read without them is dropped."""
        if names != self._wanted:
            self._wanted = names
            self._believed = TokenCache(self._limit)
        for introspector in self._introspectors:
            introspector.want_claims(names)

    def cached(self, token: str, now: float) -> Token | None:
        """Return the token if it was verified before and still counts.

        No cryptography, no waiting.
        """
        if not token.isascii() or len(token) > self._settings.max_bytes:
            return None
        return self._known(token, _digest(token), now)

    def _known(self, token: str, digest: bytes, now: float) -> Token | None:
        believed = self._believed
        kept = believed.find(digest)
        if kept is None:
            return self._confirmed(token, digest, now) if self._introspectors else None
        if kept.begins <= now < kept.ends and kept.source.holds(kept.key):
            believed.use(kept)
            return kept.token
        believed.drop(kept)
        return None

    def _confirmed(self, token: str, digest: bytes, now: float) -> Token | None:
        introspector = self._introspector(token)
        return None if introspector is None else introspector.cached(digest, now)

    def _introspector(self, token: str) -> Introspector | None:
        """Return who can be asked about an opaque token; None for a JWT, and where nobody can."""
        if not is_opaque(token):
            return None
        return next((one for one in self._introspectors if token.startswith(one.prefix)), None)

    async def verify(self, token: str, now: float, since: float = 0.0) -> Token:
        """Verify a token at `now`, seconds since the epoch.

        What an issuer said of an opaque token before `since` does not count.

        Raises `InvalidToken`; and `Unavailable` while its issuer's keys cannot be had. In that
        case *nothing* is known of the token: it must not be let pass, whatever the context's
        resilience says, since anybody can write such a token.
        """
        while True:
            believed = self._believed
            found = await self._verify(token, now, since)
            if self._believed is believed:
                return found
            # Meanwhile others are believed: whoever vouched for it may not be one of them.

    def verify_at_once(self, token: str, now: float) -> Token | None:
        """Verify a token as `verify` does, where no issuer has to be asked; else return None.

        Raises `InvalidToken`.
        """
        self._check_size(token)
        digest = _digest(token)
        known = self._known(token, digest, now)
        if known is not None or is_opaque(token):
            return known
        self._refuse_again(digest, now)
        found = self._try(token, digest, now)
        if isinstance(found, Token):
            return found
        _keep(self._tried, digest, found, TRIED_BOUND)
        return None

    async def _verify(self, token: str, now: float, since: float) -> Token:
        self._check_size(token)
        digest = _digest(token)
        known = self._known(token, digest, now)
        if known is not None and not 0 < known.confirmed_at < since:
            return known
        introspector = self._introspector(token)
        if introspector is not None:
            if not _CREDENTIALS.fullmatch(token):
                raise InvalidToken(Flaw.MALFORMED, "the token has characters that no token has")
            return await introspector.verify(token, digest, now, min(since, now))
        self._refuse_again(digest, now)
        under_way = self._asking.get(digest)
        if under_way is not None:  # several calls show it, and its issuer is asked already
            await under_way.done.wait()
            if under_way.trouble:
                raise Unavailable(under_way.trouble)
            return await self._verify(token, now, since)
        tried = self._tried.pop(digest, None)
        if tried is None or tried.source.generation != tried.generation:
            found = self._try(token, digest, now)
            if isinstance(found, Token):
                return found
            tried = found
        believed, refused = self._believed, self._refused
        asking = self._asking[digest] = _Asking()
        try:
            entry = await _by_other_keys(token, tried, now, self._wanted)
        except InvalidToken as refusal:
            raise self._refused_now(
                refusal, digest, tried.parts, tried.source, now, refused
            ) from None
        except Unavailable as error:
            asking.trouble = str(error)
            raise
        finally:
            del self._asking[digest]
            asking.done.set()
        return believed.keep(_digest(parted(token)[0]), digest, entry)

    def _check_size(self, token: str) -> None:
        if not token.isascii():
            raise InvalidToken(Flaw.MALFORMED, "the token is not ASCII")
        if len(token) > self._settings.max_bytes:
            raise InvalidToken(Flaw.TOO_LARGE, "the token is too large")

    def _try(self, token: str, digest: bytes, now: float) -> "Token | _Unfitting":
        """Verify a JWT by the keys that are held; return what was read if none of these fits."""
        source: KeySource | None = None
        parts: Unverified | None = None
        try:
            parts = read_jws(token, self._settings.max_bytes)
            source = self._source(parts)
            keys = source.held(parts.key_id, parts.algorithm)
            key = _signer(token, parts.algorithm, keys)
            if key is None:
                return _Unfitting(parts, source, keys, source.generation)
            entry = _entry_of(parts, source, key, now, self._wanted)
        except InvalidToken as refusal:
            raise self._refused_now(refusal, digest, parts, source, now, self._refused) from None
        return self._believed.keep(_digest(parted(token)[0]), digest, entry)

    def _refused_now(  # noqa: PLR0913, PLR0917 - a refusal, and what is known of its token
        self,
        refusal: InvalidToken,
        digest: bytes,
        parts: Unverified | None,
        source: KeySource | None,
        now: float,
        refused: OrderedDict[bytes, _Refused],
    ) -> InvalidToken:
        """Return a refusal with what was expected; one that stays true is remembered."""
        explained = self._with_expected(refusal, parts, now)
        if refusal.code in _LASTING:
            generation = source.generation if source else 0
            _keep(refused, digest, _Refused(explained, now, source, generation), self._limit)
        return explained

    def _source(self, parts: Unverified) -> KeySource:
        """Return the issuer that the token claims, if it may have written it. Not yet believed."""
        issuer = parts.claims.get("iss")
        if issuer is None:
            raise InvalidToken(Flaw.MISSING_CLAIM, "the iss claim is missing")
        source = self._sources.get(issuer) if isinstance(issuer, str) else None
        if source is None:
            raise InvalidToken(Flaw.UNKNOWN_ISSUER, "the token's issuer is not known here")
        if parts.algorithm not in source.issuer.algorithms or parts.algorithm not in ALGORITHMS:
            raise InvalidToken(Flaw.ALGORITHM_NOT_ALLOWED, "the token's algorithm is not allowed")
        if parts.type not in {name.lower() for name in source.issuer.types}:
            raise InvalidToken(Flaw.TYPE_NOT_ALLOWED, "the token's type is not allowed")
        return source

    def _refuse_again(self, digest: bytes, now: float) -> None:
        entry = self._refused.get(digest)
        if entry is None:
            return
        fresh = 0 <= now - entry.since < REFUSAL_LIFE
        if fresh and (entry.source is None or entry.source.generation == entry.generation):
            # A new one each time: tracebacks grow on exceptions that are raised twice.
            raise _again(entry.error)
        del self._refused[digest]

    def _with_expected(
        self, refusal: InvalidToken, parts: Unverified | None, now: float
    ) -> InvalidToken:
        """Return the refusal with what was expected of the token."""
        if parts is None:
            return _again(refusal)
        name = parts.claims.get("iss")
        source = self._sources.get(name) if isinstance(name, str) else None
        issuer = source.issuer if source is not None else None
        keys = source.key_ids if source is not None else ()
        code, configured = refusal.code, Configured(tuple(self._sources), issuer, keys)
        expected = expected_of(code, parts, configured, now)
        whose = issuer.issuer if issuer is not None else ""
        return InvalidToken(code, refusal.description, refusal.expected or expected, whose)


def _again(error: InvalidToken) -> InvalidToken:
    return InvalidToken(error.code, error.description, error.expected, error.issuer)


async def _by_other_keys(
    token: str, tried: _Unfitting, now: float, wanted: frozenset[str]
) -> CachedToken:
    """Verify a token by keys that its issuer is asked for, as none that was held fits."""
    parts, source, keys, _ = tried
    key: Key | None = None
    if not keys:
        keys = await source.find(parts.key_id, parts.algorithm)
        if not keys:
            raise InvalidToken(Flaw.UNKNOWN_KEY, "the key that signed the token is not known")
        key = _signer(token, parts.algorithm, keys)
    # A rotation without a `kid`, or within one, shows only as a signature that does not fit.
    if key is None and await source.renewed(keys):
        key = _signer(token, parts.algorithm, source.held(parts.key_id, parts.algorithm))
    if key is None:
        raise InvalidToken(Flaw.BAD_SIGNATURE, "the signature does not fit")
    return _entry_of(parts, source, key, now, wanted)


def _entry_of(
    parts: Unverified, source: KeySource, key: Key, now: float, wanted: frozenset[str]
) -> CachedToken:
    """Return a token whose signature fits as it is kept; raises `InvalidToken`."""
    issuer = source.issuer
    check_registered(parts.claims, issuer)
    validity = validity_of(parts.claims, issuer)
    validity.check(now)
    read = limited(token_of(parts.claims, issuer, wanted), issuer)
    return CachedToken(read, validity, source, key.id)


def _signer(token: str, algorithm: str, keys: tuple[Key, ...]) -> Key | None:
    """Return the key that signed; None if it is none of these.

    `algorithm` is one of the allow-list, and one of each of these very keys.
    """
    return next((key for key in keys if signed_by(token, algorithm, key.public)), None)


def _digest(token: str) -> bytes:
    return blake2b(token.encode(), digest_size=32).digest()


def _keep(cache: OrderedDict[bytes, _Entry], digest: bytes, entry: _Entry, bound: int) -> None:
    cache[digest] = entry
    cache.move_to_end(digest)
    while len(cache) > bound:
        cache.popitem(last=False)
