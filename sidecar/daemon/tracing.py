"""Builds the traces of a daemon. It is imported only where the configuration asks for them."""

import random
import secrets

import trio

from sidecar import __version__
from sidecar.adapters import clock
from sidecar.adapters.events.intake import DurableEvents
from sidecar.adapters.opentelemetry.span_output import OtlpSpanOutput
from sidecar.adapters.telemetry.telemetry import PrometheusTelemetry
from sidecar.daemon.configuration.files import Configuration
from sidecar.daemon.configuration.generation import policy_set_of
from sidecar.daemon.configuration.in_force import InForce, Swap
from sidecar.daemon.configuration.unusable import problem_at
from sidecar.domain.values.causes import words_of
from sidecar.service.ports.calls import Unavailable
from sidecar.service.traces.check_spans import CheckSpans
from sidecar.service.traces.current import CURRENT, SpanScope
from sidecar.service.traces.event_spans import EventWay, TracedEvents
from sidecar.service.traces.span_queue import SpanQueue
from sidecar.service.traces.tracer import Tracer, TraceSampling
from sidecar.wire.settings.settings import Settings
from sidecar.wire.traces.event_contexts import EventContexts
from sidecar.wire.traces.masking import masks_of, names_events
from sidecar.wire.yaml.tree import ConfigError

LAST_CHANCE = 2.0
"""Seconds in which the last spans are sent when the daemon ends."""


class Tracing:
    """The traces of a daemon whose configuration asks for them."""

    def __init__(self, in_force: InForce, telemetry: PrometheusTelemetry, sidecar: str) -> None:
        self._in_force = in_force
        started = in_force.started
        self._events = EventContexts(started.store.prefix)
        self._output = self._output_of(started, sidecar)
        queue = self._queue = SpanQueue(self._output, started.traces.queue, telemetry)
        settings = in_force.settings()
        self.tracer = Tracer(
            queue=queue,
            events=self._events,
            checks=self._checks(in_force.configuration),
            sampling=_sampling(settings),
            telemetry=telemetry,
            clock=clock.now,
            random_bits=random.Random(secrets.randbits(128)).getrandbits,  # noqa: S311 - ids, no secrets
            exemplar=telemetry.exemplar,
            names_events=names_events(started),
        )
        telemetry.queue("traces", lambda: queue.waiting)
        telemetry.trace(EventWay(self.tracer, clock.now).changed)
        # What is started from here on, and calls others, does so in no trace but its own.
        CURRENT.set(SpanScope(self.tracer))

    def _output_of(self, started: Settings, sidecar: str) -> OtlpSpanOutput:
        resource = {
            **started.traces.resource,
            "service.name": started.traces.service_name,
            "service.instance.id": sidecar,
            "service.version": __version__,
        }
        try:
            return OtlpSpanOutput(lambda: self._in_force.settings().traces, resource)
        except (OSError, Unavailable) as error:
            file = self._in_force.configuration.file
            problem = problem_at(file, "traces.ca_file", words_of(error))
            raise ConfigError((problem,)) from error

    def _checks(self, configuration: Configuration) -> CheckSpans:
        settings = configuration.settings
        return CheckSpans(
            masks=masks_of(settings),
            policy_set=policy_set_of(configuration),
            template_of=configuration.routes.template,
            events=self._events,
            share=settings.traces.sample,
        )

    def at(self, door: str, events: DurableEvents) -> DurableEvents:
        """Return what takes events at a door, and records how that goes."""
        return TracedEvents(events, self.tracer, door, clock.now)

    def follow(self, swap: Swap) -> None:
        """Take what is decided from now on as another snapshot says."""
        self.tracer.replace(self._checks(swap.after), _sampling(swap.after.settings))

    async def start(self, work: trio.Nursery) -> None:
        """Send spans from now on."""
        await work.start(self._queue.run)

    async def finish(self) -> None:
        """Send what is left, for two seconds at most."""
        with trio.move_on_after(LAST_CHANCE):
            await self._queue.flush()
        await self._output.aclose()


def _sampling(settings: Settings) -> TraceSampling:
    return TraceSampling(settings.traces.sample, follow=settings.traces.follow)
