"""Claims that an issuer may not make are not taken from its tokens."""

from typing import Any

import pytest

from sidecar.domain.values.assurance import Authentication, Ladder, Strength
from sidecar.wire.settings.settings import Assurance, Issuer
from sidecar.wire.settings.tokens import ContextProof, Identifying
from sidecar.wire.tokens.claims import Token, token_of
from sidecar.wire.tokens.issuer_limits import limited

CLAIMS = {
    "sub": "ada",
    "sid": "s1",
    "exp": 2000,
    "auth_time": 1000,
    "acr": "phr",
    "amr": ["hwk", "pin"],
    "acrs": ["c1"],
    "groups": ["emergency"],
    "roles": ["admin"],
    "department": "finance",
}


def token(**settings: Any) -> Token:
    issuer = Issuer(issuer="https://i.example", audiences=("x",), **settings)
    return limited(token_of(CLAIMS, issuer), issuer)


def test_all_is_taken_of_an_issuer_that_may_say_all() -> None:
    assert token().groups == frozenset({"emergency"})
    assert token().roles == frozenset({"admin"})
    assert (token().groups_known, token().roles_known) == (True, True)


def test_groups_and_roles_that_it_may_not_say_are_not_known() -> None:
    found = token(may_identify=Identifying(groups=False, roles=False))
    assert (found.groups, found.groups_known) == (frozenset(), False)
    assert (found.roles, found.roles_known) == (frozenset(), False)
    assert not {"groups", "roles"} & dict(found.claims).keys()
    assert dict(found.claims)["department"] == ("finance",)


@pytest.mark.parametrize(("cap", "rank"), [("", 4), ("mfa", 2), ("phishing-resistant", 4)])
def test_its_sign_ins_count_for_no_more_than_its_level(cap: str, rank: int) -> None:
    ladder = Ladder(Assurance().levels, {"keys": Strength(acr=("phr",))})
    shown = ladder.shown(token(assurance_at_most=cap).authentication)
    assert shown.rank == rank
    assert shown.strengths == (frozenset() if cap else frozenset({"keys"}))


def test_a_level_that_is_not_known_any_more_counts_for_nothing() -> None:
    ladder = Ladder(Assurance().levels)
    assert ladder.shown(Authentication(1000, "phr", at_most="gold")).rank == 0


def test_nor_do_contexts_count_that_it_says_are_satisfied() -> None:
    proof = ContextProof.AUTH_TIME
    assert token(acrs_proof=proof).contexts == ("c1",)
    assert token(acrs_proof=proof, assurance_at_most="mfa").contexts == ()
