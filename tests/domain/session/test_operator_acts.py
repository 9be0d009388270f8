"""An operator's acts on a session: step-ups that are asked for, and marks that are cleared."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.domain.evaluation.decision import AccessRequest, Verdict, decide
from sidecar.domain.evaluation.evaluator import Evaluator
from sidecar.domain.explanation.explain import explain_call
from sidecar.domain.explanation.explanation import CauseEffect
from sidecar.domain.facts.fact_kinds import (
    AssuranceLowered,
    ComplianceReported,
    DeviceBound,
    Fact,
    MarksCleared,
    NetworkReported,
    Revoked,
    RiskReported,
    Scope,
    SignalRaised,
    StepUpAsked,
)
from sidecar.domain.policy.conditional_access import (
    All,
    Changed,
    Circumstance,
    Device,
    Networks,
    Policy,
    RiskLevel,
    Score,
    Selection,
    SessionControls,
    Signals,
    UserRisk,
)
from sidecar.domain.session.fold import Surroundings
from sidecar.domain.session.presented import Presented
from sidecar.domain.session.standing import OPERATOR
from sidecar.domain.session.state import ASKED_BOUND
from sidecar.domain.values.assurance import Authentication
from sidecar.domain.values.stamp import MICROSECONDS
from tests.domain.scenes import (
    AWAY,
    HOME,
    LADDER,
    WORLD,
    established,
    network_of,
    policy,
    sighted,
    signed_in,
)
from tests.domain.scenes import stamp as at

ADA = "operator:ada"
RISK = policy(UserRisk(RiskLevel.HIGH), name="risk")
NOBODY: tuple[Policy, ...] = ()


def rules(*policies: Policy) -> Evaluator:
    return Evaluator(policies, WORLD, Surroundings("", network_of))


def mark(second: float, **more: Any) -> StepUpAsked:
    return StepUpAsked(stamp=at(second, f"m{second}"), source=ADA, scope=Scope.USER, **more)


def clear(second: float, device: str = "") -> MarksCleared:
    scope = Scope.DEVICE if device else Scope.USER
    return MarksCleared(stamp=at(second, f"c{second}"), source=ADA, scope=scope, device=device)


def risk(second: float, level: RiskLevel = RiskLevel.HIGH, source: str = "idp") -> RiskReported:
    return RiskReported(
        stamp=at(second, f"r{second}"), source=source, scope=Scope.USER, level=level
    )


def verdict(
    policies: tuple[Policy, ...],
    *facts: Fact,
    now: float = 1200,
    contexts: frozenset[str] = frozenset({"c1"}),
    token: int = 0,
    acr: str = "single-factor",
) -> Verdict:
    """The verdict of the session; with `token` of a call by a token of that sign-in alone."""
    judge = rules(*policies)
    everything = [*established(), *facts]
    if not token:
        state, presented = judge.fold("s", everything), None
    else:
        presented = Presented(Authentication(token, acr))
        until = judge.until(judge.fold("s", everything), presented)
        state = judge.fold("s", everything, until=until)
    standing = judge.standing(state, int(now * MICROSECONDS), presented=presented)
    return decide(standing, AccessRequest("app", contexts, now), LADDER).verdict


def test_a_mark_asks_in_all_contexts_or_in_those_that_it_names() -> None:
    assert verdict(NOBODY) is Verdict.ALLOW
    for context in ("c1", "c2"):
        assert verdict(NOBODY, mark(1100), contexts=frozenset({context})) is Verdict.STEP_UP
    assert verdict(NOBODY, mark(1100), contexts=frozenset()) is Verdict.ALLOW, "a routine call"
    some = mark(1100, contexts=("c2",))
    assert verdict(NOBODY, some) is Verdict.ALLOW
    assert verdict(NOBODY, some, contexts=frozenset({"c2"})) is Verdict.STEP_UP
    routine = mark(1100, contexts=("routine",))
    assert verdict(NOBODY, routine, contexts=frozenset()) is Verdict.STEP_UP


@pytest.mark.parametrize(
    ("control", "acr", "auth_time", "expected"),
    [
        ("mfa", "mfa", 1101, Verdict.ALLOW),
        ("mfa", "phr", 1101, Verdict.ALLOW),
        ("mfa", "mfa", 1100, Verdict.STEP_UP),
        ("mfa", "single-factor", 1101, Verdict.STEP_UP),
        ("phishing-resistant", "mfa", 1101, Verdict.STEP_UP),
        ("phishing-resistant", "phr", 1101, Verdict.ALLOW),
        ("partner", "phr", 1101, Verdict.STEP_UP),
        ("partner", "partner", 1101, Verdict.ALLOW),
        ("configured-no-more", "mfa", 1101, Verdict.STEP_UP),
        ("configured-no-more", "phr", 1101, Verdict.ALLOW),
    ],
)
def test_it_is_cleared_by_a_later_sign_in_that_suffices(
    control: str, acr: str, auth_time: int, expected: Verdict
) -> None:
    shown = signed_in(1110, auth_time, acr)
    assert verdict(NOBODY, mark(1100, control=control), shown) is expected
    assert verdict(NOBODY, mark(1100, control=control), shown, token=999) is Verdict.STEP_UP
    assert verdict(NOBODY, mark(1100, control=control), shown, token=auth_time, acr=acr) is expected


def test_it_names_what_is_asked_for() -> None:
    judge = rules()
    asked = mark(1100, control="phishing-resistant", max_age=30)
    standing = judge.standing(judge.fold("s", [*established(), asked]), 1200 * MICROSECONDS)
    (demand,) = standing.demands
    assert demand.policy == OPERATOR
    decision = decide(standing, AccessRequest("app", frozenset({"c1"}), 1200), LADDER)
    assert decision.acr_values == ("phr", "phrh")
    assert decision.max_age == 30
    explanation = explain_call(
        judge, judge.fold("s", [*established(), asked]), "app", frozenset({"c1"}), 1200
    )
    assert explanation.reasons == (OPERATOR,)
    assert [one.policy for one in explanation.policies if one.outcome.fires] == [OPERATOR]


@pytest.mark.parametrize(
    ("shown_at", "auth_time", "expected"),
    [
        (1110, 1105, Verdict.ALLOW),
        (1140, 1105, Verdict.STEP_UP),
        (1135, 1105, Verdict.ALLOW),
        (1210, 1199, Verdict.ALLOW),
    ],
)
def test_a_sign_in_may_be_of_some_age_when_it_is_first_shown_and_then_counts_for_good(
    shown_at: int, auth_time: int, expected: Verdict
) -> None:
    asked, shown = mark(1100, max_age=30), signed_in(shown_at, auth_time, "mfa")
    for now in (1215, 9000):
        assert verdict(NOBODY, asked, shown, now=now) is expected
        assert verdict(NOBODY, asked, shown, now=now, token=auth_time, acr="mfa") is expected
    again = signed_in(shown_at + 50, auth_time, "mfa", "again")
    assert verdict(NOBODY, asked, shown, again, now=9000) is expected


def test_assurance_that_is_lowered_afterwards_proves_nothing() -> None:
    shown = signed_in(1110, 1105, "mfa")
    lowered = AssuranceLowered(stamp=at(1120), source="idp", level="single-factor")
    assert verdict(NOBODY, mark(1100), shown, lowered) is Verdict.STEP_UP


def test_a_mark_of_a_device_is_of_the_sessions_on_it() -> None:
    marked = mark(1100, device="laptop")
    on = [DeviceBound(stamp=at(1010), device=name) for name in ("laptop", "phone")]
    assert verdict(NOBODY, marked) is Verdict.ALLOW
    assert verdict(NOBODY, on[0], marked) is Verdict.STEP_UP
    assert verdict(NOBODY, on[1], marked) is Verdict.ALLOW


@pytest.mark.parametrize(
    ("auth_time", "expected"), [(1050, Verdict.STEP_UP), (1140, Verdict.ALLOW)]
)
def test_a_session_that_begins_later_is_marked_where_its_sign_in_is_older(
    auth_time: int, expected: Verdict
) -> None:
    judge = rules()
    state = judge.fold("s", [mark(1100), sighted(1150), signed_in(1150, auth_time)])
    standing = judge.standing(state, 1200 * MICROSECONDS)
    assert (
        decide(standing, AccessRequest("app", frozenset({"c1"}), 1200), LADDER).verdict is expected
    )


def test_a_clear_withdraws_the_marks_until_then_and_none_that_comes_later() -> None:
    assert verdict(NOBODY, mark(1100), clear(1101)) is Verdict.ALLOW
    assert verdict(NOBODY, mark(1100), clear(1100)) is Verdict.STEP_UP, "at the very moment"
    assert verdict(NOBODY, clear(1101), mark(1102)) is Verdict.STEP_UP
    assert verdict(NOBODY, mark(1100, device="d"), clear(1101)) is Verdict.ALLOW
    on = DeviceBound(stamp=at(1110), device="d")
    assert verdict(NOBODY, mark(1100, device="d"), clear(1101), on) is Verdict.STEP_UP


def test_a_clear_of_a_device_is_of_sessions_that_are_on_it_by_who_may_say_so() -> None:
    by = {name: DeviceBound(stamp=at(1010), source=name, device="d") for name in ("", "local:app")}
    assert verdict(NOBODY, by[""], mark(1100), clear(1101, "d")) is Verdict.ALLOW
    assert verdict(NOBODY, by[""], mark(1100), clear(1101, "e")) is Verdict.STEP_UP
    assert verdict(NOBODY, by["local:app"], mark(1100), clear(1101, "d")) is Verdict.STEP_UP


CAUSES: dict[str, tuple[Policy, Fact, Fact]] = {
    "risk": (RISK, risk(1100), risk(1150)),
    "segment": (
        policy(Networks(Selection(frozenset({"restricted"}))), name="segment"),
        NetworkReported(stamp=at(1100), source="agent", network="restricted"),
        NetworkReported(stamp=at(1150), source="agent", network="restricted"),
    ),
    "device": (
        policy(Device(compliant=False), name="device"),
        ComplianceReported(stamp=at(1100), source="mdm", device="d", compliant=False),
        ComplianceReported(stamp=at(1150), source="mdm", device="d", compliant=False),
    ),
    "signal": (
        policy(Signals(frozenset({"odd"})), name="signal"),
        SignalRaised(stamp=at(1100), source="edr", scope=Scope.USER, name="odd", weight=50),
        SignalRaised(stamp=at(1150), source="edr", scope=Scope.USER, name="odd", weight=50),
    ),
    "score": (
        policy(Score(40), name="score"),
        SignalRaised(stamp=at(1100), source="edr", scope=Scope.USER, name="odd", weight=50),
        SignalRaised(stamp=at(1150), source="edr", scope=Scope.USER, name="odd", weight=60),
    ),
    "place": (
        policy(Changed((Circumstance.COUNTRY,)), name="moved"),
        sighted(1100, AWAY),
        sighted(1155, AWAY, "back"),
    ),
    "any cause": (
        policy(All((UserRisk(RiskLevel.HIGH), Device(compliant=False))), name="both"),
        risk(1100),
        ComplianceReported(stamp=at(1150), source="mdm", device="d", compliant=False),
    ),
}


@pytest.mark.parametrize("case", CAUSES)
@pytest.mark.parametrize("sticky", [False, True])
def test_what_makes_a_policy_hold_is_excused_until_it_is_said_anew(case: str, sticky: bool) -> None:
    rule, cause, anew = CAUSES[case]
    rule = msgspec.structs.replace(rule, sticky=sticky)
    on = DeviceBound(stamp=at(1010), device="d")
    before = () if case != "place" else (sighted(1152, HOME),)
    if case == "any cause":
        assert verdict((rule,), on, cause) is Verdict.ALLOW
        assert verdict((rule,), on, cause, clear(1120), anew) is Verdict.STEP_UP
        return
    assert verdict((rule,), on, cause) is Verdict.STEP_UP
    assert verdict((rule,), on, cause, clear(1120)) is Verdict.ALLOW
    assert verdict((rule,), on, cause, clear(1120), token=999) is Verdict.ALLOW
    assert verdict((rule,), on, cause, clear(1120), *before, anew) is Verdict.STEP_UP
    assert verdict((rule,), on, cause, clear(1120), *before, anew, clear(1160)) is Verdict.ALLOW
    assert verdict((rule,), on, cause, *before, anew, clear(1120)) is Verdict.STEP_UP


def test_another_cause_asks_and_so_does_another_sources_word() -> None:
    assert verdict((RISK,), risk(1100), clear(1120), risk(1130, source="edr")) is Verdict.STEP_UP
    fell = risk(1130, RiskLevel.LOW)
    assert verdict((RISK,), risk(1100), clear(1120), fell, risk(1140)) is Verdict.STEP_UP


def test_a_session_that_begins_after_a_clear_is_asked_for_what_then_stands() -> None:
    judge = rules(RISK)
    facts = [risk(900), clear(950), *established(1000)]
    standing = judge.standing(judge.fold("s", facts), 1200 * MICROSECONDS)
    assert (
        decide(standing, AccessRequest("app", frozenset({"c1"}), 1200), LADDER).verdict
        is Verdict.STEP_UP
    )
    dismissed = RiskReported(stamp=at(949), source=ADA, scope=Scope.USER, level=RiskLevel.LOW)
    standing = judge.standing(judge.fold("s", [*facts, dismissed]), 1200 * MICROSECONDS)
    assert (
        decide(standing, AccessRequest("app", frozenset({"c1"}), 1200), LADDER).verdict
        is Verdict.ALLOW
    )


def test_what_no_sign_in_satisfies_no_clear_does() -> None:
    blocked = policy(UserRisk(RiskLevel.HIGH), name="blocked", block=True)
    assert verdict((blocked,), risk(1100), clear(1120)) is Verdict.DENY
    device = policy(UserRisk(RiskLevel.HIGH), "compliant-device", name="device")
    assert verdict((device,), risk(1100), clear(1120)) is Verdict.DENY
    revoked = Revoked(stamp=at(1100), scope=Scope.USER)
    assert verdict(NOBODY, revoked, clear(1120)) is Verdict.DENY
    always = policy(None, name="always")
    assert verdict((always,), clear(1120)) is Verdict.STEP_UP
    often = msgspec.structs.replace(
        policy(None, name="often", contexts=None), session=SessionControls(sign_in_frequency=60)
    )
    assert verdict((often,), signed_in(1090, 1080, "phr"), clear(1120)) is Verdict.STEP_UP


def test_a_cleared_policy_is_explained_as_such() -> None:
    judge = rules(RISK)
    state = judge.fold("s", [*established(), risk(1100), clear(1120)])
    explanation = explain_call(judge, state, "app", frozenset({"c1"}), 1200)
    (one,) = explanation.policies
    assert one.why == "it holds, and an operator has cleared what makes it hold"
    assert [cause.fate for cause in one.causes] == [CauseEffect.CLEARED]


def test_so_many_different_marks_are_joined_and_ask_for_no_less() -> None:
    marks = [mark(1100 + number, contexts=(f"c{number}",)) for number in range(2 * ASKED_BOUND)]
    judge = rules()
    state = judge.fold("s", [*established(), *marks])
    assert len(state.asked) == ASKED_BOUND
    for number in range(2 * ASKED_BOUND):
        asked = frozenset({f"c{number}"})
        assert verdict(NOBODY, *marks, contexts=asked) is Verdict.STEP_UP
    strong = [mark(1090, control="phishing-resistant"), *marks]
    late = signed_in(1190, 1180, "mfa")
    assert verdict(NOBODY, *strong, late) is Verdict.STEP_UP


SECONDS = st.integers(1001, 1100)
ACTS = st.one_of(
    st.builds(
        lambda s, contexts, age: mark(s, contexts=contexts, max_age=age),
        SECONDS,
        st.sampled_from([(), ("c1",)]),
        st.sampled_from([-1, 20]),
    ),
    st.builds(clear, SECONDS),
    st.builds(risk, SECONDS, st.sampled_from(RiskLevel), st.sampled_from(["idp", "edr"])),
    st.builds(
        lambda s, back, acr: signed_in(s, s - back, acr, f"a{s}{back}{acr}"),
        SECONDS,
        st.integers(0, 40),
        st.sampled_from(["single-factor", "mfa", "phr"]),
    ),
)


def as_reported(facts: list[Fact]) -> list[Fact]:
    """The facts without those that bear another's time, id and source: an id is of one event."""
    return list({(fact.stamp, fact.source): fact for fact in facts}.values())


def model(facts: list[Fact], own: int) -> bool:
    """Whether a call by a token of that second's sign-in with `mfa` is asked, by a page's rules."""
    asked = cleared = 0
    since: dict[str, int] = {}
    for fact in sorted(facts, key=lambda one: one.stamp):
        second = fact.stamp.second
        match fact:
            case StepUpAsked():
                asked = second
            case MarksCleared():
                asked, cleared = (asked if asked == second else 0), second
            case RiskReported(level=RiskLevel.HIGH):
                if since.get(fact.source, 0) < cleared or fact.source not in since:
                    since[fact.source] = second
            case RiskReported():
                since.pop(fact.source, None)
            case _:
                pass
    return own <= max(asked, *(at for at in since.values() if at >= cleared), 0)


@given(st.lists(ACTS, max_size=10), st.integers(1001, 1150), st.randoms())
def test_acts_among_signals_in_any_order_are_what_a_page_says(
    facts: list[Fact], own: int, shuffle: Any
) -> None:
    facts = as_reported(facts)
    facts = [fact for fact in facts if not isinstance(fact, StepUpAsked) or fact.max_age < 0]
    shown = signed_in(max(own, 1101), own, "mfa", "zz-own")
    everything = [*dict.fromkeys([*facts, shown])] * 2
    shuffle.shuffle(everything)
    found = verdict((RISK,), *everything, token=own, acr="mfa")
    assert found is (Verdict.STEP_UP if model(facts, own) else Verdict.ALLOW)


@given(st.lists(ACTS, min_size=3, max_size=12), st.data())
def test_acts_that_come_behind_a_checkpoint_loosen_nothing_that_they_would_not(
    facts: list[Fact], data: st.DataObject
) -> None:
    """Late ones count; where a checkpoint has forgotten what it takes, somebody is asked again."""
    judge = rules(RISK)
    facts = as_reported(facts)
    late = data.draw(st.sets(st.integers(0, len(facts) - 1)))
    in_time = [*established(), *(f for n, f in enumerate(facts) if n not in late)]
    checkpoint = judge.checkpoint("s", in_time, None, keep=data.draw(st.integers(1, 3)))
    everything = [*established(), *facts]

    def asked(state: Any) -> bool:
        standing = judge.standing(state, 1200 * MICROSECONDS)
        return (
            decide(standing, AccessRequest("app", frozenset({"c1"}), 1200), LADDER).verdict
            is not Verdict.ALLOW
        )

    whole = asked(judge.fold("s", everything))
    found = asked(judge.fold("s", everything, checkpoint))
    assert found or not whole
