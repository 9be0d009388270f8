"""A sign-in counts as of the earlier of its `auth_time` and the moment it was first shown."""

import random
from collections.abc import Iterable

from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.domain.facts.fact_kinds import (
    ContextsShown,
    Fact,
    Revoked,
    RiskReported,
    Scope,
    ShownWith,
    SignedIn,
    Spent,
)
from sidecar.domain.facts.first_shown import EARLY_BOUND, counted, show
from sidecar.domain.policy.conditional_access import RiskLevel, UserRisk
from sidecar.domain.session.fold import Surroundings, proven_by
from sidecar.domain.session.presented import Presented
from sidecar.domain.session.single_use import Due, EachCall, Proof, SingleUseProofs, due
from sidecar.domain.session.state import SPENT_BOUND, SpentHeld, State
from sidecar.domain.values.assurance import Authentication
from sidecar.domain.values.stamp import MICROSECONDS
from tests.domain.scenes import (
    HOME,
    LADDER,
    PLACES,
    established,
    evaluator,
    network_of,
    policy,
    signed_in,
)
from tests.domain.scenes import stamp as at

RULES = evaluator(policy(UserRisk(RiskLevel.HIGH), name="risky"))
AHEAD = Authentication(1005, "mfa")
BEGIN = [*established()]


def risk(second: float) -> Fact:
    return RiskReported(stamp=at(second, f"r{second}"), scope=Scope.USER, level=RiskLevel.HIGH)


def demands(facts: Iterable[Fact], own: Authentication | None = None, now: int = 1100) -> int:
    state = RULES.fold("s", facts)
    presented = None if own is None else Presented(own)
    return len(RULES.standing(state, now * MICROSECONDS, presented=presented).demands)


def test_a_sign_in_that_is_dated_ahead_voids_nothing_that_comes_until_then() -> None:
    early = signed_in(1001.0, 1005)
    for fact in (risk(1002), Revoked(stamp=at(1002, "x"), scope=Scope.USER)):
        again = signed_in(1050.0, 1005, name="again")
        for facts in ([early, fact], [early, fact, again]):
            state = RULES.fold("s", [*BEGIN, *facts])
            standing = RULES.standing(state, 1100 * MICROSECONDS, presented=Presented(AHEAD))
            assert standing.demands or standing.revoked
            assert counted(state, AHEAD).auth_time == 1001


def test_another_token_of_it_that_describes_it_otherwise_counts_no_later() -> None:
    early = signed_in(1001.0, 1005)
    other = signed_in(1050.0, 1005, "phr", "other")
    own = other.authentication
    for fact in (risk(1002), Revoked(stamp=at(1002, "x"), scope=Scope.USER)):
        state = RULES.fold("s", [*BEGIN, early, fact, other])
        standing = RULES.standing(state, 1100 * MICROSECONDS, presented=Presented(own))
        assert standing.demands or standing.revoked
        assert RULES.standing(state, 1100 * MICROSECONDS).demands or state.revoked(0)
    assert demands([*BEGIN, risk(1002), other], own) == 0


def test_it_counts_for_what_was_before_it_was_shown() -> None:
    assert demands([*BEGIN, risk(1002), signed_in(1003, 1005)]) == 0
    assert demands([*BEGIN, risk(1002), signed_in(1003, 1005)], AHEAD) == 0
    assert demands([*BEGIN, risk(1003.1), signed_in(1003.5, 1005)]) == 1, "the second is the same"


def test_a_context_that_is_dated_ahead_counts_as_of_its_first_showing() -> None:
    shown = [
        ContextsShown(stamp=at(second, f"c{second}"), contexts=("c1",), second=1005)
        for second in (1001, 1050)
    ]
    for facts in (shown[:1], shown, shown[1:]):
        state = RULES.fold("s", [*BEGIN, *facts, risk(1002)])
        presented = Presented(Authentication(999, "single-factor"), ("c1",), 1005)
        for own in (None, presented):
            standing = RULES.standing(state, 1100 * MICROSECONDS, presented=own)
            assert bool(standing.demands) is (facts != shown[1:])


SHOWINGS = st.lists(
    st.one_of(
        st.builds(
            lambda second, auth_time, acr: (second, auth_time, acr),
            st.integers(1001, 1080),
            st.integers(1001, 1090),
            st.sampled_from(["single-factor", "mfa", "phr", "c1"]),
        )
    ),
    min_size=1,
    max_size=14,
)


def showings(made: list[tuple[int, int, str]]) -> list[Fact]:
    facts: list[Fact] = []
    for place, (second, auth_time, acr) in enumerate(made):
        stamp = at(second + 0.5, f"n{place:02}")
        if acr == "c1":
            facts.append(ContextsShown(stamp=stamp, contexts=(acr,), second=auth_time))
        else:
            authentication = Authentication(auth_time, acr)
            facts.append(SignedIn(stamp=stamp, authentication=authentication))
    return facts


@given(SHOWINGS, st.integers(0, 14), st.randoms(use_true_random=False))
@settings(max_examples=300, deadline=None)
def test_showings_in_any_order_late_and_behind_a_checkpoint_come_to_the_same(
    made: list[tuple[int, int, str]], behind: int, choose: random.Random
) -> None:
    facts = [*BEGIN, *showings(made)]
    whole = RULES.fold("s", facts)
    shuffled = list(facts)
    choose.shuffle(shuffled)
    assert RULES.fold("s", [*shuffled, *facts]) == whole
    late = facts[len(BEGIN) :]
    choose.shuffle(late)
    late = late[:behind]
    in_time = [fact for fact in facts if fact not in late]
    checkpoint = RULES.checkpoint("s", in_time, None, 0)
    assert checkpoint is not None
    folded = RULES.fold("s", facts, checkpoint)
    assert folded.early == whole.early
    for kept, exact in ((folded.shown_contexts, whole.shown_contexts),):
        assert kept.keys() == exact.keys()
        assert all(kept[context] <= exact[context] for context in kept)
    # Behind a checkpoint one is never the later for having been learned of late.
    for sign_in in folded.sign_ins:
        assert any(
            (one.acr, one.amr) == (sign_in.acr, sign_in.amr) and one.auth_time >= sign_in.auth_time
            for one in whole.sign_ins
        )


@given(SHOWINGS)
@settings(max_examples=200, deadline=None)
def test_no_sign_in_counts_as_later_than_any_of_its_showings(
    made: list[tuple[int, int, str]],
) -> None:
    state = RULES.fold("s", [*BEGIN, *showings(made)])
    for second, auth_time, acr in made:
        if acr != "c1":
            found = counted(state, Authentication(auth_time, acr)).auth_time
            earliest = min(s for s, a, shown in made if a == auth_time and shown != "c1")
            assert found == min(auth_time, earliest) <= second or found == auth_time


def test_more_of_them_than_are_remembered_make_none_count_as_later() -> None:
    state = State()
    shown = [(Authentication(2000 + n, "mfa"), 1990 + n // 2) for n in range(2 * EARLY_BOUND)]
    for sign_in, second in shown:
        show(state, sign_in, second)
    assert len(state.early) == EARLY_BOUND
    for sign_in, second in shown:
        assert counted(state, sign_in).auth_time <= second
    assert counted(state, Authentication(5000, "mfa")).auth_time == 5000


def test_a_proof_that_is_spent_before_its_own_time_stays_spent() -> None:
    each = EachCall(((RULES.world.ladder.requirements(["mfa"])[0],),), None, 60, 0, 0)
    state = State()
    raw = Authentication(1030, "mfa")
    counts = show(state, raw, 1000)
    proof = Proof(LADDER.shown(counts), raw.auth_time, "t")
    assert due(each, SingleUseProofs(proof), 1001) is Due.SPENDABLE
    assert due(each, SingleUseProofs(proof), 1061) is Due.ASKED, "fresh as of its first showing"
    spent = {raw.auth_time: SpentHeld("t", 1000 * MICROSECONDS)}
    assert due(each, SingleUseProofs(proof, spent), 1010) is Due.ASKED
    others = {n: SpentHeld("u", (1001 + n) * MICROSECONDS) for n in range(SPENT_BOUND)}
    assert due(each, SingleUseProofs(proof, others), 1020) is Due.ASKED, (
        "it may have been forgotten"
    )


def test_a_spent_proof_that_is_dated_ahead_is_known_by_its_own_time() -> None:
    facts = [
        *BEGIN,
        signed_in(1001, 1030),
        Spent(stamp=at(1002, "s"), auth_time=1030, token="t"),
    ]
    state = RULES.fold("s", facts)
    assert list(state.spent) == [1030]
    assert state.last == at(1002, "s"), "nothing is dated ahead of what comes next"


def test_a_place_is_proven_for_later_sessions_as_of_when_the_sign_in_was_shown() -> None:
    state = RULES.fold("s", BEGIN)
    came = ShownWith(ip=HOME, place=PLACES[HOME], device="d1")
    fact = SignedIn(stamp=at(1001.5, "n"), authentication=AHEAD, shown_with=came)
    places = proven_by(state, fact, Surroundings("s", network_of, remember=1 << 40))
    assert [one.authentication.auth_time for one in places] == [1001]
