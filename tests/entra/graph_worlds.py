"""Sign-ins that hit each clause of a policy, and what an import makes of the same ones.

`differences` judges a sign-in twice: by the interpreter of Graph's documented meaning, and by the
real evaluator over the policies that the importer wrote as enabled.
"""

import ipaddress
import json
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from hypothesis import strategies as st

from sidecar.domain.evaluation.decision import Verdict
from sidecar.domain.evaluation.evaluator import Evaluator
from sidecar.domain.policy.conditional_access import PolicyState, RiskLevel
from sidecar.entra.importer import Import, Imported, import_entra, read_export
from sidecar.entra.ledger import Effect
from sidecar.entra.names import NO_NAMES, DirectoryNames
from sidecar.wire.settings.settings import Settings
from tests.entra.graph_meaning import (
    FLOWS,
    GUESTS,
    INSIDER,
    MULTIFACTOR,
    PASSWORDLESS,
    PHISHING_RESISTANT,
    PLATFORMS,
    RISKS,
    SINGLE,
    Demand,
    Shown,
    SignIn,
    Tenant,
    Unclear,
    demand_of,
    is_met,
    member,
    objects,
    part,
    texts,
)
from tests.entra.sessions import Session, rules_of, verdict_by

T = TypeVar("T")
Combinations = frozenset[frozenset[str]]
FOREIGN = "f0f0f0f0-0000-4000-8000-00000000000f"
LEVELS = (("mfa", MULTIFACTOR), ("passwordless", PASSWORDLESS), ("phr", PHISHING_RESISTANT))
ADDRESSES = (
    "192.0.2.1",
    "198.51.100.7",
    "203.0.113.255",
    "203.0.114.0",
    "2001:db8::1",
    "2001:db9::",
)
COUNTRIES = ("", "DE", "FR", "US", "KP", "XK")
USUAL = tuple(
    frozenset(each.split(","))
    for each in ("password", "password,sms", "deviceBasedPush", "fido2", *("password",) * 4)
)
LONGEST = 80_000_000
REACHES = ("browser", "mobileAppsAndDesktopClients")
GUEST_OF = {"internalGuest": "1", "b2bCollaborationGuest": "1"}


class Held(NamedTuple):
    """An import, and the policies that it is of: each with the interpreter's tenant."""

    tenant: Tenant
    policies: tuple[Mapping[str, Any], ...]
    result: Import
    rules: tuple[Evaluator | None, ...]
    """Of each policy with its twin; None where it does not arrive enabled."""
    strengths: Mapping[str, Combinations]
    """What the provider answers with the `acr` of a strength that the import proposes."""
    names: DirectoryNames = NO_NAMES

    @property
    def enabled(self) -> tuple[int, ...]:
        return tuple(number for number, rules in enumerate(self.rules) if rules is not None)


def held(
    exported: Sequence[Mapping[str, Any]],
    names: DirectoryNames = NO_NAMES,
    *,
    file: str = "export.json",
) -> Held:
    """Import objects, and make both judges of them ready."""
    objects_read = read_export(json.dumps(exported).encode(), file)
    result = import_entra(objects_read, names, Settings(), configured=False)
    return held_of(exported, result)._replace(names=names)


def held_of(exported: Sequence[Mapping[str, Any]], result: Import) -> Held:
    """The same of an import that was made already."""
    by_path = {f"$[{number}]": each for number, each in enumerate(exported)}
    policies = tuple(by_path[one.ledger.at] for one in result.imported)
    tenant = Tenant(exported)
    rules = tuple(_rules(one, result.settings) for one in result.imported)
    return Held(tenant, policies, result, rules, dict(_strengths(policies, result, tenant)))


def objects_in(raw: Any) -> list[dict[str, Any]]:
    """The objects of an export, in lists and envelopes."""
    if isinstance(raw, list):
        return [each for item in raw for each in objects_in(item)]
    if isinstance(raw.get("value"), list):
        return objects_in(raw["value"])
    return [raw]


def switched_on(exported: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The same objects, each policy enabled."""
    return [
        {**each, "state": "enabled"} if member(each, "conditions") is not None else each
        for each in exported
    ]


def _rules(one: Imported, settings: Settings) -> Evaluator | None:
    if one.policy.state is not PolicyState.ENABLED:
        return None
    return rules_of((one.policy,) if one.twin is None else (one.policy, one.twin), settings)


def _strengths(
    policies: Sequence[Mapping[str, Any]], result: Import, tenant: Tenant
) -> Iterator[tuple[str, Combinations]]:
    proposed: dict[str, Combinations] = {}
    for raw, one in zip(policies, result.imported, strict=True):
        asked = {name for each in one.policy.grant.alternatives for name in each}
        for name in asked & set(result.strengths):
            strength = member(member(raw, "grantControls"), "authenticationStrength")
            means = tenant.combinations_of(strength)
            assert proposed.setdefault(name, means) == means, f"{name} stands for two strengths"
    yield from proposed.items()


def compared(one: int, world: Held, recipe: Sequence[int], ways: Sequence[int]) -> Iterator[str]:
    """The differences for the sign-in of a recipe; a policy of no clear meaning is one, too."""
    policy = world.policies[one]
    sign_in, shown = sign_in_of(policy, world.tenant, recipe), shown_of(policy, world, ways)
    try:
        yield from differences(one, world, sign_in, shown)
    except Unclear as why:
        yield f"enforced, and unclear: {world.result.imported[one].policy.id}: {why}"


def differences(one: int, world: Held, sign_in: SignIn, shown: Shown) -> Iterator[str]:
    """What is said differently of a sign-in by the interpreter and by what was imported.

    Looser is never right. Stricter is, where the report names a loss that does so.
    """
    rules = world.rules[one]
    assert rules is not None
    demand = demand_of(world.policies[one], world.tenant, sign_in)
    allowed = demand is None or is_met(demand, sign_in, shown)
    verdicts = {
        acr: verdict_by(rules, session) for acr, session in _sessions(world, sign_in, shown)
    }
    losses = world.result.imported[one].ledger.effects()
    written = f"{world.result.imported[one].policy.id}: {sign_in} {shown}: {verdicts}"
    if not allowed and Verdict.ALLOW in verdicts.values():
        yield f"looser: {written}"
    if allowed and Verdict.ALLOW not in verdicts.values() and Effect.STRICTER not in losses:
        yield f"stricter: {written}"
    if demand is not None and demand.block and set(verdicts.values()) != {Verdict.DENY}:
        yield f"not blocked: {written}"
    if demand is not None and not allowed and not demand.block:
        hopeful = _can_be_met(demand, sign_in, shown)
        if hopeful and Verdict.DENY in verdicts.values() and Effect.STRICTER not in losses:
            yield f"no way out: {written}"


def differences_of(world: Held, *, sign_ins: int) -> Iterator[str]:
    """What the two judges say differently of drawn sign-ins, for each policy that is enabled."""
    chance = random.Random(1)  # the same sign-ins each time
    for one in world.enabled:
        for _ in range(sign_ins):
            recipe = [chance.randrange(720) for _ in range(RECIPE_SIZE)]
            ways = [chance.randrange(720) for _ in range(RECIPE_SIZE)]
            yield from compared(one, world, recipe, ways)


def asked_of(world: Held, one: int) -> set[str]:
    """The levels, strengths and controls that a policy asks for."""
    grant = world.result.imported[one].policy.grant
    return {name for each in grant.alternatives for name in each}


def together(
    chosen: Sequence[int], world: Held, recipe: Sequence[int], ways: Sequence[int]
) -> Iterator[str]:
    """What several policies decide together that is not the strictest of what each decides."""
    policies = [
        policy
        for one in (world.result.imported[number] for number in chosen)
        for policy in (one.policy, one.twin)
        if policy is not None
    ]
    raw = world.policies[chosen[0]]
    sign_in, shown = sign_in_of(raw, world.tenant, recipe), shown_of(raw, world, ways)
    demands = [demand_of(world.policies[each], world.tenant, sign_in) for each in chosen]
    allowed = all(each is None or is_met(each, sign_in, shown) for each in demands)
    rules = rules_of(tuple(policies), world.result.settings)
    verdicts = {verdict_by(rules, session) for _, session in _sessions(world, sign_in, shown)}
    if allowed is not (Verdict.ALLOW in verdicts):
        yield f"{chosen}: {sign_in} {shown}: {allowed}, {verdicts}"
    if any(each is not None and each.block for each in demands) and verdicts != {Verdict.DENY}:
        yield f"not blocked: {chosen}: {sign_in} {shown}: {verdicts}"


def _can_be_met(demand: Demand, sign_in: SignIn, shown: Shown) -> bool:
    """Whether another sign-in from the same device, there and now, would be enough."""
    every = MULTIFACTOR | SINGLE
    return any(is_met(demand, sign_in, shown._replace(methods=each, age=0)) for each in every)


def _sessions(world: Held, sign_in: SignIn, shown: Shown) -> Iterator[tuple[str, Session]]:
    """The session of a sign-in here, with each `acr` that a provider may truly answer."""
    acrs = [name for name, allowed in LEVELS if shown.methods in allowed]
    acrs += [name for name, allowed in world.strengths.items() if shown.methods in allowed]
    for acr in acrs or ["single-factor"]:
        yield acr, _session(sign_in, shown.age, acr, world.names)


def _session(sign_in: SignIn, age: int, acr: str, names: DirectoryNames) -> Session:
    of_guests = ("GuestsOrExternalUsers", sign_in.guest) if sign_in.guest else ()
    groups = {each.lower() for each in sign_in.groups}
    groups |= {name for kind in of_guests if (name := names.of("groups", kind)) is not None}
    claims = {
        "groups": tuple(sorted(groups)),
        "roles": tuple(sorted(each.lower() for each in sign_in.roles)),
        "acct": (GUEST_OF.get(sign_in.guest, "0"),),
    }
    risk = {name: RiskLevel(name) for name in RISKS if name != "none"}
    return Session(
        user=sign_in.user.lower(),
        claims=claims,
        ip=sign_in.address,
        country=sign_in.country,
        compliant=sign_in.device.get("iscompliant"),
        user_risk=risk.get(sign_in.user_risk),
        session_risk=risk.get(sign_in.sign_in_risk),
        again=acr,
        age=19 + age,
        app=sign_in.app.lower(),
        context=min(sign_in.contexts, default="routine"),
    )


RECIPE_SIZE = 24
RECIPE = st.lists(st.integers(0, 719), min_size=RECIPE_SIZE, max_size=RECIPE_SIZE)
"""Which of the values that a policy's clauses look at a sign-in has: see `_Choice`."""


class _Choice:
    """Takes one number of a recipe for each choice; strategies made for each policy are slow."""

    def __init__(self, recipe: Sequence[int]) -> None:
        self._numbers = iter(recipe)

    def one(self, of: Sequence[T]) -> T:
        return of[next(self._numbers) % len(of)]

    def some(self, of: Sequence[str]) -> frozenset[str]:
        """None of them, one, or several."""
        number = next(self._numbers)
        if len(of) == 1:
            return frozenset(of[: number % 2])
        several = frozenset(each for n, each in enumerate(of) if number >> (n % 9) & 1)
        one = frozenset({of[number % len(of)]})
        return (frozenset(), one, one, several)[number // 180]


def sign_in_of(policy: Mapping[str, Any], tenant: Tenant, recipe: Sequence[int]) -> SignIn:
    """A sign-in that can reach a sidecar, more often than not with what the policy looks at."""
    conditions = part(policy, "conditions")
    users, applications = part(conditions, "users"), part(conditions, "applications")
    words = {"all", "none", "guestsorexternalusers", "office365", "microsoftadminportals"}

    def of(written: Any, *names: str) -> list[str]:
        found = [
            text for name in names for text in texts(written, name) if text.lower() not in words
        ]
        return [*dict.fromkeys(found), FOREIGN]

    guests = [
        each
        for side in ("include", "exclude")
        for each in texts(
            part(part(users, f"{side}GuestsOrExternalUsers"), "externalTenants"), "members"
        )
    ]
    contexts = texts(applications, "includeAuthenticationContextClassReferences")
    nearby = [*_nearby(part(conditions, "locations"), tenant)]
    ips = [*ADDRESSES, *(ip for each in nearby for ip in _edges(each))]
    places = [*COUNTRIES, *(country for each in nearby for country in _countries(each))]
    choice = _Choice(recipe)
    return SignIn(
        user=choice.one(of(users, "includeUsers", "excludeUsers")),
        groups=choice.some(of(users, "includeGroups", "excludeGroups")),
        roles=choice.some(of(users, "includeRoles", "excludeRoles")),
        guest=choice.one(("", "", "", *GUESTS)),
        tenant=choice.one([*guests, FOREIGN]),
        app=choice.one(of(applications, "includeApplications", "excludeApplications")),
        contexts=frozenset({choice.one([*contexts, "c98", ""])} - {""}),
        address=choice.one(ips),
        country=choice.one(places),
        compliant_network=choice.one((False, True)),
        platform=choice.one(("", *PLATFORMS)),
        client=choice.one(REACHES),
        user_risk=choice.one(RISKS),
        sign_in_risk=choice.one(RISKS),
        insider_risk=choice.one(("", *INSIDER)),
        flow=choice.one(("", *FLOWS)),
        device=choice.one(DEVICES),
    )


def _devices() -> Iterator[dict[str, Any]]:
    yield {}
    for compliant in (True, False):
        for trust in ("AzureAD", "ServerAD", "Workplace"):
            for owner in ("Company", "Personal"):
                yield {
                    "iscompliant": compliant,
                    "trusttype": trust,
                    "deviceownership": owner,
                    "extensionattribute1": "SAW" if owner == "Company" else None,
                }


DEVICES = ({}, {}, *_devices())


def _nearby(locations: Mapping[str, Any], tenant: Tenant) -> Iterator[Mapping[str, Any]]:
    """The named locations that a condition looks at."""
    names = {
        name.lower()
        for side in ("includeLocations", "excludeLocations")
        for name in texts(locations, side)
    }
    for own, each in tenant.locations.items():
        if own in names or ("alltrusted" in names and member(each, "isTrusted") is True):
            yield each


def _edges(location: Mapping[str, Any]) -> Iterator[str]:
    """Addresses in a location's ranges, and the ones just outside."""
    for each in objects(location, "ipRanges"):
        cidr = member(each, "cidrAddress")
        if cidr:
            network = ipaddress.ip_network(cidr, strict=False)
            first, last = network[0], network[-1]
        else:
            first, last = (
                ipaddress.ip_address(member(each, f"{end}Address")) for end in ("lower", "upper")
            )
        beside = (int(first) - 1, int(last) + 1)
        yield from (str(first), str(last))
        yield from (str(type(first)(n)) for n in beside if 0 <= n < 2**first.max_prefixlen)


def _countries(location: Mapping[str, Any]) -> Iterable[str]:
    return [name.upper() for name in texts(location, "countriesAndRegions")[:3]]


def shown_of(policy: Mapping[str, Any], world: Held, recipe: Sequence[int]) -> Shown:
    """What a sign-in brought: a way to sign in, an age about the policy's limit, other controls."""
    grants, session = part(policy, "grantControls"), part(policy, "sessionControls")
    names = ("builtInControls", "termsOfUse", "customAuthenticationFactors")
    controls = [each.lower() for name in names for each in texts(grants, name)]
    frequency = part(session, "signInFrequency")
    unit = 86400 if str(member(frequency, "type")).lower() == "days" else 3600
    limits = (300, (member(frequency, "value") or 1) * unit)
    ages = {10, *(limit + near for limit in limits for near in (-60, 60))}
    own = [each for allowed in world.strengths.values() for each in allowed]
    choice = _Choice(recipe)
    return Shown(
        methods=choice.one((*USUAL, *sorted({*MULTIFACTOR, *SINGLE, *own}, key=sorted))),
        age=choice.one(sorted(age for age in ages if 0 < age < LONGEST)),
        controls=choice.some(controls or ["nothing"]),
        within=choice.some([name.lower() for name in session] or ["nothing"]),
    )
