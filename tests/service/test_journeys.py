"""Checks and events of one and of two sidecars on one store, in virtual time."""

import msgspec
import pytest
import trio

from sidecar.domain.evaluation.decision import Verdict
from sidecar.domain.evaluation.evaluator import Evaluator
from sidecar.domain.facts.signal import (
    AssuranceLevelChange,
    DeviceComplianceChange,
    NetworkChange,
    RiskLevelChange,
    RiskSignal,
    SessionEstablished,
    SessionRevoked,
    Subject,
)
from sidecar.domain.policy.conditional_access import (
    Assignment,
    Changed,
    Circumstance,
    Device,
    Locations,
    Networks,
    Not,
    Policy,
    Principals,
    RiskLevel,
    Score,
    Selection,
    UserRisk,
)
from sidecar.domain.session.fold import Surroundings
from sidecar.domain.values.stamp import at
from sidecar.service.admin.inspection import SessionQuery
from sidecar.service.observations.observations import (
    BreakGlassUsed,
    Cleared,
    ClearReason,
    Marked,
    RevokedSession,
)
from sidecar.wire.settings.settings import Context, ProofOf, Resilience
from tests.domain.scenes import AWAY, HOME, network_of, policy
from tests.service.memory import SETTINGS, MemoryStore, Pod, Tokens

MOVED = policy(Changed((Circumstance.COUNTRY,)), name="moved")
RISKY = policy(UserRisk(RiskLevel.MEDIUM), name="risky")
SEGMENT = policy(Networks(Selection(frozenset({"restricted"}))), name="segment")
BROKEN = policy(Device(compliant=False), name="broken")


def two_pods(*policies: Policy) -> tuple[Pod, Pod, Tokens]:
    store, tokens = MemoryStore(), Tokens()
    return Pod(store, policies, tokens, name="a"), Pod(store, policies, tokens, name="b"), tokens


def forward(seconds: float, *pods: Pod) -> None:
    for pod in pods:
        pod.now += seconds


def risk(user: str, level: RiskLevel, second: float, name: str = "r1") -> RiskLevelChange:
    return RiskLevelChange(stamp=at(second, name), subject=Subject(user=user), level=level)


async def test_a_check_in_the_steady_state_asks_nothing_of_the_store() -> None:
    a, _, tokens = two_pods(MOVED)
    token = tokens.issue("t1")
    await a.check(token)
    await a.settle()
    trips = a.store.round_trips
    for _ in range(10):
        forward(1, a)
        assert (await a.check(token)).verdict is Verdict.ALLOW
    assert a.store.round_trips == trips
    assert not a.view.has_unsaved


async def test_a_jump_to_another_country_is_judged_before_the_call_is_answered() -> None:
    a, b, tokens = two_pods(MOVED)
    token = tokens.issue("t1")
    assert (await a.check(token)).verdict is Verdict.ALLOW
    await a.settle()
    assert (await b.check(token)).verdict is Verdict.ALLOW
    forward(10, a, b)
    answer = await a.check(token, ip=AWAY)
    assert answer.verdict is Verdict.STEP_UP
    assert answer.acr_values == "mfa"
    assert answer.max_age == 0
    assert [reason.policy for reason in answer.reasons] == ["moved"]
    await a.settle()
    assert (await b.check(token, ip=AWAY)).verdict is Verdict.STEP_UP
    routine = await b.check(token, "", AWAY)
    assert routine.verdict is Verdict.ALLOW
    assert routine.pending


async def test_a_stronger_later_token_through_either_clears_for_both_and_for_good() -> None:
    a, b, tokens = two_pods(MOVED)
    old = tokens.issue("t1")
    await a.check(old)
    await a.settle()
    await b.check(old)
    forward(10, a, b)
    await a.check(old, ip=AWAY)
    await a.settle()
    stale = tokens.issue("t2", auth_time=1010, acr="phr")
    assert (await b.check(stale, ip=AWAY)).verdict is Verdict.STEP_UP
    forward(2, a, b)
    fresh = tokens.issue("t3", auth_time=1011, acr="mfa")
    assert (await b.check(fresh, ip=AWAY)).verdict is Verdict.ALLOW
    await b.settle()
    assert (await a.check(old, ip=AWAY)).verdict is Verdict.STEP_UP, "it shows what it did"
    forward(10, a, b)
    assert (await a.check(fresh, ip=HOME)).verdict is Verdict.ALLOW
    await a.settle()
    assert (await b.check(fresh, ip=AWAY)).verdict is Verdict.ALLOW
    assert (await b.check(old, ip=AWAY)).verdict is Verdict.STEP_UP


async def test_an_event_through_one_sidecar_is_seen_by_checks_of_the_other() -> None:
    a, b, tokens = two_pods(RISKY)
    token = tokens.issue("t1")
    await b.check(token)
    await b.settle()
    await a.intake.accept(risk("alice", RiskLevel.HIGH, 1005))
    forward(10, a, b)
    assert (await b.check(token)).verdict is Verdict.STEP_UP
    assert (await b.check(token, "")).pending


async def test_an_event_before_its_session_is_not_lost() -> None:
    a, b, tokens = two_pods(SEGMENT)
    event = NetworkChange(stamp=at(1005, "n1"), subject=Subject(session="s1"), segment="restricted")
    await a.intake.accept(event)
    forward(10, a, b)
    assert (await b.check(tokens.issue("t1"))).verdict is Verdict.STEP_UP


async def test_an_event_that_races_with_its_session_is_not_lost() -> None:
    a, b, tokens = two_pods(SEGMENT)
    forward(10, a, b)
    await b.check(tokens.issue("t1"))
    event = NetworkChange(stamp=at(1005, "n1"), subject=Subject(session="s1"), segment="restricted")
    await a.intake.accept(event)
    await b.settle()
    assert (await b.check("t1")).verdict is Verdict.STEP_UP


async def test_an_event_id_counts_once() -> None:
    a, _, tokens = two_pods(RISKY)
    await a.check(tokens.issue("t1"))
    await a.settle()
    assert not (await a.intake.accept(risk("alice", RiskLevel.HIGH, 1005))).duplicate
    assert (await a.intake.accept(risk("alice", RiskLevel.LOW, 1006))).duplicate
    forward(10, a)
    assert (await a.check("t1")).verdict is Verdict.STEP_UP


async def test_a_device_event_marks_all_and_only_the_sessions_on_that_device() -> None:
    a, _, tokens = two_pods(BROKEN)
    for index in range(60):
        token = tokens.issue(
            f"t{index}", user=f"u{index}", session=f"s{index}", device=f"d{index % 3}"
        )
        await a.check(token)
    await a.settle()
    event = DeviceComplianceChange(
        stamp=at(1005, "c1"), subject=Subject(device="d1"), compliant=False
    )
    await a.intake.accept(event)
    forward(10, a)
    marked = {
        index for index in range(60) if (await a.check(f"t{index}")).verdict is Verdict.STEP_UP
    }
    assert marked == set(range(1, 60, 3))


async def test_each_mark_and_clear_is_logged_once_by_one_sidecar_of_all() -> None:
    a, b, tokens = two_pods(RISKY)
    old = tokens.issue("t1")
    await a.check(old)
    await a.settle()
    await b.check(old)
    await a.intake.accept(risk("alice", RiskLevel.HIGH, 1005))
    await a.settle()
    for _ in range(5):
        forward(2, a, b)
        for pod in (a, b):
            await pod.sweeper.sweep()
            await pod.settle()
    fresh = tokens.issue("t2", auth_time=1012, acr="mfa")
    await b.check(fresh)
    await b.settle()
    for _ in range(5):
        for pod in (a, b):
            await pod.sweeper.sweep()
            await pod.settle()
    marked = a.telemetry.of(Marked) + b.telemetry.of(Marked)
    cleared = a.telemetry.of(Cleared) + b.telemetry.of(Cleared)
    assert len(marked) == 1
    assert isinstance(marked[0], Marked)
    assert marked[0].policy == "risky"
    assert marked[0].signal == "risk-level-change"
    assert len(cleared) == 1
    assert isinstance(cleared[0], Cleared)
    assert cleared[0].reason is ClearReason.PROOF


async def test_what_a_dead_sidecar_left_is_logged_by_another() -> None:
    a, b, tokens = two_pods(RISKY)
    await b.check(tokens.issue("t1"))
    await b.settle()
    await a.intake.accept(risk("alice", RiskLevel.HIGH, 1005))  # and a dies here
    for _ in range(4):
        forward(2, b)
        await b.sweeper.sweep()
        await b.settle()
    assert len(b.telemetry.of(Marked)) == 1


async def test_a_revoked_session_is_over_until_a_later_sign_in() -> None:
    a, b, tokens = two_pods()
    token = tokens.issue("t1")
    await b.check(token)
    await b.settle()
    revoked = SessionRevoked(stamp=at(1005, "x"), subject=Subject(user="alice"), reason="left")
    await a.intake.accept(revoked)
    await a.settle()
    answer = await b.check(token, "")
    assert (answer.verdict, answer.status) == (Verdict.DENY, 401)
    assert 'error="invalid_token"' in answer.challenge
    assert len(a.telemetry.of(RevokedSession)) == 1
    forward(20, b)
    assert (await b.check(tokens.issue("t2", auth_time=1010), "")).status == 200


async def test_watchers_hear_of_a_lost_and_a_regained_standing() -> None:
    a, b, tokens = two_pods(RISKY)
    await b.check(tokens.issue("t1"))
    await b.settle()
    async with b.watches.watch(frozenset({"s1"})) as changes:
        await a.intake.accept(risk("alice", RiskLevel.HIGH, 1005))
        change = changes.receive_nowait()
        assert (change.session, change.standing) == ("s1", "step_up")
        assert change.contexts == ("c1",)
        forward(20, a, b)
        await b.check(tokens.issue("t2", auth_time=1010, acr="mfa"))
        assert changes.receive_nowait().standing == "clear"
        with pytest.raises(trio.WouldBlock):
            changes.receive_nowait()


async def test_a_score_that_fades_is_noticed_by_a_sweep() -> None:
    a, _, tokens = two_pods(policy(Score(40), name="score"))
    await a.check(tokens.issue("t1"))
    await a.settle()
    odd = RiskSignal(
        stamp=at(1005, "o"), subject=Subject(session="s1"), name="odd", weight=50, half_life=60
    )
    await a.intake.accept(odd)
    await a.settle()
    forward(6, a)
    async with a.watches.watch(None) as changes:
        assert (await a.check("t1")).verdict is Verdict.STEP_UP
        forward(120, a)
        await a.sweeper.sweep()
        assert changes.receive_nowait().standing == "clear"
    for _ in range(4):
        await a.sweeper.sweep()
        await a.settle()
    (cleared,) = a.telemetry.of(Cleared)
    assert isinstance(cleared, Cleared)
    assert cleared.reason is ClearReason.WITHDRAWN


async def test_without_the_store_an_unknown_session_gets_routine_calls_only() -> None:
    a, _, tokens = two_pods(MOVED)
    a.store.away = True
    token = tokens.issue("t1")
    assert (await a.check(token, "")).status == 200
    answer = await a.check(token)
    assert (answer.status, answer.error, answer.retry_after) == (503, "unavailable", 1)


async def test_without_the_store_a_known_session_is_judged_by_the_view() -> None:
    a, _, tokens = two_pods(MOVED)
    token = tokens.issue("t1")
    await a.check(token)
    await a.settle()
    a.store.away = True
    forward(10, a)
    assert (await a.check(token)).verdict is Verdict.ALLOW
    assert (await a.check(token, ip=AWAY)).verdict is Verdict.STEP_UP
    a.news.stale = 60
    stale = await a.check(token, ip=AWAY)
    assert stale.verdict is Verdict.STEP_UP


async def test_where_a_context_says_so_a_fresh_sign_in_passes_without_the_store() -> None:
    settings = msgspec.structs.replace(
        SETTINGS, contexts={"c1": Context(name="Payments", when_unknown=Resilience.STEP_UP)}
    )
    tokens = Tokens()
    a = Pod(MemoryStore(), [MOVED], tokens, settings)
    a.store.away = True
    answer = await a.check(tokens.issue("t1", auth_time=900))
    assert (answer.verdict, answer.status, answer.max_age) == (Verdict.STEP_UP, 401, 60)
    assert (await a.check(tokens.issue("t2", auth_time=960))).verdict is Verdict.ALLOW


async def test_a_stale_view_does_not_allow_what_is_sensitive() -> None:
    a, _, tokens = two_pods(MOVED)
    token = tokens.issue("t1")
    await a.check(token)
    a.news.stale = 60
    assert (await a.check(token)).status == 503
    assert (await a.check(token, "")).status == 200


async def test_what_was_found_while_the_store_was_away_is_saved_when_it_is_back() -> None:
    a, b, tokens = two_pods(MOVED)
    token = tokens.issue("t1")
    await a.check(token)
    await a.settle()
    a.store.away = True
    forward(10, a, b)
    await a.check(token, ip=AWAY)
    with trio.move_on_after(0.5):
        await a.write_back.run()
    a.store.away = False
    await a.settle()
    assert (await b.check(token, ip=AWAY)).verdict is Verdict.STEP_UP


async def test_news_that_were_missed_are_read_again_before_the_view_counts_as_fresh() -> None:
    a, b, tokens = two_pods(RISKY)
    token = tokens.issue("t1")
    await b.check(token)
    await b.settle()
    b.news.deaf = True
    await a.intake.accept(risk("alice", RiskLevel.HIGH, 1005))
    forward(10, a, b)
    assert (await b.check(token)).verdict is Verdict.ALLOW
    b.news.deaf = False
    await b.view.revalidate()
    assert (await b.check(token)).verdict is Verdict.STEP_UP


async def test_an_established_event_and_an_assurance_event_need_no_token() -> None:
    store, tokens = MemoryStore(), Tokens()
    of_session = msgspec.structs.replace(
        SETTINGS, assurance=msgspec.structs.replace(SETTINGS.assurance, proof_of=ProofOf.SESSION)
    )
    a, b = (Pod(store, (RISKY,), tokens, of_session, name=name) for name in ("a", "b"))
    strict = Pod(store, (RISKY,), tokens, name="strict")
    established = SessionEstablished(
        stamp=at(1000, "e"),
        subject=Subject(user="alice", session="s1", device="d1"),
        ip=HOME,
        app="payroll",
        acr="single-factor",
        auth_time=999,
    )
    await a.intake.accept(established)
    await a.intake.accept(risk("alice", RiskLevel.HIGH, 1005))
    await a.settle()
    assert len(a.telemetry.of(Marked)) == 1
    rise = AssuranceLevelChange(
        stamp=at(1008, "l"), subject=Subject(session="s1"), namespace="RFC8176", level="mfa"
    )
    await a.intake.accept(rise)
    forward(20, b, strict)
    assert (await b.check(tokens.issue("t1"))).verdict is Verdict.ALLOW
    assert (await strict.check("t1")).verdict is Verdict.STEP_UP, "the token shows no rise"
    await a.settle()
    assert len(a.telemetry.of(Cleared)) == 1, "the session's mark is cleared all the same"


async def test_the_inspector_shows_sessions_with_their_marks_and_timeline() -> None:
    a, _, tokens = two_pods(RISKY)
    for index in range(5):
        await a.check(tokens.issue(f"t{index}", user=f"u{index}", session=f"s{index}"))
    await a.settle()
    await a.intake.accept(risk("u3", RiskLevel.HIGH, 1005))
    page = await a.inspector.sessions(SessionQuery(standing="step_up"))
    assert [one.session for one in page.sessions] == ["s3"]
    detail = await a.inspector.session("s3")
    assert detail is not None
    assert [mark.policy for mark in detail.summary.marks] == ["risky"]
    texts = {one.kind: one.text for one in detail.timeline}
    assert {"risk-reported", "sighted", "signed-in", "marked"} <= texts.keys()
    assert "seen" not in texts, "the session's own address is shown once"
    assert texts["marked"].startswith("marked by policy risky for c1: user risk: medium")
    assert [one.time for one in detail.timeline] == sorted(one.time for one in detail.timeline)
    assert [term.name for term in detail.terms] == ["user-risk-high"]
    seen: list[str] = []
    cursor = ""
    while True:
        page = await a.inspector.sessions(SessionQuery(limit=2, cursor=cursor))
        seen += [one.session for one in page.sessions]
        cursor = page.cursor
        if not cursor:
            break
    assert sorted(seen) == [f"s{index}" for index in range(5)]


async def test_a_session_that_must_make_room_is_read_again_with_its_mark() -> None:
    store, tokens = MemoryStore(), Tokens()
    a = Pod(store, [RISKY], tokens)
    a.view._bound = 2  # noqa: SLF001 - a small view, to see it full
    await a.check(tokens.issue("t0", user="u0", session="s0"))
    await a.settle()
    await a.intake.accept(risk("u0", RiskLevel.HIGH, 1005))
    for index in range(1, 5):
        await a.check(tokens.issue(f"t{index}", user=f"u{index}", session=f"s{index}"))
    await a.settle()
    assert len(a.view) == 2
    forward(10, a)
    assert (await a.check("t0")).verdict is Verdict.STEP_UP
    assert len(a.news.channels) == 2


async def test_a_view_that_may_hold_less_than_it_does_lets_the_oldest_go() -> None:
    a = Pod(MemoryStore(), [RISKY], tokens := Tokens())
    for index in range(5):
        await a.check(tokens.issue(f"t{index}", user=f"u{index}", session=f"s{index}"))
    a.view.limit = 2
    assert [live.session for live in a.view] == ["s3", "s4"]
    assert len(a.news.channels) == 2


async def test_a_watched_session_is_brought_into_the_view_and_kept_there() -> None:
    store, tokens = MemoryStore(), Tokens()
    a, b = Pod(store, [RISKY], tokens, name="a"), Pod(store, [RISKY], tokens, name="b")
    b.view._bound = 2  # noqa: SLF001 - a small view, to see it full
    await a.check(tokens.issue("t0", user="u0", session="s0"))
    await a.settle()
    async with b.watches.watch(frozenset({"s0", "unknown"})) as changes:
        for index in range(1, 6):
            await b.check(tokens.issue(f"t{index}", user=f"u{index}", session=f"s{index}"))
        await a.intake.accept(risk("u0", RiskLevel.HIGH, 1005))
        assert changes.receive_nowait().session == "s0"


async def test_a_token_that_does_not_list_its_groups_leaves_those_that_are_known() -> None:
    grouped = msgspec.structs.replace(
        policy(None, name="staff"),
        users=Assignment(include=Principals(groups=frozenset({"staff"}))),
    )
    a, _, tokens = two_pods(grouped)
    assert (await a.check(tokens.issue("t1"))).verdict is Verdict.STEP_UP
    overage = msgspec.structs.replace(
        tokens.known[tokens.issue("t2")], groups=frozenset(), groups_known=False
    )
    tokens.known["t2"] = overage
    forward(10, a)
    assert (await a.check("t2")).verdict is Verdict.STEP_UP


async def test_a_sidecar_that_learns_of_the_proof_before_the_mark_agrees() -> None:
    a, b, tokens = two_pods(RISKY)
    old = tokens.issue("t1")
    await a.check(old)
    await a.settle()
    await b.check(old)
    forward(20, a, b)
    fresh = tokens.issue("t2", auth_time=1010, acr="mfa")
    await b.check(fresh)  # b has the proof, and nobody knows of the risk yet
    await b.settle()
    await a.intake.accept(risk("alice", RiskLevel.HIGH, 1005))
    for pod in (a, b):
        assert (await pod.check(fresh)).verdict is Verdict.ALLOW
        assert (await pod.check(old)).verdict is Verdict.STEP_UP
    await a.intake.accept(risk("alice", RiskLevel.LOW, 1012, "r2"))
    await a.intake.accept(risk("alice", RiskLevel.HIGH, 1013, "r3"))
    for pod in (a, b):
        assert (await pod.check(fresh)).verdict is Verdict.STEP_UP


AT_HOME = policy(Not(Locations(Selection(frozenset({"home"})), strict=True)), name="at-home")


async def test_a_strict_policy_refuses_a_call_without_an_address_and_says_so() -> None:
    a, _, tokens = two_pods(AT_HOME)
    token = tokens.issue("t1")
    assert (await a.check(token)).verdict is Verdict.ALLOW
    answer = await a.check(token, ip="")
    assert (answer.verdict, answer.status) == (Verdict.DENY, 403)
    assert "the app must give the call's own address" in answer.reasons[0].text
    assert (await a.check(token)).verdict is Verdict.ALLOW
    assert (await a.check(token, context="", ip="")).verdict is Verdict.ALLOW


async def test_a_policy_that_is_not_strict_takes_the_address_where_the_session_was_last() -> None:
    lenient = policy(Not(Locations(Selection(frozenset({"home"})))), name="at-home")
    a, _, tokens = two_pods(lenient)
    token = tokens.issue("t1")
    assert (await a.check(token)).verdict is Verdict.ALLOW
    assert (await a.check(token, ip="")).verdict is Verdict.ALLOW


async def test_a_strict_policy_judges_the_call_where_a_later_sighting_is_elsewhere() -> None:
    a, b, tokens = two_pods(AT_HOME)
    token = tokens.issue("t1")
    assert (await a.check(token)).verdict is Verdict.ALLOW
    b.now += 30  # its clock is ahead, and its sighting later than all of the other's
    assert (await b.check(token)).verdict is Verdict.ALLOW
    await b.check(token, ip="192.0.2.77")
    assert (await b.check(token)).verdict is Verdict.ALLOW
    await b.settle()
    assert (await a.check(token, ip=AWAY)).verdict is Verdict.STEP_UP


async def test_each_check_of_a_break_glass_account_is_logged_and_passes() -> None:
    a, _, tokens = two_pods(policy(None, block=True))
    evaluator = a.view.evaluator
    glass = Principals(users=frozenset({"alice"}))
    exempt = evaluator.world._replace(break_glass={"": glass})
    a.view.use(Evaluator(evaluator.policies, exempt, Surroundings("", network_of)))
    answer = await a.check(tokens.issue("t1", user="alice"))
    assert answer.verdict is Verdict.ALLOW
    used = BreakGlassUsed(session="s1", subject="alice", decision="allow", context="c1")
    assert a.telemetry.of(BreakGlassUsed) == [used]
    assert (await a.check(tokens.issue("t2", user="bob", session="s2"))).verdict is Verdict.DENY
    assert len(a.telemetry.of(BreakGlassUsed)) == 1
