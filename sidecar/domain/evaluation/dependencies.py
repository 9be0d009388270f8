"""Dependencies of policies: the parts of a state that each reads, and that each fact changes.

Evaluating a policy whose reads are untouched gives what it gave before (`evaluator` keeps an
activation as it is when the same causes hold), so that it can be left out. What is not understood
here - a condition or a setting that came later - reads everything: it may be slow, never wrong.
tests/domain/evaluation/test_incremental.py holds this to the evaluation of all.
"""

from collections.abc import Sequence
from typing import TypeAlias

import msgspec

from sidecar.domain.facts.facts import (
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
    Seen,
    Sighted,
    SignalRaised,
    SignedIn,
    Spent,
    StepUpAsked,
)
from sidecar.domain.facts.precedence import CREDENTIAL_CHANGE
from sidecar.domain.policy.policy import (
    All,
    Anonymizer,
    AnyOf,
    Asns,
    Assignment,
    Changed,
    Circumstance,
    Claims,
    Condition,
    Countries,
    Device,
    Locations,
    Networks,
    Not,
    Policy,
    Score,
    SessionControls,
    SessionRisk,
    Signals,
    TimeOfDay,
    TravelSpeed,
    UserRisk,
)
from sidecar.domain.session.state import ANONYMIZER, PLACE, Held, State, TravelHeld

Parts: TypeAlias = int
"""Parts of a state, a bit for each. A plain integer: it is computed for every step."""

EVERYTHING: Parts = -1
CIRCUMSTANCES: dict[str, Parts] = {
    name: 1 << at for at, name in enumerate((*(c.value for c in Circumstance), PLACE, ANONYMIZER))
}
LOCATION: Parts = 1 << 16
TRAVEL: Parts = 1 << 17
SIGN_INS: Parts = 1 << 18
CLAIMS: Parts = 1 << 19
RISK: Parts = 1 << 20
COMPLIANCE: Parts = 1 << 21
SIGNALS: Parts = 1 << 22

_PLACED = LOCATION | CIRCUMSTANCES[PLACE]
_DEVICE = CIRCUMSTANCES[Circumstance.DEVICE]

_CHANGES: dict[type[Fact], Parts] = {
    # What these do is seen by comparison: most sightings change nothing.
    Sighted: 0,
    AgentSeen: 0,
    DeviceBound: 0,
    # Conditions do not read these: they count in a standing, or in the next journey.
    Seen: 0,
    AssuranceLowered: 0,
    ContextsShown: 0,
    Spent: 0,
    StepUpAsked: 0,
    # An operator's word on all that policies make of a session.
    MarksCleared: EVERYTHING,
    # What an earlier session has proven is void after it.
    Revoked: SIGN_INS,
    SignedIn: SIGN_INS,
    PlaceProven: SIGN_INS,
    ClaimsSeen: CLAIMS,
    MembershipsShown: CLAIMS,
    RiskReported: RISK,
    SignalRaised: SIGNALS,
    ComplianceReported: COMPLIANCE,
    NetworkReported: CIRCUMSTANCES[Circumstance.NETWORK],
}

_UNDERSTOOD: dict[type[msgspec.Struct], frozenset[str]] = {
    Policy: frozenset(
        {
            *("id", "grant", "description", "state", "users", "apps", "contexts"),
            *("conditions", "session", "sticky", "grace", "min_interval"),
        }
    ),
    SessionControls: frozenset({"sign_in_frequency", "every_time", "max_lifetime"}),
    Changed: frozenset({"circumstances"}),
    Locations: frozenset({"selection", "strict"}),
    Networks: frozenset({"selection"}),
    Countries: frozenset({"selection"}),
    Asns: frozenset({"selection"}),
    Anonymizer: frozenset({"present", "kinds"}),
    TravelSpeed: frozenset({"at_least"}),
    Device: frozenset({"compliant", "known"}),
    UserRisk: frozenset({"at_least"}),
    Claims: frozenset({"required"}),
    SessionRisk: frozenset({"at_least", "reported"}),
    Score: frozenset({"at_least"}),
    Signals: frozenset({"include", "at_least"}),
}


class Before(msgspec.Struct, frozen=True):
    """The part of a state that is kept to see afterwards how it has changed."""

    circumstances: dict[str, Held]
    ip: str
    location: object
    arrivals: tuple[TravelHeld, ...]
    on: tuple[str, ...]


def before(state: State) -> Before:
    """Keep what `changes` compares."""
    return Before(dict(state.circumstances), state.ip, state.location, state.arrivals, state.on)


def changes(was: Before, state: State, facts: Sequence[Fact]) -> Parts:
    """Return the parts of `state` that these facts, now folded into it, have changed."""
    parts = 0
    for fact in facts:
        parts |= _CHANGES.get(type(fact), EVERYTHING)
        if isinstance(fact, SignalRaised) and fact.name == CREDENTIAL_CHANGE:
            parts |= SIGN_INS  # likewise
    if state.arrivals is not was.arrivals:
        parts |= TRAVEL
    if state.on != was.on:
        parts |= SIGN_INS  # what is remembered of the device counts as proven
    if state.location is not was.location and (
        state.location != was.location or state.ip != was.ip
    ):
        parts |= LOCATION
    if state.ip != was.ip:
        parts |= LOCATION
    if state.circumstances != was.circumstances:
        for name, held in state.circumstances.items():
            if was.circumstances.get(name) != held:
                parts |= CIRCUMSTANCES.get(name, EVERYTHING)
    return parts


def reads(policy: Policy) -> Parts:
    """Return the parts of a state that the evaluation of a policy depends on, beside the time."""
    if not (_is_understood(policy) and _is_understood(policy.session)):
        return EVERYTHING
    parts = SIGN_INS | COMPLIANCE | _DEVICE
    if policy.users != Assignment():
        parts |= CLAIMS
    return parts if policy.conditions is None else parts | _reads(policy.conditions)


def only_fades(policy: Policy) -> bool:
    """Return whether time changes this policy only as the score's terms and signals fade."""
    if not (_is_understood(policy) and _is_understood(policy.session)):
        return False
    return policy.conditions is not None and _only_fades(policy.conditions)


def _only_fades(condition: Condition) -> bool:
    match condition:
        case All() | AnyOf():
            return all(_only_fades(one) for one in condition.conditions)
        case Not():
            return _only_fades(condition.condition)
        case TimeOfDay():
            return False
        case _:
            return _is_understood(condition)


def _reads(condition: Condition) -> Parts:  # noqa: C901, PLR0912 - one case a kind
    match condition:
        case All() | AnyOf():
            parts = 0
            for one in condition.conditions:
                parts |= _reads(one)
            return parts
        case Not():
            return _reads(condition.condition)
        case _ if not _is_understood(condition):
            return EVERYTHING
        case Changed():
            parts = 0
            for circumstance in condition.circumstances:
                parts |= CIRCUMSTANCES[circumstance]
            return parts
        case Locations():
            return _PLACED | CIRCUMSTANCES[Circumstance.IP]
        case Anonymizer():
            return _PLACED | CIRCUMSTANCES[ANONYMIZER]
        case Networks():
            return _PLACED | CIRCUMSTANCES[Circumstance.NETWORK]
        case Countries():
            return _PLACED | CIRCUMSTANCES[Circumstance.COUNTRY]
        case Asns():
            return _PLACED | CIRCUMSTANCES[Circumstance.ASN]
        case TravelSpeed():
            return _PLACED | TRAVEL
        case Device():
            return _DEVICE | COMPLIANCE
        case UserRisk() | SessionRisk(reported=True):
            return RISK
        case Claims():
            return CLAIMS
        case _:  # what also depends on the time, and what is not known here
            return EVERYTHING


def _is_understood(value: msgspec.Struct) -> bool:
    """Return whether all that is set in `value` was known when this module was written."""
    known = _UNDERSTOOD.get(type(value))
    if known is None:
        return False
    for field in msgspec.structs.fields(value):
        if field.name in known:
            continue
        default = field.default
        if field.default_factory is not msgspec.NODEFAULT:
            default = field.default_factory()
        if getattr(value, field.name) != default:
            return False
    return True
