"""The metrics of what waits to be delivered as shared signals, which the delivery sets."""

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Gauge


class TransmitterLevels:
    """The gauges of events that wait for recipients, and of which sidecar delivers them."""

    def __init__(self, registry: CollectorRegistry) -> None:
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

    def delivering(self, yes: bool) -> None:  # noqa: FBT001 - its only argument
        """Set whether this sidecar delivers."""
        self._delivering.set(yes)

    def backlogs(self, counts: Mapping[str, int]) -> None:
        """Set how many events wait, by configured recipient; none are known if it delivers none."""
        self._backlog.clear()
        for recipient, count in counts.items():
            self._backlog.labels(recipient).set(count)
