"""Lint of a configuration: findings of what is allowed and probably not meant, with codes.

Pure: policies and the names around them go in, findings come out. `CODES` says what each means.
"""

from collections.abc import Iterable, Iterator, Mapping
from ipaddress import IPv4Network, IPv6Network
from types import MappingProxyType
from typing import NamedTuple, TypeAlias

import msgspec

from sidecar.domain.policy.conditional_access import (
    COMPLIANT_DEVICE,
    NOBODY,
    Anonymizer,
    Asns,
    Assignment,
    Changed,
    Circumstance,
    Condition,
    Countries,
    Device,
    Locations,
    Networks,
    Policy,
    PolicyState,
    Principals,
    Score,
    Selection,
    SessionControls,
    Signals,
    TravelSpeed,
)
from sidecar.domain.policy.control_order import never_needed, superfluous
from sidecar.domain.policy.satisfiability import always_holds, can_hold, implies, leaves
from sidecar.domain.policy.subsumption import covers, within
from sidecar.domain.values.assurance import Ladder

CODES: Mapping[str, str] = {
    "never-fires": "the policy can never ask for anything",
    "always-holds": "the policy has conditions that always hold",
    "shadowed": "another policy asks for as much wherever this one asks",
    "locks-out-everyone": "nobody at all passes, whatever they show",
    "no-break-glass": "it can refuse whoever it is for, and excludes no emergency account",
    "contradictory-grant": "parts of what it asks for contradict or repeat each other",
    "threshold-out-of-range": "no score or signal ever has, or always has, so much",
    "files-passed-over": "files beside the policies look like policies, and are not read",
    "needs-geography": "a condition needs a geography database that is not configured",
    "untold-by-geography": "no record of the geography databases has what a condition asks for",
    "context-unreached": "no route leads to the context: only an app that names it gets there",
    "context-unprotected": "no enabled policy is for the context",
    "route-unknown-context": "a route names a context that is not configured",
    "routes-unreached": "no gateway's question leads to the routes",
    "route-overlap": "another route matches some of the same calls, and adds its contexts",
    "location-unused": "no policy names the location",
    "location-overlap": "two locations share addresses",
    "network-unused": "no policy names the network segment",
    "network-overlap": "a network segment lies within another",
    "session-by-sign-in": "a new sign-in sheds the marks of the session before it",
    "app-by-client": "the client of a token chooses which policies are for it",
    "app-unknown": "a policy names an app that no call here can be of",
    "strength-unused": "no policy asks for the strength",
    "strength-unaskable": "a policy asks for a strength without `acr`: no challenge can name it",
    "issuers-alike": "nothing says that one of several issuers may say less than another",
}
ADVICE: Mapping[str, str] = {
    "never-fires": "correct it, or remove it",
    "always-holds": "leave them out if that is meant",
    "shadowed": "remove it, or let it ask for more",
    "locks-out-everyone": "exclude an emergency account, or name who is to be blocked",
    "no-break-glass": "name emergency accounts under `break_glass`, or exclude one",
    "contradictory-grant": "leave out what has no effect",
    "threshold-out-of-range": "choose one from within",
    "files-passed-over": "name them *.yaml or *.yml in the directory itself, or move them away",
    "needs-geography": "configure the database, or remove the condition",
    "untold-by-geography": "use a database that has it, correct `geography.fields`, or remove it",
    "context-unreached": "add a route, unless the app itself names the context",
    "context-unprotected": "write a policy for it, or remove it",
    "route-unknown-context": "define it there, or correct its name",
    "routes-unreached": "name the gateway in `http.gateway`; where only the app asks, on the"
    " socket, say `http: {enabled: false}`",
    "route-overlap": "name all of them in the narrower route, or let only one of the two match",
    "location-unused": "name it in a policy, or remove it",
    "location-overlap": "part them, unless an address may lie in both",
    "network-unused": "name it in a policy, or remove it",
    "network-overlap": "part them, unless the narrower is meant to win",
    "session-by-sign-in": "have the issuer name its sessions (`sid`), or say `user-client`",
    "app-by-client": "leave `app_claim` out, or give `app.id`",
    "app-unknown": "correct it, unless these policies are for other apps, too",
    "strength-unused": "name it in a policy, or remove it",
    "strength-unaskable": "give it an `acr`, or expect that users are asked in vain",
    "issuers-alike": "say its `namespace` (its own), `assurance_at_most` or `may_identify`",
}
"""What to do about each."""

Cidr: TypeAlias = IPv4Network | IPv6Network


class Finding(msgspec.Struct, frozen=True, order=True):
    """Something that is probably not meant. `where` is a path: ("policies", id), ("routes", 0)."""

    where: tuple[str, ...]
    code: str
    message: str


class NamedPlace(NamedTuple):
    """A named location or network: the addresses, countries and systems it consists of."""

    name: str
    cidrs: tuple[Cidr, ...] = ()
    countries: frozenset[str] = frozenset()
    asns: frozenset[int] = frozenset()
    trusted: bool = False


class Overlap(NamedTuple):
    """Two routes, by their places, that both match a call such as `example`.

    `within`: whatever the former matches, the latter does, too.
    """

    route: int
    other: int
    example: str
    within: bool


class IssuerReading(NamedTuple):
    """The settings for an issuer's tokens that loosen."""

    session_by_sign_in: bool = False
    app_by_client: bool = False


class Ground(NamedTuple):
    """The parts of a configuration that policies depend on.

    `routes` are the contexts of each route; `databases` the geography databases there are: `city`,
    `asn`, `anonymous_ip`; `found_in_databases` what some record of theirs has (None: nobody has
    looked); `all_trusted` the name that stands for all trusted locations; `break_glass` those whom
    no policy is for, by namespace; `namespaces` all that there are. `unsaid_issuers` are those, by
    their places, of which the configuration does not say what they may say. `paths_known`: a door
    that is open for gateways is given paths, which routes map. `issuers` is how each one's tokens
    are read, `apps` the apps that calls can be of (None: any). `passed_over` are names of files
    beside the policies that are not read.
    """

    policies: tuple[Policy, ...]
    ladder: Ladder
    contexts: tuple[str, ...] = ()
    routes: tuple[tuple[str, ...], ...] = ()
    locations: tuple[NamedPlace, ...] = ()
    networks: tuple[NamedPlace, ...] = ()
    databases: frozenset[str] = frozenset({"city", "asn", "anonymous_ip"})
    all_trusted: str = "all-trusted"
    overlaps: tuple[Overlap, ...] = ()
    break_glass: Mapping[str, Principals] = MappingProxyType({})
    namespaces: tuple[str, ...] = ("",)
    unsaid_issuers: tuple[int, ...] = ()
    issuers: tuple[IssuerReading, ...] = ()
    apps: frozenset[str] | None = None
    paths_known: bool = True
    found_in_databases: frozenset[str] | None = None
    passed_over: tuple[str, ...] = ()


def lint(ground: Ground) -> tuple[Finding, ...]:
    """Return everything that is probably not meant, policies first, each in the files' order."""
    awake = [policy for policy in ground.policies if policy.state is not PolicyState.DISABLED]
    found: list[Finding] = []
    for index, policy in enumerate(awake):
        found += _policy(policy, ground)
        if not _never(policy, ground):
            found += _shadows(policy, awake[:index], awake[index + 1 :], ground.ladder)
    found += _contexts(awake, ground)
    found += _named("location", ground.locations, _locations_used(awake, ground))
    found += _named("network", ground.networks, _networks_used(awake))
    found += _strengths(awake, ground.ladder)
    for place in ground.unsaid_issuers:
        message = "it is one of several issuers, and may say of its users whatever the others may"
        found.append(Finding(("tokens", "issuers", str(place)), "issuers-alike", message))
    found += _issuers(ground.issuers)
    if ground.passed_over:
        message = f"{', '.join(ground.passed_over)}: not read"
        found.append(Finding(("policies", "path"), "files-passed-over", message))
    return tuple(found)


def _issuers(issuers: tuple[IssuerReading, ...]) -> Iterator[Finding]:
    for index, issuer in enumerate(issuers):
        where = ("tokens", "issuers", str(index))
        if issuer.session_by_sign_in:
            message = "without `sid`, a mark ends with the sign-in: a bare password sheds it"
            yield Finding(where, "session-by-sign-in", message)
        if issuer.app_by_client:
            message = "what `app_claim` names is chosen by the token's client, not by the app"
            yield Finding(where, "app-by-client", message)


def _strangers(policy: Policy, apps: frozenset[str]) -> Iterator[Finding]:
    named = (policy.apps.include or frozenset()) | policy.apps.exclude
    for app in sorted(named - apps):
        yield _about(policy, "app-unknown", f"{app!r} is not `app.id`")


def _about(policy: Policy, code: str, message: str) -> Finding:
    return Finding(("policies", policy.id), code, message)


def _policy(policy: Policy, ground: Ground) -> Iterator[Finding]:
    why = _never(policy, ground)
    if why:
        yield _about(policy, "never-fires", why)
    elif policy.conditions is not None and always_holds(policy.conditions):
        yield _about(policy, "always-holds", "its conditions always hold")
    if not why:
        yield from _refusal(policy, ground)
    yield from _grant(policy, ground.ladder)
    if ground.apps is not None:
        yield from _strangers(policy, ground.apps)
    yield from _thresholds(policy)
    missing = sorted(_databases(policy.conditions) - ground.databases)
    if missing:
        names = ", ".join(f"geography.{name}" for name in missing)
        yield _about(policy, "needs-geography", f"it has conditions on places, but no {names}")
    for asked in sorted(_absent_from_databases(policy.conditions, ground)):
        yield _about(policy, "untold-by-geography", f"no record of the databases has {asked}")


def _never(policy: Policy, ground: Ground) -> str:
    """Return why a policy can never ask for anything; empty: it can."""
    if not can_hold(policy.conditions):
        return "its conditions can never hold together"
    selections = (
        ("issuers", policy.issuers),
        ("apps", policy.apps),
        ("contexts", policy.contexts),
    )
    for name, selection in selections:
        if selection.include is not None and selection.include <= selection.exclude:
            return f"it excludes all {name} that it includes"
    users = policy.users
    if users.include is not None and within(users.include, users.exclude):
        return "it excludes all users that it includes"
    if users.include is not None and all(
        within(users.include, ground.break_glass.get(namespace, NOBODY))
        for namespace in ground.namespaces
        if namespace in policy.issuers
    ):
        return "it includes break-glass accounts only, whom no policy is for"
    return ""


def refuses(policy: Policy) -> bool:
    """Return whether the policy may refuse in a way that no sign-in changes."""
    ways = policy.grant.alternatives
    return policy.grant.block or (bool(ways) and all(COMPLIANT_DEVICE in way for way in ways))


def _refusal(policy: Policy, ground: Ground) -> Iterator[Finding]:
    if policy.state is not PolicyState.ENABLED or not refuses(policy):
        return
    users = policy.users
    spared = users.exclude != NOBODY or any(one in policy.issuers for one in ground.break_glass)
    everybody = users == Assignment() and policy.issuers == Selection()
    if everybody and policy.grant.block and always_holds(policy.conditions):
        where = "everywhere" if policy.contexts.include is None else "in its contexts"
        message = f"it blocks everybody {where}, always"
        yield _about(policy, "locks-out-everyone", message)
    elif not spared and _is_broad(users.include):
        yield _about(policy, "no-break-glass", "it can refuse everybody whom it is for")


def _is_broad(principals: Principals | None) -> bool:
    return principals is None or bool(principals.groups or principals.roles)


def _grant(policy: Policy, ladder: Ladder) -> Iterator[Finding]:
    grant = policy.grant
    session = policy.session
    if grant.block and (grant.alternatives or session != SessionControls()):
        message = "it blocks, so that nothing else it asks for has a meaning"
        yield _about(policy, "contradictory-grant", message)
    frequency, cap = session.sign_in_frequency, session.max_lifetime
    if frequency is not None and cap is not None and cap <= frequency:
        message = "no sign-in gets older than max_lifetime; sign_in_frequency asks for nothing more"
        yield _about(policy, "contradictory-grant", message)
    for controls in grant.alternatives:
        for stronger, weaker in superfluous(controls, ladder):
            message = f"{stronger} includes {weaker}; asking for both is asking for the former"
            yield _about(policy, "contradictory-grant", message)
    for moot in _moot(policy, ladder):
        yield _about(policy, "contradictory-grant", moot)


def _moot(policy: Policy, ladder: Ladder) -> Iterator[str]:
    """Alternatives that can never be what is asked for."""
    ways = policy.grant.alternatives
    for way, other in never_needed(ways, ladder):
        yield f"{_words(way)} is never needed, as {_words(other)} suffices"
    dead = [way for way in ways if COMPLIANT_DEVICE in way]
    if dead and len(dead) < len(ways) and implies(policy.conditions, Device(compliant=False)):
        yield f"{_words(dead[0])} is never possible while the device is not compliant"


def _words(way: Iterable[str]) -> str:
    return " and ".join(sorted(way))


def _thresholds(policy: Policy) -> Iterator[Finding]:
    for leaf in leaves(policy.conditions):
        match leaf:
            case Score(at_least) if not 0 < at_least <= 100:
                message = f"the score goes from 0 to 100; at least {at_least:g} is no question"
                yield _about(policy, "threshold-out-of-range", message)
            case Signals(at_least=at_least) if not 0 < at_least <= 100:
                message = f"a signal weighs at most 100; at least {at_least:g} is no question"
                yield _about(policy, "threshold-out-of-range", message)
            case _:
                pass


_CITY = frozenset({Circumstance.COUNTRY, Circumstance.REGION})


def _databases(condition: Condition | None) -> frozenset[str]:
    """Return the geography databases without which some of these conditions mean nothing."""
    found = set()
    for leaf in leaves(condition):
        match leaf:
            case Countries() | TravelSpeed():
                found.add("city")
            case Changed(circumstances) if _CITY.intersection(circumstances):
                found.add("city")
            case Changed(circumstances) if Circumstance.ASN in circumstances:
                found.add("asn")
            case Asns():
                found.add("asn")
            case Anonymizer():
                found.add("anonymous_ip")
            case _:
                pass
    return frozenset(found)


def _absent_from_databases(condition: Condition | None, ground: Ground) -> frozenset[str]:
    """Return what conditions ask for of databases that are there, and no record has."""
    if ground.found_in_databases is None:
        return frozenset()
    found: set[str] = set()
    for leaf in leaves(condition):
        match leaf:
            case TravelSpeed() if "city" in ground.databases:
                found.add("coordinates")
            case Countries() if "city" in ground.databases:
                found.add("country")
            case Changed(circumstances) if "city" in ground.databases:
                found.update(_CITY.intersection(circumstances))
            case _:
                pass
    return frozenset(found) - ground.found_in_databases


def _shadows(
    policy: Policy, before: list[Policy], after: list[Policy], ladder: Ladder
) -> Iterator[Finding]:
    """Is there a policy that makes this one superfluous? Of two alike, the later one is."""
    for other in (*before, *after):
        covered = covers(other, policy, ladder)
        if covered and not (other in after and covers(policy, other, ladder)):
            message = f"{other.id} asks for as much wherever this policy asks for anything"
            yield _about(policy, "shadowed", message)
            return


def _contexts(policies: list[Policy], ground: Ground) -> Iterator[Finding]:
    routed = {name for route in ground.routes for name in route}
    enabled = [policy for policy in policies if policy.state is PolicyState.ENABLED]
    for name in ground.contexts:
        where = ("contexts", name)
        if name not in routed:
            yield Finding(where, "context-unreached", "no route leads to it")
        if not any(name in policy.contexts for policy in enabled):
            yield Finding(where, "context-unprotected", "no enabled policy is for it")
    for index, route in enumerate(ground.routes):
        strangers = sorted(set(route) - set(ground.contexts))
        if strangers:
            message = f"{', '.join(strangers)}: not in `contexts`"
            yield Finding(("routes", str(index)), "route-unknown-context", message)
    if ground.routes and not ground.paths_known:
        message = "`http.gateway` is none: /v1/check gets no path, and refuses calls without one"
        yield Finding(("routes", "0"), "routes-unreached", message)
    yield from _overlaps(ground)


def _overlaps(ground: Ground) -> Iterator[Finding]:
    """Routes that meet and do not say the same, where the narrower does not name it all."""
    for overlap in ground.overlaps:
        mine, others = (frozenset(ground.routes[at]) for at in (overlap.route, overlap.other))
        if mine == others or (overlap.within and mine >= others):
            continue
        message = (
            f"a call such as {overlap.example} also matches routes.{overlap.other}, "
            f"and is {' and '.join(sorted(mine | others))} at once"
        )
        yield Finding(("routes", str(overlap.route)), "route-overlap", message)


def _strengths(policies: Iterable[Policy], ladder: Ladder) -> Iterator[Finding]:
    ways = [way for policy in policies for way in policy.grant.alternatives]
    used = frozenset[str]().union(*ways)
    for name, strength in ladder.strengths.items():
        where = ("assurance", "strengths", name)
        if name not in used:
            yield Finding(where, "strength-unused", "no policy asks for it")
        elif not strength.acr:
            message = "has no `acr`, so that challenges cannot name it"
            yield Finding(where, "strength-unaskable", message)


def _locations_used(policies: Iterable[Policy], ground: Ground) -> frozenset[str]:
    selections = [
        leaf.selection
        for policy in policies
        for leaf in leaves(policy.conditions)
        if isinstance(leaf, Locations)
    ]
    used = _names(selections)
    if ground.all_trusted in used:
        used |= {location.name for location in ground.locations if location.trusted}
    return used


def _networks_used(policies: Iterable[Policy]) -> frozenset[str] | None:
    """Return the networks that are named; None where a policy asks of any change between them."""
    selections = []
    for policy in policies:
        for leaf in leaves(policy.conditions):
            if isinstance(leaf, Networks):
                selections.append(leaf.selection)
            elif isinstance(leaf, Changed) and Circumstance.NETWORK in leaf.circumstances:
                return None
    return _names(selections)


def _names(selections: Iterable[Selection]) -> frozenset[str]:
    return frozenset().union(*((s.include or frozenset()) | s.exclude for s in selections))


def _named(
    kind: str, named: tuple[NamedPlace, ...], used: frozenset[str] | None
) -> Iterator[Finding]:
    for index, one in enumerate(named):
        where = (f"{kind}s", one.name)
        if used is not None and one.name not in used:
            yield Finding(where, f"{kind}-unused", "no policy names it")
        for other in named[:index]:
            shared = _shared(one, other)
            if shared:
                message = f"{shared} lies in {other.name}, too"
                if kind == "network":
                    message += "; the longest prefix around an address wins"
                yield Finding(where, f"{kind}-overlap", message)


def _shared(one: NamedPlace, other: NamedPlace) -> str:
    """Something that lies in both; empty: nothing does."""
    network = _overlap(one.cidrs, other.cidrs)
    if network is not None:
        return str(network)
    countries = sorted(one.countries & other.countries)
    asns = sorted(one.asns & other.asns)
    return countries[0] if countries else f"AS{asns[0]}" if asns else ""


def _overlap(one: tuple[Cidr, ...], other: tuple[Cidr, ...]) -> Cidr | None:
    """Return the first network of either that lies within one of the other's."""
    ordered = sorted(
        (cidr.version, int(cidr.network_address), cidr.prefixlen, side, cidr)
        for side, cidrs in enumerate((one, other))
        for cidr in cidrs
    )
    reach = [(0, -1), (0, -1)]
    for version, first, _, side, cidr in ordered:
        if (version, first) <= reach[1 - side]:
            return cidr
        reach[side] = max(reach[side], (version, int(cidr.broadcast_address)))
    return None
