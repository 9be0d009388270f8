"""A constant requirement is no mark: not in the log, in the counters, nor in a replay."""

import io
from functools import partial

import trio

from sidecar.adapters.telemetry.logs import LogLines
from sidecar.adapters.telemetry.telemetry import PrometheusTelemetry
from sidecar.domain.evaluation.decision import Verdict
from sidecar.domain.policy.conditional_access import Changed, Circumstance
from sidecar.service.admin.inspection import SessionQuery
from sidecar.service.audit.sweep import Sweeper
from sidecar.service.observations.observations import Cleared, Marked
from sidecar.wire.settings.settings import Settings
from tests.domain.scenes import AWAY, policy
from tests.service.memory import MemoryStore, Pod, Tokens
from tests.service.replaying import begin, call, replay

TEN = 1_790_071_200
ALWAYS = policy(None, name="always")
MOVED = policy(Changed((Circumstance.IP,)), name="moved")
POLICIES = """\
policies:
  - {id: always, contexts: {include: [c1]}, grant: phishing-resistant}
  - {id: moved, contexts: {include: [c1]}, conditions: {changed: [ip]}, grant: mfa}
"""


async def test_the_log_and_the_counters_have_marks_alone() -> None:
    tokens = Tokens()
    pod = Pod(MemoryStore(), [ALWAYS, MOVED], tokens)
    token = tokens.issue("t1")
    assert (await pod.check(token)).verdict is Verdict.STEP_UP
    await pod.settle()
    assert not pod.telemetry.of(Marked)
    (shown,) = (await pod.inspector.sessions(SessionQuery())).sessions
    assert (shown.standing, shown.marks) == ("clear", ())
    pod.now += 10
    assert (await pod.check(token, ip=AWAY)).verdict is Verdict.STEP_UP
    await pod.settle()
    assert [getattr(mark, "policy", "") for mark in pod.telemetry.of(Marked)] == ["moved"]
    assert not pod.telemetry.of(Cleared)
    (shown,) = (await pod.inspector.sessions(SessionQuery())).sessions
    assert [mark.policy for mark in shown.marks] == ["moved"]
    file = io.BytesIO()
    telemetry = PrometheusTelemetry(Settings(), LogLines(file), pod.clock)
    for record in pod.telemetry.of(Marked):
        telemetry.record(record)
    assert file.getvalue().count(b"session-marked") == 1
    assert b"always" not in file.getvalue()
    sweeper = Sweeper(
        view=pod.view,
        auditor=pod.auditor,
        clock=pod.clock,
        pause=partial(trio.sleep, 60),
        telemetry=pod.telemetry,
    )
    await sweeper.sweep()
    assert sweeper.active_marks == 1
    async with pod.watches.watch(frozenset({"s1"})) as changes:
        pod.now += 10
        assert (await pod.check(tokens.issue("t2", auth_time=1015, acr="mfa"))).verdict
        await pod.settle()
        change = changes.receive_nowait()
    assert (change.standing, change.contexts, change.reasons) == ("clear", (), ())


def test_a_replay_counts_no_trigger_and_still_asks_where_it_is_called_for() -> None:
    (figures,) = replay([begin(TEN), call(TEN + 5)], POLICIES).sets
    triggers = {each.id: each.triggers for each in figures.policies}
    assert triggers == {"always": 0, "moved": 0}
    prompts = {each.id: each.prompts for each in figures.policies}
    assert prompts == {"always": 1, "moved": 0}
    assert figures.never_fired == ("moved",)
    assert not figures.triggers


def test_without_calls_what_is_always_required_asks_nobody() -> None:
    lines = [begin(TEN), {**begin(TEN + 60, "s2"), "label": "attack"}]
    (figures,) = replay(lines, POLICIES, at_mark=True).sets
    assert figures.prompts.total == 0
    assert figures.labels is not None
    assert figures.labels.detected == 0
