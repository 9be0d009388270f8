"""Whoever holds an older token is answered no better for what somebody else has proven."""

from collections.abc import Sequence

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.domain.evaluation.decision import AccessRequest, Verdict, decide
from sidecar.domain.evaluation.evaluator import Evaluator
from sidecar.domain.facts.fact_kinds import DeviceBound, Fact, SignedIn
from sidecar.domain.policy.conditional_access import Changed, Circumstance, Policy, SessionControls
from sidecar.domain.session.presented import Presented
from sidecar.domain.session.state import EARLIER_BOUND, Checkpoint
from sidecar.domain.values.assurance import Authentication
from sidecar.domain.values.stamp import MICROSECONDS
from tests.domain import random_policies
from tests.domain.scenes import (
    AWAY,
    HOME,
    LADDER,
    established,
    evaluator,
    policy,
    sighted,
    signed_in,
)
from tests.domain.scenes import stamp as at

START: list[Fact] = [*established(), DeviceBound(stamp=at(1000), device="d1")]
SEVERITY = [Verdict.ALLOW, Verdict.STEP_UP, Verdict.DENY]
RULES = st.tuples(random_policies.policies("p"), random_policies.policies("q"))
OWN = st.builds(
    lambda when, acr: signed_in(when, when, acr, "own"),
    st.integers(1001, 1040),
    st.sampled_from(["single-factor", "mfa", "phr", "partner"]),
)
OTHERS = st.lists(
    st.tuples(
        st.integers(1041, 1090),
        st.integers(0, 10),
        st.sampled_from(["single-factor", "mfa", "phr", "partner", "hardware"]),
    ),
    min_size=1,
    max_size=4,
)


def verdict(
    rules: Evaluator,
    facts: Sequence[Fact],
    own: Authentication,
    now: int,
    checkpoint: Checkpoint | None = None,
) -> int:
    """How severe the answer is to a call whose token shows this sign-in."""
    presented = Presented(own)
    state = rules.fold("s", facts, checkpoint)
    until = rules.until(state, presented)
    if until is not None:
        state = rules.fold("s", facts, checkpoint, until)
    standing = rules.standing(state, now * MICROSECONDS, presented=presented)
    verdicts = (
        decide(standing, AccessRequest("app", contexts, now), LADDER).verdict
        for contexts in (frozenset({"c1"}), frozenset[str]())
    )
    return sum(SEVERITY.index(one) * 3**place for place, one in enumerate(verdicts))


@given(RULES, random_policies.lives(), OWN, OTHERS, st.integers(1100, 1300))
@settings(max_examples=300, deadline=None)
def test_somebody_elses_proof_changes_nothing_for_an_older_token(
    policies: tuple[Policy, Policy],
    life: list[Fact],
    own: SignedIn,
    others: list[tuple[int, int, str]],
    now: int,
) -> None:
    rules = evaluator(*policies)
    until = own.authentication.auth_time
    known = [*START, own, *(f for f in life if not _is_later(f, until))]
    proofs = [
        signed_in(auth_time + late, auth_time, acr, f"o{place}")
        for place, (auth_time, late, acr) in enumerate(others)
    ]
    alone = verdict(rules, known, own.authentication, now)
    assert verdict(rules, [*known, *proofs], own.authentication, now) == alone


@given(RULES, random_policies.lives(), OWN, OTHERS, st.integers(1100, 1300), st.integers(1, 12))
@settings(max_examples=300, deadline=None)
def test_nor_does_it_where_the_proof_is_folded_for_good(  # noqa: PLR0917 - a life
    policies: tuple[Policy, Policy],
    life: list[Fact],
    own: SignedIn,
    others: list[tuple[int, int, str]],
    now: int,
    keep: int,
) -> None:
    rules = evaluator(*policies)
    until = own.authentication.auth_time
    known = [*START, own, *(f for f in life if not _is_later(f, until))]
    proofs = [
        signed_in(auth_time + late, auth_time, acr, f"o{place}")
        for place, (auth_time, late, acr) in enumerate(others[:EARLIER_BOUND])
    ]
    every = [*known, *proofs]
    checkpoint = rules.checkpoint("s", every, None, keep)
    if checkpoint is None or own.stamp > checkpoint.state.last:
        return
    alone = verdict(rules, known, own.authentication, now)
    assert verdict(rules, every, own.authentication, now, checkpoint) == alone
    then = rules.fold("s", every, checkpoint, until)
    assert then == rules.fold("s", every, None, until), "what depends on sign-ins is all kept"


MANY = st.lists(
    st.tuples(
        st.integers(1041, 1090),
        st.integers(0, 10),
        st.sampled_from(["single-factor", "mfa", "phr", "partner", "hardware"]),
    ),
    min_size=EARLIER_BOUND,
    max_size=2 * EARLIER_BOUND + 2,
)


@given(RULES, random_policies.lives(), OWN, MANY, st.integers(1100, 1300), st.integers(0, 12))
@settings(max_examples=300, deadline=None)
def test_nor_is_it_answered_better_than_alone_however_many_proofs_there_were(  # noqa: PLR0917
    policies: tuple[Policy, Policy],
    life: list[Fact],
    own: SignedIn,
    others: list[tuple[int, int, str]],
    now: int,
    keep: int,
) -> None:
    rules = evaluator(*policies)
    known = [*START, own, *(f for f in life if not _is_later(f, own.authentication.auth_time))]
    proofs = [
        signed_in(auth_time + late, auth_time, acr, f"o{place}")
        for place, (auth_time, late, acr) in enumerate(others)
    ]
    every = [*known, *proofs]
    half = [fact for fact in every if fact.stamp.time < 1070 * MICROSECONDS]
    checkpoint = rules.checkpoint("s", half, None, 0)
    checkpoint = rules.checkpoint("s", every, checkpoint, keep) or checkpoint
    alone = verdict(rules, known, own.authentication, now)
    then = verdict(rules, every, own.authentication, now, checkpoint)
    each = zip(divmod(then, 3), divmod(alone, 3), strict=True)
    assert all(severity >= before for severity, before in each)


def test_what_no_sign_in_can_mend_stays_so_for_a_token_older_than_all_that_is_kept() -> None:
    rules = evaluator(policy(Changed((Circumstance.COUNTRY,)), "compliant-device"))
    proofs = [signed_in(n, n, "mfa", f"p{n}") for n in range(1200, 1200 + 2 * EARLIER_BOUND)]
    facts = [*START, sighted(1100, AWAY), *proofs]
    checkpoint = rules.checkpoint("s", facts, None, 0)
    own = Authentication(999, "single-factor")
    assert verdict(rules, facts, own, 1300, checkpoint) == verdict(rules, facts, own, 1300) > 0


def test_a_life_that_is_over_is_not_made_longer_by_later_sign_ins() -> None:
    controls = SessionControls(max_lifetime=600)
    lasting = msgspec.structs.replace(policy(None, "single-factor"), session=controls)
    rules = evaluator(lasting)
    first = signed_in(1000, 500, "mfa", "first")
    proofs = [signed_in(n, n, "mfa", f"p{n}") for n in range(1200, 1200 + 2 * EARLIER_BOUND)]
    facts: list[Fact] = [sighted(1000, HOME, "here"), first, *proofs]
    checkpoint = rules.checkpoint("s", facts, None, 0)
    own = first.authentication
    assert verdict(rules, facts, own, 1300) > 0
    assert verdict(rules, facts, own, 1300, checkpoint) > 0


def _is_later(fact: Fact, until: int) -> bool:
    return isinstance(fact, SignedIn) and fact.authentication.auth_time > until


def test_a_checkpoint_knows_the_seconds_from_which_sign_ins_count() -> None:
    rules = evaluator(policy(Changed((Circumstance.COUNTRY,)), name="moved", sticky=True))
    ahead = signed_in(1010.2, 1015, "mfa", "ahead")
    moved = [sighted(1020, AWAY), sighted(1021, HOME)]
    proof = signed_in(1030, 1030, "mfa", "proof")
    facts = [*START, ahead, *moved, proof]
    checkpoint = rules.checkpoint("s", facts, None, 0)
    assert checkpoint is not None
    assert [one.until for one in checkpoint.earlier] == [1010, 999, 0]
    own = ahead.authentication
    assert verdict(rules, facts, own, 1100, checkpoint) == verdict(rules, facts, own, 1100) > 0
