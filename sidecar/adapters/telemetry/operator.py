"""What operators did, as a metric and log lines."""

import msgspec
from prometheus_client import CollectorRegistry, Counter

from sidecar.adapters.telemetry.logs import Logger
from sidecar.service.observations.operator import ActOutcome, OperatorActed
from sidecar.wire.events.operator_acts import Act


class OperatorMetrics:
    """The metric of operators' acts."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.acts = Counter(
            "sidecar_operator_acts_total",
            "Operators' acts on sessions, users and devices, by what was done and its outcome.",
            ("act", "outcome"),
            registry=registry,
        )
        for act in Act:
            for outcome in ActOutcome:
                self.acts.labels(act, outcome)


def record_act(acted: OperatorActed, metrics: OperatorMetrics, log: Logger) -> None:
    """Count it and log it: each act, since somebody will ask who did it, and why."""
    metrics.acts.labels(acted.act, acted.outcome).inc()
    fields = {name: value for name, value in msgspec.structs.asdict(acted).items() if value}
    done = acted.outcome in {ActOutcome.DONE, ActOutcome.SPOOLED}
    (log.info if done else log.warning)("operator-act", **fields)
