"""Readiness of a process: the log lines of its changes, and its end before a drain."""

import trio

from sidecar.adapters.geography.geography import Geography
from sidecar.adapters.telemetry.telemetry import PrometheusTelemetry
from sidecar.service.admin.health import (
    CONDITIONS,
    DRAINING,
    GEOGRAPHY,
    TRANSMITTERS,
    Health,
    HealthReport,
    HealthState,
)
from sidecar.service.observations.observations import DaemonEvent
from sidecar.wire.settings.settings import Settings, Shutdown


def record_readiness(telemetry: PrometheusTelemetry, report: HealthReport) -> None:
    """Log that `/readyz` passes from now on, or fails, and why; a drain has a line of its own."""
    bad = {one.name: one.reason for one in report.checks if one.state is HealthState.BAD}
    if report.ok:
        limping = {
            one.name: one.reason for one in report.checks if one.state is HealthState.LIMPING
        }
        telemetry.record(DaemonEvent(event="ready", fields=dict(limping)))
    elif DRAINING not in bad:
        telemetry.record(DaemonEvent(event="not-ready", fields=dict(bad), warning=True))


async def end_readiness(health: Health, telemetry: PrometheusTelemetry, settings: Shutdown) -> None:
    """Fail `/readyz` from now on; return when those who ask it have had the time to see it."""
    health.drain()
    fields: dict[str, str | int | float | bool] = {}
    if settings.lame_duck:
        fields["lame_duck"] = settings.lame_duck
    telemetry.record(DaemonEvent(event="draining", fields=fields))
    await trio.sleep(settings.lame_duck)


def conditions_of(settings: Settings) -> tuple[str, ...]:
    """Return the conditions that there are with these settings."""
    spool = ("spool",) if settings.spool.dir else ()
    geography = (GEOGRAPHY,) if Geography(settings.geography).configured else ()
    transmitters = (TRANSMITTERS,) if settings.receiver.transmitters else ()
    return (*CONDITIONS, *spool, *geography, *transmitters)
