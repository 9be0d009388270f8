"""The explanation of a check: in its record where the log asks for it, and for whoever asks."""

import msgspec
import pytest

from sidecar.domain.evaluation.decision import Verdict
from sidecar.domain.policy.conditional_access import (
    Changed,
    Circumstance,
    Policy,
    PolicyState,
    Selection,
)
from sidecar.service.admin.inspection import ExplainQuery, InvalidQuery
from sidecar.service.observations.observations import Checked, ReportedOnly
from sidecar.wire.settings.settings import Context, Log, Settings
from tests.domain.scenes import AWAY, policy
from tests.service.memory import SETTINGS, MemoryStore, Pod, Tokens

MOVED = policy(Changed((Circumstance.COUNTRY,)), name="moved")


def tried(each: Policy) -> Policy:
    return msgspec.structs.replace(each, state=PolicyState.REPORT_ONLY)


def logging(*, checks: bool, explain: bool) -> Settings:
    return msgspec.structs.replace(SETTINGS, log=Log(checks=checks, explain=explain))


async def moved(*policies: Policy, settings: Settings = SETTINGS) -> Pod:
    """Return a pod whose session s1 was checked at home, and then elsewhere."""
    tokens = Tokens()
    pod = Pod(MemoryStore(), list(policies), tokens, settings)
    await pod.check(tokens.issue("t1"))
    pod.now += 10
    await pod.check("t1", ip=AWAY)
    await pod.settle()
    return pod


def checks_of(pod: Pod) -> list[Checked]:
    return [each for each in pod.telemetry.of(Checked) if isinstance(each, Checked)]


def tries(pod: Pod) -> list[ReportedOnly]:
    return [each for each in pod.telemetry.of(ReportedOnly) if isinstance(each, ReportedOnly)]


async def test_a_checks_record_says_why_where_the_log_asks_for_it() -> None:
    pod = await moved(MOVED, settings=logging(checks=True, explain=True))
    before, after = checks_of(pod)
    for record, verdict, firing in ((before, "allow", ()), (after, "step_up", ("moved",))):
        assert record.explanation is not None
        assert (record.verdict, record.explanation.verdict) == (verdict, verdict)
        assert record.explanation.firing == firing


@pytest.mark.parametrize(("checks", "explain"), [(True, False), (False, True)])
async def test_nothing_is_explained_unasked(*, checks: bool, explain: bool) -> None:
    pod = await moved(MOVED, settings=logging(checks=checks, explain=explain))
    assert all(record.explanation is None for record in checks_of(pod))


async def test_an_operator_gets_the_explanation_that_the_check_got() -> None:
    pod = await moved(MOVED, settings=logging(checks=True, explain=True))
    explained = await pod.inspector.explain("s1", ExplainQuery("c1"))
    logged = checks_of(pod)[-1].explanation
    assert explained is not None
    assert logged is not None
    assert msgspec.structs.replace(explained, time=logged.time) == logged
    routine = await pod.inspector.explain("s1", ExplainQuery())
    assert routine is not None
    assert (routine.verdict, routine.pending) == (Verdict.ALLOW, True)
    assert await pod.inspector.explain("s9", ExplainQuery("c1")) is None


async def test_of_several_apps_the_strictest_answer_is_explained_unless_one_is_named() -> None:
    only_mail = msgspec.structs.replace(MOVED, apps=Selection(frozenset({"mail"})))
    settings = msgspec.structs.replace(SETTINGS, app=msgspec.structs.replace(SETTINGS.app, id=""))
    tokens = Tokens()
    pod = Pod(MemoryStore(), [only_mail], tokens, settings)
    await pod.check(tokens.issue("t1", app="payroll"))
    await pod.check(tokens.issue("t2", app="mail"))
    pod.now += 10
    await pod.check("t1", ip=AWAY)
    await pod.settle()
    found = [await pod.inspector.explain("s1", ExplainQuery("c1", app)) for app in ("", "payroll")]
    assert [one and (one.app, one.verdict) for one in found] == [
        ("mail", Verdict.STEP_UP),
        ("payroll", Verdict.ALLOW),
    ]


async def test_a_context_that_is_not_configured_is_not_explained_away() -> None:
    settings = msgspec.structs.replace(SETTINGS, contexts={"c1": Context(name="Pay")})
    pod = await moved(MOVED, settings=settings)
    with pytest.raises(InvalidQuery, match="explain: is of c1"):
        await pod.inspector.explain("s1", ExplainQuery("c1, c2"))


async def test_each_report_only_policy_says_what_it_alone_would_have_changed() -> None:
    block = msgspec.structs.replace(
        policy(Changed((Circumstance.COUNTRY,)), name="block", block=True),
        state=PolicyState.REPORT_ONLY,
    )
    elsewhere = policy(Changed((Circumstance.COUNTRY,)), name="c2", contexts=frozenset({"c2"}))
    pod = await moved(tried(MOVED), block, tried(elsewhere))
    explained = {(r.policy, r.answered, r.decision) for r in tries(pod)}
    assert explained == {("moved", "allow", "step_up"), ("block", "allow", "deny")}


async def test_where_others_asked_too_nothing_would_have_changed() -> None:
    strong = policy(Changed((Circumstance.COUNTRY,)), name="enforced")
    pod = await moved(strong, tried(MOVED))
    (one,) = tries(pod)
    assert (one.policy, one.answered, one.decision) == (
        "moved",
        "step_up",
        "step_up",
    )
