"""Measures counting a check, against prometheus-client's own children; observations; a scrape.

Usage: python -m benchmarks.telemetry
"""

import io
import time
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Histogram

from sidecar.adapters.telemetry.logs import LogLines
from sidecar.adapters.telemetry.metrics import CHECK_BUCKETS, ScrapeFormat
from sidecar.adapters.telemetry.telemetry import PrometheusTelemetry
from sidecar.service.observations.observations import (
    EventOutcome,
    EventTaken,
    Marked,
    QueueRejected,
)
from sidecar.wire.settings.settings import Context, Settings

TIMES = 300_000
SCRAPES = 50


def main() -> None:
    contexts = {f"c{number}": Context(name=f"c{number}") for number in range(1, 11)}
    telemetry = PrometheusTelemetry(Settings(contexts=contexts), LogLines(io.BytesIO()))
    checked = telemetry.checked
    print(f"checked, a configured context  {per(lambda: checked('allow', 'c1', 1e-4)):8.2f} us")
    print(f"checked, routine               {per(lambda: checked('allow', '', 1e-4)):8.2f} us")
    print(f"checked, several contexts      {per(lambda: checked('deny', 'c1 c2', 1e-4)):8.2f} us")
    print(f"checked, an unknown context    {per(lambda: checked('deny', 'c77', 1e-4)):8.2f} us")

    registry = CollectorRegistry()
    counter = Counter("checks", "Checks.", ("decision", "context"), registry=registry)
    times = Histogram("seconds", "Times.", buckets=CHECK_BUCKETS, registry=registry)
    children = {("allow", "c1"): counter.labels("allow", "c1")}

    def bound() -> None:
        children["allow", "c1"].inc()
        times.observe(1e-4)

    def labelled() -> None:
        counter.labels("allow", "c1").inc()
        times.observe(1e-4)

    print(f"prometheus-client, bound       {per(bound):8.2f} us")
    print(f"prometheus-client, labels()    {per(labelled):8.2f} us")

    mark = Marked(
        session="a-session", subject="ada", policy="p", signal="network-change", text="x", since=1.0
    )
    waits, accepted = (
        QueueRejected(queue="events"),
        EventTaken(type="network-change", outcome=EventOutcome.ACCEPTED, id="e1"),
    )
    print(f"a row of a counter alone       {per(lambda: telemetry.record(waits), 30_000):8.2f} us")
    print(
        f"an event taken, not logged     {per(lambda: telemetry.record(accepted), 30_000):8.2f} us"
    )
    print(f"a mark, counted and logged     {per(lambda: telemetry.record(mark), 30_000):8.2f} us")
    marks = telemetry.metrics.collectors["sidecar_marks_total"]
    for number in range(50):
        for signal in ("network-change", "risk-level-change", "session-presented"):
            marks.labels(f"p{number}", signal, "enabled").inc()
    plain, packed = telemetry.expose(), telemetry.expose(ScrapeFormat(gzip=True))
    lines, scrape = plain.body.count(b"\nsidecar_"), per(telemetry.expose, SCRAPES)
    print(f"scrape, {lines:5} lines            {scrape:8.0f} us")
    zipped = per(lambda: telemetry.expose(ScrapeFormat(gzip=True)), SCRAPES)
    print(f"scrape, {len(packed.body):5} bytes of gzip    {zipped:8.0f} us")


def per(act: Callable[[], object], times: int = TIMES) -> float:
    """Microseconds for each of so many acts."""
    begun = time.perf_counter()
    for _ in range(times):
        act()
    return (time.perf_counter() - begun) / times * 1e6


if __name__ == "__main__":
    main()
