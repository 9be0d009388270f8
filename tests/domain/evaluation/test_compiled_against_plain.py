"""The evaluator that the daemon runs against the plain one, which evaluates everything each time.

A case is a policy set, a history and a call: both must come to equal states, verdicts, reasons and
explanations. The long form runs ten million of them, or `CASES`.
"""

import os
import random
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from sidecar.domain.evaluation.decision import AccessRequest, decide
from sidecar.domain.evaluation.evaluator import Evaluator
from sidecar.domain.evaluation.incremental import IncrementalEvaluator
from sidecar.domain.explanation.explain import explain_call
from sidecar.domain.facts.fact_kinds import DeviceBound, Fact, Seen
from sidecar.domain.policy.conditional_access import Policy
from sidecar.domain.session.fold import Surroundings
from sidecar.domain.session.presented import Presented, is_of_session
from sidecar.domain.session.scene import CalledFrom, World
from sidecar.domain.session.state import State
from sidecar.domain.sources.source import Source, Sources
from sidecar.domain.values.assurance import Authentication
from sidecar.domain.values.stamp import MICROSECONDS
from tests.domain.evaluation.stepped import steps
from tests.domain.random_policies import lives, policies, said_by
from tests.domain.scenes import AWAY, FAR, PLACES, WORLD, established, network_of, stamp

LATER = (0, 1, 20, 47, 130, 3600)
"""Seconds after the latest fact at which sessions are asked about."""

ORIGINS = (None, CalledFrom(""), CalledFrom(AWAY, PLACES[AWAY]), CalledFrom(FAR, PLACES[FAR]))
CONTEXTS = tuple(map(frozenset, ((), ("c1",), ("c2",), ("c1", "c2"))))
APPS = ("app", "other")
CASES_OF_A_STATE = len(LATER) * len(ORIGINS) * len(CONTEXTS) * len(APPS)

LOOSENS = frozenset({"risk-level-change", "device-compliance-change", "network-change"})
SOURCES = Sources(
    [
        Source(name="mdm", may_loosen=LOOSENS, over=frozenset({"edr", ""}), may_identify=True),
        Source(name="edr"),
    ]
)
WORLDS = (WORLD, WORLD._replace(sources=SOURCES), WORLD._replace(min_interval=40, sources=SOURCES))


class Differential:
    """Both evaluators of one policy set, and how many cases were compared."""

    def __init__(self, of: Sequence[Policy], world: World) -> None:
        around = Surroundings("", network_of)
        self.plain = Evaluator(of, world, around)
        self.compiled = IncrementalEvaluator(of, world, around)
        self.cases = 0

    def live(self, facts: list[Fact], chosen: random.Random) -> None:
        """Compare a session at all that happens to it, and calls at some of that."""
        plain = compiled = State()
        for step in steps(facts):
            after = self.compiled.advance("", compiled, step)
            assert after is not None
            compiled = after
            if chosen.random() < 0.3:
                moment = step[0].stamp.time + chosen.randrange(200) * MICROSECONDS
                self.compiled.standing(compiled, moment)  # nothing is asked for in vain
            known = self.plain.advance("", plain, step)
            assert known is not None
            plain = known
            assert compiled == plain
        self.ask(plain, compiled)
        self.stays(compiled)

    def ask(self, plain: State, compiled: State) -> None:
        ladder = self.plain.world.ladder
        latest = next(iter(plain.sign_ins), Authentication(0))
        presented = Presented(latest, alone=True)
        both = ((self.plain, plain), (self.compiled, compiled))
        kept = [each.standing(state, state.last.time) for each, state in both]
        for later in LATER:
            now = plain.last.time + later * MICROSECONDS
            for standing, (each, state) in zip(kept, both, strict=True):
                if standing.until is None or now < standing.until:
                    assert each.standing(state, now) == standing
            for alone in (True, False):
                shown = presented._replace(alone=alone)
                if is_of_session(shown, compiled):
                    of_all = self.compiled.standing(compiled, now)
                    assert self.compiled.standing(compiled, now, presented=shown) == of_all
            for origin in ORIGINS:
                own = presented if later == LATER[1] else None
                judged = self.plain.standing(plain, now, origin, own)
                again = self.compiled.standing(compiled, now, origin, own)
                assert again == judged
                for contexts in CONTEXTS:
                    for app in APPS:
                        access = AccessRequest(app, contexts, now / MICROSECONDS)
                        assert decide(again, access, ladder) == decide(judged, access, ladder)
                        self.cases += 1
        seconds = plain.last.time / MICROSECONDS + LATER[2]
        call = ("app", CONTEXTS[1], seconds)
        assert explain_call(self.compiled, compiled, *call) == explain_call(
            self.plain, plain, *call
        )

    def stays(self, state: State) -> None:
        """Time changes nothing until when that is said, by what the plain one finds."""
        until = self.compiled.holds_until(state)
        assert until >= state.last.time
        for now in (until - 1, (state.last.time + until) // 2):
            if state.last.time < now < 4_000_000_000 * MICROSECONDS:
                assert self.plain.at(state, now) == state


def histories(pool: list[Fact], chosen: random.Random) -> Iterator[list[Fact]]:
    """Lives made of some of these facts each."""
    while True:
        some = [fact for fact in pool if chosen.random() < 0.6]
        yield [*established(), DeviceBound(stamp=stamp(1000), device="d1"), *some]


@st.composite
def sets(draw: st.DrawFn) -> tuple[Policy, ...]:
    """Policies, and some again by another name: these ask for the same, there or elsewhere."""
    found = [draw(policies(f"p{i}")) for i in range(draw(st.integers(2, 7)))]
    for at in draw(st.lists(st.integers(0, len(found) - 1), max_size=3)):
        other = draw(policies("other"))
        again = replace(found[at], id=f"p{len(found)}")
        differs = draw(st.sampled_from(("", "contexts", "state")))
        if differs:
            again = replace(again, **{differs: getattr(other, differs)})
        found.insert(draw(st.integers(0, len(found))), again)
    return tuple(found)


SETS = sets()


@st.composite
def pools(draw: st.DrawFn) -> list[Fact]:
    """What may happen to a session, by whoever says so, and to its user elsewhere."""
    elsewhere = draw(st.lists(st.tuples(st.integers(1001, 1100), st.sampled_from(list(PLACES)))))
    others: list[Fact] = [
        Seen(stamp=stamp(second, f"o{at}"), session="other", ip=ip, place=PLACES[ip])
        for at, (second, ip) in enumerate(elsewhere[:4])
    ]
    return [*draw(lives()), *draw(lives()), *draw(said_by("mdm", "edr")), *others]


def compare(of: Sequence[Policy], pool: list[Fact], world: World, seed: int, lived: int) -> int:
    chosen = random.Random(seed)
    both = Differential(of, world)
    drawn = histories(pool, chosen)
    for _ in range(lived):
        both.live(next(drawn), chosen)
    return both.cases


SETS_OF_A_RUN = 75
LIVES_OF_A_SET = 7
assert SETS_OF_A_RUN * LIVES_OF_A_SET * CASES_OF_A_STATE >= 100_000


@given(SETS, pools(), st.sampled_from(WORLDS), st.integers(0, 1 << 30))
@settings(max_examples=SETS_OF_A_RUN)
def test_100_000_cases_come_to_the_same(
    of: tuple[Policy, ...], pool: list[Fact], world: World, seed: int
) -> None:
    compare(of, pool, world, seed, LIVES_OF_A_SET)


@pytest.mark.long
def test_ten_million_cases_come_to_the_same() -> None:
    wanted, found = int(os.environ.get("CASES", "10000000")), 0

    @given(SETS, pools(), st.sampled_from(WORLDS), st.integers(0, 1 << 30))
    @settings(max_examples=wanted // (10 * LIVES_OF_A_SET * CASES_OF_A_STATE) + 1)
    def run(of: tuple[Policy, ...], pool: list[Fact], world: World, seed: int) -> None:
        nonlocal found
        found += compare(of, pool, world, seed, 10 * LIVES_OF_A_SET)

    run()
    assert found >= wanted
