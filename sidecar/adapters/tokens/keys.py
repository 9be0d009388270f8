"""The keys of one issuer, kept fresh.

They are fetched again on schedule, when a file changes (`reload`), and at once when a token names
a key that is not held: an issuer may have rotated a second ago. Tokens are free to make, so the
last way is bounded: concurrent callers share one fetch, and a token bucket allows a burst of
`BURST` and then one fetch every `jwks_min_interval`, whatever arrives.

When a fetch fails or brings no usable keys, those held stay, for `jwks_max_staleness` at most.
A key that a good document no longer has is gone at once, for cached tokens too (`holds`).
"""

import math
import random
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum

import trio

from sidecar.adapters.tokens.documents import Documents, Unanswered, check_onward, read_file
from sidecar.domain.values.plural import counted
from sidecar.service.ports.backoff import doubled, spread
from sidecar.service.ports.calls import Unavailable
from sidecar.wire.checks.url_credentials import without_credentials
from sidecar.wire.settings.settings import Issuer, Tokens
from sidecar.wire.tokens.jwks import InvalidKeySet, Key, KeySet, key_set_of
from sidecar.wire.tokens.jws import bounded_object
from sidecar.wire.yaml.tree import shown

BURST = 3
FIRST_RETRY = 1.0


class Refresh(StrEnum):
    """The outcome of a refresh. `FAILED`, `REFUSED`: old keys stay. `STALE`: they were dropped."""

    DONE = "done"
    FAILED = "failed"
    REFUSED = "refused"
    STALE = "stale"


def _ignore(issuer: str, outcome: Refresh, detail: str) -> None:
    """Do nothing."""


def _unread(metadata: Mapping[str, object]) -> None:
    """Do nothing."""


class KeySource:
    """One issuer's keys. `run` keeps them fresh; `find` may be called without it.

    `trouble` says why the last fetch failed; `named` is the other issuer that metadata were of.
    `on_refresh(issuer, outcome, detail)` is called for each refresh; `detail` is a sentence without
    anything a token said. `addresses` gives where the issuer's metadata may lie, the likeliest
    first; `on_metadata` is handed what was found there.
    """

    def __init__(  # noqa: PLR0913 - ports and hooks, by name
        self,
        issuer: Issuer,
        settings: Tokens,
        *,
        documents: Documents | None = None,
        on_refresh: Callable[[str, Refresh, str], None] = _ignore,
        jitter: Callable[[], float] = random.random,
        addresses: Callable[[str], tuple[str, ...]] | None = None,
        on_metadata: Callable[[Mapping[str, object]], None] = _unread,
    ) -> None:
        self.issuer = issuer
        self._settings = settings
        self._documents = documents or Documents()
        self._on_refresh = on_refresh
        self._jitter = jitter
        self._addresses = addresses or metadata_addresses
        self._on_metadata = on_metadata
        self._keys = KeySet()
        self._fetched_at = -math.inf
        self._discovered = ""
        self._wake = trio.Event()
        self._turn = trio.Lock()
        self._bucket = _Bucket(BURST, settings.jwks_min_interval)
        self._begun = 0
        self._done = 0
        self._failures = 0
        self.generation = 0
        self.trouble = "they were not fetched yet"
        self.named = ""

    def configure(self, issuer: Issuer, settings: Tokens) -> None:
        """Go on as configured now; keys come from where they came from."""
        self.issuer = issuer
        if settings.jwks_min_interval != self._settings.jwks_min_interval:
            self._bucket = _Bucket(BURST, settings.jwks_min_interval)
        self._settings = settings

    @property
    def ready(self) -> bool:
        """Return whether any keys are held."""
        return bool(self._keys.ids)

    def holds(self, key: str) -> bool:
        """Return whether the key of this `Key.id` still counts."""
        return key in self._keys.ids

    @property
    def key_ids(self) -> tuple[str | None, ...]:
        """Return what the keys held are called."""
        return self._keys.key_ids

    def held(self, key_id: str | None, algorithm: str) -> tuple[Key, ...]:
        """Return the keys held that may have signed such a token; few (`MAX_CANDIDATES`)."""
        return self._keys.candidates(key_id, algorithm)

    async def find(self, key_id: str | None, algorithm: str) -> tuple[Key, ...]:
        """Return the keys that may have signed such a token; ask the issuer if none is held.

        Raises `Unavailable` while no keys at all are held: then nothing can be said of any token.
        """
        keys = self.held(key_id, algorithm)
        if not keys and await self.renew():
            keys = self.held(key_id, algorithm)
        if not keys and not self.ready:
            raise Unavailable(f"the issuer's keys are not available: {self.trouble}")
        return keys

    async def renew(self) -> bool:
        """Ask the issuer now; return False where it was asked too often.

        Concurrent callers share a fetch, but only one that began after they called: an older one
        may have missed the news.
        """
        called_at = self._begun
        async with self._turn:
            if self._done > called_at:
                return True
            if not self._bucket.take(trio.current_time()):
                return False
            await self._refresh(rediscover=False)
            return True

    async def renewed(self, tried: Sequence[Key]) -> bool:
        """Ask the issuer, as `renew` does, for others than these, which did not sign.

        Whether its keys have changed. Anybody can show a signature that does not fit, so this too
        is bounded by the bucket of all fetches; what a fetch brings counts for all.
        """
        if all(map(self.holds, (key.id for key in tried))):
            before = self.generation
            await self.renew()
            return self.generation != before
        return True

    def reload(self) -> None:
        """Have `run` refresh at once: the file changed, or the operator asked."""
        self._wake.set()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Refresh on schedule, for ever. Started once the first try is over, well or badly."""
        await self._refresh_on_schedule()
        task_status.started()
        while True:
            with trio.move_on_after(self._pause()):
                await self._wake.wait()
            self._wake = trio.Event()  # before the fetch: a change during it counts again
            await self._refresh_on_schedule()

    async def _refresh_on_schedule(self) -> None:
        async with self._turn:
            await self._refresh(rediscover=True)
            if self.ready and trio.current_time() >= self._stale_at():
                self._adopt(KeySet())
                self._on_refresh(self.issuer.issuer, Refresh.STALE, "the keys are too old")

    def _pause(self) -> float:
        longest = self._settings.jwks_refresh
        if self._failures:
            longest = doubled(FIRST_RETRY, longest, self._failures - 1)
        pause = spread(longest, self._jitter(), 0.2)
        if self.ready:
            pause = min(pause, max(0.0, self._stale_at() - trio.current_time()))
        return pause

    def _stale_at(self) -> float:
        return self._fetched_at + self._settings.jwks_max_staleness

    async def _refresh(self, *, rediscover: bool) -> None:
        # Only within `_turn`. A cancelled refresh is not done: the next in line tries again.
        self._begun += 1
        try:
            keys = key_set_of(await self._document(rediscover=rediscover))
        except Unavailable as error:
            outcome, detail = Refresh.FAILED, str(error)
        except InvalidKeySet as error:
            outcome, detail = Refresh.REFUSED, str(error)
        else:
            outcome, detail = Refresh.DONE, counted(len(keys.ids), "usable key")
            self._fetched_at = trio.current_time()
            self._adopt(keys)
        self._failures = 0 if outcome is Refresh.DONE else self._failures + 1
        self._done = self._begun
        self.trouble = "" if outcome is Refresh.DONE else detail
        self._on_refresh(self.issuer.issuer, outcome, detail)

    def _adopt(self, keys: KeySet) -> None:
        if keys.ids != self._keys.ids:
            self.generation += 1
        self._keys = keys

    async def _document(self, *, rediscover: bool) -> bytes:
        if self.issuer.jwks_file:
            return await read_file(self.issuer.jwks_file)
        try:
            with trio.fail_after(self._settings.jwks_timeout):
                return await self._documents.fetch(await self._address(rediscover=rediscover))
        except trio.TooSlowError:
            where = self._discovered or self.issuer.jwks_uri or self.issuer.issuer
            raise Unavailable(f"{without_credentials(where)}: did not answer in time") from None

    async def _address(self, *, rediscover: bool) -> str:
        if self.issuer.jwks_uri:
            return self.issuer.jwks_uri
        if rediscover or not self._discovered:
            self._discovered = await self._discover()
        return self._discovered

    async def _discover(self) -> str:
        """Ask for the issuer's metadata, in turn where it may lie."""
        address, raw = await self._metadata()
        try:
            metadata = bounded_object(raw)
        except ValueError:
            raise InvalidKeySet(f"{address}: is not a plain JSON object") from None
        found = metadata.get("issuer")
        if found != self.issuer.issuer:
            self.named = found if isinstance(found, str) else ""
            raise InvalidKeySet(f"{address}: {_of_another(metadata, self.issuer.issuer)}")
        jwks_uri = metadata.get("jwks_uri")
        if not isinstance(jwks_uri, str):
            raise InvalidKeySet(f"{address}: the metadata has no jwks_uri")
        check_onward(address, jwks_uri)
        self._on_metadata(metadata)
        return jwks_uri

    async def _metadata(self) -> tuple[str, bytes]:
        """Return the metadata, and where it was.

        Where none answers well, the error is of an address at which there is something: a 404
        says only that the issuer follows another standard.
        """
        failures: list[Unavailable] = []
        for address in self._addresses(self.issuer.issuer):
            try:
                return address, await self._documents.fetch(address)
            except Unavailable as error:
                failures.append(error)
        present = [
            one for one in failures if not (isinstance(one, Unanswered) and one.status == 404)
        ]
        raise (present or failures)[0]


def _of_another(metadata: Mapping[str, object], wanted: str) -> str:
    """Say that metadata are not those of the issuer that is wanted, and whose they are."""
    found = metadata.get("issuer")
    if not isinstance(found, str):
        return "the metadata name no issuer"
    words = f"the metadata are of the issuer {shown(found)!r}, and {wanted!r} is configured"
    alike = found.rstrip("/") == wanted.rstrip("/")
    return f"{words}; they differ by the slash at the end" if alike else words


def metadata_addresses(issuer: str) -> tuple[str, str]:
    """Return where an identity provider's metadata lies.

    OpenID Connect Discovery 1.0, section 4; where there is none, RFC 8414, section 3.
    """
    base = issuer.removesuffix("/")
    scheme, _, rest = base.partition("://")
    host, slash, path = rest.partition("/")
    return (
        f"{base}/.well-known/openid-configuration",
        f"{scheme}://{host}/.well-known/oauth-authorization-server{slash}{path}",
    )


class _Bucket:
    """A token bucket: `burst` at once, then one every `interval` seconds."""

    def __init__(self, burst: int, interval: float) -> None:
        self._burst = burst
        self._interval = interval
        self._level = float(burst)
        self._at = -math.inf

    def take(self, now: float) -> bool:
        if self._at > -math.inf:
            gained = (now - self._at) / self._interval
            self._level = min(self._burst, self._level + gained)
        self._at = now
        if self._level < 1:
            return False
        self._level -= 1
        return True
