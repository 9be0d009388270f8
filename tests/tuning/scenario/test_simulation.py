"""A simulation is as the daemon would have it: the fold decides, and records are shared."""

import msgspec

from sidecar.domain.evaluation.decision import Verdict
from sidecar.domain.facts.signal import (
    DeviceComplianceChange,
    RiskLevelChange,
    SessionPresented,
    SessionRevoked,
    Signal,
    Subject,
)
from sidecar.domain.policy.conditional_access import (
    Changed,
    Circumstance,
    Device,
    RiskLevel,
    TravelSpeed,
    UserRisk,
)
from sidecar.domain.values.assurance import Authentication
from sidecar.domain.values.location import Place
from sidecar.domain.values.stamp import at
from sidecar.tuning.scenario.simulation import ChosenToken, Described, Simulation
from tests.domain.scenes import AWAY, FAR, HOME, PLACES, evaluator, policy

C1 = frozenset({"c1"})
START = 1_000_000.0


def simulated(*conditions: object, **sessions: Described) -> Simulation:
    rules = evaluator(*(policy(c, name=f"p{i}") for i, c in enumerate(conditions)))  # type: ignore[arg-type]
    made = Simulation(rules, lambda ip: PLACES.get(ip, Place()))
    for name, described in sessions.items():
        made.begin(name, described, START)
    return made


def risk(level: RiskLevel, when: float, user: str = "ada") -> Signal:
    return RiskLevelChange(stamp=at(when, f"r{when}"), subject=Subject(user=user), level=level)


ADA = Described(user="ada", ip=HOME, acr="mfa")


def verdict(made: Simulation, when: float, name: str = "s") -> Verdict:
    return made.explain(name, C1, when).verdict


def test_a_signal_about_a_user_reaches_all_of_that_users_sessions_and_no_other() -> None:
    made = simulated(
        UserRisk(RiskLevel.HIGH), s=ADA, other=ADA, bobs=Described(user="bob", acr="mfa")
    )
    made.take(risk(RiskLevel.HIGH, START + 10))
    assert verdict(made, START + 11) is Verdict.STEP_UP
    assert verdict(made, START + 11, "other") is Verdict.STEP_UP
    assert verdict(made, START + 11, "bobs") is Verdict.ALLOW


def test_a_signal_about_a_device_reaches_the_sessions_on_it() -> None:
    on = Described(user="ada", device="d1", acr="mfa")
    made = simulated(Device(compliant=False), s=on, other=Described(user="ada", device="d2"))
    made.take(
        DeviceComplianceChange(
            stamp=at(START + 5, "c"), subject=Subject(device="d1"), compliant=False
        )
    )
    assert verdict(made, START + 6) is Verdict.STEP_UP
    assert verdict(made, START + 6, "other") is Verdict.ALLOW


def test_what_is_described_was_so_before_the_sign_in() -> None:
    described = Described(user="ada", acr="mfa", user_risk=RiskLevel.HIGH)
    assert verdict(simulated(UserRisk(RiskLevel.HIGH), s=described), START) is Verdict.ALLOW
    weak = Described(user="ada", acr="single-factor", user_risk=RiskLevel.HIGH)
    assert verdict(simulated(UserRisk(RiskLevel.HIGH), s=weak), START) is Verdict.STEP_UP


def test_a_mark_arises_from_a_change_and_not_from_the_description() -> None:
    moved = Changed((Circumstance.COUNTRY,))
    made = simulated(moved, s=Described(user="ada", ip=AWAY))
    assert verdict(made, START + 1) is Verdict.ALLOW
    made.see("s", START + 10, ip=HOME)
    assert verdict(made, START + 11) is Verdict.STEP_UP
    made.sign_in("s", Authentication(int(START) + 10, "mfa"), START + 20)
    assert verdict(made, START + 21) is Verdict.STEP_UP  # of the second of the mark
    made.sign_in("s", Authentication(int(START) + 11, "mfa"), START + 30)
    assert verdict(made, START + 31) is Verdict.ALLOW


def test_what_comes_later_is_not_known_yet() -> None:
    made = simulated(UserRisk(RiskLevel.HIGH), s=ADA)
    made.take(risk(RiskLevel.HIGH, START + 10))
    assert verdict(made, START + 9) is Verdict.ALLOW


def test_an_event_id_counts_once() -> None:
    made = simulated(UserRisk(RiskLevel.HIGH), s=ADA)
    made.take(risk(RiskLevel.LOW, START + 10))
    again = RiskLevelChange(
        stamp=at(START + 20, f"r{START + 10}"),
        subject=Subject(user="ada"),
        level=RiskLevel.HIGH,
    )
    made.take(again)
    assert verdict(made, START + 30) is Verdict.ALLOW


def test_travel_is_judged_across_a_users_sessions() -> None:
    made = simulated(TravelSpeed(900), s=ADA)
    made.begin("far", Described(user="ada", ip=FAR), START + 600)
    assert verdict(made, START + 601, "far") is Verdict.STEP_UP
    assert verdict(made, START + 601) is Verdict.ALLOW


def test_a_revoked_session_is_reported_as_such() -> None:
    made = simulated(s=ADA)
    made.take(SessionRevoked(stamp=at(START + 5, "x"), subject=Subject(session="s"), reason="lost"))
    found = made.explain("s", frozenset(), START + 6)
    assert found.verdict is Verdict.DENY
    assert found.session.revoked == "lost"


def test_an_event_about_a_session_moves_it() -> None:
    made = simulated(Changed((Circumstance.COUNTRY,)), s=ADA)
    seen = SessionPresented(stamp=at(START + 5, "x"), subject=Subject(session="s"), ip=AWAY)
    made.take(seen)
    assert verdict(made, START + 6) is Verdict.STEP_UP


def test_a_call_is_made_with_the_latest_token_unless_it_is_said_to_be_the_first() -> None:
    made = simulated(UserRisk(RiskLevel.HIGH), Changed((Circumstance.IP,)), s=ADA)
    made.take(risk(RiskLevel.HIGH, START + 10))
    made.see("s", START + 12, ip=AWAY)
    made.sign_in("s", Authentication(int(START) + 20, "mfa"), START + 20)
    assert verdict(made, START + 21) is Verdict.ALLOW
    stolen = made.explain("s", C1, START + 21, token=ChosenToken.FIRST)
    assert (stolen.verdict, stolen.firing) == (Verdict.STEP_UP, ("p0", "p1"))


def test_where_proofs_are_the_sessions_the_first_token_passes_with_the_latest() -> None:
    rules = evaluator(policy(UserRisk(RiskLevel.HIGH)))
    made = Simulation(rules, lambda ip: PLACES.get(ip, Place()), lambda app: app == "other")
    made.begin("s", ADA, START)
    made.take(risk(RiskLevel.HIGH, START + 10))
    made.sign_in("s", Authentication(int(START) + 20, "mfa"), START + 20)
    for app, expected in (("payroll", Verdict.ALLOW), ("other", Verdict.STEP_UP)):
        assert made.explain("s", C1, START + 21, app, token=ChosenToken.FIRST).verdict is expected


def test_an_event_is_believed_unless_it_is_said_by_a_source_that_may_not_loosen() -> None:
    def found(source: str) -> Verdict:
        made = simulated(UserRisk(RiskLevel.HIGH), s=ADA)
        made.take(risk(RiskLevel.HIGH, START + 10))
        low = risk(RiskLevel.LOW, START + 20)
        made.take(msgspec.structs.replace(low, source=source))
        return verdict(made, START + 21)

    assert found("") is Verdict.ALLOW
    assert found("local:app") is Verdict.STEP_UP
