"""One proof buys one call: whichever sidecar it comes to, and however often it is shown."""

import random

import msgspec
import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from sidecar.domain.evaluation.decision import Verdict
from sidecar.domain.evaluation.evaluator import Evaluator
from sidecar.domain.facts.fact_kinds import Spent
from sidecar.domain.facts.signal import RiskLevelChange, SessionRevoked, Subject
from sidecar.domain.policy.conditional_access import (
    EveryTime,
    Grant,
    Locations,
    Not,
    Policy,
    PolicyState,
    RiskLevel,
    Selection,
    UserRisk,
)
from sidecar.domain.policy.conditional_access import SessionControls as Session
from sidecar.domain.session.fold import Surroundings
from sidecar.domain.session.presented import Presented
from sidecar.domain.session.scene import CalledFrom
from sidecar.domain.session.single_use import keep_spent
from sidecar.domain.session.standing import Standing
from sidecar.domain.session.state import SPENT_BOUND, SpentHeld, State
from sidecar.domain.values.stamp import MICROSECONDS, at
from sidecar.service.observations.observations import ProofSpent
from sidecar.service.ports.calls import Answer, Call, Unavailable
from sidecar.service.ports.store import Join, JoinResult
from sidecar.wire.settings.settings import Context, Resilience
from sidecar.wire.store.records import decode_facts, encode_spent
from tests.domain.scenes import AWAY, WORLD, network_of
from tests.service.memory import SETTINGS, MemoryStore, Pod, Tokens


def every_time(grace: int = 0, within: int = 300, **changed: object) -> Policy:
    rule = Policy(
        "each",
        Grant((frozenset({"mfa"}),)),
        contexts=Selection(frozenset({"c1"})),
        session=Session(every_time=EveryTime(grace, within)),
    )
    return msgspec.structs.replace(rule, **changed)


def pods(rule: Policy, store: MemoryStore | None = None) -> tuple[Pod, Pod, Tokens]:
    store, tokens = store or MemoryStore(), Tokens()
    return Pod(store, [rule], tokens, name="a"), Pod(store, [rule], tokens, name="b"), tokens


def outcomes(pod: Pod) -> list[str]:
    return [one.outcome for one in pod.telemetry.of(ProofSpent) if isinstance(one, ProofSpent)]


def words(*answers: Answer) -> str:
    return " ".join(str(answer.verdict) for answer in answers)


async def test_a_proof_buys_one_call_and_the_next_is_asked_for_another() -> None:
    pod, other, tokens = pods(every_time())
    token = tokens.issue("t1", acr="mfa")
    assert (await pod.check(token)).verdict is Verdict.ALLOW
    again = await pod.check(token)
    assert (again.status, again.acr_values, again.max_age) == (401, "mfa", 0)
    assert [reason.policy for reason in again.reasons] == ["each"]
    assert "every call needs a sign-in of its own" in again.reasons[0].text
    assert (await other.check(token)).verdict is Verdict.STEP_UP
    pod.now = other.now = 1010
    fresh = tokens.issue("t2", acr="mfa", auth_time=1009)
    assert words(await other.check(fresh), await pod.check(fresh)) == "allow step_up"
    assert outcomes(pod) == ["bought"]


async def test_calls_elsewhere_cost_nothing_and_nothing_is_pending_there() -> None:
    pod, _, tokens = pods(every_time())
    token = tokens.issue("t1", acr="mfa")
    for _ in range(3):
        elsewhere = await pod.check(token, "c2")
        assert (elsewhere.verdict, elsewhere.pending) == (Verdict.ALLOW, False)
    assert (await pod.check(token)).verdict is Verdict.ALLOW
    assert (await pod.check(token, "c2")).verdict is Verdict.ALLOW


async def test_a_sidecar_that_has_not_heard_of_it_yet_cannot_spend_it_again() -> None:
    pod, other, tokens = pods(every_time())
    token = tokens.issue("t1", acr="mfa")
    await other.check(token, "c2")
    await pod.check(token, "c2")
    other.store.pods.remove(other.news)  # its news is late
    assert (await pod.check(token)).verdict is Verdict.ALLOW
    assert (await other.check(token)).verdict is Verdict.STEP_UP
    assert outcomes(other) == ["spent-before"]
    assert (await other.check(token)).verdict is Verdict.STEP_UP  # and now it knows
    assert outcomes(other) == ["spent-before"]


async def test_a_sidecar_whose_clock_is_behind_sees_no_grace_in_that() -> None:
    pod, other, tokens = pods(every_time())
    token = tokens.issue("t1", acr="mfa")
    await other.check(token, "c2")
    pod.now = 1003
    assert (await pod.check(token)).verdict is Verdict.ALLOW
    assert (await other.check(token)).verdict is Verdict.STEP_UP


async def test_a_refreshed_token_shows_the_same_proof() -> None:
    pod, _, tokens = pods(every_time(grace=60))
    assert (await pod.check(tokens.issue("t1", acr="mfa"))).verdict is Verdict.ALLOW
    assert (await pod.check(tokens.issue("t2", acr="mfa"))).verdict is Verdict.STEP_UP


@pytest.mark.parametrize(("later", "verdict"), [(9.9, Verdict.ALLOW), (10.0, Verdict.STEP_UP)])
async def test_within_the_grace_the_same_token_may_call_again(
    later: float, verdict: Verdict
) -> None:
    pod, other, tokens = pods(every_time(grace=10))
    token = tokens.issue("t1", acr="mfa")
    await pod.check(token)
    pod.now = other.now = 1000 + later
    trips = pod.store.round_trips
    assert (await pod.check(token)).verdict is verdict
    assert pod.store.round_trips == trips
    assert (await other.check(token)).verdict is verdict


async def test_another_text_of_a_token_without_an_id_is_that_token() -> None:
    pod, _, tokens = pods(every_time(grace=10))
    texts = ("h.p.s", "h.p.t", "h.q.s")
    for text in texts:
        tokens.issue(text, acr="mfa")
        tokens.known[text] = msgspec.structs.replace(tokens.known[text], token_id="")
    answers = [await pod.check(text) for text in texts]
    assert words(*answers) == "allow allow step_up"


@pytest.mark.parametrize(("age", "verdict"), [(60, Verdict.ALLOW), (61, Verdict.STEP_UP)])
async def test_a_proof_that_waited_too_long_buys_nothing(age: int, verdict: Verdict) -> None:
    pod, _, tokens = pods(every_time(within=60))
    token = tokens.issue("t1", acr="mfa", auth_time=1000 - age)
    assert (await pod.check(token)).verdict is verdict


async def test_it_is_the_sign_in_of_the_calls_own_token_that_pays() -> None:
    pod, _, tokens = pods(every_time())
    strong, weak = tokens.issue("t1", acr="mfa"), tokens.issue("t2", auth_time=998)
    await pod.check(strong, "c2")
    assert (await pod.check(weak)).verdict is Verdict.STEP_UP
    assert (await pod.check(strong)).verdict is Verdict.ALLOW


async def test_a_call_that_is_asked_for_more_uses_up_nothing() -> None:
    strict = every_time(grant=Grant((frozenset({"phishing-resistant"}),)))
    store, tokens = MemoryStore(), Tokens()
    beside = msgspec.structs.replace(strict, id="beside", session=Session())
    pod = Pod(store, [every_time(), beside], tokens)
    assert (await pod.check(tokens.issue("t1", acr="mfa"))).verdict is Verdict.STEP_UP
    assert outcomes(pod) == []


async def test_it_may_hold_only_under_conditions() -> None:
    pod, _, tokens = pods(every_time(conditions=UserRisk(RiskLevel.HIGH)))
    token = tokens.issue("t1", acr="mfa")
    assert words(await pod.check(token), await pod.check(token)) == "allow allow"
    subject = Subject(user="alice")
    event = RiskLevelChange(stamp=at(1000.5, "r"), subject=subject, level=RiskLevel.HIGH)
    await pod.intake.accept(event)
    assert (await pod.check(token)).verdict is Verdict.STEP_UP
    pod.now = 1010
    fresh = tokens.issue("t2", acr="mfa", auth_time=1009)
    assert words(await pod.check(fresh), await pod.check(fresh)) == "allow step_up"


@pytest.mark.parametrize(
    ("when_unknown", "age", "status"),
    [
        (Resilience.UNAVAILABLE, 1, 503),
        (Resilience.DENY, 1, 403),
        (Resilience.STEP_UP, 61, 401),
        (Resilience.ALLOW, 1, 200),
    ],
)
async def test_with_the_store_away_a_call_gets_what_its_context_says(
    when_unknown: Resilience, age: int, status: int
) -> None:
    payments = Context(name="Payments", when_unknown=when_unknown)
    contexts = {"c1": payments, "c2": Context(name="Reports")}
    store, tokens = MemoryStore(), Tokens()
    settings = msgspec.structs.replace(SETTINGS, contexts=contexts)
    pod = Pod(store, [every_time()], tokens, settings)
    token = tokens.issue("t1", acr="mfa", auth_time=1000 - age)
    await pod.check(token, "")
    store.away = True
    assert (await pod.check(token)).status == status
    assert (await pod.check(token, "c2")).verdict is Verdict.ALLOW
    assert outcomes(pod) == ["unavailable"]
    store.away = False
    assert (await pod.check(token)).verdict is Verdict.ALLOW


class Forgetful(MemoryStore):
    """A store whose answers get lost; what was asked for happened all the same."""

    lost = 0

    async def join(self, *joins: Join) -> list[JoinResult]:
        answers = await super().join(*joins)
        if self.lost:
            self.lost -= 1
            raise Unavailable("the answer was lost")
        return answers


class Insisting(Forgetful):
    """As the real one: what was not answered is asked again."""

    async def join(self, *joins: Join) -> list[JoinResult]:
        while True:
            try:
                return await super().join(*joins)
            except Unavailable:
                continue


async def test_a_proof_of_which_nobody_knows_whether_it_is_spent_buys_nothing_more() -> None:
    store = Forgetful()
    pod, _, tokens = pods(every_time(), store)
    token = tokens.issue("t1", acr="mfa")
    await pod.check(token, "c2")
    store.lost = 1
    assert (await pod.check(token)).status == 503
    assert (await pod.check(token)).verdict is Verdict.STEP_UP


async def test_who_asks_again_after_a_lost_answer_finds_its_own_spending() -> None:
    store = Insisting()
    pod, _, tokens = pods(every_time(), store)
    token = tokens.issue("t1", acr="mfa")
    await pod.check(token, "c2")
    store.lost = 1
    assert words(await pod.check(token), await pod.check(token)) == "allow step_up"


class Slow(MemoryStore):
    """A store that answers when it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = trio.Event()

    async def join(self, *joins: Join) -> list[JoinResult]:
        await self.gate.wait()
        return await super().join(*joins)


async def test_of_many_calls_at_once_on_all_sidecars_one_passes() -> None:
    store = Slow()
    pod, other, tokens = pods(every_time(), store)
    token = tokens.issue("t1", acr="mfa")
    answers: list[Answer] = []

    async def call(on: Pod) -> None:
        answers.append(await on.check(token))

    async with trio.open_nursery() as nursery:
        for on in (pod, other) * 5:
            nursery.start_soon(call, on)
        await trio.testing.wait_all_tasks_blocked()
        store.gate.set()
    assert sorted(str(answer.verdict) for answer in answers) == ["allow"] + ["step_up"] * 9


async def test_what_happened_while_the_store_was_asked_still_counts() -> None:
    store = Slow()
    pod, _, tokens = pods(every_time(), store)
    token = tokens.issue("t1", acr="mfa")
    answers: list[Answer] = []

    async def call() -> None:
        answers.append(await pod.check(token))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(call)
        await trio.testing.wait_all_tasks_blocked()
        over = SessionRevoked(stamp=at(1000, "over"), subject=Subject(user="alice"))
        pod.intake.learn_locally(over)
        store.gate.set()
    assert answers[0].status == 401


class Counting(Evaluator):
    """Counts how often a call's standing is computed."""

    def __init__(self, *policies: Policy) -> None:
        super().__init__(policies, WORLD, Surroundings("", network_of))
        self.calls: list[CalledFrom] = []

    def standing(
        self,
        state: State,
        now: int,
        call: CalledFrom | None = None,
        presented: Presented | None = None,
    ) -> Standing:
        if call is not None:
            self.calls.append(call)
        return super().standing(state, now, call, presented)


async def test_the_standing_is_computed_once_a_check_and_again_only_after_the_wait() -> None:
    at_home = Not(Locations(Selection(frozenset({"home"})), strict=True))
    others = msgspec.structs.replace(
        every_time(), id="others", conditions=at_home, contexts=Selection(frozenset({"c2"}))
    )
    tokens, evaluator = Tokens(), Counting(every_time(grace=10), others)
    pod = Pod(MemoryStore(), evaluator.policies, tokens)
    pod.view.use(evaluator)
    token = tokens.issue("t1", acr="mfa")
    assert (await pod.check(token, ip="")).verdict is Verdict.ALLOW
    assert outcomes(pod) == ["bought"]
    assert len(evaluator.calls) == 2, "anything may have become known of the session meanwhile"
    for count, verdict in enumerate((Verdict.ALLOW, Verdict.ALLOW, Verdict.STEP_UP), 3):
        pod.now += 4
        assert (await pod.check(token, ip="")).verdict is verdict
        assert len(evaluator.calls) == count


async def test_who_asks_of_a_session_without_its_token_has_nothing_to_pay_with() -> None:
    pod, _, tokens = pods(every_time())
    await pod.check(tokens.issue("t1", acr="mfa"), "c2")
    answer = await pod.checker.check_session("s1", Call("", frozenset({"c1"})))
    assert answer is not None
    assert answer.verdict is Verdict.STEP_UP


async def test_a_report_only_policy_uses_up_nothing() -> None:
    pod, _, tokens = pods(every_time(state=PolicyState.REPORT_ONLY))
    token = tokens.issue("t1", acr="mfa")
    assert words(await pod.check(token), await pod.check(token)) == "allow allow"
    assert outcomes(pod) == []


async def test_the_session_stands_as_its_mark_does_not_as_its_calls() -> None:
    pod, _, tokens = pods(every_time())
    token = tokens.issue("t1", acr="mfa")
    await pod.check(token, ip=AWAY)
    await pod.check(token, ip=AWAY)
    await pod.settle()
    summary = await pod.inspector.session("s1")
    assert summary is not None
    assert summary.summary.standing == "clear"


def test_a_spent_proof_survives_its_record() -> None:
    fact = Spent(stamp=at(1000.5, "x"), auth_time=999, token="t1")
    field, value = encode_spent(fact)
    assert field == b"spent:999"
    assert decode_facts({field: value}) == ([fact], [])


HELD = st.tuples(st.integers(1, 400), st.integers(0, 100), st.sampled_from(["a", "b"]))


@given(st.lists(HELD, max_size=200), st.randoms())
def test_what_is_spent_is_a_set_in_any_order_and_its_bound_forgets_the_earliest(
    spent: list[tuple[int, int, str]], shuffle: random.Random
) -> None:
    def kept(spent: list[tuple[int, int, str]]) -> dict[int, SpentHeld]:
        state = State(spent={})
        for auth_time, later, token in spent:
            keep_spent(state, auth_time, SpentHeld(token, (auth_time + later) * MICROSECONDS))
        return state.spent

    once = {auth_time: (auth_time, later, token) for auth_time, later, token in spent}
    found = kept(list(once.values()))
    mixed = [*once.values(), *once.values()]
    shuffle.shuffle(mixed)
    assert found == kept(mixed)
    assert len(found) == min(len(once), SPENT_BOUND)
    if len(found) == SPENT_BOUND:
        earliest = min(held.moment for held in found.values()) // MICROSECONDS
        assert all(auth_time <= earliest for auth_time in once if auth_time not in found)
