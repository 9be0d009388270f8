"""What deciding costs: folding a session's facts, taking one more, and reading its standing.

Usage: python -m benchmarks.evaluator [POLICIES ...]

Each figure is processor time, the best of five runs. Beside them stands what the plain evaluator
costs, that evaluates every policy at every step: by how much the daemon's is faster, is a ratio of
one run. What policies come to where the same of them ask was decided before, as it mostly was of
another session; what it costs the first time stands beside it.
"""

import itertools
import math
import sys
import time
from collections.abc import Callable

from sidecar.domain.evaluation.decision import AccessRequest, Decision, decide
from sidecar.domain.evaluation.evaluator import Evaluator
from sidecar.domain.evaluation.incremental import IncrementalEvaluator
from sidecar.domain.explanation.explain import explain_call
from sidecar.domain.facts.fact_kinds import (
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
from sidecar.domain.policy.conditional_access import (
    All,
    Anonymizer,
    AnyOf,
    Assignment,
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
    Principals,
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


def policies(count: int, applying: int | None = None) -> list[Policy]:
    """So many policies, over all kinds of condition that do not need a clock.

    All but the first `applying` are for users of a group that the session's is not in.
    """
    others = Assignment(Principals(groups=frozenset({"others"})))
    grants = (Grant((frozenset({"mfa"}),)), Grant((frozenset({"phishing-resistant"}),)))
    return [
        Policy(
            f"p{i}",
            grants[i % 2],
            conditions=CONDITIONS[i % len(CONDITIONS)],
            contexts=Selection(CONTEXTS),
            users=Assignment() if applying is None or i < applying else others,
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
        ClaimsSeen(
            stamp=when(0), scope=Scope.SESSION, claims=(("user", ("ada",)), ("groups", ("staff",)))
        ),
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


def evaluator(
    count: int,
    applying: int | None = None,
    kind: type[IncrementalEvaluator] | type[Evaluator] = IncrementalEvaluator,
) -> Evaluator:
    """An evaluator over so many policies, of the kind that the daemon has."""
    risk = Risk()
    rating = Rating(risk.weights, risk.thresholds)
    world = World(
        Ladder(Assurance().levels),
        rating,
        lambda ip, _: frozenset({"headquarters"} if ip.startswith("192.0.2.") else ()),
    )
    return kind(policies(count, applying), world, Surroundings("", lambda _: ""))


def cost(once: Callable[[], object]) -> float:
    """Return the microseconds of processor time that one takes: the best of five runs."""
    once()
    begun = time.process_time()
    once()
    times = max(1, int(0.02 / max(time.process_time() - begun, 1e-6)))
    best = math.inf
    for _ in range(5):
        begun = time.process_time()
        for _ in range(times):
            once()
        best = min(best, time.process_time() - begun)
    return best / times * 1e6


def costs(rules: Evaluator) -> dict[str, float]:
    """Return what each thing costs that is done with an evaluator, in microseconds."""
    known = facts()
    state = rules.fold("s", known)
    later = (START + 1800) * MICROSECONDS
    last = Sighted(stamp=at(START + 1700, "last"), ip="198.51.100.1", place=AWAY)
    calm = Sighted(stamp=at(START + 1700, "calm"), ip=state.ip, place=state.location)
    request = AccessRequest("app", CONTEXTS, START + 1800)
    numbers = itertools.count()

    def judged(fact: Fact, access: AccessRequest = request) -> Decision:
        after = rules.advance("s", state, [fact])
        assert after is not None
        return decide(rules.standing(after, later), access, rules.world.ladder)

    def judged_first() -> Decision:  # of an app that no outcome is known for
        return judged(last, request._replace(app=f"app{next(numbers)}"))

    return {
        "fold": cost(lambda: rules.fold("s", known)),
        "one fact, standing, decide": cost(lambda: judged(last)),
        "the same, never asked before": cost(judged_first),
        "the same, nothing changed": cost(lambda: judged(calm)),
        "standing": cost(lambda: rules.standing(state, later)),
        "explanation": cost(lambda: explain_call(rules, state, "app", CONTEXTS, START + 1800)),
    }


def main() -> None:
    counts = [int(each) for each in sys.argv[1:]] or [5, 20, 100, 500]
    sets = [(count, None) for count in counts] + [(max(counts), 20)]
    print(f"{'microseconds':34}{'plain':>12}{'daemon':>12}{'ratio':>8}")
    for count, applying in sets:
        print(f"{count} policies" + (f", {applying} for the user" if applying else ""))
        plain = costs(evaluator(count, applying, Evaluator))
        found = costs(evaluator(count, applying))
        for what, took in found.items():
            print(f"  {what:32}{plain[what]:12,.1f}{took:12,.1f}{plain[what] / took:8.1f}")


if __name__ == "__main__":
    main()
