"""What was told to others as shared signals, as metrics and log lines."""

from collections.abc import Mapping
from typing import assert_never

from prometheus_client import CollectorRegistry, Counter, Gauge

from sidecar.adapters.telemetry.logs import Logger
from sidecar.service.observations.transmitter import TransmissionOutcome, Transmitted
from sidecar.wire.settings.transmitter import Announced

SEVERAL = "several"
"""The label `event` where events of several types met a fate together."""

_EVENTS = frozenset({*Announced, "verification", "stream-updated"})


class TransmitterMetrics:
    """What was told to others, and what waits for them. Recipients are the configured ones."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._events = Counter(
            "sidecar_transmitted_events_total",
            "Events told to others as shared signals, by type and what became of them.",
            ("event", "outcome"),
            registry=registry,
        )
        for event in Announced:
            for outcome in TransmissionOutcome:
                self._events.labels(event, outcome)
        self._backlog = Gauge(
            "sidecar_transmitter_backlog_events",
            "Events that wait in a recipient's streams, as the delivering sidecar sees them.",
            ("recipient",),
            registry=registry,
        )
        self._delivering = Gauge(
            "sidecar_transmitter_delivering",
            "Whether this sidecar delivers shared signals.",
            registry=registry,
        )

    def count(self, told: Transmitted) -> None:
        """Count events and their fate."""
        event = told.event if told.event in _EVENTS else SEVERAL
        self._events.labels(event, told.outcome).inc(told.count)

    def delivering(self, yes: bool) -> None:  # noqa: FBT001 - the one thing it is told
        """Whether this sidecar delivers."""
        self._delivering.set(yes)

    def backlogs(self, counts: Mapping[str, int]) -> None:
        """How many events wait, by recipient; who does not deliver knows nothing of it."""
        self._backlog.clear()
        for recipient, count in counts.items():
            self._backlog.labels(recipient).set(count)


def record_transmitted(told: Transmitted, metrics: TransmitterMetrics, log: Logger) -> None:
    """Count it and, where worth a line, log it."""
    metrics.count(told)
    match told.outcome:
        case (
            TransmissionOutcome.RECORDED
            | TransmissionOutcome.HANDED
            | TransmissionOutcome.DELIVERED
        ):
            write = log.debug
        case (
            TransmissionOutcome.RETRIED | TransmissionOutcome.REFUSED | TransmissionOutcome.DROPPED
        ):
            write = log.warning
        case TransmissionOutcome.LOST | TransmissionOutcome.GIVEN_UP:
            write = log.error
        case _:
            assert_never(told.outcome)
    who = {"recipient": told.recipient, "stream": told.stream}
    what = {"type": told.event, "events": told.count, "detail": told.detail}
    write(f"shared-signal-{told.outcome}", **who, **what)
