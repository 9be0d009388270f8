"""Policies of Graph that differ from a plain one in one clause: each value of each clause.

What a drawn policy meets once in a hundred times stands here by itself.
"""

from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any

from tests.entra.graph_meaning import ACTIONS, BUILT_IN, COMPLIANT_NETWORK, FLOWS, GUESTS, RISKS
from tests.entra.graph_policies import (
    ABROAD,
    APPS,
    AT_SEA,
    EMPTY,
    FOUND_BY_GPS,
    GROUPS,
    HOME,
    MISSING,
    OFFICE,
    PLAIN,
    ROLES,
    RULES,
    STRENGTHS,
    TRUSTED,
    USERS,
    guid,
)

MFA = {"operator": "OR", "builtInControls": ["mfa"]}
BLOCK = {"operator": "OR", "builtInControls": ["block"]}
_KINDS = (
    "internalGuest,b2bCollaborationGuest",
    ",".join(GUESTS),
    "b2bCollaborationGuest",
    "b2bCollaborationMember,serviceProvider",
    "internalGuest,b2bCollaborationGuest,otherExternalUser",
    "none",
    "",
)
_TENANTS: tuple[Mapping[str, Any] | None, ...] = (
    None,
    {"membershipKind": "all"},
    {"membershipKind": "enumerated", "members": [guid(7, 0)]},
)


def each_clause() -> Iterator[dict[str, Any]]:
    """The policies, each with an id and a name of its own."""
    for number, (conditions, grants, session) in enumerate(_all()):
        yield {
            "id": guid(2, number),
            "displayName": f"P{number}",
            "state": "enabled",
            "conditions": {**PLAIN, **conditions},
            "grantControls": grants,
            "sessionControls": session,
        }


def _all() -> Iterator[tuple[Mapping[str, Any], Any, Any]]:
    for name, values in (
        ("users", _users()),
        ("applications", _applications()),
        ("clientAppTypes", _clients()),
        ("platforms", _platforms()),
        ("locations", _locations()),
        ("devices", _devices()),
    ):
        for number, value in enumerate(values):
            yield {name: value}, (MFA, BLOCK)[number % 2], None
    for name in ("userRiskLevels", "signInRiskLevels"):
        for size in (1, 2, 3, 4):
            for levels in combinations(RISKS, size):
                yield {name: [*levels]}, (MFA, BLOCK)[size % 2], None
    for name, value in _seldom():
        yield {name: value}, MFA, None
    for grants in _grants():
        yield {}, grants, None
    for session in _sessions():
        yield {}, MFA, session
        yield {}, None, session


def _users() -> Iterator[Any]:
    yield from ({"includeUsers": ["None"]}, {"includeUsers": []}, {}, None)
    yield {"includeUsers": [USERS[0]], "excludeUsers": [USERS[1]]}
    yield {"includeUsers": ["All"], "excludeUsers": [USERS[0].upper()]}
    yield {"includeGroups": GROUPS[:2], "excludeGroups": GROUPS[1:]}
    yield {"includeGroups": [GROUPS[0]], "includeRoles": [ROLES[0]], "excludeRoles": [ROLES[1]]}
    yield {"includeRoles": [ROLES[0].upper()], "excludeGroups": [GROUPS[0].upper()]}
    yield from ({"includeGroups": ["All"]}, {"includeRoles": ["All"]})
    for side in ("includeUsers", "excludeUsers"):
        yield {"includeUsers": ["All"], side: ["GuestsOrExternalUsers"]}
        yield {"includeUsers": ["All"], side: ["GuestsOrExternalUsers", USERS[0]]}
    for kinds in _KINDS:
        for tenants in _TENANTS:
            guests = {"guestOrExternalUserTypes": kinds, "externalTenants": tenants}
            yield {"includeGuestsOrExternalUsers": guests}
            yield {"includeUsers": ["All"], "excludeGuestsOrExternalUsers": guests}
    both = {"guestOrExternalUserTypes": _KINDS[0]}
    yield {"includeGroups": [GROUPS[0]], "includeGuestsOrExternalUsers": both}
    yield {"includeUsers": ["All"], "includeGuestsOrExternalUsers": both}


def _applications() -> Iterator[Any]:
    yield from ({"includeApplications": ["None"]}, {"includeApplications": []}, {}, None)
    yield {"includeApplications": [APPS[0]], "excludeApplications": [APPS[1]]}
    yield {"includeApplications": ["All"], "excludeApplications": [APPS[0].upper()]}
    yield {"includeApplications": APPS[:2], "excludeApplications": APPS[1:]}
    yield {"includeApplications": ["Office365", APPS[0]]}
    yield {"includeApplications": ["All"], "excludeApplications": ["Office365"]}
    yield {"includeApplications": ["MicrosoftAdminPortals"]}
    yield {"includeApplications": ["All"], "excludeApplications": ["All"]}
    for action in ACTIONS:
        yield {"includeUserActions": [action]}
    for names in (["c1"], ["c1", "c99"], ["c100"], []):
        yield {"includeAuthenticationContextClassReferences": names}
    contexts = {"includeAuthenticationContextClassReferences": ["c1"]}
    yield {**contexts, "includeApplications": ["All"]}
    yield {**contexts, "includeApplications": ["None"], "excludeApplications": [APPS[0]]}
    rule = {"mode": "include", "rule": 'CustomSecurityAttribute.a_b -eq "x"'}
    yield {"includeApplications": ["All"], "applicationFilter": rule}


def _clients() -> Iterator[Any]:
    yield from (None, [], ["all"], ["browser"], ["mobileAppsAndDesktopClients"], ["other"])
    yield from (["browser", "mobileAppsAndDesktopClients"], ["exchangeActiveSync", "other"])
    yield ["browser", "mobileAppsAndDesktopClients", "exchangeActiveSync", "other"]
    yield ["browser", "other"]


def _platforms() -> Iterator[Any]:
    for included in (["all"], ["iOS"], [], ["all", "android"], None):
        yield {"includePlatforms": included, "excludePlatforms": []}
        yield {"includePlatforms": included, "excludePlatforms": ["windows"]}
    yield from ({}, [])


def _locations() -> Iterator[Any]:
    everywhere = ["All"]
    for each in ("AllTrusted", OFFICE, TRUSTED, HOME, AT_SEA, FOUND_BY_GPS, ABROAD, EMPTY, MISSING):
        yield {"includeLocations": everywhere, "excludeLocations": [each]}
        yield {"includeLocations": everywhere, "excludeLocations": [each, OFFICE]}
        yield {"includeLocations": [each], "excludeLocations": []}
        yield {"includeLocations": [each], "excludeLocations": [TRUSTED]}
        yield {"includeLocations": [each, HOME], "excludeLocations": None}
        yield {"includeLocations": [each.upper()], "excludeLocations": []}
    yield {"includeLocations": everywhere, "excludeLocations": everywhere}
    yield {"includeLocations": everywhere, "excludeLocations": [COMPLIANT_NETWORK]}
    nothing: tuple[Any, ...] = ([], None)
    for included in nothing:
        yield {"includeLocations": included, "excludeLocations": [OFFICE]}
        yield {"includeLocations": included, "excludeLocations": []}
    yield from ({}, [])


def _devices() -> Iterator[Any]:
    for rule in RULES:
        for mode in ("include", "exclude", "Exclude"):
            yield {"deviceFilter": {"mode": mode, "rule": rule}}
    yield from ({"deviceFilter": None}, {"deviceFilter": {"mode": "include", "rule": ""}})
    yield {"includeDevices": ["All"], "excludeDevices": ["Compliant"]}
    yield {"includeDeviceStates": ["All"], "excludeDeviceStates": ["Compliant", "DomainJoined"]}


def _seldom() -> Iterator[tuple[str, Any]]:
    for flow in ("", *FLOWS, ",".join(FLOWS)):
        yield "authenticationFlows", {"transferMethods": flow}
    for level in ("", "minor", "minor,elevated", ["elevated"]):
        yield "insiderRiskLevels", level
    yield "clientApplications", {"includeServicePrincipals": [guid(6, 0)]}
    yield "clientApplications", {"includeServicePrincipals": []}
    yield "servicePrincipalRiskLevels", ["high"]
    yield "deviceStates", {"includeStates": ["All"], "excludeStates": ["Compliant"]}
    yield "signInRiskLevels", ["hidden"]
    yield "signInRiskLevels", ["high", "hidden"]
    yield "agentIdRiskLevels", "high"


def _grants() -> Iterator[Any]:
    controls = ("mfa", "compliantDevice", "domainJoinedDevice", "approvedApplication")
    for operator in ("AND", "OR", "or", None, "XOR"):
        for size in (0, 1, 2):
            for chosen in combinations((*controls, "passwordChange", "somethingNew"), size):
                yield {"operator": operator, "builtInControls": [*chosen]}
        for own in ([], [guid(5, 0)]):
            yield {"operator": operator, "builtInControls": ["mfa"], "termsOfUse": own}
            yield {"operator": operator, "customAuthenticationFactors": own}
    for own in (*BUILT_IN, *(each["id"] for each in STRENGTHS), guid(0xF, 99)):
        for control in ([], ["compliantDevice"]):
            for operator in ("AND", "OR"):
                strength = {"id": own}
                yield {
                    "operator": operator,
                    "builtInControls": control,
                    "authenticationStrength": strength,
                }
    yield from (None, {}, {"operator": "OR", "builtInControls": ["block", "mfa"]})


def _sessions() -> Iterator[Any]:
    for unit in ("hours", "days", "weeks"):
        for value in (1, 23, 0, None):
            written = {"isEnabled": True, "type": unit, "value": value}
            yield {"signInFrequency": {**written, "frequencyInterval": "timeBased"}}
    yield {"signInFrequency": {"isEnabled": False, "type": "hours", "value": 1}}
    yield {"signInFrequency": {"isEnabled": True, "frequencyInterval": "everyTime"}}
    for on in (True, False):
        for mode in ("always", "never"):
            yield {"persistentBrowser": {"isEnabled": on, "mode": mode}}
        for kind in ("monitorOnly", "blockDownloads", "mcasConfigured"):
            yield {"cloudAppSecurity": {"isEnabled": on, "cloudAppSecurityType": kind}}
        yield {"applicationEnforcedRestrictions": {"isEnabled": on}}
        yield {"secureSignInSession": {"isEnabled": on}}
        yield {"disableResilienceDefaults": on}
        yield {"somethingNew": {"isEnabled": on}}
    for mode in ("strictEnforcement", "strictLocation", "disabled"):
        yield {"continuousAccessEvaluation": {"mode": mode}}
