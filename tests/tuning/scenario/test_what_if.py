import pytest

from sidecar.domain.evaluation.decision import Verdict
from sidecar.domain.policy.conditional_access import Changed, Circumstance, RiskLevel, UserRisk
from sidecar.domain.values.location import Place
from sidecar.tuning.scenario.play import Stage
from sidecar.tuning.scenario.session_changes import InvalidChange
from sidecar.tuning.scenario.simulation import Described
from sidecar.tuning.scenario.what_if import WhatIfQuestion, answer
from tests.domain.scenes import AWAY, HOME, PLACES, evaluator, policy

STAGE = Stage(
    evaluator(
        policy(Changed((Circumstance.COUNTRY,)), name="moved"),
        policy(UserRisk(RiskLevel.HIGH), "phishing-resistant", name="risky"),
    ),
    lambda ip: PLACES.get(ip, Place()),
    lambda _method, _host, path: ("c1",) if path == "/pay" else (),
)
ADA = Described(user="ada", ip=HOME, acr="mfa")


def asked(*thens: str, described: Described = ADA, **more: object) -> list[tuple[str, str]]:
    given = {"contexts": ("c1",), **more}
    question = WhatIfQuestion(described=described, at=1_000_000.0, thens=thens, **given)  # type: ignore[arg-type]
    return [
        (found.explanation.verdict.value, " ".join(found.explanation.reasons))
        for found in answer(question, STAGE)
    ]


def test_a_session_that_just_signed_in_is_answered_once() -> None:
    assert asked() == [("allow", "")]


def test_changes_are_applied_in_order_and_marks_arise_as_in_life() -> None:
    assert asked(f"ip={AWAY}", "sign-in=mfa", f"ip={HOME}", f"ip={AWAY}") == [
        ("allow", ""),
        ("step_up", "moved"),
        ("allow", ""),
        ("allow", ""),
        ("allow", ""),
    ]


def test_a_sign_in_in_the_second_of_the_mark_proves_nothing() -> None:
    assert asked("user-risk=high", "after=0s,sign-in=phr")[-1] == ("step_up", "risky")
    assert asked("user-risk=high", "after=1s,sign-in=phr")[-1] == ("allow", "")


def test_a_risk_that_was_there_before_is_distinguished_from_one_that_comes() -> None:
    risky = Described(user="ada", acr="phr", user_risk=RiskLevel.HIGH)
    assert asked(described=risky) == [("allow", "")]
    assert asked("user-risk=high", described=Described(user="ada", acr="phr"))[-1][0] == "step_up"


def test_the_place_that_is_given_wins_over_the_databases() -> None:
    portugal = Place(country="PT")
    assert asked(f"ip={AWAY}", place=portugal)[-1] == ("allow", "")
    assert asked(f"ip={AWAY},country=DE")[-1] == ("allow", "")


def test_a_call_can_be_named_by_its_path() -> None:
    assert asked(f"ip={AWAY}", contexts=(), path="/pay")[-1] == ("step_up", "moved")
    assert asked(f"ip={AWAY}", contexts=(), path="/other")[-1] == ("allow", "")


def test_a_change_that_is_none_is_shown_with_what_was_typed() -> None:
    with pytest.raises(InvalidChange, match=r"--then netwrk=x: 'netwrk' is not known"):
        asked("netwrk=x")


def test_the_explanation_is_of_the_moment_after_the_change() -> None:
    question = WhatIfQuestion(
        described=ADA, at=1_000_000.0, contexts=("c1",), thens=("after=2h,network=x",)
    )
    found = answer(question, STAGE)
    assert [each.explanation.time - question.at for each in found] == [0, 7200]
    assert found[-1].explanation.session.network == "x"
    assert found[-1].explanation.verdict is Verdict.ALLOW
