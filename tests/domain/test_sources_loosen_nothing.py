"""What a source says that may not loosen never loosens anything, whatever else was said."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.domain.decision import Verdict, decide
from sidecar.domain.evaluator import Evaluator
from sidecar.domain.facts import DeviceBound, Fact
from sidecar.domain.policy import Policy
from sidecar.domain.session import Surroundings
from sidecar.domain.source import Source, Sources
from sidecar.domain.stamp import MICROSECONDS
from tests.domain import random_policies
from tests.domain.scenes import LADDER, WORLD, established, network_of
from tests.domain.scenes import stamp as at

ALL = frozenset(
    {
        *("risk-level-change", "risk-signal", "device-compliance-change", "network-change"),
        *("token-claims-change", "assurance-level-change", "credential-change"),
    }
)
SOURCES = Sources(
    [
        Source(name="idp", may_loosen=ALL, over=frozenset({"edr", "app"}), may_identify=True),
        Source(name="edr", over=frozenset({"app", "idp"})),
    ]
)
START: list[Fact] = [*established(), DeviceBound(stamp=at(1000), device="d1")]
STRICTNESS = {Verdict.ALLOW: 0, Verdict.STEP_UP: 1, Verdict.DENY: 2}
CALLS = [
    (app, frozenset(contexts))
    for app in ("app", "other")
    for contexts in ([], ["c1"], ["c2"], ["c1", "c2"])
]


def rules(*policies: Policy) -> Evaluator:
    world = WORLD._replace(sources=SOURCES)
    return Evaluator(policies, world, Surroundings("", network_of))


def strictness(evaluator: Evaluator, facts: list[Fact], now: int) -> list[int]:
    standing = evaluator.standing(evaluator.fold("s", facts), now * MICROSECONDS)
    return [
        STRICTNESS[decide(standing, app, contexts, now, LADDER).verdict] for app, contexts in CALLS
    ]


@given(
    random_policies.policies("p"),
    random_policies.lives(),
    st.tuples(random_policies.said_by("idp", "edr", "mdm"), random_policies.said_by("app")),
    st.lists(st.integers(1000, 1300), min_size=1, max_size=4),
    st.randoms(use_true_random=False),
)
@settings(max_examples=300, deadline=None)
def test_facts_of_a_source_that_may_not_loosen_never_loosen(
    rule: Policy,
    life: list[Fact],
    said: tuple[list[Fact], list[Fact]],
    moments: list[int],
    order: random.Random,
) -> None:
    evaluator = rules(rule)
    trusted, added = said
    known = [*START, *life, *trusted]
    more = [*known, *added, *added]
    order.shuffle(more)
    for now in moments:
        so_far = [fact for fact in known if fact.stamp.time <= now * MICROSECONDS]
        with_more = [fact for fact in more if fact.stamp.time <= now * MICROSECONDS]
        before = strictness(evaluator, so_far, now)
        after = strictness(evaluator, with_more, now)
        assert all(one <= other for one, other in zip(before, after, strict=True))
