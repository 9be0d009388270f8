"""Groups that tokens show, in any order, and what leaving them out can never do."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sidecar.domain.evaluation.compiled import applies, compile_policy
from sidecar.domain.evaluation.conditions import compile_condition
from sidecar.domain.facts.fact_kinds import ClaimsSeen, Fact, MembershipsShown, Scope
from sidecar.domain.facts.memberships import GROUPS, Membership, TokenMemberships, is_news, updated
from sidecar.domain.policy.conditional_access import Assignment, Claims, Grant, Policy, Principals
from sidecar.domain.session.fold import Surroundings
from sidecar.domain.session.fold import apply as fold
from sidecar.domain.session.scene import Scene
from sidecar.domain.session.state import State
from sidecar.domain.sources.source import Source, Sources
from sidecar.domain.values.stamp import at
from tests.domain.scenes import WORLD, network_of

NAMES = st.sampled_from(["finance", "staff", "emergency"])
names = st.lists(NAMES, max_size=2, unique=True).map(tuple)
seconds = st.integers(0, 4)


def shown(
    groups: Any, listed: bool = True, signed_in: int = 0, issued_at: int = 0
) -> TokenMemberships:
    return TokenMemberships(groups, listed, signed_in, issued_at)


tokens = st.builds(shown, st.none() | names, st.just(True), seconds, seconds)


def known_after(tokens: list[TokenMemberships]) -> Membership | None:
    held: Membership | None = None
    for one in tokens:
        held = updated(held, one)
    return held


@given(st.lists(tokens, max_size=6))
def test_what_is_shown_twice_is_shown_once(life: list[TokenMemberships]) -> None:
    for one in life:
        assert known_after([*life, one, one]) == known_after([*life, one])


@given(st.lists(tokens, min_size=1, max_size=6))
def test_leaving_it_out_never_takes_a_name_away(life: list[TokenMemberships]) -> None:
    held = known_after(life)
    after = updated(held, shown(None, signed_in=9, issued_at=9))
    assert held is not None
    assert (after.names, after.known) == (held.names, held.known)


@given(st.lists(tokens, min_size=1, max_size=6), names)
def test_an_older_sign_in_changes_nothing(
    life: list[TokenMemberships], old: tuple[str, ...]
) -> None:
    held = known_after([*life, shown((), signed_in=9, issued_at=9)])
    assert updated(held, shown(old, signed_in=8, issued_at=10)) == held


@given(
    st.lists(
        st.builds(
            shown,
            st.lists(NAMES, min_size=1, max_size=2).map(tuple),
            st.just(True),
            st.just(1),
            seconds,
        ),
        max_size=5,
    )
)
def test_of_one_sign_in_the_order_does_not_matter(life: list[TokenMemberships]) -> None:
    forth, back = known_after(life), known_after(life[::-1])
    assert forth == back
    if forth is not None:
        assert set(forth.names) == {name for one in life for name in one.names or ()}


def test_an_issuer_that_leaves_out_empty_claims_takes_nothing_without_a_new_sign_in() -> None:
    held = updated(None, shown(("finance",), signed_in=1, issued_at=1))
    same = shown((), listed=False, signed_in=1, issued_at=5)
    later = shown((), listed=False, signed_in=2, issued_at=5)
    assert updated(held, same).names == ("finance",)
    assert not is_news(held, same)
    assert updated(held, later).names == ()
    assert is_news(held, later)


def state_of(tokens: list[tuple[tuple[str, ...] | None, int]]) -> State:
    """The session of these tokens of one sign-in, each with its groups and its issue."""
    state = State()
    for second, (groups, issued) in enumerate(tokens, 1):
        one = shown(groups, signed_in=1, issued_at=issued)
        held = state.memberships.get(GROUPS)
        facts: list[Fact] = [MembershipsShown(stamp=at(second, "e"), memberships=((GROUPS, one),))]
        if groups is not None and (held is None or is_news(held, one)):
            claims = ((GROUPS, groups),)
            facts.append(ClaimsSeen(stamp=at(second, "e"), scope=Scope.SESSION, claims=claims))
        fold(state, facts, Surroundings("", network_of))
    return state


principals = st.builds(Principals, groups=st.frozensets(NAMES, max_size=2))


@given(
    st.none() | principals.filter(lambda one: bool(one.groups)),
    principals,
    principals,
    names,
    st.lists(st.booleans(), min_size=1, max_size=4),
    st.integers(0, 3),
)
def test_removing_the_groups_from_a_token_never_takes_a_session_out_of_a_policy(  # noqa: PLR0917 - each is drawn
    include: Principals | None,
    exclude: Principals,
    emergency: Principals,
    groups: tuple[str, ...],
    shows: list[bool],
    removed: int,
) -> None:
    world = WORLD._replace(break_glass={"": emergency})
    policy = Policy("p", Grant((frozenset({"mfa"}),)), users=Assignment(include, exclude))
    compiled = compile_policy(policy, world)
    whole = [(groups if shows_it else None, at) for at, shows_it in enumerate(shows, 1)]
    less = [(None, at) if at == removed % len(shows) + 1 else (kept, at) for kept, at in whole]
    if applies(compiled, state_of(whole)):
        assert applies(compiled, state_of(less))


def said(source: str, *named: str) -> State:
    """A session whose token says that its user is staff, and of whom a source says more."""
    state = State(memberships={GROUPS: Membership(("staff",), known=True)})
    for at_, who, groups in ((1, "", ("staff",)), (2, source, named)):
        claims = ((GROUPS, groups),)
        fact = ClaimsSeen(stamp=at(at_, "e"), scope=Scope.SESSION, claims=claims, source=who)
        fold(state, [fact], Surroundings("", network_of))
    return state


def is_for(users: Assignment, state: State, *sources: Source) -> bool:
    world = WORLD._replace(sources=Sources(sources))
    policy = Policy("p", Grant((frozenset({"mfa"}),)), users=users)
    return applies(compile_policy(policy, world), state)


IDP = Source(name="idp", may_identify=True)
FINANCE = Principals(groups=frozenset({"finance"}))
STAFF = Principals(groups=frozenset({"staff"}))


def test_whoever_says_so_brings_a_user_into_a_policy_for_a_group() -> None:
    assert not is_for(Assignment(FINANCE), said("idp"), IDP)
    assert is_for(Assignment(FINANCE), said("idp", "finance"), IDP)
    assert is_for(Assignment(FINANCE), said("local:app", "finance"))


def test_a_user_is_exempt_where_all_say_so_who_may_say_who_users_are() -> None:
    assert not is_for(Assignment(None, STAFF), said("idp", "staff"), IDP)
    assert is_for(Assignment(None, STAFF), said("idp"), IDP)
    assert is_for(Assignment(None, FINANCE), said("idp", "finance"), IDP)
    assert not is_for(Assignment(None, STAFF), said("local:app"))
    assert is_for(Assignment(None, FINANCE), said("local:app", "finance"))


def test_only_who_may_say_who_users_are_makes_groups_known() -> None:
    for source, expected in ((IDP, False), (Source(name="idp"), True)):
        state = said("idp", "staff")
        state.claims, state.memberships = {}, {}
        assert is_for(Assignment(FINANCE), state, source) is expected


def test_an_explanation_distinguishes_a_claim_that_is_unknown_from_one_that_is_empty() -> None:
    check = compile_condition(Claims((("team", frozenset({"red"})),)))
    state = State()
    assert check.value(Scene(state, 0, WORLD)) == "team: unknown"
    state.claims["team"] = ((), None)
    assert check.value(Scene(state, 0, WORLD)) == "team: none"


def test_an_operators_later_word_replaces_what_tokens_showed() -> None:
    state = said("operator:root", "finance")
    assert is_for(Assignment(FINANCE), state)
    assert not is_for(Assignment(STAFF), state)
    assert not is_for(Assignment(None, FINANCE), state)
    assert is_for(Assignment(None, STAFF), state)
