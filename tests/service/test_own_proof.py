"""Each call is judged by the sign-in that its own token shows (contract, "Meaning" 4; RFC 9470).

And that counts as of the earlier of its `auth_time` and the moment it was first shown.
"""

import msgspec
import pytest

from sidecar.domain.evaluation.decision import Verdict
from sidecar.domain.facts.signal import (
    RiskLevelChange,
    SessionEstablished,
    SessionPresented,
    SessionRevoked,
    Subject,
)
from sidecar.domain.policy.conditional_access import (
    Changed,
    Circumstance,
    EveryTime,
    Grant,
    Policy,
    RiskLevel,
    UserRisk,
)
from sidecar.domain.policy.conditional_access import SessionControls as Controls
from sidecar.domain.session.presented import Presented
from sidecar.domain.values.stamp import at
from sidecar.service.admin.inspection import ExplainQuery
from sidecar.service.ports.calls import Call
from sidecar.wire.policies.context_policies import context_policies
from sidecar.wire.settings.settings import AppChallenges, Context, ProofOf, Requires, Settings
from tests.domain.scenes import AWAY, HOME, policy
from tests.service.memory import SETTINGS, MemoryStore, Pod, Tokens

RISKY = policy(UserRisk(RiskLevel.MEDIUM), name="risky")
MOVED = policy(Changed((Circumstance.COUNTRY,)), name="moved")


def risk(level: RiskLevel, when: float) -> RiskLevelChange:
    return RiskLevelChange(stamp=at(when, f"r{when}"), subject=Subject(user="alice"), level=level)


def of_session(settings: Settings) -> Settings:
    assurance = msgspec.structs.replace(settings.assurance, proof_of=ProofOf.SESSION)
    return msgspec.structs.replace(settings, assurance=assurance)


async def stepped_up(pod: Pod, tokens: Tokens) -> tuple[str, str]:
    """Show a thief's old token, and its owner's after a step-up at 1010."""
    old = tokens.issue("old", acr="single-factor")
    await pod.check(old)
    await pod.intake.accept(risk(RiskLevel.HIGH, 1005))
    pod.now = 1011
    new = tokens.issue("new", auth_time=1010, acr="phr")
    assert (await pod.check(new)).verdict is Verdict.ALLOW
    return old, new


async def test_an_old_token_is_still_challenged_after_its_owner_stepped_up() -> None:
    tokens = Tokens()
    pod = Pod(MemoryStore(), [RISKY], tokens)
    old, new = await stepped_up(pod, tokens)
    answer = await pod.check(old)
    assert (answer.verdict, answer.assurance) == (Verdict.STEP_UP, "single-factor")
    assert [reason.policy for reason in answer.reasons] == ["risky"]
    assert answer.acr_values == "mfa"
    passed = await pod.check(new)
    assert (passed.verdict, passed.assurance) == (Verdict.ALLOW, "phishing-resistant")
    routine = await pod.check(old, "")
    assert (routine.verdict, routine.pending) == (Verdict.ALLOW, True)
    assert (routine.assurance, (await pod.check(new, "")).pending) == ("single-factor", False)


async def test_what_a_proof_proved_of_a_place_helps_no_older_token_there_or_later() -> None:
    tokens = Tokens()
    pod = Pod(MemoryStore(), [MOVED], tokens)
    old = tokens.issue("old")
    await pod.check(old)
    pod.now = 1005
    assert (await pod.check(old, ip=AWAY)).verdict is Verdict.STEP_UP
    pod.now = 1011
    new = tokens.issue("new", auth_time=1010, acr="mfa")
    assert (await pod.check(new, ip=AWAY)).verdict is Verdict.ALLOW
    for second, ip in ((1012, AWAY), (1013, HOME), (1014, AWAY)):
        pod.now = second
        expected = Verdict.ALLOW if ip == HOME else Verdict.STEP_UP
        assert (await pod.check(old, ip=ip)).verdict is expected
        assert (await pod.check(new, ip=ip)).verdict is Verdict.ALLOW


@pytest.mark.parametrize("requires", [Requires(assurance="mfa"), Requires(max_age=600)])
async def test_what_a_context_requires_is_required_of_the_token(requires: Requires) -> None:
    settings = msgspec.structs.replace(
        SETTINGS, contexts={"c4": Context(name="Wire transfers", requires=requires)}
    )
    tokens = Tokens()
    pod = Pod(MemoryStore(), context_policies(settings), tokens, settings)
    pod.now = 2000
    old = tokens.issue("old", auth_time=1000)
    new = tokens.issue("new", auth_time=1990, acr="mfa")
    for token, verdict in ((old, Verdict.STEP_UP), (new, Verdict.ALLOW), (old, Verdict.STEP_UP)):
        assert (await pod.check(token, "c4")).verdict is verdict


async def test_a_life_that_ended_does_not_begin_anew_for_an_older_token() -> None:
    capped = msgspec.structs.replace(
        policy(None, name="capped"), grant=Grant(), session=Controls(max_lifetime=100)
    )
    tokens = Tokens()
    pod = Pod(MemoryStore(), [capped], tokens)
    first = tokens.issue("first", auth_time=999)
    within = tokens.issue("within", auth_time=1090)
    assert (await pod.check(first)).verdict is Verdict.ALLOW
    pod.now = 1091
    assert (await pod.check(within)).verdict is Verdict.ALLOW
    pod.now = 1120
    assert (await pod.check(within)).verdict is Verdict.STEP_UP
    assert (await pod.check(tokens.issue("next", auth_time=1118))).verdict is Verdict.ALLOW
    assert (await pod.check(within)).verdict is Verdict.STEP_UP
    assert (await pod.check(first)).verdict is Verdict.STEP_UP


async def test_contexts_that_acrs_shows_are_met_by_the_token_that_shows_them() -> None:
    tokens = Tokens()
    pod = Pod(MemoryStore(), [RISKY], tokens)
    old = tokens.issue("old")
    await pod.check(old)
    await pod.intake.accept(risk(RiskLevel.HIGH, 1005))
    pod.now = 1011
    new = tokens.issue("new", contexts=("c1",), contexts_at=1010)
    assert (await pod.check(new)).verdict is Verdict.ALLOW
    assert (await pod.check(old)).verdict is Verdict.STEP_UP


async def test_a_newer_sign_in_brings_back_no_token_from_before_a_revocation() -> None:
    for settings in (SETTINGS, of_session(SETTINGS)):
        tokens = Tokens()
        pod = Pod(MemoryStore(), [RISKY], tokens, settings)
        old = tokens.issue("old")
        await pod.check(old, "")
        for second, subject in ((1005, Subject(session="s1")), (1015, Subject(user="alice"))):
            pod.now = second
            await pod.intake.accept(SessionRevoked(stamp=at(second, f"x{second}"), subject=subject))
            pod.now = second + 3
            new = tokens.issue(f"new{second}", auth_time=second + 2)
            assert (await pod.check(new)).verdict is Verdict.ALLOW
            for context in ("", "c1"):
                refused = await pod.check(old, context)
                assert (refused.verdict, refused.status) == (Verdict.DENY, 401)


async def test_sign_ins_before_the_tokens_own_complete_it_where_no_single_one_shows_all() -> None:
    both = policy(None, name="both")
    both = msgspec.structs.replace(both, grant=Grant((frozenset({"partner", "hardware"}),)))
    tokens = Tokens()
    pod = Pod(MemoryStore(), [both], tokens)
    first = tokens.issue("first", auth_time=1000, acr="partner")
    assert (await pod.check(first)).verdict is Verdict.STEP_UP
    pod.now = 1011
    second = tokens.issue("second", auth_time=1010, acr="hardware")
    assert (await pod.check(second)).verdict is Verdict.ALLOW
    assert (await pod.check(first)).verdict is Verdict.STEP_UP, "what came later is not its own"
    pod.now = 1021
    bare = tokens.issue("bare", auth_time=1020, acr="single-factor")
    assert (await pod.check(bare)).verdict is Verdict.STEP_UP, "it shows neither itself"
    assert (await pod.check(second)).verdict is Verdict.ALLOW


async def test_proof_of_session_lets_one_clients_step_up_count_for_all_its_tokens() -> None:
    by_app = msgspec.structs.replace(
        SETTINGS, apps={"payroll": AppChallenges(proof_of=ProofOf.SESSION)}
    )
    for settings in (of_session(SETTINGS), by_app):
        tokens = Tokens()
        pod = Pod(MemoryStore(), [RISKY], tokens, settings)
        old, _ = await stepped_up(pod, tokens)
        answer = await pod.check(old)
        assert (answer.verdict, answer.assurance) == (Verdict.ALLOW, "phishing-resistant")


async def test_a_check_by_session_is_judged_by_the_sessions_sign_ins() -> None:
    tokens = Tokens()
    pod = Pod(MemoryStore(), [RISKY], tokens)
    old, _ = await stepped_up(pod, tokens)
    answer = await pod.checker.check_session(
        "s1", Call(token="", contexts=frozenset({"c1"}), ip=HOME)
    )
    assert answer is not None
    assert (answer.verdict, answer.assurance) == (Verdict.ALLOW, "phishing-resistant")
    assert (await pod.check(old)).verdict is Verdict.STEP_UP


async def test_the_standing_of_each_token_is_worked_out_once() -> None:
    tokens = Tokens()
    pod = Pod(MemoryStore(), [RISKY, MOVED], tokens)
    old, new = await stepped_up(pod, tokens)
    (live,) = pod.view
    evaluator = pod.view.evaluator
    seen = set()
    for _ in range(5):
        for token in (old, new):
            await pod.check(token)
            shown = Presented(tokens.known[token].authentication)
            seen.add((token, id(live.judged(evaluator, pod.now, shown))))
    assert len(seen) == 2
    assert live.as_of(evaluator, Presented(tokens.known[new].authentication)) is live.state


async def test_explanations_in_the_log_are_by_the_calls_own_token() -> None:
    log = msgspec.structs.replace(SETTINGS.log, checks=True, explain=True)
    tokens = Tokens()
    pod = Pod(MemoryStore(), [RISKY], tokens, msgspec.structs.replace(SETTINGS, log=log))
    old, new = await stepped_up(pod, tokens)
    for token, firing in ((old, ("risky",)), (new, ())):
        answer = await pod.check(token)
        assert answer.explanation is not None
        assert (answer.explanation.verdict, answer.explanation.firing) == (answer.verdict, firing)
    await pod.settle()
    explained = await pod.inspector.explain("s1", ExplainQuery("c1"))
    assert explained is not None
    assert explained.verdict is Verdict.ALLOW, "what an operator asks is of the session"


async def test_a_step_up_that_every_call_needs_is_the_tokens_own() -> None:
    each = msgspec.structs.replace(
        policy(None, name="each"), session=Controls(every_time=EveryTime(0, 200))
    )
    tokens = Tokens()
    pod = Pod(MemoryStore(), [each], tokens)
    old = tokens.issue("old")
    assert (await pod.check(old)).verdict is Verdict.STEP_UP
    pod.now = 1011
    new = tokens.issue("new", auth_time=1010, acr="mfa")
    assert (await pod.check(old)).verdict is Verdict.STEP_UP
    assert (await pod.check(new)).verdict is Verdict.ALLOW
    assert (await pod.check(new)).verdict is Verdict.STEP_UP


def pair(*policies: Policy) -> tuple[Pod, Pod, Tokens]:
    store, tokens = MemoryStore(), Tokens()
    return Pod(store, policies, tokens, name="a"), Pod(store, policies, tokens, name="b"), tokens


@pytest.mark.parametrize("subject", [Subject(session="s1"), Subject(user="alice")])
async def test_a_token_that_is_dated_ahead_is_revoked_for_good_by_what_comes_until_then(
    subject: Subject,
) -> None:
    a, b, tokens = pair(RISKY)
    a.now = 1000.2
    ahead = tokens.issue("ahead", auth_time=1001, acr="phr")
    assert (await a.check(ahead)).verdict is Verdict.ALLOW
    await a.settle()
    a.now = 1000.5
    await a.intake.accept(SessionRevoked(stamp=at(1000.5, "x"), subject=subject))
    await a.settle()
    for second in (1000.6, 1003, 1035):
        for pod in (a, b):
            pod.now = second
            refused = await pod.check(ahead)
            assert (refused.verdict, refused.status) == (Verdict.DENY, 401)
            await pod.settle()
    a.now = 1040
    assert (await a.check(tokens.issue("next", auth_time=1039))).verdict is Verdict.ALLOW
    assert (await a.check(ahead)).verdict is Verdict.DENY


async def test_a_sign_in_that_an_event_dates_ahead_counts_as_of_the_event() -> None:
    a, _, tokens = pair(RISKY)
    event = SessionEstablished(
        stamp=at(1000, "e"),
        subject=Subject(user="alice", session="s1"),
        ip=HOME,
        app="payroll",
        acr="phr",
        auth_time=1059,
    )
    await a.intake.accept(event)
    ahead = tokens.issue("ahead", auth_time=1059, acr="phr")
    a.now = 1031
    await a.intake.accept(risk(RiskLevel.HIGH, 1005))
    await a.intake.accept(SessionRevoked(stamp=at(1010, "x"), subject=Subject(session="s1")))
    for second in (1031, 1060, 1095):
        a.now = second
        assert (await a.check(ahead)).verdict is Verdict.DENY


async def test_alternating_tokens_that_are_dated_ahead_write_nothing_more() -> None:
    a, _, tokens = pair(RISKY)
    a.now = 1000.5
    names = [tokens.issue(f"t{n}", auth_time=1001 + n, acr="mfa") for n in range(4)]
    for name in names:
        await a.check(name)
    (live,) = a.view
    known = len(live.own.record)
    for _ in range(3):
        for name in names:
            a.now += 3
            await a.check(name)
    assert len(live.own.record) == known


async def test_the_device_that_a_token_shows_is_vouched_for_whoever_named_it_before() -> None:
    tokens = Tokens()
    pod = Pod(MemoryStore(), [RISKY], tokens)
    without = tokens.issue("without")
    await pod.check(without)
    event = SessionPresented(
        stamp=at(1002, "named"),
        source="local:app",
        subject=Subject(session="s1", device="d1"),
    )
    await pod.intake.accept(event)
    (live,) = pod.view.find_session("s1")
    assert (live.state.device, live.state.vouched) == ("d1", False)
    pod.now = 1005
    await pod.check(tokens.issue("with", device="d1"))
    assert (live.state.device, live.state.vouched) == ("d1", True)
