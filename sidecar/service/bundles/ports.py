"""The ports of signed bundles: where they come from, where they are kept, and who judges by one."""

from typing import Any, Protocol

from sidecar.wire.bundles.bundle import Bundle, SignedBytes


class BundleSource(Protocol):
    """The place from which bundles come."""

    async def newest(self) -> int:
        """Return the highest number that is published; 0: none is. Raises `InvalidBundle`."""

    async def fetch(self, sequence: int) -> SignedBytes:
        """Return a bundle's bytes and its signature's. Raises `InvalidBundle`."""


class BundleCache(Protocol):
    """The place where bundles are kept that were verified; each is verified again when it is read.

    Neither raises: what cannot be kept is fetched again.
    """

    async def find(self, digest: str) -> SignedBytes | None:
        """Return what is kept under a digest."""

    async def keep(self, bundle: Bundle, given: SignedBytes) -> None:
        """Keep a bundle, beside the ones before."""


class PolicySets(Protocol):
    """Has a bundle's policies judge here."""

    async def prepare(self, bundle: Bundle) -> Any:
        """Return the bundle's policies, ready to be swapped in. Raises `ConfigError`."""

    def is_current(self, prepared: Any) -> bool:
        """Return whether what was prepared still fits the configuration in force."""

    def swap(self, prepared: Any) -> None:
        """Judge by it from now on."""

    async def followed(self) -> None:
        """Do what is to be done after a swap, and takes its time."""
