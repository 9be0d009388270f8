"""The `acr` values that policies can ask an identity provider for."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from sidecar.domain.policy.conditional_access import COMPLIANT_DEVICE, Policy, PolicyState
from sidecar.domain.values.assurance import Ladder


class PossibleDemand(NamedTuple):
    """A demand that a policy can make: any one of these `acr` values would do."""

    policy: str
    acr_values: tuple[str, ...]


def demands(policies: Iterable[Policy], namespace: str, ladder: Ladder) -> Iterator[PossibleDemand]:
    """Yield the `acr_values` that policies, but disabled ones, can ask of a namespace's users.

    Where a grant has several alternatives each is one. What is asked for without an `acr` (any
    fresh sign-in, or a strength that is known by its methods alone) is left out.
    """
    for policy in policies:
        if policy.state is PolicyState.DISABLED or namespace not in policy.issuers:
            continue
        for controls in policy.grant.alternatives:
            asked = ladder.requirements(controls - {COMPLIANT_DEVICE})
            if values := ladder.acr_values(asked):
                yield PossibleDemand(policy.id, values)


def unoffered(
    asked: Iterable[PossibleDemand], offered: frozenset[str]
) -> tuple[PossibleDemand, ...]:
    """Return those demands of which a provider that offers these `acr` values can meet none."""
    return tuple(dict.fromkeys(one for one in asked if offered.isdisjoint(one.acr_values)))
