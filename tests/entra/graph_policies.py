"""Made-up policies, named locations and strengths of Graph: each clause, each form of exports."""

import random
from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st

from tests.entra.graph_meaning import (
    ACTIONS,
    BUILT_IN,
    CLIENTS,
    COMPLIANT_NETWORK,
    FLOWS,
    GUESTS,
    INSIDER,
    PLATFORMS,
    RISKS,
)


def guid(kind: int, number: int) -> str:
    return f"{kind:08x}-abcd-4000-8000-{number:012x}"


USERS, GROUPS, ROLES, APPS = ([guid(kind, n) for n in range(3)] for kind in (0xA, 0xB, 0xC, 0xD))
OFFICE, ABROAD, TRUSTED, HOME, AT_SEA, FOUND_BY_GPS, EMPTY, MISSING = (
    guid(0xE, n) for n in range(8)
)
LOCATIONS: tuple[dict[str, Any], ...] = (
    {
        "@odata.type": "#microsoft.graph.ipNamedLocation",
        "id": OFFICE,
        "displayName": "Office",
        "isTrusted": False,
        "ipRanges": [
            {"@odata.type": "#microsoft.graph.iPv4CidrRange", "cidrAddress": "192.0.2.1/24"},
            {"@odata.type": "#microsoft.graph.iPv6CidrRange", "cidrAddress": "2001:db8::/32"},
        ],
    },
    {
        "id": TRUSTED,
        "displayName": "office",
        "isTrusted": True,
        "ipRanges": [{"cidrAddress": "203.0.113.0/25"}, {"cidrAddress": "203.0.113.128/25"}],
    },
    {
        "id": HOME,
        "displayName": "Home",
        "countriesAndRegions": ["de", "FR"],
        "includeUnknownCountriesAndRegions": False,
        "countryLookupMethod": "clientIpAddress",
    },
    {
        "id": AT_SEA,
        "displayName": "Home!",
        "countriesAndRegions": ["KP"],
        "includeUnknownCountriesAndRegions": True,
    },
    {
        "id": FOUND_BY_GPS,
        "displayName": "By GPS",
        "countriesAndRegions": ["US"],
        "includeUnknownCountriesAndRegions": False,
        "countryLookupMethod": "authenticatorAppGps",
    },
    {
        "id": ABROAD,
        "displayName": "",
        "isTrusted": True,
        "ipRanges": [{"lowerAddress": "198.51.100.7", "upperAddress": "198.51.100.9"}],
    },
    {"id": EMPTY, "displayName": "Nowhere", "isTrusted": False, "ipRanges": []},
)
STRENGTHS: tuple[dict[str, Any], ...] = tuple(
    {
        "id": guid(0xF, number),
        "displayName": name,
        "policyType": "custom",
        "allowedCombinations": allowed,
        "combinationConfigurations": [],
    }
    for number, (name, allowed) in enumerate(
        (
            ("Keys", ["fido2"]),
            ("keys", ["fido2", "windowsHelloForBusiness"]),
            ("Texts", ["password, sms", "sms"]),
            (
                "Phishing resistant again",
                ["fido2", "x509CertificateMultiFactor", "windowsHelloForBusiness"],
            ),
            (
                "Anything",
                ["password", "federatedSingleFactor,softwareOath", "federatedMultiFactor"],
            ),
        )
    )
)
RULES = (
    "device.isCompliant -eq True",
    'device.isCompliant -ne "True"',
    'DEVICE.ISCOMPLIANT -EQ "false"',
    "-not (device.isCompliant -eq True)",
    "not (device.isCompliant -ne False)",
    "device.isCompliant -eq True -or device.isCompliant -eq False",
    "device.isCompliant -eq True -and -not (device.isCompliant -eq False)",
    "device.isCompliant -ne True -and device.isCompliant -eq False -or device.isCompliant -eq True",
    "-not device.isCompliant -eq True -or device.isCompliant -eq True",
    "device.isCompliant eq True or (device.isCompliant ne True and device.isCompliant ne False)",
    "device.isCompliant -eq null",
    "device.isCompliant -ne null",
    'device.isCompliant -in ["True"]',
    'device.trustType -eq "ServerAD" -or device.isCompliant -eq True',
    'device.extensionAttribute1 -ne "SAW"',
    'device.deviceOwnership -eq "Company"',
)


def _lists(*words: str, of: int = 3) -> st.SearchStrategy[Any]:
    """Null, an empty list, or some of these words."""
    return st.one_of(
        st.none(), st.just([]), st.lists(st.sampled_from(words), min_size=1, max_size=of)
    )


def _seldom(strategy: st.SearchStrategy[Any], other: Any = None) -> st.SearchStrategy[Any]:
    return st.integers(0, 3).flatmap(lambda chance: st.just(other) if chance else strategy)


def _guests() -> st.SearchStrategy[Any]:
    tenants = st.one_of(
        st.none(),
        st.fixed_dictionaries(
            {
                "@odata.type": st.just("#microsoft.graph.conditionalAccessAllExternalTenants"),
                "membershipKind": st.just("all"),
            }
        ),
        st.fixed_dictionaries(
            {
                "membershipKind": st.just("enumerated"),
                "members": st.lists(st.just(guid(0x7, 0)), max_size=1),
            }
        ),
    )
    kinds = st.one_of(
        st.just("internalGuest,b2bCollaborationGuest"),
        st.just("b2bCollaborationGuest, internalGuest"),
        st.just(",".join(GUESTS)),
        st.lists(st.sampled_from(("none", *GUESTS)), max_size=3).map(",".join),
    )
    return st.fixed_dictionaries({"guestOrExternalUserTypes": kinds, "externalTenants": tenants})


def _users() -> st.SearchStrategy[Any]:
    everybody = st.just(["All"])
    some = _lists("None", "GuestsOrExternalUsers", "All", *USERS)
    return st.fixed_dictionaries(
        {
            "includeUsers": st.one_of(everybody, _lists(*USERS), some),
            "includeGroups": _seldom(_lists(*GROUPS) | _lists("All", *GROUPS), []),
            "includeRoles": _seldom(_lists(*ROLES) | _lists("All", *ROLES), []),
            "excludeUsers": _seldom(_lists("GuestsOrExternalUsers", "All", *USERS), []),
            "excludeGroups": st.one_of(st.just([]), _lists(*GROUPS)),
            "excludeRoles": _seldom(_lists(*ROLES) | _lists("All", *ROLES), []),
            "includeGuestsOrExternalUsers": _seldom(_guests()),
            "excludeGuestsOrExternalUsers": _seldom(_guests()),
        }
    )


def _applications() -> st.SearchStrategy[Any]:
    everything = st.just(["All"])
    some = _lists("None", "All", "Office365", "MicrosoftAdminPortals", *APPS)
    return st.fixed_dictionaries(
        {
            "includeApplications": st.one_of(everything, everything, some),
            "excludeApplications": _seldom(_lists("All", "Office365", *APPS), []),
            "includeUserActions": _seldom(_lists(*ACTIONS), []),
            "includeAuthenticationContextClassReferences": _seldom(_lists("c1", "c2", "c99"), []),
            "applicationFilter": _seldom(
                st.just({"mode": "include", "rule": 'CustomSecurityAttribute.a_b -eq "x"'})
            ),
        }
    ) | st.fixed_dictionaries(
        {"includeAuthenticationContextClassReferences": _lists("c1", "c2", "c99")}
    )


def _clauses() -> Mapping[str, st.SearchStrategy[Any]]:
    places = st.one_of(
        st.just({}),
        st.just([]),
        st.fixed_dictionaries(
            {
                "includeLocations": st.just(["All"])
                | _lists("All", "AllTrusted", OFFICE, TRUSTED, HOME, AT_SEA, FOUND_BY_GPS, EMPTY),
                "excludeLocations": _lists("AllTrusted", OFFICE, TRUSTED, HOME, ABROAD, MISSING)
                | _seldom(_lists("All", COMPLIANT_NETWORK, AT_SEA, EMPTY), []),
            }
        ),
    )
    platforms = st.one_of(
        st.just({}),
        st.fixed_dictionaries(
            {
                "includePlatforms": st.just(["all"]) | _lists("all", *PLATFORMS),
                "excludePlatforms": _lists(*PLATFORMS) | st.just([]),
            }
        ),
    )
    rule = st.fixed_dictionaries(
        {"mode": st.sampled_from(("include", "exclude")), "rule": st.sampled_from(RULES)}
    )
    flows: st.SearchStrategy[Any] = st.just({}) | st.fixed_dictionaries(
        {"transferMethods": st.sampled_from(("", *FLOWS))}
    )
    return {
        "users": st.one_of(_users(), _users(), _users(), st.none()),
        "applications": st.one_of(*[_applications()] * 4, st.none()),
        "clientAppTypes": st.one_of(
            *[st.just(["all"])] * 4,
            st.just(list(CLIENTS[:2])),
            _lists(*CLIENTS, "easSupported", of=5),
        ),
        "platforms": _seldom(platforms),
        "locations": st.none() | places,
        "userRiskLevels": _seldom(_lists(*RISKS, of=4), []),
        "signInRiskLevels": _seldom(_lists(*RISKS, of=4), []),
        "servicePrincipalRiskLevels": _seldom(_seldom(_lists("low", "high"), []), []),
        "insiderRiskLevels": _seldom(_seldom(st.sampled_from(("", *INSIDER)))),
        "authenticationFlows": _seldom(_seldom(flows)),
        "devices": _seldom(st.fixed_dictionaries({"deviceFilter": st.none() | rule})),
        "clientApplications": _seldom(
            _seldom(st.sampled_from(({}, {"includeServicePrincipals": [guid(6, 0)]})))
        ),
    }


def _grants() -> st.SearchStrategy[Any]:
    strengths = [*BUILT_IN, *(each["id"] for each in STRENGTHS), guid(0xF, 99)]
    strength = st.sampled_from(strengths).map(lambda own: {"id": own, "displayName": "as it was"})
    controls = (
        "mfa",
        "compliantDevice",
        "domainJoinedDevice",
        "approvedApplication",
        "passwordChange",
    )
    return st.one_of(
        st.just({"operator": "OR", "builtInControls": ["block"]}),
        st.just({"operator": "OR", "builtInControls": ["mfa"]}),
        st.fixed_dictionaries(
            {
                "operator": st.sampled_from(("AND", "OR")),
                "builtInControls": _lists("mfa", "compliantDevice") | st.just(["compliantDevice"]),
                "authenticationStrength": st.none() | strength,
            }
        ),
        st.fixed_dictionaries(
            {
                "operator": st.sampled_from(("AND", "OR", "OR", None)),
                "builtInControls": _lists(*controls),
                "termsOfUse": _seldom(_lists(guid(5, 0)), []),
                "customAuthenticationFactors": _seldom(_lists("Vendor"), []),
                "authenticationStrength": st.none() | strength,
            }
        ),
        st.none(),
    )


def _session() -> st.SearchStrategy[Any]:
    timed = st.fixed_dictionaries(
        {
            "isEnabled": st.sampled_from((True, True, False)),
            "type": st.sampled_from(("hours", "days")),
            "value": st.integers(1, 30),
            "frequencyInterval": st.sampled_from((None, "timeBased")),
            "authenticationType": st.sampled_from((None, "primaryAndSecondaryAuthentication")),
        }
    )
    each_time = st.just(
        {"isEnabled": True, "frequencyInterval": "everyTime", "type": None, "value": None}
    )
    others: dict[str, st.SearchStrategy[Any]] = {
        "persistentBrowser": st.fixed_dictionaries(
            {"isEnabled": st.booleans(), "mode": st.sampled_from(("always", "never"))}
        ),
        "cloudAppSecurity": st.fixed_dictionaries(
            {
                "isEnabled": st.booleans(),
                "cloudAppSecurityType": st.sampled_from(("monitorOnly", "blockDownloads")),
            }
        ),
        "applicationEnforcedRestrictions": st.fixed_dictionaries({"isEnabled": st.booleans()}),
        "disableResilienceDefaults": st.sampled_from((True, False)),
        "continuousAccessEvaluation": st.sampled_from(
            [{"mode": mode} for mode in ("strictEnforcement", "disabled", "strictLocation")]
        ),
    }
    frequency = st.one_of(st.none(), timed, timed, each_time)
    other = st.sampled_from(sorted(others)).flatmap(
        lambda name: st.fixed_dictionaries({"signInFrequency": frequency, name: others[name]})
    )
    return st.fixed_dictionaries({"signInFrequency": frequency}) | other


PLAIN: Mapping[str, Any] = {
    "users": {"includeUsers": ["All"], "excludeGroups": [GROUPS[0]]},
    "applications": {"includeApplications": ["All"], "excludeApplications": []},
    "clientAppTypes": ["all"],
    "platforms": None,
    "locations": None,
    "userRiskLevels": [],
    "signInRiskLevels": [],
}


_CLAUSES = _clauses()
_GRANTS = _grants()
_SESSIONS = st.none() | _session()
_SEEDS = st.none() | st.integers(0, 999)


@st.composite
def policies(draw: st.DrawFn) -> dict[str, Any]:
    """Enabled policies, as some tool or other would have exported them.

    Some clauses are drawn, the others are those of every other policy, so that many arrive enabled.
    """
    chosen = draw(st.sets(st.sampled_from(sorted(_CLAUSES)), max_size=3))
    policy = {
        "@odata.type": "#microsoft.graph.conditionalAccessPolicy",
        "id": guid(0x1, 0),
        "displayName": "One",
        "state": "enabled",
        "conditions": {**PLAIN, **{name: draw(_CLAUSES[name]) for name in sorted(chosen)}},
        "grantControls": draw(_GRANTS),
        "sessionControls": draw(_SESSIONS),
        "#microsoft.graph.restore": {"title": "restore", "target": ""},
    }
    return _as_exported(policy, draw(_SEEDS))


_KEPT = {"id", "displayName", "rule", "mode", "members", "termsOfUse"}


def _as_exported(policy: dict[str, Any], seed: int | None) -> dict[str, Any]:
    """The same as another tool writes it: other cases, `[]` and `{}` for null, one for a list."""
    if seed is None:
        return policy
    chance = random.Random(seed)
    style = chance.choice(("case", "capitals", "powershell", "missing"))

    def form(value: Any, name: str) -> Any:
        if isinstance(value, Mapping):
            found = {}
            for key, below in value.items():
                if (
                    style == "missing"
                    and (below is None or below == [])
                    and key != "clientAppTypes"
                ):
                    continue
                own = key[:1].upper() + key[1:] if style == "capitals" else key
                found[own] = form(below, key)
            return found
        if isinstance(value, list):
            found_all = [form(each, name) for each in value]
            single = style == "powershell" and len(found_all) == 1 and chance.random() < 0.5
            return found_all[0] if single else found_all
        if isinstance(value, str) and style == "case" and name not in _KEPT and "#" not in value:
            return chance.choice((value, value.upper(), value.lower(), value.capitalize()))
        if value is None and style == "powershell" and name in ("users", "platforms", "locations"):
            return chance.choice((None, {}, []))
        return value

    found: dict[str, Any] = form(policy, "")
    return found
