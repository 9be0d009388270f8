"""A daemon's log of what report-only policies would have asked for."""

import io

from prometheus_client.parser import text_string_to_metric_families

from sidecar.adapters.telemetry.logs import LogLines
from sidecar.adapters.telemetry.telemetry import PrometheusTelemetry
from sidecar.service.observations.observations import Marked, Observation, ReportedOnly
from sidecar.tuning.trial.forecast import DAY, Sample
from sidecar.wire.settings.settings import Log, Settings


def mark(session: str, policy: str = "p", signal: str = "network-change") -> Marked:
    return Marked(
        session=session,
        subject=f"user of {session}",
        policy=policy,
        signal=signal,
        text="why",
        since=0.0,
        report_only=True,
    )


def call(answered: str, decision: str, policy: str = "p") -> ReportedOnly:
    return ReportedOnly(
        session="s1", subject="ada", policy=policy, decision=decision, answered=answered
    )


SAID: tuple[Observation, ...] = (
    mark("s1"),
    mark("s2"),
    mark("s1", signal="risk-signal"),
    mark("s3", policy="other"),
    Marked(session="s4", subject="eve", policy="p", signal="policy", text="", since=0.0),
    call("allow", "step_up"),
    call("allow", "step_up"),
    call("allow", "deny"),
    call("step_up", "step_up"),
    call("allow", "deny", policy="other"),
)


class Daemon:
    """The log and counts of a daemon over two days."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._file = io.BytesIO()
        self.telemetry = PrometheusTelemetry(
            Settings(log=Log(checks=True)), LogLines(self._file), lambda: self.now
        )
        for observation in SAID:
            self.telemetry.record(observation)
        self.now += 2 * DAY
        self.telemetry.record(mark("s9", policy="other"))

    @property
    def log(self) -> list[bytes]:
        return self._file.getvalue().splitlines()

    @property
    def samples(self) -> list[Sample]:
        text = self.telemetry.expose().body.decode()
        families = text_string_to_metric_families(text)
        found = [Sample(s.name, s.labels, s.value) for family in families for s in family.samples]
        started = "process_start_time_seconds"
        return [sample for sample in found if sample.name != started] + [
            Sample(started, {}, 1000.0)
        ]
