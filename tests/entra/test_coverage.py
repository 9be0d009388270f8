"""The cases of imports cover Graph's schema: each member, each value, each shape of a file."""

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sidecar.entra import graph_objects

CASES = Path(__file__).parents[1] / "cases" / "entra"
EXPORTS = [json.loads(file.read_bytes()) for file in sorted(CASES.glob("*.json"))]
SHAPES = [
    shape
    for shape in vars(graph_objects).values()
    if isinstance(shape, type) and issubclass(shape, msgspec.Struct)
]
VALUES = {
    "state": "enabled disabled enabledForReportingButNotEnforced",
    "operator": "AND OR",
    "builtInControls": "block mfa compliantDevice domainJoinedDevice approvedApplication "
    "compliantApplication passwordChange",
    "userRiskLevels": "none low medium high hidden",
    "signInRiskLevels": "none low medium high",
    "insiderRiskLevels": "minor moderate elevated",
    "clientAppTypes": "all browser mobileAppsAndDesktopClients exchangeActiveSync other",
    "includePlatforms": "all",
    "excludePlatforms": "android iOS windows macOS linux",
    "includeUsers": "All None GuestsOrExternalUsers",
    "includeApplications": "All None Office365 MicrosoftAdminPortals",
    "includeLocations": "All AllTrusted",
    "excludeLocations": "AllTrusted",
    "frequencyInterval": "timeBased everyTime",
    "authenticationType": "primaryAndSecondaryAuthentication secondaryAuthentication",
    "type": "hours days",
    "mode": "include exclude always never strictLocation strictEnforcement disabled",
    "transferMethods": "deviceCodeFlow authenticationTransfer",
    "countryLookupMethod": "clientIpAddress authenticatorAppGps",
    "cloudAppSecurityType": "mcasConfigured monitorOnly blockDownloads",
    "includeUserActions": "urn:user:registersecurityinfo urn:user:registerdevice",
    "guestOrExternalUserTypes": "internalGuest b2bCollaborationGuest b2bCollaborationMember "
    "b2bDirectConnectUser otherExternalUser serviceProvider",
    "membershipKind": "all enumerated",
    "isEnabled": "True False",
    "disableResilienceDefaults": "True",
}


def members(raw: Any) -> Iterator[tuple[str, str]]:
    """Each member of an export with each of its values: of lists and of flags the parts."""
    if isinstance(raw, list):
        for each in raw:
            yield from members(each)
    elif isinstance(raw, dict):
        for name, value in raw.items():
            for each in value if isinstance(value, list) else [value]:
                if each is not None and not isinstance(each, dict):
                    yield from ((name, part) for part in str(each).split(","))
                elif each is not None:
                    yield name, ""
            yield from members(value)


FOUND: dict[str, set[str]] = defaultdict(set)
for export in EXPORTS:
    for name, value in members(export):
        FOUND[name].add(value)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.__name__)
def test_every_member_that_is_read_is_in_some_case(shape: type[msgspec.Struct]) -> None:
    names = set(shape.__struct_encode_fields__)
    assert names - FOUND.keys() == set()


@pytest.mark.parametrize("member", VALUES)
def test_every_value_that_graph_documents_is_in_some_case(member: str) -> None:
    assert set(VALUES[member].split()) - FOUND[member] == set()


def test_files_are_single_objects_lists_and_envelopes() -> None:
    shapes = {
        "list" if isinstance(export, list) else "envelope" if "value" in export else "one object"
        for export in EXPORTS
    }
    assert shapes == {"list", "envelope", "one object"}
