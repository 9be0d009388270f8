"""The compiled evaluator against the slow interpreter of the same policies."""

from collections.abc import Iterator

from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.domain.evaluation.conditions import is_strict
from sidecar.domain.facts.fact_kinds import DeviceBound, Fact, SignedIn
from sidecar.domain.policy.conditional_access import Policy
from sidecar.domain.session.lifetime import LIFETIME
from sidecar.domain.session.scene import CalledFrom
from sidecar.domain.session.single_use import Proof, SingleUseProofs, due
from sidecar.domain.session.standing import Demand, Standing
from sidecar.domain.values.assurance import Authentication
from sidecar.domain.values.location import Place
from sidecar.domain.values.stamp import MICROSECONDS
from tests.domain import random_policies
from tests.domain.interpreter import Interpreter
from tests.domain.scenes import AWAY, FAR, HOME, PLACES, WORLD, established, evaluator, sighted
from tests.domain.scenes import stamp as at

START = [*established(), DeviceBound(stamp=at(1000), device="d1")]


def in_words(demand: Demand | None, now: float) -> tuple[str, int | None]:
    if demand is None:
        return "nothing", None
    if demand.block:
        return "block", demand.since
    if demand.each_call is None and demand.is_met(now):
        return f"met until {demand.valid_until}", None
    asked = "device" if demand.unsatisfiable else "step-up"
    if demand.each_call is not None:
        asked = "every call"
    if demand.binds(now):
        return asked, demand.since
    return f"{asked} from {demand.binds_from}", demand.since


def _payments(
    facts: list[Fact], demand: Demand | None
) -> Iterator[tuple[Authentication, str, Demand]]:
    """Each sign-in of a session as the proof of a call, shown by one token or another."""
    if demand is not None and demand.each_call is not None:
        for fact in facts:
            if isinstance(fact, SignedIn):
                yield from ((fact.authentication, token, demand) for token in ("", "t1", "t3"))


def _of(rule: Policy, standing: Standing) -> list[Demand]:
    """What a policy asks for: an operator may ask for something as well."""
    return [d for d in (*standing.demands, *standing.tried) if d.policy == rule.id]


@given(random_policies.policies("p"), random_policies.lives(), st.integers(1100, 1300))
@settings(max_examples=300, deadline=None)
def test_the_evaluator_asks_for_what_the_interpreter_asks_for(
    rule: Policy, life: list[Fact], now: int
) -> None:
    rules = evaluator(rule)
    facts = [*START, *life]
    standing = rules.standing(rules.fold("s", facts), now * MICROSECONDS)
    asked = {demand.causes[0].kind == LIFETIME: demand for demand in _of(rule, standing)}
    interpreted = Interpreter(facts)
    assert in_words(asked.get(False), now) == interpreted.demand(rule, now * MICROSECONDS)
    for auth, token, demand in _payments(facts, asked.get(False)):
        assert demand.each_call is not None
        proofs = SingleUseProofs(
            Proof(WORLD.ladder.shown(auth), auth.auth_time, token), standing.spent
        )
        paid = due(demand.each_call, proofs, now).value
        assert paid == interpreted.pays(rule, now * MICROSECONDS, auth, token)
    lifetime = asked.get(True)
    assert (lifetime and lifetime.valid_until) == interpreted.life_ends(rule, now * MICROSECONDS)


@given(
    random_policies.policies("p"),
    random_policies.lives(),
    st.integers(1100, 1300),
    st.sampled_from(["", HOME, AWAY, FAR]),
)
@settings(max_examples=300, deadline=None)
def test_a_strict_policy_judges_the_address_of_the_call(
    rule: Policy, life: list[Fact], now: int, ip: str
) -> None:
    rules = evaluator(rule)
    facts = [*START, *life]
    state = rules.fold("s", facts)
    moment = now * MICROSECONDS
    standing = rules.standing(state, moment, CalledFrom(ip, PLACES.get(ip, Place())))
    demands = [d for d in _of(rule, standing) if d.causes[0].kind != LIFETIME]
    interpreted = Interpreter(facts)
    if ip:
        arrived = is_strict(rule.conditions) and ip != state.ip
        there = [*facts, sighted(now, ip, "~")] if arrived else facts
        expected = Interpreter(there).demand(rule, moment)
        assert in_words(next(iter(demands), None), now) == expected
    elif interpreted.refuses_without_address(rule, moment):
        assert [(d.addressless, d.block, d.unsatisfiable) for d in demands] == [
            (True, rule.grant.block, not rule.grant.block)
        ]
    else:
        assert not any(demand.addressless for demand in demands)
