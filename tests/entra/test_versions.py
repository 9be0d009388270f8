"""Exports of several days given together: the last version of an object counts, or none."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from sidecar.domain.policy.conditional_access import PolicyState
from sidecar.entra.importer import Import, import_entra, read_export
from sidecar.entra.ledger import Effect
from sidecar.entra.names import NO_NAMES
from sidecar.wire.settings.settings import Settings
from tests.entra.graph_clauses import MFA
from tests.entra.graph_policies import OFFICE, PLAIN, STRENGTHS, guid

EARLY, LATE = "2026-01-02T03:04:05.1234567Z", "2026-01-02T03:04:05.2Z"


def imported(*objects: Mapping[str, Any]) -> Import:
    read = [
        each
        for number, one in enumerate(objects)
        for each in read_export(json.dumps(one).encode(), f"{number}.json")
    ]
    return import_entra(read, NO_NAMES, Settings(), configured=False)


def policy(**members: Any) -> dict[str, Any]:
    conditions = {**PLAIN, **members.pop("conditions", {})}
    plain = {"id": guid(1, 0), "displayName": "P", "state": "enabled", "grantControls": MFA}
    return {**plain, "conditions": conditions, **members}


def office(cidr: str, **members: Any) -> dict[str, Any]:
    plain = {"id": OFFICE, "displayName": "Office", "isTrusted": True}
    return {**plain, "ipRanges": [{"cidrAddress": cidr}], **members}


OUTSIDE = policy(
    conditions={"locations": {"includeLocations": ["All"], "excludeLocations": [OFFICE]}}
)


@pytest.mark.parametrize("order", [1, -1])
def test_the_version_that_was_modified_last_counts_whichever_is_read_first(order: int) -> None:
    old = office("192.0.2.0/24", modifiedDateTime=EARLY, createdDateTime=LATE)
    new = office("198.51.100.0/24", modifiedDateTime=LATE, createdDateTime=EARLY)
    result = imported(*[old, new][::order], OUTSIDE)
    (location,) = result.settings.locations
    assert location.cidrs == ("198.51.100.0/24",)
    assert result.imported[0].policy.state is PolicyState.ENABLED
    assert any("modified later" in note.text for note in result.notes)


@pytest.mark.parametrize("order", [1, -1])
def test_a_policy_of_an_older_version_does_not_come_back(order: int) -> None:
    old = policy(modifiedDateTime=EARLY)
    new = policy(modifiedDateTime=LATE, state="disabled", id=guid(1, 0).upper())
    (one,) = imported(*[old, new][::order]).imported
    assert one.policy.state is PolicyState.DISABLED


@pytest.mark.parametrize("order", [1, -1])
def test_a_version_that_was_never_modified_is_the_first(order: int) -> None:
    first = policy(modifiedDateTime=None)
    later = policy(modifiedDateTime=EARLY, state="disabled")
    (one,) = imported(*[first, later][::order]).imported
    assert one.policy.state is PolicyState.DISABLED


def test_what_another_version_of_graph_leaves_out_makes_no_other_version() -> None:
    bare = policy()
    del bare["conditions"]["platforms"], bare["conditions"]["userRiskLevels"]
    (one,) = imported(policy(), bare).imported
    assert one.policy.state is PolicyState.ENABLED


@pytest.mark.parametrize("time", [EARLY, "yesterday", 3], ids=str)
def test_where_no_time_says_the_last_version_none_is_enforced(time: Any) -> None:
    first, second = policy(modifiedDateTime=EARLY), policy(displayName="Q", modifiedDateTime=time)
    if time == 3:
        del second["modifiedDateTime"]
    for one in imported(first, second).imported:
        assert one.policy.state is PolicyState.REPORT_ONLY
        assert Effect.WEAKER in one.ledger.effects()


@pytest.mark.parametrize(
    ("versions", "refers"),
    [
        ((office("192.0.2.0/24"), office("198.51.100.0/24")), OUTSIDE),
        (
            (STRENGTHS[0], {**STRENGTHS[0], "allowedCombinations": ["password"]}),
            policy(
                grantControls={
                    "operator": "OR",
                    "builtInControls": [],
                    "authenticationStrength": {"id": STRENGTHS[0]["id"]},
                }
            ),
        ),
    ],
    ids=["location", "strength"],
)
def test_what_refers_to_versions_that_cannot_be_distinguished_is_not_enforced(
    versions: tuple[dict[str, Any], ...], refers: dict[str, Any]
) -> None:
    result = imported(versions[0], refers)
    assert result.imported[0].policy.state is PolicyState.ENABLED
    result = imported(*versions, refers, versions[0])
    assert result.imported[0].policy.state is PolicyState.REPORT_ONLY


def test_the_same_content_is_one_object_whatever_the_transport_adds() -> None:
    other = {"@odata.context": "elsewhere", **policy(), "#microsoft.graph.restore": {"title": "x"}}
    result = imported(policy(), other, policy())
    (one,) = result.imported
    assert one.policy.state is PolicyState.ENABLED


def test_contexts_and_strengths_that_are_built_in_have_no_versions() -> None:
    own = {"id": "00000000-0000-0000-0000-000000000002", "allowedCombinations": ["fido2"]}
    contexts = [{"id": "c1", "displayName": name, "isAvailable": True} for name in ("a", "b")]
    result = imported(own, {**own, "allowedCombinations": ["password"]}, *contexts, policy())
    assert result.imported[0].policy.state is PolicyState.ENABLED
