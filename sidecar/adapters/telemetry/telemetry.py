"""Counts and logs observations, as their rows in the table say."""

from collections.abc import Callable, Mapping
from typing import TypeAlias

import msgspec
import trio

from sidecar.adapters import clock
from sidecar.adapters.telemetry.declarations import MetricDeclaration
from sidecar.adapters.telemetry.logs import Logger, LogLines, logger
from sidecar.adapters.telemetry.metrics import (
    PLAIN,
    Exposition,
    Metrics,
    Read,
    ScrapedLevel,
    ScrapeFormat,
)
from sidecar.adapters.telemetry.private_lines import hiding
from sidecar.adapters.telemetry.recorder import Circumstances, Record, recorder
from sidecar.adapters.telemetry.table import TABLE
from sidecar.service.admin.health import Health, HealthState
from sidecar.service.observations.observations import (
    Cleared,
    Marked,
    Observation,
    RevokedSession,
)
from sidecar.wire.settings.settings import Settings

Changed: TypeAlias = Marked | Cleared | RevokedSession


def _tracing(record: Record, trace_of: Callable[[Changed], str]) -> Record:
    def traced(seen: Changed) -> None:
        record(msgspec.structs.replace(seen, trace=trace_of(seen)))

    return traced


class PrometheusTelemetry:
    """The port `service.observations.Telemetry`, with what only daemon and adapters ask for.

    Run `run` in the outermost nursery: it takes the writing of log lines off the event loop.
    """

    def __init__(
        self,
        settings: Settings,
        lines: LogLines | None = None,
        now: Callable[[], float] = clock.now,
    ) -> None:
        self._lines = lines or LogLines()
        self._hidden = hiding(settings.privacy)
        self._now = now
        self._logging = settings.log
        self.metrics = Metrics(settings.contexts)
        self._lines.on_drop = self.metrics.log_lines_dropped.inc
        log = logger(settings.log, self._lines, now, self._hidden)
        self._at = Circumstances(now, log, settings)
        collectors = self.metrics.collectors
        self._records = {row.of: recorder(row, collectors, self._at) for row in TABLE}
        self._begin_series(settings)
        # The hot ones, without a step between.
        self.checked = self.metrics.checked
        self.stored = self.metrics.stored

    @property
    def log(self) -> Logger:
        """The logger as it is configured now."""
        return self._at.log

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Write log lines in a thread, and sums of those that were left out, until cancelled."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self._lines.run)
            nursery.start_soon(self._at.sampled.run)
            task_status.started()

    def configured(self, settings: Settings) -> None:
        """Take over what a reload may change: contexts, issuers and how to log."""
        log = self._at.log
        if settings.log != self._logging:
            self._logging = settings.log
            log = logger(settings.log, self._lines, self._now, self._hidden)
        self._at.configured(log, settings)
        self.metrics.configured(settings.contexts)
        self._begin_series(settings)

    def _begin_series(self, settings: Settings) -> None:
        """Begin the series that a configuration lets be expected."""
        for row in TABLE:
            for column in row.columns:
                if not isinstance(column, MetricDeclaration):
                    continue
                for values in column.begun(settings):
                    self.metrics.collectors[column.name].labels(*values)
                if column.wanted is not None and column.wanted(settings):
                    self.metrics.show(column)

    def exemplar(self, seconds: float, trace: str) -> None:
        """Show a check that took so long as an example, by its trace's id."""
        self.metrics.traced(seconds, trace, self._now())

    def trace(self, trace_of: Callable[[Changed], str]) -> None:
        """Have each change of a session's standing bear its trace's id, which this returns."""
        for kind in (Marked, Cleared, RevokedSession):
            self._records[kind] = _tracing(self._records[kind], trace_of)

    def answered(self, route: str, status: int) -> None:
        """Count an HTTP request. `route` is the route's template or a fixed name, not the path."""
        self.metrics.http_requests.labels(route, status).inc()

    def level(self, level: ScrapedLevel, read: Read) -> None:
        """Ask `read` at each scrape; it must neither block nor raise."""
        self.metrics.level(level, read)

    def stale(self, is_stale: Callable[[str], bool]) -> None:
        """Ask at each scrape whether the view is too old for a context; it must not block."""
        self.metrics.stale(is_stale)

    def without(self, *names: str) -> None:
        """Show no metric of these names: this process has not the part that they are about."""
        for name in names:
            self.metrics.registry.unregister(self.metrics.collectors[name])

    def health(self, health: Health) -> None:
        """Ask `health` at each scrape whether the process is ready, and what it lacks."""
        self.metrics.level(ScrapedLevel.READY, lambda: health.ready().ok)
        self.metrics.conditions(
            lambda: [
                (one.name, one.state)
                for one in health.ready().checks
                if one.state is not HealthState.GOOD
            ]
        )

    def queue(self, name: str, depth: Read) -> None:
        """Ask `depth` at each scrape how much waits in a bounded queue."""
        self.metrics.queue(name, depth)

    def expose(self, form: ScrapeFormat = PLAIN) -> Exposition:
        """Render all metrics."""
        return self.metrics.expose(form)

    async def written(self) -> None:
        """Return once the lines of all that was recorded until now are written."""
        await self._lines.written()

    def tap(self, kind: type[Observation], take: Callable[[Observation], None]) -> None:
        """Have `take` called with each observation of this kind, after it was recorded.

        What nobody taps costs nothing. `take` is called by whoever observes: it must be quick.
        """
        record = self._records[kind]

        def record_and_pass_on(seen: Observation) -> None:
            record(seen)
            take(seen)

        self._records[kind] = record_and_pass_on

    def counted(self, name: str) -> list[tuple[Mapping[str, str], float]]:
        """Return the series of a counter: the labels of each, and its value."""
        return self.metrics.counted(name)

    def record(self, observation: Observation) -> None:
        """Count it and, where worth a line, log it. Safe to call from any thread."""
        self._records[type(observation)](observation)
