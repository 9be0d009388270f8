"""Between words of one source the newest counts, between sources the strictest (contract, 2.5)."""

import msgspec
import pytest

from sidecar.domain.evaluation.decision import AccessRequest, Verdict, decide, explain
from sidecar.domain.evaluation.evaluator import Evaluator
from sidecar.domain.facts.fact_kinds import (
    AssuranceLowered,
    ClaimsSeen,
    ComplianceReported,
    DeviceBound,
    Fact,
    NetworkReported,
    Revoked,
    RiskReported,
    Scope,
    ShownWith,
    SignalRaised,
    SignedIn,
)
from sidecar.domain.policy.conditional_access import (
    All,
    AnyOf,
    Changed,
    Circumstance,
    Claims,
    Condition,
    Device,
    Networks,
    Not,
    Policy,
    RiskLevel,
    Score,
    Selection,
    SessionControls,
    SessionRisk,
    Signals,
    UserRisk,
)
from sidecar.domain.session.fold import Surroundings
from sidecar.domain.session.risk import terms_of
from sidecar.domain.session.standing import Standing
from sidecar.domain.sources.source import Source, Sources
from sidecar.domain.values.assurance import Authentication
from sidecar.domain.values.stamp import MICROSECONDS
from tests.domain.scenes import (
    AWAY,
    HOME,
    LADDER,
    PLACES,
    WORLD,
    established,
    network_of,
    policy,
    sighted,
    signed_in,
)
from tests.domain.scenes import stamp as at

LOOSENING = frozenset({"risk-level-change", "device-compliance-change"})
SOURCES = Sources(
    [
        Source(name="idp", may_loosen=LOOSENING, over=frozenset({"app"})),
        Source(name="mdm", may_loosen=LOOSENING),
        Source(name="nac", may_loosen=frozenset({"network-change"})),
        Source(name="binder", may_loosen=frozenset({"session-presented"})),
        Source(name="prover", may_prove=True),
        Source(name="hr", may_loosen=frozenset({"token-claims-change"})),
        Source(name="eager", over=frozenset({"idp"})),
    ]
)
C1 = frozenset({"c1"})
START: list[Fact] = [*established(acr="mfa"), DeviceBound(stamp=at(1000), device="d1")]


def evaluator(*policies: Policy) -> Evaluator:
    world = WORLD._replace(sources=SOURCES)
    return Evaluator(policies, world, Surroundings("", network_of))


def standing(condition: Condition, facts: list[Fact], now: float) -> Standing:
    rules = evaluator(policy(condition))
    return rules.standing(rules.fold("s", [*START, *facts]), int(now * MICROSECONDS))


def verdict(condition: Condition, facts: list[Fact], now: float) -> Verdict:
    return decide(standing(condition, facts, now), AccessRequest("app", C1, now), LADDER).verdict


def risk(second: float, level: RiskLevel, source: str = "") -> Fact:
    return RiskReported(stamp=at(second), source=source, scope=Scope.USER, level=level)


def device(second: float, source: str, *, compliant: bool) -> Fact:
    return ComplianceReported(stamp=at(second), source=source, device="d1", compliant=compliant)


HIGH, LOW = RiskLevel.HIGH, RiskLevel.LOW
AT_RISK = UserRisk(RiskLevel.MEDIUM)
BROKEN = Device(compliant=False)


@pytest.mark.parametrize(
    ("later", "expected"),
    [
        ("idp", Verdict.ALLOW),  # its own word
        ("operator:ann", Verdict.ALLOW),  # over all
        ("mdm", Verdict.STEP_UP),  # may loosen, but is not over it
        ("app", Verdict.STEP_UP),  # may not even loosen
        ("eager", Verdict.STEP_UP),  # is over it, and may not loosen
    ],
)
def test_risk_is_lowered_by_who_raised_it_or_stands_over_them(
    later: str, expected: Verdict
) -> None:
    facts = [risk(1010, HIGH, "idp"), risk(1020, LOW, later)]
    assert verdict(AT_RISK, facts, 1021) is expected


def test_only_a_newer_word_of_an_upper_source_replaces() -> None:
    before = [risk(1010, LOW, "idp"), risk(1020, HIGH, "app")]
    assert verdict(AT_RISK, before, 1031) is Verdict.STEP_UP
    assert verdict(AT_RISK, [*before, risk(1030, LOW, "idp")], 1031) is Verdict.ALLOW


def test_what_was_replaced_does_not_come_back_when_the_upper_source_says_so_again() -> None:
    facts = [risk(1010, HIGH, "app"), risk(1020, LOW, "idp"), risk(1030, LOW, "idp")]
    assert verdict(AT_RISK, facts, 1031) is Verdict.ALLOW


def test_compliant_of_a_source_that_may_not_loosen_takes_back_its_own_word_and_no_more() -> None:
    well, broken = device(1030, "app", compliant=True), device(1010, "app", compliant=False)
    assert verdict(BROKEN, [broken], 1011) is Verdict.STEP_UP
    assert verdict(BROKEN, [broken, well], 1031) is Verdict.ALLOW
    of_mdm = device(1020, "mdm", compliant=False)
    assert verdict(BROKEN, [broken, of_mdm, well], 1031) is Verdict.STEP_UP


def test_a_device_is_compliant_only_by_the_word_of_who_may_say_so() -> None:
    rules = evaluator(policy(None, "compliant-device"))

    def asked(*facts: Fact) -> Verdict:
        state = rules.fold("s", [*START, *facts])
        now = rules.standing(state, 1050 * MICROSECONDS)
        return decide(now, AccessRequest("app", C1, 1050), LADDER).verdict

    assert asked(device(1010, "app", compliant=True)) is Verdict.DENY
    assert asked(device(1010, "mdm", compliant=True)) is Verdict.ALLOW
    said = [device(1010, "mdm", compliant=True), device(1005, "app", compliant=False)]
    assert asked(*said) is Verdict.DENY


def test_what_a_source_says_after_a_proof_is_asked_for_though_another_had_said_it_before() -> None:
    facts = [risk(1010, HIGH, "app"), signed_in(1020, 1015)]
    assert verdict(AT_RISK, facts, 1021) is Verdict.ALLOW
    assert verdict(AT_RISK, [*facts, risk(1030, HIGH, "app")], 1031) is Verdict.ALLOW
    assert verdict(AT_RISK, [*facts, risk(1030, HIGH, "idp")], 1031) is Verdict.STEP_UP


def test_a_score_that_another_source_adds_to_is_a_cause_anew() -> None:
    facts = [risk(1010, HIGH, "app"), signed_in(1020, 1015)]
    assert verdict(Score(40), facts, 1021) is Verdict.ALLOW
    assert verdict(Score(40), [*facts, risk(1030, HIGH, "mdm")], 1031) is Verdict.STEP_UP


def test_below_a_not_the_word_of_who_may_not_loosen_counts_for_nothing() -> None:
    rules = evaluator(policy(Not(AT_RISK), block=True))

    def blocks(source: str) -> bool:
        state = rules.fold("s", [*START, risk(1010, HIGH, source)])
        return bool(rules.standing(state, 1021 * MICROSECONDS).demands)

    assert blocks("app")
    assert not blocks("idp")


def test_who_is_not_compliant_by_anybodys_word_is_not_compliant_below_a_not() -> None:
    unless_well = Not(Device(compliant=True))
    well = device(1001, "mdm", compliant=True)
    assert verdict(unless_well, [well], 1011) is Verdict.ALLOW
    assert verdict(unless_well, [well, device(1010, "app", compliant=False)], 1011) is (
        Verdict.STEP_UP
    )
    while_well = Device(compliant=True)
    assert standing(while_well, [well, device(1010, "app", compliant=False)], 1011) == (
        standing(while_well, [well], 1011)
    )


def test_reasons_say_whose_word_it_is() -> None:
    (demand,) = standing(AT_RISK, [risk(1010, HIGH, "idp")], 1011).demands
    assert "user risk: high (said by idp), since 1970" in explain(demand)
    itself = msgspec.structs.replace(demand.causes[-1], source="")
    assert itself.key == "user_risk=high"


def odd(second: float, source: str, weight: float = 60) -> Fact:
    return SignalRaised(
        stamp=at(second), source=source, scope=Scope.SESSION, name="odd", weight=weight
    )


def test_of_a_signal_that_several_sources_raise_the_greatest_contribution_counts() -> None:
    state = evaluator().fold("s", [*START, odd(1010, "idp"), odd(1011, "app", 20)])
    terms = terms_of(state, 1011 * MICROSECONDS, WORLD.rating, SOURCES)
    assert [(term.weight, term.source) for term in terms] == [(60, "idp")]


@pytest.mark.parametrize("source", ["mdm", "app"])
def test_a_signal_of_no_weight_takes_back_no_other_sources_word(source: str) -> None:
    live = Signals(frozenset({"odd"}))
    raised = [odd(1010, "idp")]
    assert verdict(live, [*raised, odd(1020, source, 0)], 1021) is Verdict.STEP_UP
    assert verdict(live, [*raised, odd(1020, "idp", 0)], 1021) is Verdict.ALLOW
    assert verdict(Score(40), [*raised, odd(1020, source, 0)], 1021) is Verdict.STEP_UP


def test_no_number_of_signals_of_one_source_pushes_out_another_sources() -> None:
    flood: list[Fact] = [
        SignalRaised(
            stamp=at(1011 + n, f"f{n}"), source="app", scope=Scope.SESSION, name=f"n{n}", weight=0
        )
        for n in range(200)
    ]
    live = Signals(frozenset({"odd"}))
    assert verdict(live, [odd(1010, "idp"), *flood], 1300) is Verdict.STEP_UP


def lowered(second: float, level: str, source: str) -> Fact:
    return AssuranceLowered(stamp=at(second), source=source, level=level)


@pytest.mark.parametrize(("later", "expected"), [("app", Verdict.STEP_UP), ("idp", Verdict.ALLOW)])
def test_a_later_and_higher_cap_of_another_source_lifts_none(later: str, expected: Verdict) -> None:
    facts = [lowered(1010, "single-factor", "idp"), lowered(1020, "phishing-resistant", later)]
    rules = evaluator(policy(None))
    now = rules.standing(rules.fold("s", [*START, *facts]), 1021 * MICROSECONDS)
    assert decide(now, AccessRequest("app", C1, 1021), LADDER).verdict is expected


def claims(second: float, source: str, **values: str) -> Fact:
    said = tuple((name, (value,)) for name, value in values.items())
    return ClaimsSeen(stamp=at(second), source=source, scope=Scope.SESSION, claims=said)


def test_claims_hold_by_any_sources_word_and_below_a_not_by_all_who_may_say_so() -> None:
    sales = Claims((("unit", frozenset({"sales"})),))
    assert verdict(sales, [claims(1001, "", unit="lab")], 1011) is Verdict.ALLOW
    for source in ("app", "hr"):
        for shown, said in (("sales", "lab"), ("lab", "sales")):
            facts = [claims(1001, "", unit=shown), claims(1010, source, unit=said)]
            assert verdict(sales, facts, 1011) is Verdict.STEP_UP
    kept = standing(Not(sales), [claims(1001, "", unit="lab")], 1021)
    assert (
        standing(
            Not(sales), [claims(1001, "", unit="lab"), claims(1010, "app", unit="sales")], 1021
        )
        == kept
    )


def segment(second: float, name: str, source: str, on: str = "") -> Fact:
    return NetworkReported(stamp=at(second), source=source, network=name, device=on)


IN_RESTRICTED = Networks(Selection(frozenset({"restricted"})))
OUTSIDE_OFFICE = Networks(Selection(None, frozenset({"office"})))
MOVED = Changed((Circumstance.NETWORK,))


@pytest.mark.parametrize("device_named", ["", "d1"])
def test_a_segment_in_place_of_another_takes_back_no_other_sources_word(device_named: str) -> None:
    restricted = segment(1010, "restricted", "nac", device_named)
    for source, expected in (
        ("nac", Verdict.ALLOW),
        ("operator:ann", Verdict.ALLOW),
        ("app", Verdict.STEP_UP),
        ("", Verdict.STEP_UP),
    ):
        facts = [restricted, segment(1020, "office", source, device_named)]
        assert verdict(IN_RESTRICTED, facts, 1021) is expected


def test_a_segment_that_anybody_reports_takes_nobody_out_of_a_policy_for_those_outside() -> None:
    late = signed_in(1005, 900, "single-factor")
    rules = evaluator(policy(OUTSIDE_OFFICE, block=True))

    def blocks(*facts: Fact) -> bool:
        state = rules.fold("s", [*START, late, *facts])
        return bool(rules.standing(state, 1021 * MICROSECONDS).demands)

    assert blocks()
    assert blocks(segment(1010, "office", "app"))
    assert not blocks(segment(1010, "office", "nac"))
    assert blocks(segment(1010, "office", "nac"), segment(1011, "lab", "app"))


def test_another_segment_than_at_the_start_is_a_change_by_whoever_says_so() -> None:
    assert verdict(MOVED, [segment(1010, "restricted", "app")], 1011) is Verdict.STEP_UP
    before = [segment(900, "office", "nac"), segment(1010, "lab", "app")]
    assert verdict(MOVED, before[:1], 1011) is Verdict.ALLOW
    assert verdict(MOVED, before, 1011) is Verdict.STEP_UP
    taken_back = [*before[:1], segment(1010, "lab", "nac"), segment(1020, "office", "nac")]
    assert verdict(MOVED, taken_back[:2], 1011) is Verdict.STEP_UP
    assert verdict(MOVED, taken_back, 1021) is Verdict.ALLOW


def test_a_segment_that_was_proven_is_not_asked_for_again() -> None:
    came = ShownWith(HOME, PLACES[HOME])
    proof = SignedIn(stamp=at(1020), authentication=Authentication(1019, "mfa"), shown_with=came)
    facts = [segment(1010, "restricted", "nac"), proof]
    back = [segment(1030, "office", "nac"), segment(1040, "restricted", "nac")]
    assert verdict(IN_RESTRICTED, facts[:1], 1021) is Verdict.STEP_UP
    assert verdict(IN_RESTRICTED, [*facts, *back], 1041) is Verdict.ALLOW
    assert verdict(IN_RESTRICTED, [*facts, *back, segment(1050, "restricted", "app")], 1051) is (
        Verdict.STEP_UP
    )


def bound(second: float, name: str, source: str) -> Fact:
    return DeviceBound(stamp=at(second), source=source, device=name)


def device_after(*facts: Fact) -> str:
    return evaluator().fold("s", [*established(), *facts]).device


def test_a_device_replaces_another_by_its_own_source_or_one_that_may_loosen() -> None:
    assert device_after(bound(1010, "d1", "app")) == "d1"
    assert device_after(bound(1010, "d1", "app"), bound(1020, "d2", "app")) == "d2"
    assert device_after(bound(1010, "d1", "app"), bound(1020, "d2", "")) == "d2"
    assert device_after(bound(1010, "d1", ""), bound(1020, "d2", "app")) == "d1"
    assert device_after(bound(1010, "d1", "mdm"), bound(1020, "d2", "app")) == "d1"
    assert device_after(bound(1010, "d1", "mdm"), bound(1020, "d2", "binder")) == "d2"


@pytest.mark.parametrize(
    ("source", "expected"),
    [("app", Verdict.STEP_UP), ("prover", Verdict.ALLOW), ("operator:ann", Verdict.ALLOW)],
)
def test_a_sign_in_proves_by_the_word_of_who_may_prove(source: str, expected: Verdict) -> None:
    proof = msgspec.structs.replace(signed_in(1020, 1019), source=source)
    assert verdict(AT_RISK, [risk(1010, HIGH), proof], 1021) is expected


def test_one_time_and_id_of_two_sources_are_two_events_also_behind_a_checkpoint() -> None:
    rules = evaluator(policy(AT_RISK))
    burnt = [
        msgspec.structs.replace(risk(1010, LOW, "app"), stamp=at(1010, "same")),
        *(odd(1020 + n, "app", 0) for n in range(12)),
    ]
    cut = rules.checkpoint("s", [*START, *burnt], None, 2)
    assert cut is not None
    late = msgspec.structs.replace(risk(1010, HIGH, "idp"), stamp=at(1010, "same"))
    state = rules.fold("s", [*START, *burnt, late], cut)
    assert rules.standing(state, 1050 * MICROSECONDS).demands


def test_another_sources_cause_puts_off_nothing_that_lasts() -> None:
    hourly = msgspec.structs.replace(
        policy(AT_RISK), grace=60, session=SessionControls(sign_in_frequency=30)
    )
    rules = evaluator(hourly)
    facts = [*START, risk(1010, HIGH, "idp"), signed_in(1016, 1015)]

    def at_1100(*more: Fact) -> Verdict:
        now = rules.standing(rules.fold("s", [*facts, *more]), 1100 * MICROSECONDS)
        return decide(now, AccessRequest("app", C1, 1100), LADDER).verdict

    assert at_1100() is Verdict.STEP_UP
    assert at_1100(risk(1090, HIGH, "app")) is Verdict.STEP_UP


def test_a_mark_waits_also_where_another_source_makes_the_condition_hold() -> None:
    """A sign-in from before the mark proves the place, and takes the mark away from nobody."""
    moved = All((Changed((Circumstance.COUNTRY,)), AT_RISK))
    either = AnyOf((moved, SessionRisk(RiskLevel.HIGH, reported=True)))
    late = SignedIn(
        stamp=at(1025),
        authentication=Authentication(1012, "mfa"),
        shown_with=ShownWith(AWAY, PLACES[AWAY]),
    )
    facts = [sighted(1010, AWAY), risk(1020, HIGH, "idp"), late]
    suspect = RiskReported(stamp=at(1003), source="app", scope=Scope.SESSION, level=HIGH)
    assert verdict(either, facts, 1030) is Verdict.STEP_UP
    assert verdict(either, [suspect, signed_in(1006, 1005), *facts], 1030) is Verdict.STEP_UP


UNKNOWN_DEVICE: list[Fact] = [
    *established(acr="mfa"),
    device(900, "mdm", compliant=True),
    NetworkReported(stamp=at(901), source="nac", network="restricted"),
    NetworkReported(stamp=at(902), source="nac", device="d1", network="office"),
]
"""A session of which nobody has said on which device it is, and one that is well."""
BOUND: list[Fact] = [DeviceBound(stamp=at(1100), source="app", device="d1")]
IN_RESTRICTED = Networks(Selection(frozenset({"restricted"})))


def of_unknown_device(rule: Policy, facts: list[Fact], now: int = 1300) -> Verdict:
    rules = evaluator(rule)
    standing = rules.standing(rules.fold("s", [*UNKNOWN_DEVICE, *facts]), now * MICROSECONDS)
    return decide(standing, AccessRequest("app", C1, now), LADDER).verdict


@pytest.mark.parametrize(
    "rule",
    [
        policy(None, "compliant-device"),
        policy(Device(known=False), block=True),
        policy(Not(Device(known=True)), block=True),
        policy(Not(Device(compliant=True)), block=True),
        policy(IN_RESTRICTED, block=True),
    ],
)
def test_who_may_not_loosen_puts_no_session_on_a_device_that_is_well(rule: Policy) -> None:
    assert of_unknown_device(rule, []) is Verdict.DENY
    assert of_unknown_device(rule, BOUND) is Verdict.DENY
    vouched = msgspec.structs.replace(BOUND[0], stamp=at(1101), source="binder")
    assert of_unknown_device(rule, [*BOUND, vouched]) is Verdict.ALLOW


def test_nor_takes_a_session_away_from_its_revocation() -> None:
    revoked = Revoked(stamp=at(1050), source="idp", scope=Scope.SESSION, device="stolen")
    assert of_unknown_device(policy(AT_RISK), [revoked, *BOUND]) is Verdict.DENY
    shown = DeviceBound(stamp=at(1101), device="d1")
    assert of_unknown_device(policy(AT_RISK), [revoked, *BOUND, shown]) is Verdict.ALLOW


def test_what_is_wrong_with_its_device_is_said() -> None:
    broken = device(1200, "mdm", compliant=False)
    assert of_unknown_device(policy(BROKEN, block=True), [*BOUND, broken]) is Verdict.DENY
    assert of_unknown_device(policy(Device(known=True), block=True), BOUND) is Verdict.DENY


def test_what_was_there_at_the_start_is_for_those_to_say_who_may_loosen() -> None:
    shown = DeviceBound(stamp=at(1200), device="d2")
    changed = Changed((Circumstance.DEVICE,))
    assert of_unknown_device(policy(changed, block=True), [*BOUND, shown]) is Verdict.ALLOW
    assert of_unknown_device(policy(Not(changed), block=True), [shown]) is Verdict.DENY
    assert of_unknown_device(policy(Not(changed), block=True), [*BOUND, shown]) is Verdict.DENY
