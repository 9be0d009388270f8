"""What Graph's `conditionalAccessPolicy` objects mean, read from Microsoft's documentation alone.

An interpreter of raw exports, written from the pages of the resources
(`conditionalAccessConditionSet`, `...Users`, `...Applications`, `...Locations`, `...Platforms`,
`...GrantControls`, `signInFrequencySessionControl`, `namedLocation`,
`authenticationStrengthPolicy`) and of Entra ID's concepts (conditions, network, filter for devices,
authentication strength, session lifetime, building a policy). It knows nothing of the importer,
which is held against it: what both misread must have been misread twice.

Where the documentation does not say what something means, `Unclear` is raised: no importer may
enforce such a policy.
"""

import ipaddress
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

from tests.entra.graph_device_rule import Unclear, holds

__all__ = [
    "Demand",
    "Shown",
    "SignIn",
    "Tenant",
    "Unclear",
    "demand_of",
    "is_met",
    "member",
    "objects",
    "part",
    "texts",
]

GUESTS = (
    "internalGuest",
    "b2bCollaborationGuest",
    "b2bCollaborationMember",
    "b2bDirectConnectUser",
    "otherExternalUser",
    "serviceProvider",
)
PLATFORMS = ("android", "iOS", "windows", "windowsPhone", "macOS", "linux")
CLIENTS = ("browser", "mobileAppsAndDesktopClients", "exchangeActiveSync", "other")
RISKS = ("none", "low", "medium", "high")
INSIDER = ("minor", "moderate", "elevated")
FLOWS = ("deviceCodeFlow", "authenticationTransfer")
ACTIONS = ("urn:user:registersecurityinfo", "urn:user:registerdevice")
SUITES = ("Office365", "MicrosoftAdminPortals")
COMPLIANT_NETWORK = "3d46dbda-8382-466a-856d-eb00cbc6b910"
EVERY_TIME = 5 * 60
"""A reauthentication "every time" is asked for at most once in five minutes."""

_HAVE = ("sms", "voice", "microsoftAuthenticatorPush", "softwareOath", "hardwareOath")
PHISHING_RESISTANT = frozenset(
    frozenset({method})
    for method in ("fido2", "windowsHelloForBusiness", "x509CertificateMultiFactor")
)
PASSWORDLESS = PHISHING_RESISTANT | {frozenset({"deviceBasedPush"})}
MULTIFACTOR = (
    PASSWORDLESS
    | {
        frozenset({method})
        for method in (
            "temporaryAccessPassOneTime",
            "temporaryAccessPassMultiUse",
            "federatedMultiFactor",
        )
    }
    | {
        frozenset({first, have})
        for first in ("password", "federatedSingleFactor")
        for have in _HAVE
    }
)
SINGLE = frozenset(
    frozenset({method})
    for method in ("password", "sms", "federatedSingleFactor", "x509CertificateSingleFactor")
)
BUILT_IN = {
    "00000000-0000-0000-0000-000000000002": MULTIFACTOR,
    "00000000-0000-0000-0000-000000000003": PASSWORDLESS,
    "00000000-0000-0000-0000-000000000004": PHISHING_RESISTANT,
}
NO_DEVICE: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, kw_only=True)
class SignIn:
    """A sign-in as Entra ID sees it.

    `guest` is one of the kinds of guests, or empty for a member. `device` holds the attributes of
    a registered device, by lower-case name; what is not in it is null, and an unregistered device
    has none. Unknown platform, country: empty.
    """

    user: str = "u0"
    groups: frozenset[str] = frozenset()
    roles: frozenset[str] = frozenset()
    guest: str = ""
    tenant: str = ""
    app: str = "a0"
    suites: frozenset[str] = frozenset()
    contexts: frozenset[str] = frozenset()
    action: str = ""
    address: str = "192.0.2.1"
    country: str = ""
    compliant_network: bool = False
    platform: str = ""
    client: str = "browser"
    user_risk: str = "none"
    sign_in_risk: str = "none"
    insider_risk: str = ""
    flow: str = ""
    device: Mapping[str, Any] = field(default_factory=lambda: NO_DEVICE)


class Shown(NamedTuple):
    """What the sign-in has brought: what it was made with, and how many seconds ago.

    `controls`: the grant controls that are fulfilled too (`approvedapplication`, ids of terms of
    use, ...); `within`: the session controls that the session is subject to.
    """

    methods: frozenset[str]
    age: int = 0
    controls: frozenset[str] = frozenset()
    within: frozenset[str] = frozenset()


class Demand(NamedTuple):
    """What a policy asks of a sign-in that it applies to."""

    block: bool = False
    every: bool = True
    """All of the grant controls, or any."""
    grants: tuple[Callable[[SignIn, Shown], bool], ...] = ()
    lifetime: int | None = None
    """Seconds after which somebody must sign in again."""
    session: frozenset[str] = frozenset()
    """Session controls that restrict what the session may do."""


class Tenant:
    """What policies refer to: the named locations and authentication strengths of the export."""

    def __init__(self, objects: Iterable[Mapping[str, Any]] = ()) -> None:
        self.locations: dict[str, Mapping[str, Any]] = {}
        self.strengths: dict[str, frozenset[frozenset[str]]] = dict(BUILT_IN)
        for each in sorted(objects, key=_modified):  # the last one counts
            own = member(each, "id")
            if not isinstance(own, str):
                continue
            if (
                member(each, "ipRanges") is not None
                or member(each, "countriesAndRegions") is not None
            ):
                self.locations[own.lower()] = each
            elif member(each, "allowedCombinations") is not None and own.lower() not in BUILT_IN:
                self.strengths[own.lower()] = _combinations(each)

    def is_within(self, location: str, sign_in: SignIn) -> bool:
        """Whether a sign-in comes from a named location. Raises Unclear where it is not there."""
        named = self.locations.get(location.lower())
        if named is None:
            raise Unclear(f"location {location}")
        if member(named, "ipRanges") is not None:
            return any(_in_range(each, sign_in.address) for each in objects(named, "ipRanges"))
        if (member(named, "countryLookupMethod") or "clientIpAddress").lower() != "clientipaddress":
            raise Unclear("a position by GPS")
        if not sign_in.country:
            return member(named, "includeUnknownCountriesAndRegions") is True
        return _same(texts(named, "countriesAndRegions"), {sign_in.country})

    def combinations_of(self, written: Mapping[str, Any]) -> frozenset[frozenset[str]]:
        """The combinations that a policy's strength allows. Raises Unclear where nothing says."""
        known = self.strengths.get((member(written, "id") or "").lower())
        if known is not None:
            return known
        if not texts(written, "allowedCombinations"):
            raise Unclear("an authentication strength")
        return _combinations(written)

    def is_trusted(self, sign_in: SignIn) -> bool:
        """Whether a sign-in comes from any location that is marked as trusted."""
        trusted = (own for own, each in self.locations.items() if member(each, "isTrusted") is True)
        return any(self.is_within(own, sign_in) for own in trusted)


def _modified(each: Mapping[str, Any]) -> str:
    return member(each, "modifiedDateTime") or member(each, "createdDateTime") or ""


def demand_of(policy: Mapping[str, Any], tenant: Tenant, sign_in: SignIn) -> Demand | None:
    """What an enabled policy asks of a sign-in; None where it does not apply to it.

    "All assignments are logically ANDed." Raises Unclear.
    """
    conditions = part(policy, "conditions")
    for name in conditions:
        if name.lower() not in _CONDITIONS and not _is_transport(name) and conditions[name]:
            raise Unclear(f"condition {name}")
    if not all(check(conditions, tenant, sign_in) for check in _CONDITIONS.values()):
        return None
    return _demand(policy, tenant)


def is_met(demand: Demand, sign_in: SignIn, shown: Shown) -> bool:
    """Whether what a sign-in has shown is all that is asked of it."""
    if demand.block:
        return False
    if demand.lifetime is not None and shown.age > demand.lifetime:
        return False
    if not demand.session <= shown.within:
        return False
    met = [grant(sign_in, shown) for grant in demand.grants]
    return all(met) if demand.every or not met else any(met)


def _users(conditions: Mapping[str, Any], _: Tenant, sign_in: SignIn) -> bool:
    written = part(conditions, "users")
    included = (
        _names_user(texts(written, "includeUsers"), sign_in)
        or _same(texts(written, "includeGroups"), sign_in.groups, all_of_them=True)
        or _same(texts(written, "includeRoles"), sign_in.roles, all_of_them=True)
        or _is_guest(part(written, "includeGuestsOrExternalUsers"), sign_in)
    )
    excluded = (
        _names_user(texts(written, "excludeUsers"), sign_in)
        or _same(texts(written, "excludeGroups"), sign_in.groups)
        or _same(texts(written, "excludeRoles"), sign_in.roles)
        or _is_guest(part(written, "excludeGuestsOrExternalUsers"), sign_in)
    )
    return included and not excluded


def _names_user(names: Iterable[str], sign_in: SignIn) -> bool:
    """`All`, `None`, `GuestsOrExternalUsers`, or ids of users."""
    for name in names:
        word = name.lower()
        if word == "all" or word == sign_in.user.lower():
            return True
        if word == "guestsorexternalusers" and sign_in.guest:
            return True
    return False


def _same(names: Iterable[str], held: Iterable[str], *, all_of_them: bool = False) -> bool:
    words = {name.lower() for name in names}
    mine = {name.lower() for name in held}
    return bool(words & mine) or (all_of_them and "all" in words and bool(mine))


def _is_guest(written: Mapping[str, Any], sign_in: SignIn) -> bool:
    kinds = {
        part.strip().lower()
        for part in (member(written, "guestOrExternalUserTypes") or "").split(",")
    }
    known = {kind.lower() for kind in GUESTS}
    if kinds - known - {"", "none"}:
        raise Unclear(f"guests {kinds}")
    if sign_in.guest.lower() not in kinds & known:
        return False
    tenants = part(written, "externalTenants")
    kind = (member(tenants, "membershipKind") or "all").lower()
    if kind == "all" or sign_in.guest == "internalGuest":
        return True
    if kind != "enumerated":
        raise Unclear(f"tenants {kind}")
    return _same(texts(tenants, "members"), {sign_in.tenant})


def _applications(conditions: Mapping[str, Any], _: Tenant, sign_in: SignIn) -> bool:
    """Apps, user actions or authentication contexts: a policy targets one of the three."""
    written = part(conditions, "applications")
    if part(written, "applicationFilter"):
        raise Unclear("a filter for applications")
    actions = texts(written, "includeUserActions")
    contexts = texts(written, "includeAuthenticationContextClassReferences")
    named = [name for name in texts(written, "includeApplications") if name.lower() != "none"]
    if sum(map(bool, (actions, contexts, named))) > 1:
        raise Unclear("targets of several kinds")
    if actions:
        return _same(actions, {sign_in.action})
    if contexts and texts(written, "excludeApplications"):
        raise Unclear("contexts but for apps")
    if contexts:
        return bool(set(contexts) & sign_in.contexts)
    if sign_in.action:
        return False
    included = _same(named, {sign_in.app, "All"}) or _same(named, sign_in.suites)
    excluded = texts(written, "excludeApplications")
    return included and not (_same(excluded, {sign_in.app}) or _same(excluded, sign_in.suites))


def _workloads(conditions: Mapping[str, Any], _: Tenant, __: SignIn) -> bool:
    """A policy for service principals is not for users, and every sign-in here is a user's."""
    written = part(conditions, "clientApplications")
    return not texts(written, "includeServicePrincipals") and not part(
        written, "servicePrincipalFilter"
    )


def _client(conditions: Mapping[str, Any], _: Tenant, sign_in: SignIn) -> bool:
    """Client app types "included in the policy": all where not configured, none where empty."""
    written = member(conditions, "clientAppTypes")
    if written is None:
        return True
    types = {name.lower() for name in texts(conditions, "clientAppTypes")}
    known = {client.lower() for client in CLIENTS} | {"all", "eassupported", "easunsupported"}
    if types - known:
        raise Unclear(f"clients {types}")
    if types & {"eassupported", "easunsupported"}:
        types.add("exchangeactivesync")
    return bool(types & {"all", sign_in.client.lower()})


def _platforms(conditions: Mapping[str, Any], _: Tenant, sign_in: SignIn) -> bool:
    written = part(conditions, "platforms")
    if _is_void(written):
        return True
    included = {name.lower() for name in texts(written, "includePlatforms")}
    excluded = {name.lower() for name in texts(written, "excludePlatforms")}
    known = {platform.lower() for platform in PLATFORMS} | {"all"}
    if (included | excluded) - known:
        raise Unclear("a platform")
    mine = {sign_in.platform.lower(), "all"}
    return bool(included & mine) and not excluded & mine


def _locations(conditions: Mapping[str, Any], tenant: Tenant, sign_in: SignIn) -> bool:
    written = part(conditions, "locations")
    if _is_void(written):
        return True

    def contain(names: Iterable[str]) -> bool:
        found = False
        for name in names:
            word = name.lower()
            if word == "all":
                found = True
            elif word == "alltrusted":
                found = tenant.is_trusted(sign_in) or found
            elif word == COMPLIANT_NETWORK:
                found = sign_in.compliant_network or found
            else:
                found = tenant.is_within(word, sign_in) or found
        return found

    excluded = contain(texts(written, "excludeLocations"))
    return contain(texts(written, "includeLocations")) and not excluded


def _risk(name: str, of: Callable[[SignIn], str]) -> Callable[..., bool]:
    def check(conditions: Mapping[str, Any], _: Tenant, sign_in: SignIn) -> bool:
        levels = {level.lower() for level in texts(conditions, name)}
        if levels - set(RISKS):
            raise Unclear(f"risk {levels}")
        return not levels or of(sign_in) in levels

    return check


def _flags(name: str, known: Iterable[str], of: Callable[[SignIn], str]) -> Callable[..., bool]:
    """An enumeration of flags: with commas, as a list, or as `transferMethods` of an object."""

    def check(conditions: Mapping[str, Any], _: Tenant, sign_in: SignIn) -> bool:
        value = member(conditions, name)
        if isinstance(value, Mapping):
            value = member(value, "transferMethods")
        parts = value.split(",") if isinstance(value, str) else value or ()
        flags = {part.strip().lower() for part in parts} - {""}
        if flags - {each.lower() for each in known}:
            raise Unclear(f"{name} {flags}")
        return not flags or of(sign_in).lower() in flags

    return check


def _no_workload_risk(conditions: Mapping[str, Any], _: Tenant, __: SignIn) -> bool:
    return not texts(conditions, "servicePrincipalRiskLevels")


def _devices(conditions: Mapping[str, Any], _: Tenant, sign_in: SignIn) -> bool:
    """The filter for devices, and its forerunners, which knew two states of a device."""
    written = part(conditions, "devices")
    for pair in ("Devices", "DeviceStates"):
        if not _in_states(written, f"include{pair}", f"exclude{pair}", sign_in):
            return False
    rule = part(written, "deviceFilter")
    if not member(rule, "rule"):
        return True
    mode = (member(rule, "mode") or "").lower()
    if mode not in {"include", "exclude"}:
        raise Unclear(f"mode {mode}")
    return holds(member(rule, "rule"), sign_in.device) is (mode == "include")


def _device_states(conditions: Mapping[str, Any], _: Tenant, sign_in: SignIn) -> bool:
    written = part(conditions, "deviceStates")
    return _in_states(written, "includeStates", "excludeStates", sign_in)


def _in_states(written: Mapping[str, Any], including: str, excluding: str, sign_in: SignIn) -> bool:
    """`All` devices, but for those that are `Compliant` or `DomainJoined`."""
    excluded = {state.lower() for state in texts(written, excluding)}
    if {name.lower() for name in texts(written, including)} - {"all"}:
        raise Unclear(f"{including} but for all")
    if excluded - {"compliant", "domainjoined"}:
        raise Unclear(f"{excluding} {excluded}")
    is_compliant = sign_in.device.get("iscompliant") is True
    is_joined = sign_in.device.get("trusttype") == "ServerAD"
    return not (
        ("compliant" in excluded and is_compliant) or ("domainjoined" in excluded and is_joined)
    )


_CONDITIONS: Mapping[str, Callable[..., bool]] = {
    "users": _users,
    "applications": _applications,
    "clientapplications": _workloads,
    "clientapptypes": _client,
    "platforms": _platforms,
    "locations": _locations,
    "userrisklevels": _risk("userRiskLevels", lambda each: each.user_risk),
    "signinrisklevels": _risk("signInRiskLevels", lambda each: each.sign_in_risk),
    "serviceprincipalrisklevels": _no_workload_risk,
    "insiderrisklevels": _flags("insiderRiskLevels", INSIDER, lambda each: each.insider_risk),
    "authenticationflows": _flags("authenticationFlows", FLOWS, lambda each: each.flow),
    "devices": _devices,
    "devicestates": _device_states,
}


def _demand(policy: Mapping[str, Any], tenant: Tenant) -> Demand:
    written = part(policy, "grantControls")
    controls = [control.lower() for control in texts(written, "builtInControls")]
    lifetime, session = _session(part(policy, "sessionControls"))
    if "block" in controls:
        return Demand(block=True)
    grants = [_grant(control) for control in controls]
    grants += [_fulfilled(own) for own in texts(written, "termsOfUse")]
    grants += [_fulfilled(own) for own in texts(written, "customAuthenticationFactors")]
    strength = part(written, "authenticationStrength")
    if strength:
        grants.append(_made_with(tenant.combinations_of(strength)))
    operator = (member(written, "operator") or "AND").upper()
    if operator not in {"AND", "OR"} and len(grants) > 1:
        raise Unclear(f"operator {operator}")
    return Demand(every=operator != "OR", grants=tuple(grants), lifetime=lifetime, session=session)


def _grant(control: str) -> Callable[[SignIn, Shown], bool]:
    if control == "mfa":
        return _made_with(MULTIFACTOR)
    if control == "compliantdevice":
        return lambda sign_in, _: sign_in.device.get("iscompliant") is True
    if control == "domainjoineddevice":
        return lambda sign_in, _: sign_in.device.get("trusttype") == "ServerAD"
    return _fulfilled(control)  # one that is new, too: it is fulfilled, or it is not


def _fulfilled(control: str) -> Callable[[SignIn, Shown], bool]:
    return lambda _, shown: control in shown.controls


def _made_with(allowed: frozenset[frozenset[str]]) -> Callable[[SignIn, Shown], bool]:
    return lambda _, shown: shown.methods in allowed


def _combinations(strength: Mapping[str, Any]) -> frozenset[frozenset[str]]:
    return frozenset(
        frozenset(part.strip() for part in each.split(","))
        for each in texts(strength, "allowedCombinations")
    )


def _session(written: Mapping[str, Any]) -> tuple[int | None, frozenset[str]]:
    """The lifetime of a sign-in, and the other controls that restrict the session."""
    lifetime = None
    found = set()
    for name, value in written.items():
        control = name.lower()
        if _is_transport(name) or not value or control == "disableresiliencedefaults":
            continue
        if not isinstance(value, Mapping):
            raise Unclear(f"session control {name}")
        enabled, mode = member(value, "isEnabled"), (member(value, "mode") or "").lower()
        if enabled is False or _is_void(value):
            continue
        if control == "signinfrequency":
            lifetime = _lifetime(value)
        elif control == "persistentbrowser":
            found |= {control} if mode == "never" else set()
        elif control == "cloudappsecurity":
            only = (member(value, "cloudAppSecurityType") or "").lower() == "monitoronly"
            found |= set() if only else {control}
        elif control == "continuousaccessevaluation":
            pass  # when it is evaluated again, not what is asked for
        else:
            found.add(control)
    return lifetime, frozenset(found)


def _lifetime(written: Mapping[str, Any]) -> int:
    interval = (member(written, "frequencyInterval") or "timeBased").lower()
    if interval == "everytime":
        return EVERY_TIME
    value, unit = member(written, "value"), (member(written, "type") or "").lower()
    if interval != "timebased" or not isinstance(value, int) or unit not in {"hours", "days"}:
        raise Unclear("a sign-in frequency")
    if value <= 0:
        raise Unclear("a sign-in frequency")
    return value * (3600 if unit == "hours" else 86400)


def _in_range(written: Mapping[str, Any], address: str) -> bool:
    mine = ipaddress.ip_address(address)
    cidr = member(written, "cidrAddress")
    if cidr:
        network = ipaddress.ip_network(cidr, strict=False)
        return mine.version == network.version and mine in network
    low, high = (
        ipaddress.ip_address(member(written, f"{end}Address")) for end in ("lower", "upper")
    )
    return mine.version == low.version and int(low) <= int(mine) <= int(high)


def member(written: Mapping[str, Any], name: str) -> Any:
    """A member, whatever its case: what PowerShell writes has capitals."""
    for key, value in written.items():
        if key.lower() == name.lower():
            return value
    return None


def part(written: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """An object; empty where it is null, or `[]` as PowerShell has it."""
    value = member(written, name)
    if value is None or value == []:
        return {}
    if isinstance(value, Mapping):
        return value
    raise Unclear(f"{name} is no object")


def texts(written: Mapping[str, Any], name: str) -> list[str]:
    """A list of texts; one text is a list of one, `{}` what PowerShell leaves of an empty one."""
    value = member(written, name)
    if value is None or value == {}:
        return []
    return [value] if isinstance(value, str) else list(value)


def objects(written: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    """A list of objects; one object is a list of one."""
    value = member(written, name)
    if not value:
        return []
    return [value] if isinstance(value, Mapping) else list(value)


def _is_void(written: Mapping[str, Any]) -> bool:
    """Whether an object says nothing at all: every member is null. An empty list says "nothing"."""
    return all(value is None for name, value in written.items() if not _is_transport(name))


def _is_transport(name: str) -> bool:
    return "@" in name or name.startswith("#")
