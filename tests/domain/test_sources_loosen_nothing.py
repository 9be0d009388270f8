"""What a source says that may not loosen never loosens anything, whatever else was said."""

import random
from collections.abc import Mapping
from types import MappingProxyType

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.domain.evaluation.decision import AccessRequest, Verdict, decide
from sidecar.domain.evaluation.evaluator import Evaluator
from sidecar.domain.facts.fact_kinds import (
    ComplianceReported,
    DeviceBound,
    Fact,
    RiskReported,
    Scope,
    SignalRaised,
)
from sidecar.domain.policy.conditional_access import (
    Device,
    Policy,
    Principals,
    RiskLevel,
    Score,
    SessionRisk,
    Signals,
    UserRisk,
)
from sidecar.domain.session.fold import Surroundings
from sidecar.domain.sources.source import Source, Sources
from sidecar.domain.values.lattice import join_all
from sidecar.domain.values.stamp import MICROSECONDS
from sidecar.wire.store.records import decode_facts, encode_facts
from tests.domain import random_policies
from tests.domain.scenes import LADDER, WORLD, established, network_of, policy
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


SPARED = st.sampled_from(
    [
        {},
        {"": Principals(groups=frozenset({"admins"}))},
        {"": Principals(groups=frozenset({"staff"}), roles=frozenset({"admin"}))},
    ]
)
"""Who is a break-glass account: a user of no group that is whole at the start, or of one."""


def rules(*policies: Policy, spared: Mapping[str, Principals] = MappingProxyType({})) -> Evaluator:
    world = WORLD._replace(sources=SOURCES, break_glass=spared)
    return Evaluator(policies, world, Surroundings("", network_of))


EVALUATORS = st.builds(rules, random_policies.policies("p"), spared=SPARED)


def strictness(evaluator: Evaluator, facts: list[Fact], now: int) -> list[int]:
    standing = evaluator.standing(evaluator.fold("s", facts), now * MICROSECONDS)
    return [
        STRICTNESS[decide(standing, AccessRequest(app, contexts, now), LADDER).verdict]
        for app, contexts in CALLS
    ]


@given(
    EVALUATORS,
    random_policies.lives(),
    st.tuples(random_policies.said_by("idp", "edr", "mdm"), random_policies.said_by("app")),
    st.lists(st.integers(1000, 1300), min_size=1, max_size=4),
    st.randoms(use_true_random=False),
)
@settings(max_examples=300, deadline=None)
def test_facts_of_a_source_that_may_not_loosen_never_loosen(
    evaluator: Evaluator,
    life: list[Fact],
    said: tuple[list[Fact], list[Fact]],
    moments: list[int],
    order: random.Random,
) -> None:
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


def milder(source: str, name: str) -> list[Fact]:
    """Words by which a source takes back all that it has said of risk, device and segment."""
    later = [at(1200 + n, f"{name}{n}") for n in range(8)]
    return [
        RiskReported(stamp=later[0], source=source, scope=Scope.USER, level=RiskLevel.LOW),
        RiskReported(stamp=later[1], source=source, scope=Scope.SESSION, level=RiskLevel.LOW),
        *(
            RiskReported(
                stamp=later[2 + n],
                source=source,
                scope=Scope.DEVICE,
                device=device,
                level=RiskLevel.LOW,
            )
            for n, device in enumerate(("d1", "d2"))
        ),
        *(
            ComplianceReported(stamp=later[4 + n], source=source, device=device, compliant=True)
            for n, device in enumerate(("d1", "d2"))
        ),
        *(
            SignalRaised(stamp=later[6 + n], source=source, scope=scope, name="odd", weight=0)
            for n, scope in enumerate((Scope.USER, Scope.SESSION))
        ),
    ]


REGISTERS = (UserRisk(RiskLevel.MEDIUM), SessionRisk(RiskLevel.MEDIUM, reported=True))
TAKEN_BACK = (*REGISTERS, Device(compliant=False), Signals(frozenset({"odd"})), Score(40))


@given(random_policies.said_by("idp"), random_policies.said_by("app"))
@settings(max_examples=60, deadline=None)
def test_a_source_takes_back_its_own_words_and_no_others(
    said: list[Fact], taken_back: list[Fact]
) -> None:
    kinds = RiskReported | ComplianceReported | SignalRaised
    own = [fact for fact in taken_back if isinstance(fact, kinds)]
    others = [fact for fact in said if isinstance(fact, kinds)]
    for condition in TAKEN_BACK:
        evaluator = rules(policy(condition))
        without = evaluator.fold("s", [*START, *others])
        state = evaluator.fold("s", [*START, *others, *own, *milder("app", "m")])
        now = 1300 * MICROSECONDS
        test = evaluator.looks(state, now)[0].after.holds
        assert test == evaluator.looks(without, now)[0].after.holds


@given(
    random_policies.policies("p"),
    random_policies.lives(),
    random_policies.said_by("idp", "edr", "app"),
    st.randoms(use_true_random=False),
)
@settings(max_examples=60, deadline=None)
def test_words_of_sources_in_any_order_and_doubled_give_the_same_standing(
    rule: Policy, life: list[Fact], said: list[Fact], order: random.Random
) -> None:
    evaluator = rules(rule)
    everything = [*START, *life, *said]
    mixed = everything * 2
    order.shuffle(mixed)
    now = 1200 * MICROSECONDS
    whole = evaluator.standing(evaluator.fold("s", everything), now)
    assert evaluator.standing(evaluator.fold("s", mixed), now) == whole


@given(random_policies.said_by("idp", "edr"), random_policies.said_by("app"))
@settings(max_examples=60, deadline=None)
def test_a_flood_of_one_source_leaves_what_others_said_in_a_record(
    said: list[Fact], words: list[Fact]
) -> None:
    flood = [
        msgspec.structs.replace(fact, stamp=at(2000 + n, f"f{n}"))
        for n, fact in enumerate(words * 40)
    ]
    record = join_all([encode_facts(said), *(encode_facts([fact]) for fact in flood)])
    kept, broken = decode_facts(record)
    assert not broken
    assert [fact for fact in kept if fact.source != "app"] == [*decode_facts(encode_facts(said))[0]]


@given(
    EVALUATORS,
    random_policies.lives(),
    st.tuples(random_policies.said_by("idp", "edr", "mdm"), random_policies.said_by("app")),
    st.lists(st.integers(1000, 1300), min_size=1, max_size=4),
    st.randoms(use_true_random=False),
)
@settings(max_examples=150, deadline=None)
def test_nor_do_they_where_tokens_do_not_say_the_device(
    evaluator: Evaluator,
    life: list[Fact],
    said: tuple[list[Fact], list[Fact]],
    moments: list[int],
    order: random.Random,
) -> None:
    trusted, added = said
    # Of several who may not replace a device the first one says which it is.
    known = [*established(), *life, *(fact for fact in trusted if not _binds(fact))]
    more = [*known, *added, *added]
    order.shuffle(more)
    for now in moments:
        so_far = [fact for fact in known if fact.stamp.time <= now * MICROSECONDS]
        with_more = [fact for fact in more if fact.stamp.time <= now * MICROSECONDS]
        before = strictness(evaluator, so_far, now)
        after = strictness(evaluator, with_more, now)
        assert all(one <= other for one, other in zip(before, after, strict=True))


def _binds(fact: Fact) -> bool:
    return isinstance(fact, DeviceBound)
