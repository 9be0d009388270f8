"""The central listener, wired: gateways that ask a Service."""

from functools import partial
from typing import Protocol

import trio

from sidecar.adapters.ports import Checks
from sidecar.adapters.telemetry.telemetry import PrometheusTelemetry
from sidecar.daemon.configuration.in_force import InForce, Swap
from sidecar.service.observations.observations import PassedUnasked, SecretRead


class Daemon(Protocol):
    """The daemon, as far as its doors need it."""

    in_force: InForce
    telemetry: PrometheusTelemetry


async def open_central(
    doors: trio.Nursery,
    closing: trio.Event,
    daemon: Daemon,
    checks: Checks,
) -> tuple[str, ...]:
    """Open the door, if there is one; raises OSError."""
    in_force, telemetry = daemon.in_force, daemon.telemetry
    started = in_force.started.central
    if not started.bind:
        return ()
    from sidecar.adapters.central.askers import Askers  # noqa: PLC0415 - only where it listens
    from sidecar.adapters.central.listener import (  # noqa: PLC0415 - only where it listens
        CentralApp,
        central_listener,
    )
    from sidecar.adapters.http.check_calls import (  # noqa: PLC0415 - only where it listens
        CheckDoor,
        HttpCalls,
        redirects_pass,
    )

    settings = in_force.settings()
    calls = HttpCalls(
        checks,
        settings.http,
        binding=settings.tokens.binding,
        redirects=redirects_pass(settings.http),
        on_unasked=lambda exemption: telemetry.record(PassedUnasked(reason=exemption)),
        listener="central",
    )
    door = CheckDoor(calls, settings.http.gateway)

    def follow(swap: Swap) -> None:
        after = swap.after.settings
        door.replace(after.http, after.tokens.binding)

    in_force.follow(follow)

    def secret_read(field: str, reason: str) -> None:
        telemetry.record(SecretRead(field=field, reason=reason))

    askers = Askers(lambda: in_force.settings().central.askers, secret_read)
    listener = central_listener(started, CentralApp(started, door, askers, telemetry), telemetry)
    bound: list[str] = await doors.start(partial(listener.run, draining=closing))
    return tuple(bound)
