"""The signed bundles of one daemon: where they come from, and what they are swapped into."""

from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

import trio

from sidecar.adapters import clock
from sidecar.adapters.bundles.cache import KeptBundles
from sidecar.adapters.bundles.directory import DirectorySource
from sidecar.adapters.bundles.http import HttpFiles, HttpSource, ShowsToken
from sidecar.adapters.bundles.oci import RegistrySource
from sidecar.adapters.bundles.registry_login import RegistryLogin
from sidecar.adapters.redis.store import RedisStore
from sidecar.daemon.configuration.files import Configuration, read_again
from sidecar.daemon.configuration.in_force import InForce, Swap
from sidecar.daemon.configuration.unusable import problem_at
from sidecar.service.admin.health import Health
from sidecar.service.bundles.activator import PolicyActivator
from sidecar.service.bundles.follower import BundleFollower
from sidecar.service.bundles.library import BundleLibrary
from sidecar.service.bundles.ports import BundleSource
from sidecar.service.bundles.prefetch import BundlePrefetch
from sidecar.service.bundles.turnover import Turnover
from sidecar.service.observations.bundles import BundleCacheFailed
from sidecar.service.observations.observations import Telemetry
from sidecar.service.ports.store import News
from sidecar.service.records.generations import GenerationRecords
from sidecar.wire.bundles.bundle import Bundle
from sidecar.wire.bundles.settings import PolicyBundles
from sidecar.wire.bundles.verification import keys_of
from sidecar.wire.store.keys import StoreKeys
from sidecar.wire.yaml.tree import ConfigError


class _PreparedSet(NamedTuple):
    """A configuration read with a bundle, and what of it can be in force beside that of then."""

    base: Configuration
    read: Configuration
    after: Configuration


class TakesUp(Protocol):
    """Does what follows a swap."""

    async def bundle_taken_up(self, swap: Swap) -> None:
        """Do what follows once a bundle of policies has been swapped in."""


class BundledSets:
    """Swaps the policies of bundles into the configuration in force."""

    def __init__(self, in_force: InForce, environ: Mapping[str, str]) -> None:
        self._in_force = in_force
        self._environ = environ
        self._swaps: list[Swap] = []
        self.reloader: TakesUp | None = None

    async def prepare(self, bundle: Bundle) -> _PreparedSet:
        """Return the bundle's policies, compiled. Raises `ConfigError`."""
        base = self._in_force.read
        read = await trio.to_thread.run_sync(read_again, base.file, self._environ, bundle)
        after = await trio.to_thread.run_sync(self._in_force.compiled, read)
        if read.settings.geography != base.settings.geography:
            message = "is another than the one in force: the bundle waits for the reload"
            raise ConfigError((problem_at(base.file, "geography", message),))
        return _PreparedSet(base, read, after)

    def is_current(self, prepared: _PreparedSet) -> bool:
        """Return whether the configuration in force is what it was prepared beside."""
        return self._in_force.read is prepared.base

    def swap(self, prepared: _PreparedSet) -> None:
        """Judge by it from now on."""
        self._swaps.append(self._in_force.swap(prepared.read, prepared.after))

    async def followed(self) -> None:
        """Do what follows a swap."""
        while self._swaps:
            swap = self._swaps.pop(0)
            if self.reloader is not None:
                await self.reloader.bundle_taken_up(swap)


def source_of(settings: PolicyBundles, current: Callable[[], PolicyBundles]) -> BundleSource:
    """Return the configured source."""
    if settings.directory:
        return DirectorySource(settings.directory)

    def timeout() -> float:
        return current().timeout

    if settings.oci:
        return RegistrySource(settings.oci, HttpFiles(RegistryLogin(current), timeout))
    return HttpSource(settings.url, HttpFiles(ShowsToken(lambda: current().token), timeout))


class BundledPolicies:
    """All of signed bundles that one daemon has. `judge` is the condition of its policies."""

    def __init__(  # noqa: PLR0913 - one place wires it
        self,
        *,
        in_force: InForce,
        environ: Mapping[str, str],
        store: RedisStore,
        names: StoreKeys,
        sidecar: str,
        telemetry: Telemetry,
        health: Health,
    ) -> None:
        settings = in_force.started.policies.bundle
        self._health = health
        self._telemetry = telemetry
        self._sidecar = sidecar
        self._in_force = in_force
        self.sets = BundledSets(in_force, environ)
        self._records = GenerationRecords(store, names, clock.now)
        self._library = BundleLibrary(
            source_of(settings, self._current),
            KeptBundles(settings.cache, self._cache_failed),
            lambda: keys_of(self._current().public_keys),
        )
        self._suspended: list[Callable[[bool], None]] = []
        self.turnover = Turnover(self.sets, clock=clock.now, suspend=self._suspend)
        self.activator = PolicyActivator(
            records=self._records,
            library=self._library,
            sets=self.sets,
            telemetry=telemetry,
            clock=clock.now,
            here=lambda: self.turnover.in_force,
        )

    def _current(self) -> PolicyBundles:
        return self._in_force.settings().policies.bundle

    def on_turn(self, suspended: Callable[[bool], None]) -> None:
        """Call this when a turn begins, and when it is over."""
        self._suspended.append(suspended)

    def _suspend(self, is_suspended: bool) -> None:  # noqa: FBT001 - a hook's argument
        for suspended in self._suspended:
            suspended(is_suspended)

    def follower(self, news: News) -> BundleFollower:
        """Return what follows the store, and hears its news."""
        follower = BundleFollower(
            sidecar=self._sidecar,
            records=self._records,
            news=news,
            library=self._library,
            turnover=self.turnover,
            sets=self.sets,
            telemetry=self._telemetry,
            clock=clock.now,
            max_staleness=lambda: self._in_force.settings().longest_staleness,
            judge=self._judge,
        )
        self._in_force.follow(lambda _: follower.reconsider())
        return follower

    def prefetch(self) -> BundlePrefetch | None:
        """Return what has the newest published bundle at hand, where that is configured."""
        interval = self._in_force.started.policies.bundle.poll
        if not interval:
            return None
        return BundlePrefetch(
            library=self._library,
            in_force=lambda: self.turnover.in_force,
            interval=interval,
            telemetry=self._telemetry,
        )

    def _judge(self, bad: str, limps: str) -> None:
        if bad:
            self._health.bad("policies", bad)
        elif limps:
            self._health.limping("policies", limps)
        else:
            self._health.good("policies")

    def _cache_failed(self, reason: str) -> None:
        self._telemetry.record(BundleCacheFailed(detail=reason))
