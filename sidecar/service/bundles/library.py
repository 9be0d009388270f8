"""Bundles by their number or digest: from the cache or the source, verified each time."""

from collections.abc import Callable, Sequence

from sidecar.service.bundles.ports import BundleCache, BundleSource
from sidecar.wire.bundles.bundle import Bundle, SignedBytes
from sidecar.wire.bundles.minisign import PublicKey
from sidecar.wire.bundles.refusal import BundleFlaw, InvalidBundle
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
        self._prefetched: tuple[Bundle, SignedBytes] | None = None

    @property
    def at_hand(self) -> int:
        """The number of the bundle that is at hand before anybody named it; 0: none is."""
        return 0 if self._prefetched is None else self._prefetched[0].sequence

    async def prefetch(self, above: int) -> Bundle | None:
        """Have the newest published bundle at hand, and return it; None: none is above this number.

        Raises `InvalidBundle`. While the source is away, what is at hand stays; where what it
        publishes is refused or withdrawn, nothing is.
        """
        try:
            sequence = await self._source.newest()
            if sequence <= above:
                self._prefetched = None
                return None
            given = await self._source.fetch(sequence)
            bundle = opened(given, self._keys(), sequence=sequence)
        except InvalidBundle as error:
            if error.flaw is not BundleFlaw.UNAVAILABLE:
                self._prefetched = None
            raise
        self._prefetched = (bundle, given)
        return bundle

    async def get(self, sequence: int, digest: str) -> Bundle:
        """Return a bundle that is known by its digest. Raises `InvalidBundle`."""
        kept = await self._cache.find(digest)
        if kept is not None:
            try:
                return opened(kept, self._keys(), sequence=sequence, digest=digest)
            except InvalidBundle:
                pass  # somebody changed it, or its key counts no more: the source may have better
        return await self._fetched(sequence, digest)

    async def published(self, sequence: int) -> Bundle:
        """Return what the source has under a number, or had at the last look at it.

        Raises `InvalidBundle`.
        """
        return await self._fetched(sequence, "")

    async def _fetched(self, sequence: int, digest: str) -> Bundle:
        given = self._found(sequence, digest) or await self._source.fetch(sequence)
        bundle = opened(given, self._keys(), sequence=sequence, digest=digest)
        await self._cache.keep(bundle, given)
        return bundle

    def _found(self, sequence: int, digest: str) -> SignedBytes | None:
        """Return what is at hand, if it is this bundle, and its key still counts."""
        if self._prefetched is None or self._prefetched[0].sequence != sequence:
            return None
        bundle, given = self._prefetched
        try:
            opened(given, self._keys(), sequence=sequence, digest=digest or bundle.digest)
        except InvalidBundle:
            return None
        return given
