"""Narrative of a session: a sentence for each fact, by what was known before it.

Facts stand in their own order, so that sidecars which hold the same ones write the same.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import assert_never

from sidecar.domain.evaluation.decision import explain
from sidecar.domain.facts.fact_kinds import (
    AgentSeen,
    AssuranceLowered,
    ClaimsSeen,
    ComplianceReported,
    ContextsShown,
    DeviceBound,
    Fact,
    MarksCleared,
    MembershipsShown,
    NetworkReported,
    PlaceProven,
    Revoked,
    RiskReported,
    Scope,
    Seen,
    SetAside,
    Sighted,
    SignalRaised,
    SignedIn,
    Spent,
    StepUpAsked,
)
from sidecar.domain.facts.memberships import TokenMemberships
from sidecar.domain.policy.conditional_access import Selection
from sidecar.domain.session.standing import Demand
from sidecar.domain.session.state import said_by
from sidecar.domain.values import durations, moments
from sidecar.domain.values.assurance import Authentication
from sidecar.domain.values.location import Place

_CAPITAL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_NONE = "none that is known"
_AT_ONCE = 60
"""Seconds between a sign-in and its being shown of which nobody wants to read."""


def narrated(
    facts: Iterable[Fact], session: str, network_of: Callable[[str], str]
) -> Iterator[tuple[Fact, str]]:
    """Yield the facts of a session in their order, each with its sentence.

    `session` is its record's name: what its user's record repeats of its own sightings is left out,
    and so is what lies in two records.
    `network_of` gives the network segment of an address; empty: none that is configured.
    """
    story = _Story(network_of)
    for fact in dict.fromkeys(sorted(facts, key=lambda fact: fact.stamp)):
        if isinstance(fact, Seen) and fact.session == session:
            continue
        yield fact, f"{story.sentence(fact)}{said_by(fact.source)}"


def kind_of(fact: Fact) -> str:
    """Return what kind of thing a fact is, in words with hyphens: `signed-in`."""
    return _CAPITAL.sub("-", type(fact).__name__).lower()


def marked(demand: Demand) -> str:
    """Return what a policy does to a session, in a sentence."""
    would = "would be " if demand.report_only else ""
    done = "refused" if demand.block else "marked"
    return (
        f"{would}{done} by policy {demand.policy} for {_where(demand.contexts)}: {explain(demand)}"
    )


def _where(contexts: Selection) -> str:
    if contexts.include is not None:
        return _listed(contexts.include - contexts.exclude)
    left = f" but {_listed(contexts.exclude)}" if contexts.exclude else ""
    return f"all contexts{left}"


class _Story:
    """The last value of each thing that changes, as far as the facts have said it."""

    def __init__(self, network_of: Callable[[str], str]) -> None:
        self._network_of = network_of
        self._known: dict[tuple[str, str], str] = {}
        self._network: str | None = None  # of the session's address

    def sentence(self, fact: Fact) -> str:  # noqa: C901, PLR0912 - a line for each kind
        """Return what one fact says."""
        match fact:
            case Sighted():
                return self._seen(fact)
            case AgentSeen():
                return self._changed(fact, "user agent", fact.user_agent, first="used with")
            case DeviceBound():
                return self._changed(fact, "device", fact.device, first="on device")
            case SignedIn():
                return _signed_in(fact)
            case ContextsShown():
                shown = _listed(fact.contexts)
                return f"a token says that {shown} was satisfied at {moments.iso(fact.second)}"
            case AssuranceLowered():
                return f"what was shown until now counts for no more than {fact.level}"
            case ClaimsSeen():
                return "; ".join(_claim(name, values) for name, values in fact.claims)
            case MembershipsShown():
                return "; ".join(_memberships(kind, shown) for kind, shown in fact.memberships)
            case NetworkReported():
                return self._reported(fact)
            case RiskReported():
                what = f"risk of {_whose(fact.scope, fact.device)}"
                return self._changed(fact, what, fact.level.value)
            case SignalRaised():
                return f"signal {fact.name} about {_whose(fact.scope, fact.device)}{_weight(fact)}"
            case ComplianceReported():
                status = "compliant" if fact.compliant else "not compliant"
                return self._changed(fact, f"device {fact.device}", status)
            case Revoked():
                return f"{_whose(fact.scope, fact.device)} was revoked" + _because(fact.reason)
            case StepUpAsked():
                return _asked(fact) + _because(fact.reason)
            case MarksCleared():
                cleared = f"the marks of {_whose(fact.scope, fact.device)} were cleared"
                return cleared + _because(fact.reason)
            case Spent():
                at = moments.iso(fact.auth_time)
                return f"the sign-in of {at} was spent on a call that needs one of its own"
            case Seen():
                return f"the user was seen in another session at {_place(fact.ip, fact.place)}"
            case PlaceProven():
                kind, _, name = fact.device.partition(":")
                on = f"device {name}" if kind == "id" else "this key"
                return f"{_place(fact.ip, fact.place)} is remembered as proven on {on}"
            case SetAside():
                return "something that this version cannot read"
            case _:
                assert_never(fact)

    def _seen(self, fact: Sighted) -> str:
        text = self._changed(fact, "address", _place(fact.ip, fact.place), first="seen at")
        before, self._network = self._network, self._network_of(fact.ip)
        if before is None or before == self._network:
            return text
        return f"{text}; network changed from {before or _NONE} to {self._network or _NONE}"

    def _reported(self, fact: NetworkReported) -> str:
        what = f"network of device {fact.device}" if fact.device else "network"
        otherwise = None if fact.device else self._network or None
        return self._changed(fact, what, fact.network or _NONE, before=otherwise)

    def _changed(
        self, fact: Fact, what: str, value: str, *, first: str = "", before: str | None = None
    ) -> str:
        """Say that something is another than the same source said before, or is as it was.

        `before`: what it was, where that source has said nothing of it.
        """
        key = (what, fact.source)
        before = self._known.get(key, before)
        self._known[key] = value
        if before is None:
            return f"{first} {value}" if first else f"{what} is {value}"
        if before == value:
            return f"{what} is {value} still"
        return f"{what} changed from {before} to {value}"


def _signed_in(fact: SignedIn) -> str:
    auth = fact.authentication
    text = f"signed in with {_means(auth)}"
    if fact.everywhere:
        text += ", which counts in each session of the user"
    if not auth.auth_time:
        return f"{text}, at a time that is not known"
    if abs(fact.stamp.second - auth.auth_time) > _AT_ONCE:
        text += f" at {moments.iso(auth.auth_time)}, shown now"
    return text


def _means(auth: Authentication) -> str:
    methods = " and ".join(auth.amr)
    if auth.acr:
        return f"{auth.acr} ({methods})" if methods else auth.acr
    return methods or "a method that is not known"


def _place(ip: str, place: Place) -> str:
    parts = [part for part in (place.city, place.region, place.country) if part]
    if place.asn:
        parts.append(f"AS{place.asn}")
    parts += [kind.replace("-", " ") for kind in place.anonymizer]
    where = f" ({', '.join(parts)})" if parts else ""
    return f"{ip or 'an unknown address'}{where}"


def _claim(name: str, values: tuple[str, ...]) -> str:
    return f"{name}: {_listed(values)}"


def _memberships(kind: str, shown: TokenMemberships) -> str:
    if shown.names is None:
        return f"the token leaves {kind} out"
    return f"{kind}: {_listed(shown.names)}"


def _whose(scope: Scope, device: str) -> str:
    return f"device {device}" if device else f"the {scope.value}"


def _asked(fact: StepUpAsked) -> str:
    where = _listed(fact.contexts) if fact.contexts else "all contexts"
    age = f" at most {durations.spelled(fact.max_age)} old" if fact.max_age >= 0 else ""
    whose = _whose(fact.scope, fact.device)
    return f"{whose} was marked for {where}, until a sign-in with {fact.control}{age}"


def _weight(fact: SignalRaised) -> str:
    parts = []
    if fact.weight >= 0:
        parts.append(f"weight {fact.weight:g}")
    if fact.half_life > 0:
        parts.append(f"halves every {durations.spelled(fact.half_life)}")
    return f", {', '.join(parts)}" if parts else ""


def _because(reason: str) -> str:
    return f": {reason}" if reason else ""


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"
