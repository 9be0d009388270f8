"""The life of a mark, step by step (contract, "Meaning")."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.domain.evaluation.decision import AccessRequest, Verdict, coarse, decide
from sidecar.domain.evaluation.evaluator import Evaluator
from sidecar.domain.facts.fact_kinds import (
    ComplianceReported,
    DeviceBound,
    Fact,
    MarksCleared,
    NetworkReported,
    Revoked,
    RiskReported,
    Scope,
    SignalRaised,
    SignedIn,
    StepUpAsked,
)
from sidecar.domain.policy.conditional_access import (
    All,
    AnyOf,
    Changed,
    Circumstance,
    Countries,
    Device,
    Networks,
    Not,
    Policy,
    RiskLevel,
    Score,
    Selection,
    Signals,
    TravelSpeed,
    UserRisk,
)
from sidecar.domain.session.state import State
from sidecar.domain.values.assurance import Authentication
from sidecar.domain.values.stamp import MICROSECONDS
from tests.domain.scenes import (
    AWAY,
    FAR,
    HOME,
    LADDER,
    established,
    evaluator,
    policy,
    sighted,
    signed_in,
)
from tests.domain.scenes import stamp as at

MOVED = Changed((Circumstance.COUNTRY,))
RESTRICTED = Networks(Selection(frozenset({"restricted"})))


def verdict(
    rules: Evaluator, facts: list[Fact], now: float, contexts: frozenset[str] = frozenset({"c1"})
) -> Verdict:
    state = rules.fold("s", facts)
    standing = rules.standing(state, int(now * MICROSECONDS))
    return decide(standing, AccessRequest("app", contexts, now), LADDER).verdict


def test_a_session_that_stays_where_it_was_is_allowed() -> None:
    assert verdict(evaluator(policy(MOVED)), established(), 1001) is Verdict.ALLOW


def test_a_change_of_country_asks_for_step_up_in_the_marked_context_only() -> None:
    rules = evaluator(policy(MOVED))
    facts = [*established(), sighted(1010, AWAY)]
    assert verdict(rules, facts, 1011) is Verdict.STEP_UP
    assert verdict(rules, facts, 1011, frozenset()) is Verdict.ALLOW
    assert verdict(rules, facts, 1011, frozenset({"c2"})) is Verdict.ALLOW


def test_routine_calls_learn_of_a_mark_elsewhere() -> None:
    rules = evaluator(policy(MOVED))
    state = rules.fold("s", [*established(), sighted(1010, AWAY)])
    standing = rules.standing(state, 1011 * MICROSECONDS)
    assert decide(standing, AccessRequest("app", frozenset(), 1011), LADDER).pending


@pytest.mark.parametrize(
    ("auth_time", "expected"),
    [(999, Verdict.STEP_UP), (1010, Verdict.STEP_UP), (1011, Verdict.ALLOW)],
)
def test_a_proof_must_lie_in_a_later_second_than_the_mark(
    auth_time: int, expected: Verdict
) -> None:
    facts = [*established(), sighted(1010.2, AWAY), signed_in(1012, auth_time)]
    assert verdict(evaluator(policy(MOVED)), facts, 1013) is expected


def test_a_skew_allowance_lets_a_proof_of_the_same_second_count() -> None:
    facts = [*established(), sighted(1010.2, AWAY), signed_in(1012, 1010)]
    assert verdict(evaluator(policy(MOVED), skew=1), facts, 1013) is Verdict.ALLOW


def test_a_weak_proof_does_not_clear_however_fresh() -> None:
    facts = [*established(), sighted(1010, AWAY), signed_in(1020, 1019, "single-factor")]
    assert verdict(evaluator(policy(MOVED)), facts, 1021) is Verdict.STEP_UP


def test_a_stronger_proof_than_asked_clears() -> None:
    facts = [*established(), sighted(1010, AWAY), signed_in(1020, 1019, "phr")]
    assert verdict(evaluator(policy(MOVED)), facts, 1021) is Verdict.ALLOW


def test_moving_between_proven_places_does_not_ask_again() -> None:
    rules = evaluator(policy(MOVED))
    facts = [*established(), sighted(1010, AWAY), signed_in(1020, 1019, ip=AWAY)]
    for second in range(1030, 1090, 20):
        facts += [sighted(second, HOME), sighted(second + 10, AWAY)]
        assert verdict(rules, facts, second + 11) is Verdict.ALLOW


def test_a_place_left_unproven_asks_again_on_return() -> None:
    rules = evaluator(policy(MOVED))
    facts = [
        *established(),
        sighted(1010, FAR),
        sighted(1020, AWAY),
        signed_in(1022, 1021, ip=AWAY),
    ]
    assert verdict(rules, facts, 1023) is Verdict.ALLOW
    facts.append(sighted(1030, FAR))
    assert verdict(rules, facts, 1031) is Verdict.STEP_UP


def test_going_home_withdraws_the_mark_unless_the_policy_is_sticky() -> None:
    facts = [*established(), sighted(1010, AWAY), sighted(1020, HOME)]
    assert verdict(evaluator(policy(MOVED)), facts, 1021) is Verdict.ALLOW
    assert verdict(evaluator(policy(MOVED, sticky=True)), facts, 1021) is Verdict.STEP_UP


def test_a_sticky_mark_is_cleared_by_a_proof() -> None:
    facts = [*established(), sighted(1010, AWAY), sighted(1020, HOME), signed_in(1030, 1029)]
    assert verdict(evaluator(policy(MOVED, sticky=True)), facts, 1031) is Verdict.ALLOW


def test_a_late_signal_still_marks_where_the_policy_is_sticky() -> None:
    facts = [*established(), sighted(1020, HOME, "b"), sighted(1010, AWAY)]
    assert verdict(evaluator(policy(MOVED, sticky=True)), facts, 1031) is Verdict.STEP_UP
    assert verdict(evaluator(policy(MOVED)), facts, 1031) is Verdict.ALLOW


def test_a_repeated_signal_is_no_new_cause() -> None:
    risk: list[Fact] = [
        RiskReported(stamp=at(1010), scope=Scope.USER, level=RiskLevel.HIGH),
        signed_in(1020, 1019),
        RiskReported(stamp=at(1030), scope=Scope.USER, level=RiskLevel.HIGH),
    ]
    rules = evaluator(policy(UserRisk(RiskLevel.MEDIUM)))
    assert verdict(rules, [*established(), *risk], 1031) is Verdict.ALLOW


def test_a_rise_of_risk_is_a_new_cause_and_a_fall_is_not() -> None:
    rules = evaluator(policy(UserRisk(RiskLevel.MEDIUM)))

    def risk(second: float, level: RiskLevel) -> Fact:
        return RiskReported(stamp=at(second), scope=Scope.USER, level=level)

    facts = [*established(), risk(1010, RiskLevel.HIGH), signed_in(1020, 1019)]
    assert verdict(rules, [*facts, risk(1030, RiskLevel.MEDIUM)], 1031) is Verdict.ALLOW
    facts = [*established(), risk(1010, RiskLevel.MEDIUM), signed_in(1020, 1019)]
    assert verdict(rules, [*facts, risk(1030, RiskLevel.HIGH)], 1031) is Verdict.STEP_UP


def test_a_session_established_after_the_risk_from_an_older_sign_in_is_marked() -> None:
    rules = evaluator(policy(UserRisk(RiskLevel.MEDIUM)))
    risk = RiskReported(stamp=at(900), scope=Scope.USER, level=RiskLevel.HIGH)
    older: list[Fact] = [risk, sighted(1000), signed_in(1000, 800)]
    newer: list[Fact] = [risk, sighted(1000), signed_in(1000, 950)]
    assert verdict(rules, [*older], 1001) is Verdict.STEP_UP
    assert verdict(rules, [*newer], 1001) is Verdict.ALLOW


def test_a_policy_without_conditions_is_met_by_the_sign_in_itself() -> None:
    rules = evaluator(policy(None))
    assert verdict(rules, established(acr="mfa"), 1001) is Verdict.ALLOW
    assert verdict(rules, established(acr="single-factor"), 1001) is Verdict.STEP_UP


def test_the_first_place_is_proven_by_a_sufficient_sign_in() -> None:
    in_germany = Countries(Selection(frozenset({"DE"})))
    assert verdict(evaluator(policy(in_germany)), established(acr="mfa"), 1001) is Verdict.ALLOW
    assert verdict(evaluator(policy(in_germany)), established(), 1001) is Verdict.STEP_UP


def test_a_restricted_segment_asks_once_and_not_on_return() -> None:
    rules = evaluator(policy(RESTRICTED))
    facts = [*established(acr="mfa"), NetworkReported(stamp=at(1010), network="restricted")]
    assert verdict(rules, facts, 1011) is Verdict.STEP_UP
    facts.append(signed_in(1020, 1019, ip=HOME))
    assert verdict(rules, facts, 1021) is Verdict.ALLOW
    facts.append(NetworkReported(stamp=at(1030), network="office"))
    facts.append(NetworkReported(stamp=at(1040), network="restricted"))
    assert verdict(rules, facts, 1041) is Verdict.ALLOW


def test_a_device_that_loses_compliance_marks_and_again_after_it_was_well() -> None:
    rules = evaluator(policy(Device(compliant=False)))
    facts: list[Fact] = [*established(), DeviceBound(stamp=at(1000), device="d1")]

    def compliance(second: float, compliant: bool) -> Fact:
        return ComplianceReported(stamp=at(second), device="d1", compliant=compliant)

    facts.append(compliance(1010, False))
    assert verdict(rules, facts, 1011) is Verdict.STEP_UP
    facts.append(signed_in(1020, 1019))
    assert verdict(rules, facts, 1021) is Verdict.ALLOW
    facts += [compliance(1030, True), compliance(1040, False)]
    assert verdict(rules, facts, 1041) is Verdict.STEP_UP


def test_a_control_that_no_sign_in_satisfies_denies_until_the_fact_changes() -> None:
    rules = evaluator(policy(UserRisk(RiskLevel.HIGH), "compliant-device"))
    facts: list[Fact] = [
        *established(acr="phr"),
        DeviceBound(stamp=at(1000), device="d1"),
        RiskReported(stamp=at(1010), scope=Scope.USER, level=RiskLevel.HIGH),
    ]
    assert verdict(rules, facts, 1011) is Verdict.DENY
    facts.append(ComplianceReported(stamp=at(1020), device="d1", compliant=True))
    assert verdict(rules, facts, 1021) is Verdict.ALLOW


def test_an_or_asks_for_the_control_that_can_be_satisfied() -> None:
    rules = evaluator(policy(UserRisk(RiskLevel.HIGH), "compliant-device", "phishing-resistant"))
    risk = RiskReported(stamp=at(1010), scope=Scope.USER, level=RiskLevel.HIGH)
    state = rules.fold("s", [*established(), risk])
    decision = decide(
        rules.standing(state, 1011 * MICROSECONDS),
        AccessRequest("app", frozenset({"c1"}), 1011),
        LADDER,
    )
    assert decision.verdict is Verdict.STEP_UP
    assert decision.acr_values == ("phr", "phrh")


def test_block_beats_step_up_and_holds_for_routine_calls_where_no_context_is_named() -> None:
    moved = policy(MOVED)
    blocked = policy(MOVED, name="b", block=True, contexts=None)
    facts = [*established(), sighted(1010, AWAY)]
    assert verdict(evaluator(moved, blocked), facts, 1011) is Verdict.DENY
    assert verdict(evaluator(moved, blocked), facts, 1011, frozenset()) is Verdict.DENY


def test_a_revocation_voids_sign_ins_until_a_later_one() -> None:
    rules = evaluator()
    facts: list[Fact] = [*established(acr="phr"), Revoked(stamp=at(1010), scope=Scope.SESSION)]
    assert verdict(rules, facts, 1011, frozenset()) is Verdict.DENY
    assert verdict(rules, [*facts, signed_in(1020, 1019)], 1021, frozenset()) is Verdict.ALLOW


def test_a_revocation_of_a_user_on_one_device_spares_the_others() -> None:
    revoked = Revoked(stamp=at(1010), scope=Scope.USER, device="d1")
    on_d1 = [*established(), DeviceBound(stamp=at(1000), device="d1"), revoked]
    on_d2 = [*established(), DeviceBound(stamp=at(1000), device="d2"), revoked]
    assert verdict(evaluator(), on_d1, 1011) is Verdict.DENY
    assert verdict(evaluator(), on_d2, 1011) is Verdict.ALLOW


def test_travel_faster_than_a_plane_marks() -> None:
    rules = evaluator(policy(TravelSpeed(900)))
    assert verdict(rules, [*established(), sighted(1600, FAR)], 1601) is Verdict.STEP_UP
    hours = 1000 + 20 * 3600
    assert verdict(rules, [*established(), sighted(hours, FAR)], hours + 1) is Verdict.ALLOW


def test_a_score_fades_and_its_mark_goes_with_it() -> None:
    rules = evaluator(policy(Score(40)))
    raised = SignalRaised(stamp=at(1010), scope=Scope.SESSION, name="odd", weight=50, half_life=100)
    facts = [*established(), raised]
    assert verdict(rules, facts, 1011) is Verdict.STEP_UP
    assert verdict(rules, facts, 1100) is Verdict.ALLOW


def test_each_detection_is_a_cause_of_its_own() -> None:
    rules = evaluator(policy(Signals(frozenset({"odd"}))))

    def raised(second: float) -> Fact:
        return SignalRaised(stamp=at(second), scope=Scope.SESSION, name="odd")

    facts = [*established(), raised(1010), signed_in(1020, 1019)]
    assert verdict(rules, facts, 1021) is Verdict.ALLOW
    assert verdict(rules, [*facts, raised(1030)], 1031) is Verdict.STEP_UP


CONDITIONS = st.recursive(
    st.sampled_from(
        [
            MOVED,
            RESTRICTED,
            UserRisk(RiskLevel.MEDIUM),
            Device(compliant=False),
            TravelSpeed(900),
            Score(40),
            Countries(Selection(None, frozenset({"DE"}))),
            Signals(frozenset({"odd"})),
        ]
    ),
    lambda inner: (
        st.builds(lambda c: All(tuple(c)), st.lists(inner, min_size=1, max_size=3))
        | st.builds(lambda c: AnyOf(tuple(c)), st.lists(inner, min_size=1, max_size=3))
        | st.builds(Not, inner)
    ),
    max_leaves=4,
)
POLICIES = st.builds(
    lambda conditions, controls, sticky, name: policy(
        conditions, *controls, sticky=sticky, name=name
    ),
    CONDITIONS,
    st.lists(
        st.sampled_from(["mfa", "phishing-resistant", "compliant-device"]), min_size=1, max_size=2
    ),
    st.booleans(),
    st.just("p"),
)
SECONDS = st.integers(1001, 1100)
# Facts of one stamp come from one event, which is at one place: what differs has another id.
FACTS = st.one_of(
    st.builds(
        lambda s, ip: sighted(s, ip, f"e{s}{ip}"), SECONDS, st.sampled_from([HOME, AWAY, FAR])
    ),
    st.builds(
        lambda s, back, acr, ip: signed_in(s, s - back, acr, f"a{s}{back}{acr}{ip}", ip=ip),
        SECONDS,
        st.integers(0, 60),
        st.sampled_from(["single-factor", "mfa", "phr"]),
        st.sampled_from(["", HOME, AWAY, FAR]),
    ),
    st.builds(
        lambda s, level: RiskReported(stamp=at(s, f"r{s}{level}"), scope=Scope.USER, level=level),
        SECONDS,
        st.sampled_from(RiskLevel),
    ),
    st.builds(
        lambda s, ok: ComplianceReported(stamp=at(s, f"c{s}{ok}"), device="d1", compliant=ok),
        SECONDS,
        st.booleans(),
    ),
    st.builds(
        lambda s, n: NetworkReported(stamp=at(s, f"n{s}{n}"), network=n),
        SECONDS,
        st.sampled_from(["restricted", "office"]),
    ),
    st.builds(
        lambda s: SignalRaised(stamp=at(s, f"o{s}"), scope=Scope.SESSION, name="odd", weight=50),
        SECONDS,
    ),
    st.builds(
        lambda s, age: StepUpAsked(stamp=at(s, f"m{s}{age}"), scope=Scope.USER, max_age=age),
        SECONDS,
        st.sampled_from([-1, 30]),
    ),
    st.builds(lambda s: MarksCleared(stamp=at(s, f"k{s}"), scope=Scope.SESSION), SECONDS),
)
START = [*established(), DeviceBound(stamp=at(1000), device="d1")]


def explained(rules: Evaluator, state: State) -> object:
    return rules.standing(state, 1200 * MICROSECONDS)


@given(POLICIES, st.lists(FACTS, max_size=12), st.randoms())
def test_facts_in_any_order_and_doubled_give_the_same_standing(
    rule: Policy, facts: list[Fact], shuffle: random.Random
) -> None:
    rules = evaluator(rule)
    everything = [*START, *facts]
    mixed = everything * 2
    shuffle.shuffle(mixed)
    assert explained(rules, rules.fold("s", mixed)) == explained(rules, rules.fold("s", everything))


@given(POLICIES, st.lists(FACTS, max_size=12))
def test_folding_one_by_one_is_folding_at_once(rule: Policy, facts: list[Fact]) -> None:
    rules = evaluator(rule)
    steps: dict[object, list[Fact]] = {}
    # Records hold no fact twice, and `fold` sees to it for whoever gathers them from several.
    for fact in sorted(dict.fromkeys([*START, *facts]), key=lambda fact: fact.stamp):
        steps.setdefault(fact.stamp, []).append(fact)
    state = State()
    for step in steps.values():
        after = rules.advance("s", state, step)
        assert after is not None
        state = after
    assert state == rules.fold("s", [*START, *facts])


@given(POLICIES, st.lists(FACTS, min_size=4, max_size=16), st.integers(1, 6))
def test_a_checkpoint_changes_nothing(rule: Policy, facts: list[Fact], keep: int) -> None:
    rules = evaluator(rule)
    everything = [*START, *facts]
    checkpoint = rules.checkpoint("s", everything, None, keep)
    if checkpoint is None:
        return
    whole = explained(rules, rules.fold("s", everything))
    assert explained(rules, rules.fold("s", everything, checkpoint)) == whole
    newer = [fact for fact in everything if fact.stamp > checkpoint.state.last]
    assert explained(rules, rules.fold("s", newer, checkpoint)) == whole


@given(POLICIES, st.lists(FACTS, max_size=8))
def test_an_earlier_sign_in_never_clears(rule: Policy, facts: list[Fact]) -> None:
    rules = evaluator(rule)
    everything = [*START, *facts]
    before = rules.standing(rules.fold("s", everything), 1200 * MICROSECONDS)
    marked = [d for d in before.demands if d.since is not None and not d.unsatisfiable]
    for demand in marked:
        assert demand.since is not None
        old = signed_in(1150, demand.since // MICROSECONDS, "phr", "old")
        after = rules.standing(rules.fold("s", [*everything, old]), 1200 * MICROSECONDS)
        assert demand.policy in {d.policy for d in after.demands}


def test_what_is_always_required_is_asked_for_there_and_pending_nowhere() -> None:
    rules = evaluator(policy(None, "phishing-resistant"), policy(MOVED, name="q"))
    facts = established()
    standing = rules.standing(rules.fold("s", facts), 1011 * MICROSECONDS)
    assert (
        decide(standing, AccessRequest("app", frozenset({"c1"}), 1011), LADDER).verdict
        is Verdict.STEP_UP
    )
    elsewhere = decide(standing, AccessRequest("app", frozenset({"c2"}), 1011), LADDER)
    assert (elsewhere.verdict, elsewhere.pending) == (Verdict.ALLOW, False)
    assert coarse(standing, 1011) == "clear"
    moved = rules.standing(rules.fold("s", [*facts, sighted(1010, AWAY)]), 1011 * MICROSECONDS)
    assert decide(moved, AccessRequest("app", frozenset({"c2"}), 1011), LADDER).pending
    assert coarse(moved, 1011) == "step_up"


def test_a_revocation_of_a_session_on_a_device_spares_it_where_it_is_known_to_be_on_another() -> (
    None
):
    revoked = Revoked(stamp=at(1010), scope=Scope.SESSION, device="d1")
    on_d2 = [*established(), DeviceBound(stamp=at(1000), device="d2"), revoked]
    assert verdict(evaluator(), [*established(), revoked], 1011) is Verdict.DENY
    assert verdict(evaluator(), on_d2, 1011) is Verdict.ALLOW


def everywhere(time: int, acr: str = "phr") -> SignedIn:
    return SignedIn(
        stamp=at(time, f"e{time}"), authentication=Authentication(time, acr), everywhere=True
    )


def test_a_proof_of_a_user_counts_in_a_session_that_lives_then() -> None:
    rules = evaluator(policy(MOVED))
    marked = [*established(), sighted(1010, AWAY)]
    assert verdict(rules, [*marked, everywhere(1020)], 1021) is Verdict.ALLOW
    assert verdict(rules, [*marked, everywhere(1009)], 1021) is Verdict.STEP_UP


def test_a_proof_of_a_user_begins_no_session_and_counts_in_none_that_begins_later() -> None:
    rules = evaluator(policy(UserRisk(RiskLevel.HIGH), "phishing-resistant"))
    risk = RiskReported(stamp=at(900), scope=Scope.USER, level=RiskLevel.HIGH)
    assert rules.fold("s", [risk, everywhere(950)]).established == 0
    assert verdict(rules, [risk, everywhere(950), *established()], 1011) is Verdict.STEP_UP


def test_a_proof_of_a_user_brings_no_revoked_session_back() -> None:
    revoked = Revoked(stamp=at(1010), scope=Scope.SESSION)
    facts: list[Fact] = [*established(), revoked, everywhere(1020)]
    assert verdict(evaluator(), facts, 1021, frozenset()) is Verdict.DENY
    again = [*facts, signed_in(1030, 1029), everywhere(1040)]
    assert verdict(evaluator(), again, 1041, frozenset()) is Verdict.ALLOW
