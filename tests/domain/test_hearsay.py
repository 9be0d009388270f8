"""Hearsay: where a session is by a source that may not loosen, dated as the source likes.

It tightens like any word. It takes nothing back: neither is it, alone, what the session began with,
nor does what a call shows later count as older for it.
"""

import msgspec
import pytest

from sidecar.domain.evaluation.decision import AccessRequest, Verdict, decide
from sidecar.domain.evaluation.evaluator import Evaluator
from sidecar.domain.facts.fact_kinds import AgentSeen, DeviceBound, Fact, NetworkReported, Seen
from sidecar.domain.policy.conditional_access import (
    Changed,
    Circumstance,
    Condition,
    Countries,
    Selection,
    TravelSpeed,
)
from sidecar.domain.session.fold import Surroundings
from sidecar.domain.sources.source import Source, Sources
from sidecar.domain.values.stamp import MICROSECONDS
from tests.domain.scenes import (
    AWAY,
    FAR,
    HOME,
    LADDER,
    PLACES,
    WORLD,
    established,
    network_of,
    policy,
    sighted,
    signed_in,
    stamp,
)

SOURCES = Sources([Source(name="agent", may_loosen=frozenset({"session-presented"}))])
PORTUGAL = Countries(Selection(frozenset({"PT"})))


def hearsay_of(fact: Fact, source: str = "local:app") -> Fact:
    return msgspec.structs.replace(fact, source=source)


def agent(second: float, name: str) -> Fact:
    return AgentSeen(stamp=stamp(second, f"a{second}"), user_agent=name)


def device(second: float, name: str) -> Fact:
    return DeviceBound(stamp=stamp(second, f"d{second}"), device=name)


def seen(second: float, ip: str) -> Seen:
    return Seen(stamp=stamp(second, f"o{second}"), session="other", ip=ip, place=PLACES[ip])


def verdict(condition: Condition, *facts: Fact) -> Verdict:
    world = WORLD._replace(sources=SOURCES)
    rules = Evaluator((policy(condition),), world, Surroundings("", network_of))
    standing = rules.standing(rules.fold("s", list(facts)), 1200 * MICROSECONDS)
    return decide(standing, AccessRequest("app", frozenset({"c1"}), 1200), LADDER).verdict


@pytest.mark.parametrize(
    ("circumstance", "hearsay", "begins", "later"),
    [
        (Circumstance.COUNTRY, sighted(900, AWAY), sighted(1001, HOME), sighted(1100, AWAY)),
        (Circumstance.IP, sighted(900, AWAY), sighted(1001, HOME), sighted(1100, AWAY)),
        (Circumstance.ASN, sighted(900, AWAY), sighted(1001, HOME), sighted(1100, AWAY)),
        (Circumstance.USER_AGENT, agent(900, "curl"), agent(1001, "Firefox"), agent(1100, "curl")),
        (Circumstance.DEVICE, device(900, "d2"), device(1001, "d1"), device(1100, "d2")),
    ],
)
def test_what_is_reported_from_before_a_session_is_not_what_it_began_with(
    circumstance: Circumstance, hearsay: Fact, begins: Fact, later: Fact
) -> None:
    changed = Changed((circumstance,))
    assert verdict(changed, *established(), begins, later) is Verdict.STEP_UP
    assert verdict(changed, *established(), begins, later, hearsay_of(hearsay)) is Verdict.STEP_UP
    powerful = hearsay_of(hearsay, "agent")
    assert verdict(changed, *established(), begins, later, powerful) is Verdict.ALLOW


def test_where_a_session_is_reported_to_have_begun_is_still_held_against_where_it_is() -> None:
    facts = [hearsay_of(sighted(900, HOME)), *established(ip=AWAY)]
    assert verdict(Changed((Circumstance.COUNTRY,)), *facts) is Verdict.STEP_UP


def test_no_address_that_is_reported_stands_for_the_segment_that_a_session_began_in() -> None:
    office = hearsay_of(msgspec.structs.replace(sighted(900, HOME), ip="10.0.0.1"))
    reported = NetworkReported(stamp=stamp(1100), network="office", source="idp")
    changed = Changed((Circumstance.NETWORK,))
    assert verdict(changed, *established(), reported) is Verdict.STEP_UP
    assert verdict(changed, *established(), reported, office) is Verdict.STEP_UP


def test_a_sign_in_excuses_no_place_that_only_somebody_reported_before_it() -> None:
    facts = [*established(), signed_in(1060, 1050, "mfa", "mfa"), sighted(1100, AWAY)]
    assert verdict(PORTUGAL, *facts) is Verdict.STEP_UP
    assert verdict(PORTUGAL, *facts, hearsay_of(sighted(1040, AWAY))) is Verdict.STEP_UP
    assert verdict(PORTUGAL, *facts, hearsay_of(sighted(1040, AWAY), "agent")) is Verdict.ALLOW


def test_what_is_reported_marks_at_once() -> None:
    assert verdict(PORTUGAL, *established(), hearsay_of(sighted(1100, AWAY))) is Verdict.STEP_UP


JOURNEY = TravelSpeed(900)


def test_a_place_that_is_reported_takes_no_journey_away_from_a_call() -> None:
    facts = [*established(), signed_in(1060, 1050, "mfa", "mfa"), sighted(1100, FAR)]
    assert verdict(JOURNEY, *facts) is Verdict.STEP_UP
    assert verdict(JOURNEY, *facts, hearsay_of(sighted(1040, FAR))) is Verdict.STEP_UP
    assert verdict(JOURNEY, *facts, hearsay_of(sighted(1101, FAR))) is Verdict.STEP_UP
    assert verdict(JOURNEY, *facts, hearsay_of(sighted(1101, HOME))) is Verdict.STEP_UP


def test_a_sibling_that_is_reported_takes_no_journey_away() -> None:
    elsewhere = seen(1050, HOME)
    begins: list[Fact] = [sighted(1100, FAR), signed_in(1100, 500, "single-factor")]
    assert verdict(JOURNEY, elsewhere, *begins) is Verdict.STEP_UP
    assert verdict(JOURNEY, elsewhere, hearsay_of(seen(1060, FAR)), *begins) is Verdict.STEP_UP
    assert verdict(JOURNEY, elsewhere, seen(1060, FAR), *begins) is Verdict.ALLOW


def test_a_journey_between_places_that_are_reported_counts() -> None:
    facts = [hearsay_of(sighted(1040, HOME)), hearsay_of(sighted(1100, FAR))]
    assert verdict(JOURNEY, *established(), *facts) is Verdict.STEP_UP
