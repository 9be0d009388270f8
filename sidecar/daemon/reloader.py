"""Takes up changed files without a dropped request; refuses broken ones, and the old stays."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path

import msgspec
import trio

from sidecar.adapters.files.watcher import FileWatcher
from sidecar.adapters.geography.geography import Geography, PreparedDatabases
from sidecar.daemon.configuration.files import (
    Configuration,
    absolute,
    read_again,
    renew_secrets,
)
from sidecar.daemon.configuration.generation import generation_of, judged_by, policy_set_of
from sidecar.daemon.configuration.in_force import InForce, Swap
from sidecar.daemon.configuration.lint import lint_deployment
from sidecar.daemon.configuration.unusable import problem_at
from sidecar.daemon.trust import Trust
from sidecar.domain.policy.conditional_access import Policy
from sidecar.service.admin.health import GEOGRAPHY, Health
from sidecar.service.audit.rescore_all import AllSessionsRescorer
from sidecar.service.observations.observations import (
    ConfigurationRead,
    ConfigurationWarned,
    GeographyLoaded,
    Reloaded,
    ReloadOutcome,
    RestartRequired,
    Telemetry,
)
from sidecar.service.view.view_rescore import ReloadCause, ViewRescore
from sidecar.shared_signals.adapters.transmitter_secrets import paths_of
from sidecar.shared_signals.transmitter_wiring import Transmission
from sidecar.wire.config.secret_files import secret_paths
from sidecar.wire.settings.settings import Settings
from sidecar.wire.yaml.tree import ConfigError

NAMED = 16
"""Policies that a line names, of those that came, changed or went."""


async def _stay(settings: Settings) -> None:
    """Do nothing: there is no store to connect to anew."""


class Reloader:
    """Takes up changed files, one change after the other."""

    def __init__(  # noqa: PLR0913 - one place wires it
        self,
        in_force: InForce,
        environ: Mapping[str, str],
        *,
        geography: Geography,
        trust: Trust,
        telemetry: Telemetry,
        health: Health,
        rescore_all: AllSessionsRescorer,
        rescore: ViewRescore,
        transmission: Transmission | None = None,
        reconnect: Callable[[Settings], Awaitable[None]] = _stay,
    ) -> None:
        self._reconnect = reconnect
        self._transmission = transmission
        self._in_force = in_force
        self._environ = environ
        self._geography = geography
        self._trust = trust
        self._telemetry = telemetry
        self._health = health
        self._rescore_all = rescore_all
        self._rescore = rescore
        self._warned: set[tuple[str, str, str]] = set()
        self.watcher: FileWatcher | None = None

    @property
    def settings(self) -> Settings:
        """The settings in force."""
        return self._in_force.settings()

    async def changed(self, paths: frozenset[Path]) -> None:
        """Take up what changed in these watched files (all of them, where a signal asks)."""
        if not paths.isdisjoint(map(absolute, self._in_force.configuration.databases)):
            await self._reload_geography()
        self._trust.changed(lambda file: absolute(file) in paths)
        secrets = map(absolute, paths_of(self.settings.transmitter))
        if self._transmission is not None and not paths.isdisjoint(secrets):
            await self._transmission.reload()
        rotated = frozenset(map(absolute, secret_paths(self.settings)))
        await self._reload_configuration(judges_anew=not paths <= rotated)
        await self.name_generation()
        await self.warn()

    async def warn(self) -> None:
        """Log what is weak in the configuration in force, where that was not logged before."""
        found = await trio.to_thread.run_sync(lint_deployment, self._in_force.configuration)
        warned = {(code, problem.field, problem.message) for code, problem in found}
        for code, field, message in sorted(warned - self._warned):
            warning = ConfigurationWarned(code=code, field=field, message=message)
            self._telemetry.record(warning)
        self._warned = warned

    async def name_generation(self) -> None:
        """Say by what sessions are judged here from now on: all of them, once, if that is new."""
        configuration, databases = self._in_force.configuration, self._geography.digests
        generation = await trio.to_thread.run_sync(generation_of, configuration, databases)
        by = await trio.to_thread.run_sync(judged_by, configuration, databases)
        self._rescore_all.use(generation, by)

    async def _reload_configuration(self, *, judges_anew: bool) -> None:
        """Take up the configuration; with only a secret changed, nobody is judged anew."""
        file = self._in_force.configuration.file
        bundle = self._in_force.configuration.bundle
        try:
            read = await trio.to_thread.run_sync(read_again, file, self._environ, bundle)
            places = await self._prepared_places(read)
        except ConfigError as error:
            self._refuse(error)
            await self._renew_secrets()
            return
        if not read.settings.policies.bundle.enabled:
            self._health.good("policies")
        swap = await self._swap(read, places)
        if swap is None:  # another bundle is in force since it was read
            await self._reload_configuration(judges_anew=judges_anew)
            return
        policies = swap.before.policies != swap.after.policies
        differences = _differences(swap.before.policies, swap.after.policies)
        self._say("policies", changed=policies, detail=differences)
        self._say("config", changed=bool(swap.applied), keys=swap.applied)
        if self.watcher is not None:
            self.watcher.watch(swap.after.watched)
        self.record_configuration()
        if judges_anew or policies:
            self._rescore.want(ReloadCause.POLICY)

    def _refuse(self, error: ConfigError) -> None:
        detail = "; ".join(str(problem) for problem in error.problems)
        self._telemetry.record(
            Reloaded(what="config", outcome=ReloadOutcome.REFUSED, detail=detail)
        )
        words = f"the changed configuration is refused: {_shortened(error)}"
        self._health.limping("policies", words)
        self._telemetry.record(ConfigurationRead(successful=False))

    async def _renew_secrets(self) -> None:
        """Take up the secrets of the configuration in force, as their files now say."""
        renewed = await trio.to_thread.run_sync(renew_secrets, self._in_force.read)
        if renewed.settings != self._in_force.read.settings:
            await self._swap(renewed)

    async def _prepared_places(self, read: Configuration) -> PreparedDatabases | None:
        """Read the geography databases where they are configured otherwise. Raises `ConfigError`.

        None: they are as before. How far a journey must be is no matter of the databases.
        """
        wanted, before = read.settings.geography, self.settings.geography
        nearest = before.least_distance_km
        if msgspec.structs.replace(wanted, least_distance_km=nearest) == before:
            return None
        prepared = await trio.to_thread.run_sync(self._geography.prepare, wanted)
        wrong = [
            problem_at(read.file, one.field, f"{one.file}: {one.error}")
            for one in prepared.outcomes
            if one.error
        ]
        if wrong:
            raise ConfigError(tuple(wrong))
        return prepared

    def _use_places(self, places: PreparedDatabases) -> None:
        self._geography.use(places)
        self._telemetry.record(GeographyLoaded(builds=tuple(self._geography.builds.items())))
        if places.outcomes:
            self._health.good(GEOGRAPHY)
        self._rescore.want(ReloadCause.GEOGRAPHY)

    async def _swap(
        self, read: Configuration, places: PreparedDatabases | None = None
    ) -> Swap | None:
        """Put in force what was read, with the databases that it names.

        None: nothing was done, as meanwhile another bundle of policies than its own is in force.
        """
        compiled = await trio.to_thread.run_sync(self._in_force.compiled, read)
        if self._in_force.configuration.bundle is not read.bundle:
            return None
        swap = self._in_force.swap(read, compiled)
        if places is not None:
            self._use_places(places)
        await self._reconnect(swap.after.settings)
        return swap

    async def bundle_taken_up(self, swap: Swap) -> None:
        """Do what follows once a bundle of policies has been swapped in."""
        differences = _differences(swap.before.policies, swap.after.policies)
        self._say("policies", changed=True, detail=differences)
        self.record_configuration()
        self._rescore.want(ReloadCause.POLICY)
        await self.name_generation()
        await self.warn()

    def record_configuration(self) -> None:
        """Record which configuration is in force, and what of it waits for a restart."""
        digest = policy_set_of(self._in_force.configuration)
        self._telemetry.record(ConfigurationRead(successful=True, policy_set=digest))
        keys = self._in_force.waiting
        self._telemetry.record(RestartRequired(keys=keys))
        if keys:
            self._health.limping("restart", f"restart to take up: {', '.join(keys)}")
        else:
            self._health.good("restart")

    def _say(
        self, what: str, *, changed: bool, detail: str = "", keys: tuple[str, ...] = ()
    ) -> None:
        outcome = ReloadOutcome.APPLIED if changed else ReloadOutcome.UNCHANGED
        self._telemetry.record(Reloaded(what=what, outcome=outcome, detail=detail, keys=keys))

    async def _reload_geography(self) -> None:
        outcomes = await trio.to_thread.run_sync(self._geography.reload)
        for outcome in outcomes:
            if outcome.error:
                result = ReloadOutcome.REFUSED
            else:
                result = ReloadOutcome.APPLIED if outcome.changed else ReloadOutcome.UNCHANGED
            self._telemetry.record(
                Reloaded(what=f"geography {outcome.database}", outcome=result, detail=outcome.error)
            )
        self._telemetry.record(GeographyLoaded(builds=tuple(self._geography.builds.items())))
        refused = [f"{one.file}: {one.error}" for one in outcomes if one.error]
        if refused:
            words = f"the changed database is refused: {'; '.join(refused)}"
            self._health.limping(GEOGRAPHY, words)
        else:
            self._health.good(GEOGRAPHY)
        if any(outcome.changed for outcome in outcomes):
            self._rescore.want(ReloadCause.GEOGRAPHY)


def _differences(before: tuple[Policy, ...], after: tuple[Policy, ...]) -> str:
    """Name the policies that came, changed and went: a file that is gone says nothing itself."""
    old, new = ({policy.id: policy for policy in policies} for policies in (before, after))
    parts = {
        "new": new.keys() - old.keys(),
        "changed": {one for one in new.keys() & old.keys() if new[one] != old[one]},
        "gone": old.keys() - new.keys(),
    }
    return "; ".join(f"{word}: {_some(names)}" for word, names in parts.items() if names)


def _some(names: Iterable[str]) -> str:
    first, others = sorted(names)[:NAMED], sorted(names)[NAMED:]
    return ", ".join(first) + (f" and {len(others)} more" if others else "")


def _shortened(error: ConfigError) -> str:
    """Return the first thing that is wrong, and how many more are in the log."""
    first, *others = error.problems
    return f"{first}, and {len(others)} more" if others else str(first)
