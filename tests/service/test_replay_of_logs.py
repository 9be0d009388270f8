"""The daemon's own log replays what the daemon decided, where it says why."""

import io
import json
from typing import Any

import msgspec
import pytest

from sidecar.adapters.telemetry.logs import LogLines
from sidecar.adapters.telemetry.telemetry import PrometheusTelemetry
from sidecar.domain.values.assurance import Authentication
from sidecar.service.observations.observations import Checked
from sidecar.tuning.recording.occurrences import Occurrence, read_line
from sidecar.wire.settings.settings import Log, Settings
from tests.domain.scenes import AWAY, policy
from tests.service.memory import SETTINGS, MemoryStore, Pod, Tokens
from tests.service.replaying import replay

POLICIES = """\
policies:
  - {id: moved, contexts: {include: [c1]}, conditions: {changed: [ip]}, grant: phishing-resistant}
  - id: staff
    users: {include: {groups: [staff]}}
    contexts: {include: [c1]}
    conditions: {changed: [ip]}
    grant: mfa
"""


async def log_of_a_move(*, explain: bool) -> list[dict[str, Any]]:
    """Return what a daemon logs of a session that is checked at home, and then elsewhere."""
    file = io.BytesIO()
    settings = msgspec.structs.replace(SETTINGS, log=Log(checks=True, explain=explain))
    tokens = Tokens()
    pod = Pod(MemoryStore(), [policy()], tokens, settings)
    telemetry = PrometheusTelemetry(Settings(log=settings.log), LogLines(file), lambda: pod.now)
    token = tokens.issue("t1")
    await pod.check(token)
    pod.now += 10
    await pod.check(token, ip=AWAY)
    times = iter([1000.0, 1010.0])
    for record in pod.telemetry.of(Checked):
        pod.now = next(times)
        telemetry.record(record)
    return [json.loads(line) for line in file.getvalue().splitlines()]


async def test_a_log_that_says_why_is_replayed_by_itself() -> None:
    report = replay(await log_of_a_move(explain=True), POLICIES)
    (figures,) = report.sets
    assert {each.id: each.triggers for each in figures.policies} == {"moved": 1, "staff": 1}
    assert report.recording.calls == 2
    assert report.recording.bad == 0


async def test_a_log_that_does_not_has_calls_only() -> None:
    report = replay(await log_of_a_move(explain=False), POLICIES)
    assert report.recording.calls == 2
    assert all(each.triggers == 0 for each in report.sets[0].policies)


async def test_a_logged_call_shows_address_device_groups_and_sign_in() -> None:
    after = (await log_of_a_move(explain=True))[1]
    read = read_line(json.dumps(after).encode())
    assert isinstance(read, Occurrence)
    assert getattr(read.signal, "ip", "") == AWAY
    assert dict(read.claims)["groups"] == ("staff",)
    assert read.authentication == Authentication(999, "single-factor")
    assert read.app == "payroll"


@pytest.mark.parametrize("shown", [1, "x", [], {}, {"session": 1}, {"session": {"sign_ins": 1}}])
async def test_an_explanation_of_another_kind_is_none(shown: object) -> None:
    line = (await log_of_a_move(explain=False))[0]
    assert isinstance(read_line(json.dumps({**line, "explanation": shown}).encode()), Occurrence)
