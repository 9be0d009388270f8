"""What deciding costs: folding a session's facts, taking one more, and reading its standing.

Usage: python -m benchmarks.evaluator [POLICIES]
"""

import sys
import time
from collections.abc import Callable

from sidecar.domain.evaluation.decision import AccessRequest, decide
from sidecar.domain.evaluation.incremental import IncrementalEvaluator
from sidecar.domain.explanation.explain import explain_call
from sidecar.domain.facts.facts import (
    ClaimsSeen,
    ComplianceReported,
    DeviceBound,
    Fact,
    NetworkReported,
    RiskReported,
    Scope,
    Sighted,
    SignalRaised,
    SignedIn,
)
from sidecar.domain.policy.policy import (
    All,
    Anonymizer,
    AnyOf,
    Changed,
    Circumstance,
    Condition,
    Countries,
    Device,
    Grant,
    Locations,
    Networks,
    Not,
    Policy,
    RiskLevel,
    Score,
    Selection,
    SessionRisk,
    Signals,
    TravelSpeed,
    UserRisk,
)
from sidecar.domain.session.fold import Surroundings
from sidecar.domain.session.risk import Rating
from sidecar.domain.session.scene import World
from sidecar.domain.values.assurance import Authentication, Ladder
from sidecar.domain.values.location import Place
from sidecar.domain.values.stamp import MICROSECONDS, Stamp, at
from sidecar.wire.settings.settings import Assurance, Risk

START = 1_800_000_000
CONTEXTS = frozenset({"c1"})
HOME = Place(country="DE", asn=64496, latitude=52.5, longitude=13.4)
AWAY = Place(country="PT", asn=64497, latitude=38.7, longitude=-9.1)
CONDITIONS: tuple[Condition, ...] = (
    Changed((Circumstance.COUNTRY, Circumstance.DEVICE)),
    AnyOf(
        (
            Changed((Circumstance.COUNTRY,)),
            Networks(Selection(frozenset({"restricted"}))),
            Device(compliant=False),
            UserRisk(RiskLevel.MEDIUM),
        )
    ),
    Not(Locations(Selection(frozenset({"headquarters"})))),
    All((Countries(Selection(None, frozenset({"DE"}))), Anonymizer(present=False))),
    TravelSpeed(900),
    UserRisk(RiskLevel.HIGH),
    SessionRisk(RiskLevel.HIGH),
    Score(40),
    Signals(frozenset({"odd"})),
    All((Device(compliant=True), Not(Changed((Circumstance.ASN,))))),
)


def policies(count: int) -> list[Policy]:
    """So many policies, over all kinds of condition that do not need a clock."""
    grants = (Grant((frozenset({"mfa"}),)), Grant((frozenset({"phishing-resistant"}),)))
    return [
        Policy(
            f"p{i}",
            grants[i % 2],
            conditions=CONDITIONS[i % len(CONDITIONS)],
            contexts=Selection(CONTEXTS),
        )
        for i in range(count)
    ]


def facts() -> list[Fact]:
    """An hour of a session's life, sixteen steps of it."""

    def when(minute: int) -> Stamp:
        return at(START + 60 * minute, f"e{minute}")

    begun: list[Fact] = [
        Sighted(stamp=when(0), ip="192.0.2.1", place=HOME),
        SignedIn(stamp=when(0), authentication=Authentication(START - 1, "mfa")),
        ClaimsSeen(stamp=when(0), scope=Scope.SESSION, claims=(("user", ("ada",)),)),
        DeviceBound(stamp=when(0), device="laptop"),
        ComplianceReported(stamp=when(1), device="laptop", compliant=True),
        NetworkReported(stamp=when(2), network="office"),
        RiskReported(stamp=when(3), scope=Scope.USER, level=RiskLevel.MEDIUM),
        SignalRaised(stamp=when(4), scope=Scope.SESSION, name="odd", weight=30),
        SignedIn(stamp=when(5), authentication=Authentication(START + 290, "phr")),
    ]
    moves = (
        Sighted(
            stamp=when(10 + i),
            ip=("198.51.100.1", "192.0.2.1")[i % 2],
            place=(AWAY, HOME)[i % 2],
        )
        for i in range(10)
    )
    return [*begun, *moves]


def evaluator(count: int) -> IncrementalEvaluator:
    """An evaluator over so many policies, of the kind that the daemon has."""
    risk = Risk()
    rating = Rating(risk.weights, risk.thresholds)
    world = World(
        Ladder(Assurance().levels),
        rating,
        lambda ip, _: frozenset({"headquarters"} if ip.startswith("192.0.2.") else ()),
    )
    return IncrementalEvaluator(policies(count), world, Surroundings("", lambda _: ""))


def rate(what: str, times: int, once: Callable[[], object]) -> None:
    """The best of five runs, so that a busy machine disturbs less."""
    best = 1e9
    for _ in range(5):
        begun = time.perf_counter()
        for _ in range(times):
            once()
        best = min(best, time.perf_counter() - begun)
    print(f"{what:34} {times / best:12,.0f}/s {best / times * 1e6:10.1f} us")


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    rules = evaluator(count)
    known = facts()
    state = rules.fold("s", known)
    later = (START + 1800) * MICROSECONDS
    last = Sighted(stamp=at(START + 1700, "last"), ip="198.51.100.1", place=AWAY)
    standing = rules.standing(state, later)
    print(f"{count} policies, {len({fact.stamp for fact in known})} steps")
    rate("folds", 200, lambda: rules.fold("s", known))
    rate("one more fact", 2000, lambda: rules.advance("s", state, [last]))
    rate("standings", 2000, lambda: rules.standing(state, later))
    rate(
        "decisions",
        20000,
        lambda: decide(standing, AccessRequest("app", CONTEXTS, START + 1800), rules.world.ladder),
    )
    rate(
        "explanations",
        500,
        lambda: explain_call(rules, state, "app", CONTEXTS, START + 1800),
    )


if __name__ == "__main__":
    main()
