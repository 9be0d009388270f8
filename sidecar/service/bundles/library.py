"""Bundles by their number or digest: from the cache or the source, verified each time."""

from collections.abc import Callable, Sequence

from sidecar.service.bundles.ports import BundleCache, BundleSource
from sidecar.wire.bundles.bundle import Bundle, SignedBytes
from sidecar.wire.bundles.minisign import PublicKey
from sidecar.wire.bundles.refusal import InvalidBundle
from sidecar.wire.bundles.verification import opened


class BundleLibrary:
    """Gets bundles, and keeps those that are right. `keys` are those that may sign now."""

    def __init__(
        self,
        source: BundleSource,
        cache: BundleCache,
        keys: Callable[[], Sequence[PublicKey]],
    ) -> None:
        self._source = source
        self._cache = cache
        self._keys = keys

    async def get(self, sequence: int, digest: str) -> Bundle:
        """Return a bundle that is known by its digest. Raises `InvalidBundle`."""
        kept = await self._cache.find(digest)
        if kept is not None:
            try:
                return opened(kept, self._keys(), sequence=sequence, digest=digest)
            except InvalidBundle:
                pass  # somebody changed it, or its key counts no more: the source may have better
        return await self._fetched(sequence, digest)

    async def newest(self, sequence: int) -> Bundle:
        """Return what the source has under a number. Raises `InvalidBundle`."""
        return await self._fetched(sequence, "")

    async def _fetched(self, sequence: int, digest: str) -> Bundle:
        given: SignedBytes = await self._source.fetch(sequence)
        bundle = opened(given, self._keys(), sequence=sequence, digest=digest)
        await self._cache.keep(bundle, given)
        return bundle
