"""Which events a mark, its end and a revocation are of: nobody can pass for another's."""

from itertools import permutations

import pytest

from sidecar.domain.evaluation.incremental import IncrementalEvaluator
from sidecar.domain.facts.fact_kinds import Fact, Revoked, RiskReported, Scope
from sidecar.domain.policy.conditional_access import RiskLevel, UserRisk
from sidecar.domain.session.fold import Surroundings
from sidecar.domain.session.state import State
from sidecar.domain.sources.origin import origins_of, together
from sidecar.domain.values.stamp import Stamp
from tests.domain.scenes import WORLD, established, evaluator, network_of, policy

S = 1_000_000
PROVIDER, PEER = "idp", "local:app"


def revoked(second: int, event: str, source: str, scope: Scope = Scope.USER) -> Revoked:
    return Revoked(stamp=Stamp(second * S, event), source=source, scope=scope, reason=source)


def risk(second: int, event: str, source: str, level: RiskLevel = RiskLevel.HIGH) -> RiskReported:
    return RiskReported(
        stamp=Stamp(second * S, event), source=source, scope=Scope.USER, level=level
    )


def folded(*facts: Fact) -> State:
    """The state, of which the evaluator and its faster form agree."""
    policies = [policy(UserRisk(RiskLevel.HIGH), name="risk")]
    state = evaluator(*policies).fold("s", (*established(), *facts))
    incremental = IncrementalEvaluator(policies, WORLD, Surroundings("", network_of))
    assert incremental.fold("s", (*established(), *facts)) == state
    return state


@pytest.mark.parametrize(
    ("facts", "by"),
    [
        ([revoked(1020, "f", PROVIDER)], ((PROVIDER, "f"),)),
        # At the same moment, before or after it, of this kind or another: the provider's stays.
        ([revoked(1020, "f", PROVIDER), revoked(1020, "e", PEER)], ((PROVIDER, "f"), (PEER, "e"))),
        ([revoked(1020, "f", PROVIDER), revoked(1020, "g", PEER)], ((PROVIDER, "f"), (PEER, "g"))),
        ([revoked(1020, "f", PROVIDER), revoked(1020, "f", PEER)], ((PROVIDER, "f"), (PEER, "f"))),
        (
            [revoked(1020, "f", PROVIDER), revoked(1020, "e", PEER, Scope.SESSION)],
            ((PROVIDER, "f"), (PEER, "e")),
        ),
        # However many: of each source there is one.
        (
            [revoked(1020, "f", PROVIDER), *(revoked(1020, f"e{n}", PEER) for n in range(3))],
            ((PROVIDER, "f"), (PEER, "e2")),
        ),
        # What came later is what revoked it last.
        ([revoked(1020, "f", PROVIDER), revoked(1021, "e", PEER)], ((PEER, "e"),)),
    ],
)
def test_a_revocation_is_of_all_events_of_its_moment_in_any_order(
    facts: list[Fact], by: tuple[tuple[str, str], ...]
) -> None:
    for order in permutations(facts):
        held = folded(*order).revoked(0)
        assert held is not None
        assert held.by == tuple(sorted(by))


def test_a_mark_is_of_the_event_that_brought_its_latest_cause() -> None:
    assert folded(risk(1020, "f", PROVIDER)).activations["risk"].by == ((PROVIDER, "f"),)
    both = folded(risk(1020, "f", PROVIDER), risk(1020, "e", PEER)).activations["risk"].by
    assert both == tuple(sorted(((PROVIDER, "f"), (PEER, "e"))))
    # What repeats it, or says it later, does not make it its own.
    again = folded(risk(1020, "f", PROVIDER), risk(1030, "e", PROVIDER)).activations["risk"].by
    assert again == ((PROVIDER, "f"),)


def test_a_mark_that_is_gone_is_of_the_event_that_took_it_away() -> None:
    gone = folded(
        risk(1020, "f", PROVIDER),
        risk(1030, "g", PROVIDER, RiskLevel.LOW),
        risk(1040, "h", PROVIDER, RiskLevel.LOW),
    )
    assert not gone.activations["risk"].mark
    assert gone.activations["risk"].ended == ((PROVIDER, "g"),)


def test_origins_are_joined_in_any_order_and_bounded_by_sources() -> None:
    one, other = ((PROVIDER, "f"),), ((PEER, "e"), (PROVIDER, "a"))
    assert together([one, other]) == together([other, one, other]) == ((PROVIDER, "f"), (PEER, "e"))
    many = [revoked(1020, f"e{n}", PEER) for n in range(1000)]
    assert origins_of(many) == ((PEER, "e999"),)
