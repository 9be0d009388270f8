"""What is told of the configuration, its secrets and its demands, as metrics and log lines."""

from collections.abc import Callable, Iterator
from typing import TypeAlias, assert_never

import msgspec

from sidecar.adapters.telemetry.label_values import positions_of
from sidecar.adapters.telemetry.logs import Logger
from sidecar.adapters.telemetry.metrics import Metrics
from sidecar.service.observations.observations import (
    AcrUnoffered,
    ConfigurationRead,
    ConfigurationWarned,
    Reloaded,
    ReloadOutcome,
    RestartRequired,
    SecretRead,
)
from sidecar.wire.settings.settings import Settings

Configured: TypeAlias = (
    Reloaded | ConfigurationRead | RestartRequired | ConfigurationWarned | SecretRead | AcrUnoffered
)


class ConfigurationRecord:
    """Counts and logs what becomes of the configuration."""

    def __init__(self, metrics: Metrics, settings: Settings, now: Callable[[], float]) -> None:
        self._metrics = metrics
        self._now = now
        self._waiting: tuple[str, ...] = ()
        self._unoffered: dict[str, tuple[str, ...]] = {}  # by issuer, as it was told
        self.configured(settings)

    def configured(self, settings: Settings) -> None:
        """Have a series of each credential in a file and of each issuer, from the start."""
        self._issuers = positions_of(settings)
        for position in range(len(settings.tokens.issuers)):
            self._metrics.acr_unoffered.labels(str(position))
        for key in _credentials(settings):
            self._metrics.credential_failing.labels(key)

    def record(self, observation: Configured, log: Logger) -> None:
        """Count it and, where worth a line, log it. Safe to call from any thread."""
        match observation:
            case Reloaded():
                self._reloaded(observation, log)
            case ConfigurationRead():
                self._read(observation)
            case RestartRequired():
                self._restart_required(observation, log)
            case ConfigurationWarned():
                log.warning("configuration-warning", **msgspec.structs.asdict(observation))
            case SecretRead():
                self._secret_read(observation, log)
            case AcrUnoffered():
                self._acr_unoffered(observation, log)
            case _:
                assert_never(observation)

    def _reloaded(self, reload: Reloaded, log: Logger) -> None:
        what, outcome, detail = reload.what, reload.outcome, reload.detail
        self._metrics.reloads.labels(what, outcome).inc()
        match outcome:
            case ReloadOutcome.APPLIED:
                log.info("reload-applied", what=what, detail=detail)
            case ReloadOutcome.UNCHANGED:
                log.debug("reload-unchanged", what=what, detail=detail)
            case ReloadOutcome.REFUSED:
                log.error("reload-refused", what=what, detail=detail)
            case _:
                assert_never(outcome)

    def _read(self, read: ConfigurationRead) -> None:
        metrics = self._metrics
        metrics.reload_successful.set(read.successful)
        if read.successful:
            metrics.reload_succeeded_at.set(self._now())
            metrics.policy_set.clear()
            metrics.policy_set.labels(read.policy_set).set(1)

    def _restart_required(self, restart: RestartRequired, log: Logger) -> None:
        self._metrics.restart_required.set(bool(restart.keys))
        if restart.keys and restart.keys != self._waiting:
            log.warning("restart-required", keys=restart.keys)
        self._waiting = restart.keys

    def _acr_unoffered(self, found: AcrUnoffered, log: Logger) -> None:
        position = self._issuers.get(found.issuer, "other")
        self._metrics.acr_unoffered.labels(position).set(len(found.asked))
        if self._unoffered.get(found.issuer, ()) == found.asked:
            return  # told already
        self._unoffered[found.issuer] = found.asked
        if not found.asked:
            log.info("acr-offered", issuer=found.issuer)
            return
        log.warning(
            "acr-not-offered",
            issuer=found.issuer,
            asked=list(found.asked),
            policies=list(found.policies),
            offered=list(found.offered),
            detail=_IN_VAIN,
        )

    def _secret_read(self, read: SecretRead, log: Logger) -> None:
        self._metrics.credential_failing.labels(read.field).set(bool(read.reason))
        if read.reason:
            log.warning("secret-not-read", field=read.field, reason=read.reason)
        else:
            log.info("secret-read", field=read.field)


_IN_VAIN = (
    "discovery lists none of what a challenge asks for, so a step-up may come back as it was and "
    "be asked for again: have the provider offer it, or add an acr that it offers to that level "
    "in assurance.levels"
)


def _credentials(settings: Settings) -> Iterator[str]:
    """The keys of those files that are looked at with each use, as `SecretRead` names them."""
    store, admin, receiver = settings.store, settings.admin, settings.receiver
    files = {
        "admin.token_file": admin.token_file,
        "admin.tls.certificate": admin.tls.certificate,
        "store.password_file": store.password_file,
        "store.sentinel_password_file": store.sentinel_password_file,
        "receiver.tls_key_file": receiver.tls_key_file,
        "intake.tls_key_file": settings.intake.tls_key_file,
    }
    for source in settings.sources:
        files[f"sources.{source.name}.token_file"] = source.token_file
    for one in receiver.transmitters:
        key = f"receiver.transmitters.{one.name}"
        files[f"{key}.authorization_file"] = one.authorization_file
        files[f"{key}.token_file"] = one.token_file
    yield from (key for key, file in files.items() if file)
