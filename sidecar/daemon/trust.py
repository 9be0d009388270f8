"""The issuers whose tokens are believed, as configured just now: keys, introspection, verifier.

A changed configuration is taken up between two calls: who is left out is believed no longer, also
where its tokens were verified before or are being verified; who is new is asked for its keys.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple, TypeAlias

import msgspec
import trio

from sidecar.adapters.process.workers import Workers
from sidecar.adapters.tokens.introspection import Introspector, OnAnswer
from sidecar.adapters.tokens.keys import KeySource, Refresh
from sidecar.adapters.tokens.verifier import TokenVerifier
from sidecar.wire.config.secret_files import secrets_of
from sidecar.wire.settings.settings import Introspection, Issuer, Tokens

_Part: TypeAlias = KeySource | Introspector

PATIENCE = 3.0
"""Seconds for which a start waits for the issuers."""


class Keys(NamedTuple):
    """Issuers whose tokens can be decided, by keys or by asking, and those whose keys are missing.

    The tokens of an issuer whose keys are missing get 503; those of all others are decided.
    `causes` says by issuer why its keys could not be had when they were asked for last.
    """

    held: tuple[str, ...]
    missing: tuple[str, ...]
    causes: tuple[tuple[str, str], ...] = ()

    def trouble(self) -> str:
        """Return what is wrong, in words; empty: nothing is."""
        causes = dict(self.causes)
        words = [f"no keys of {one}: {causes.get(one, '')}" for one in self.missing]
        words += [
            f"the keys of {one} cannot be renewed: {causes[one]}"
            for one in self.held
            if one in causes
        ]
        return "; ".join(words)


def _unread(issuer: str, metadata: Mapping[str, object]) -> None:
    """Ignore the metadata: nobody reads them here."""


class Trust:
    """Believes the tokens of these issuers. `run` must be running.

    `cache` is how many tokens are kept, where that is not what `tokens` say. `judged` is called
    whenever keys came, or went, or others are asked for; `on_metadata` with what discovery found.
    """

    def __init__(  # noqa: PLR0913 - hooks, by name
        self,
        tokens: Tokens,
        *,
        on_refresh: Callable[[str, Refresh, str], None],
        on_answer: OnAnswer,
        judged: Callable[[Keys], None],
        on_metadata: Callable[[str, Mapping[str, object]], None] = _unread,
        cache: int | None = None,
    ) -> None:
        self._cache = tokens.cache if cache is None else cache
        self._on_refresh = on_refresh
        self._on_answer = on_answer
        self._judged = judged
        self._on_metadata = on_metadata
        self._tokens = tokens
        self._keys: dict[str, KeySource] = {}
        self._introspectors: dict[str, Introspector] = {}
        self._workers = Workers()
        self._is_running = False
        self._build(tokens)
        self._workers.keep(self._parts())
        self.verifier = TokenVerifier(
            self._sources(), tokens, self._introspectors.values(), limit=self._cache
        )

    def keys_of(self, issuer: str) -> KeySource | None:
        """Return the keys that an issuer's tokens are believed by; None where there are none."""
        return self._keys.get(issuer)

    @property
    def keys(self) -> Keys:
        """Return whose tokens can be decided now, and whose cannot."""
        missing = {name for name, source in self._keys.items() if not source.ready}
        # An issuer that is asked counts as able: its failure now may be over with the next answer.
        able = {*self._keys, *self._introspectors} - missing
        troubles = ((name, self._keys[name].trouble) for name in self._keys)
        causes = tuple((name, why) for name, why in troubles if why)
        return Keys(tuple(sorted(able)), tuple(sorted(missing)), causes)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep keys fresh and connections open.

        Started once each was tried a first time, but after `PATIENCE` in any case: an issuer that
        does not answer must not keep the doors shut.
        """
        async with trio.open_nursery() as nursery:
            first = self._workers.begin(nursery)
            with trio.move_on_after(PATIENCE):
                for tried in first:
                    await tried.wait()
            self._is_running = True
            self._judged(self.keys)
            task_status.started()
            await trio.sleep_forever()

    def changed(self, is_changed: Callable[[str], bool]) -> None:
        """Read files of keys again, where they have changed."""
        for source in self._keys.values():
            if source.issuer.jwks_file and is_changed(source.issuer.jwks_file):
                source.reload()

    def replace(self, tokens: Tokens, cache: int | None = None) -> None:
        """Believe these issuers, as they are configured now, and no others."""
        if tokens == self._tokens:
            return
        self._cache = tokens.cache if cache is None else cache
        self._build(tokens)
        self._tokens = tokens
        self.verifier.limit = self._cache
        self.verifier.replace(self._sources(), tokens, self._introspectors.values())
        self._workers.keep(self._parts())
        self._judged(self.keys)

    def _parts(self) -> set[_Part]:
        return {*self._keys.values(), *self._introspectors.values()}

    def _build(self, tokens: Tokens) -> None:
        """Keep what can be kept: keys of the same place, introspection of the same issuer."""
        keys: dict[str, KeySource] = {}
        asked: dict[str, Introspector] = {}
        for issuer in tokens.issuers:
            name = issuer.issuer
            if issuer.introspection.signed or not issuer.introspection.only:
                keys[name] = self._source_of(issuer, tokens)
            if issuer.introspection.endpoint:
                signed = keys[name] if issuer.introspection.signed else None
                asked[name] = self._introspector_of(issuer, signed)
        self._keys, self._introspectors = keys, asked

    def _source_of(self, issuer: Issuer, tokens: Tokens) -> KeySource:
        known = self._keys.get(issuer.issuer)
        if known is not None and _place(known.issuer) == _place(issuer):
            known.configure(issuer, tokens)
            return known
        found = partial(self._on_metadata, issuer.issuer)
        return KeySource(issuer, tokens, on_refresh=self._refreshed, on_metadata=found)

    def _introspector_of(self, issuer: Issuer, keys: KeySource | None) -> Introspector:
        known = self._introspectors.get(issuer.issuer)
        same = known is not None and _without_secrets(known.issuer) == _without_secrets(issuer)
        same = same and known is not None and known.keys is keys
        if known is not None and same:
            known.show(issuer)
            known.bound = self._cache
            return known
        return Introspector(issuer, self._cache, keys=keys, on_answer=self._on_answer)

    def _sources(self) -> list[KeySource]:
        return [one for one in self._keys.values() if not one.issuer.introspection.only]

    def _refreshed(self, issuer: str, outcome: Refresh, detail: str) -> None:
        self._on_refresh(issuer, outcome, detail)
        if self._is_running:
            self._judged(self.keys)


def _without_secrets(issuer: Issuer) -> Issuer:
    """Return the issuer but for what the sidecar shows it: what it said of tokens stays good."""
    changes = dict.fromkeys(secrets_of(Introspection), "")
    asked = msgspec.structs.replace(issuer.introspection, **changes)
    return msgspec.structs.replace(issuer, introspection=asked)


def _place(issuer: Issuer) -> tuple[str, str]:
    """Return where its keys come from; what it signs with is looked at for each token."""
    return issuer.jwks_uri, issuer.jwks_file
