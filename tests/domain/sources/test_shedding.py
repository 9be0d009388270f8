"""The order in which events are shed."""

import pytest

from sidecar.domain.facts.signal import (
    AssuranceLevelChange,
    CredentialChange,
    DeviceComplianceChange,
    NetworkChange,
    OperatorClear,
    OperatorMark,
    RiskLevelChange,
    RiskSignal,
    SessionEstablished,
    SessionPresented,
    SessionRevoked,
    Signal,
    Subject,
    TokenClaimsChange,
)
from sidecar.domain.policy.conditional_access import RiskLevel
from sidecar.domain.sources.shedding import (
    Bottleneck,
    Need,
    may_fill,
    need_of,
    refusal,
    sheds,
)
from sidecar.domain.values.stamp import at

AT, WHO = at(1.0, "e"), Subject(user="ada", session="s", device="d")
FROM_THE_LEAST = tuple(Need)


@pytest.mark.parametrize(
    ("signal", "need"),
    [
        (SessionPresented(stamp=AT, subject=WHO), Need.SIGHTING),
        (SessionEstablished(stamp=AT, subject=WHO), Need.LOOSENING),
        (DeviceComplianceChange(stamp=AT, subject=WHO, compliant=True), Need.LOOSENING),
        (DeviceComplianceChange(stamp=AT, subject=WHO, compliant=False), Need.TIGHTENING),
        (RiskLevelChange(stamp=AT, subject=WHO, level=RiskLevel.LOW), Need.LOOSENING),
        (RiskLevelChange(stamp=AT, subject=WHO, level=RiskLevel.MEDIUM), Need.TIGHTENING),
        (RiskLevelChange(stamp=AT, subject=WHO, level=RiskLevel.HIGH), Need.TIGHTENING),
        (
            AssuranceLevelChange(
                stamp=AT, subject=WHO, namespace="n", level="phr", direction="increase"
            ),
            Need.LOOSENING,
        ),
        (
            AssuranceLevelChange(
                stamp=AT, subject=WHO, namespace="n", level="pwd", direction="decrease"
            ),
            Need.TIGHTENING,
        ),
        (NetworkChange(stamp=AT, subject=WHO, segment="lab"), Need.TIGHTENING),
        (CredentialChange(stamp=AT, subject=WHO), Need.TIGHTENING),
        (TokenClaimsChange(stamp=AT, subject=WHO, claims=()), Need.TIGHTENING),
        (RiskSignal(stamp=AT, subject=WHO, name="a", weight=1.0, half_life=60.0), Need.TIGHTENING),
        (SessionRevoked(stamp=AT, subject=WHO), Need.REVOCATION),
        (OperatorMark(stamp=AT, subject=WHO), Need.REVOCATION),
        (OperatorClear(stamp=AT, subject=WHO), Need.REVOCATION),
    ],
    ids=lambda one: one.name if isinstance(one, Need) else one.kind,
)
def test_what_an_event_says_is_how_much_it_is_needed(signal: Signal, need: Need) -> None:
    assert need_of(signal) is need


@pytest.mark.parametrize("of", Bottleneck)
def test_what_is_needed_less_is_shed_first(of: Bottleneck) -> None:
    for step in range(9):
        shed = [sheds(need, of, step / 8) for need in FROM_THE_LEAST]
        assert shed == sorted(shed, reverse=True)
    parts = [may_fill(need, of) for need in FROM_THE_LEAST]
    assert parts == sorted(parts)


@pytest.mark.parametrize("of", Bottleneck)
def test_where_nothing_waits_nothing_is_shed(of: Bottleneck) -> None:
    assert not any(sheds(need, of, 0.0) for need in Need)


def test_no_revocation_and_nothing_that_tightens_is_shed_as_much_waits_to_be_logged() -> None:
    assert not sheds(Need.REVOCATION, Bottleneck.LOGGING, 1.0)
    assert not sheds(Need.TIGHTENING, Bottleneck.LOGGING, 1.0)
    assert sheds(Need.LOOSENING, Bottleneck.LOGGING, 0.75)


def test_a_refusal_says_what_is_shed_and_why() -> None:
    assert refusal(Need.SIGHTING, Bottleneck.STORE) == (
        "sightings are refused while too much waits for the store; try again later"
    )
    said = {refusal(need, of) for need in Need for of in Bottleneck}
    assert len(said) == len(Need) * len(Bottleneck)
