"""What policies can ask a provider for, and what of it a provider does not offer."""

from msgspec.structs import replace

from sidecar.domain.policy.asked_for import PossibleDemand, demands, unoffered
from sidecar.domain.policy.conditional_access import COMPLIANT_DEVICE, Grant, PolicyState, Selection
from tests.domain.scenes import LADDER, policy

MFA = policy(name="payments")
STRONG = policy(None, "phishing-resistant", "mfa", name="strong")


def asked(*policies: object) -> list[PossibleDemand]:
    return list(demands(policies, "staff", LADDER))  # type: ignore[arg-type]


def test_each_alternative_of_a_grant_is_a_demand() -> None:
    assert asked(MFA, STRONG) == [
        PossibleDemand("payments", ("mfa",)),
        PossibleDemand("strong", ("phr", "phrh")),
        PossibleDemand("strong", ("mfa",)),
    ]


def test_what_is_asked_for_without_an_acr_is_none() -> None:
    block = policy(name="block", block=True)
    device = replace(MFA, grant=Grant((frozenset({COMPLIANT_DEVICE}),)))
    assert asked(block, device) == []


def test_a_disabled_policy_and_one_for_other_issuers_ask_nothing() -> None:
    partners = replace(MFA, issuers=Selection(frozenset({"partner"})))
    assert asked(replace(MFA, state=PolicyState.DISABLED), partners) == []


def test_one_of_the_values_is_enough() -> None:
    both = asked(MFA, STRONG)
    assert unoffered(both, frozenset({"mfa", "phrh"})) == ()
    assert unoffered(both, frozenset({"phr"})) == (both[0], both[2])
    assert unoffered(both, frozenset()) == tuple(both)
