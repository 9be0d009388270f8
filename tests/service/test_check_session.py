"""Sessions that are judged by their name alone, as AuthZEN enforcement points ask for them."""

import msgspec

from sidecar.domain.evaluation.decision import Verdict
from sidecar.domain.facts.signal import SessionRevoked, Subject
from sidecar.domain.policy.conditional_access import Changed, Circumstance, Selection
from sidecar.domain.values.stamp import at
from sidecar.service.ports.calls import Answer, Call
from tests.domain.scenes import AWAY, HOME, policy
from tests.service.memory import SETTINGS, MemoryStore, Pod, Tokens

MOVED = policy(Changed((Circumstance.COUNTRY,)), name="moved")


async def ask(pod: Pod, context: str = "c1", ip: str = HOME) -> Answer | None:
    return await pod.checker.check_session(
        "s1", Call("", frozenset({context} if context else ()), ip=ip)
    )


async def test_a_session_that_nobody_has_shown_is_not_known() -> None:
    pod = Pod(MemoryStore(), [MOVED], Tokens())
    assert await ask(pod) is None
    assert len(pod.view) == 0


async def test_a_session_shown_to_one_sidecar_is_known_to_all() -> None:
    store, tokens = MemoryStore(), Tokens()
    a, b = Pod(store, [MOVED], tokens, name="a"), Pod(store, [MOVED], tokens, name="b")
    await a.check(tokens.issue("t1"))
    await a.settle()
    answer = await ask(b)
    assert answer is not None
    assert (answer.verdict, answer.session, answer.subject) == (Verdict.ALLOW, "s1", "alice")


async def test_an_address_sent_with_the_session_counts_like_any_other() -> None:
    tokens = Tokens()
    pod = Pod(MemoryStore(), [MOVED], tokens)
    await pod.check(tokens.issue("t1"))
    pod.now += 10
    answer = await ask(pod, ip=AWAY)
    assert answer is not None
    assert (answer.verdict, answer.acr_values) == (Verdict.STEP_UP, "mfa")
    assert (await pod.check("t1", ip=AWAY)).verdict is Verdict.STEP_UP


async def test_a_token_in_the_call_is_no_proof() -> None:
    tokens = Tokens()
    pod = Pod(MemoryStore(), [MOVED], tokens)
    await pod.check(tokens.issue("t1"))
    pod.now += 10
    await ask(pod, ip=AWAY)
    pod.now += 10
    strong = tokens.issue("t2", auth_time=1020, acr="phr")
    answer = await pod.checker.check_session("s1", Call(strong, frozenset({"c1"}), ip=AWAY))
    assert answer is not None
    assert answer.verdict is Verdict.STEP_UP


async def test_a_revoked_session_is_denied_for_routine_calls_too() -> None:
    tokens = Tokens()
    pod = Pod(MemoryStore(), [MOVED], tokens)
    await pod.check(tokens.issue("t1"))
    await pod.intake.accept(SessionRevoked(stamp=at(1001, "r1"), subject=Subject(session="s1")))
    answer = await ask(pod, context="")
    assert answer is not None
    assert (answer.verdict, answer.status) == (Verdict.DENY, 401)


async def test_of_several_apps_the_strictest_answer_counts() -> None:
    only_mail = msgspec.structs.replace(
        policy(Changed((Circumstance.COUNTRY,)), name="mail"), apps=Selection(frozenset({"mail"}))
    )
    settings = msgspec.structs.replace(SETTINGS, app=msgspec.structs.replace(SETTINGS.app, id=""))
    tokens = Tokens()
    pod = Pod(MemoryStore(), [only_mail], tokens, settings)
    await pod.check(tokens.issue("t1", app="payroll"))
    await pod.check(tokens.issue("t2", app="mail"))
    pod.now += 10
    answer = await ask(pod, ip=AWAY)
    assert answer is not None
    assert answer.verdict is Verdict.STEP_UP


async def test_a_view_that_may_have_missed_news_does_not_let_a_known_session_pass() -> None:
    tokens = Tokens()
    pod = Pod(MemoryStore(), [MOVED], tokens)
    await pod.check(tokens.issue("t1"))
    pod.news.stale = 1e9
    answer = await ask(pod)
    assert answer is not None
    assert (answer.status, answer.error) == (503, "unavailable")
