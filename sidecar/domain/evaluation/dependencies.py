"""Dependencies of policies: the parts of a state that each reads, and that each fact changes.

Evaluating a policy whose reads are untouched gives what it gave before (`evaluator` keeps an
activation as it is when the same causes hold), so that it can be left out. What is not understood
here - a condition or a setting that came later - reads everything: it may be slow, never wrong.
tests/domain/evaluation/test_incremental.py holds this to the evaluation of all.
"""

import zlib
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import msgspec

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
    Sighted,
    SignalRaised,
    SignedIn,
    Spent,
    StepUpAsked,
)
from sidecar.domain.facts.precedence import CREDENTIAL_CHANGE, IDENTITY
from sidecar.domain.policy.conditional_access import (
    All,
    Anonymizer,
    AnyOf,
    Asns,
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
from sidecar.domain.session.state import ANONYMIZER, PLACE, SIGNALS_BOUND, Held, State, TravelHeld

Parts: TypeAlias = int
"""Parts of a state, a bit for each. A plain integer: it is computed for every step."""

EVERYTHING: Parts = -1
CIRCUMSTANCES: dict[str, Parts] = {
    name: 1 << at for at, name in enumerate((*(c.value for c in Circumstance), PLACE, ANONYMIZER))
}
LOCATION: Parts = 1 << 16
TRAVEL: Parts = 1 << 17
SIGN_INS: Parts = 1 << 18
ASSIGNED: Parts = 1 << 19
"""Who the user is: by it policies are for a session or not (`rule_index`)."""
COMPLIANCE: Parts = 1 << 20
RISKS: dict[Scope, Parts] = {scope: 1 << at for at, scope in enumerate(Scope, 21)}

_NAMES = 32
"""So many bits are shared by all names of signals, and as many by those of claims."""
_SIGNALS_FROM, _CLAIMS_FROM = 32, 64
SIGNALS: Parts = ((1 << _NAMES) - 1) << _SIGNALS_FROM


def signal(name: str) -> Parts:
    """Return the part that signals of this name are; others may share it."""
    return 1 << (_SIGNALS_FROM + zlib.crc32(name.encode()) % _NAMES)


def claim(name: str) -> Parts:
    """Return the part that a claim of this name is; others may share it."""
    return 1 << (_CLAIMS_FROM + zlib.crc32(name.encode()) % _NAMES)


_PLACED = LOCATION | CIRCUMSTANCES[PLACE]
_DEVICE = CIRCUMSTANCES[Circumstance.DEVICE]
_NETWORK = CIRCUMSTANCES[Circumstance.NETWORK]

SCORE: Parts = (
    SIGN_INS
    | COMPLIANCE
    | TRAVEL
    | SIGNALS
    | _PLACED
    | _DEVICE
    | _NETWORK
    | CIRCUMSTANCES[Circumstance.IP]
    | CIRCUMSTANCES[Circumstance.COUNTRY]
    | CIRCUMSTANCES[Circumstance.ASN]
    | CIRCUMSTANCES[Circumstance.USER_AGENT]
    | CIRCUMSTANCES[ANONYMIZER]
    | RISKS[Scope.USER]
    | RISKS[Scope.SESSION]
    | RISKS[Scope.DEVICE]
)
"""What the risk score is made of."""

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
    MembershipsShown: ASSIGNED,
    ComplianceReported: COMPLIANCE,
    NetworkReported: _NETWORK,
}

_UNDERSTOOD: dict[type[msgspec.Struct], frozenset[str]] = {
    Policy: frozenset(
        {
            *("id", "grant", "description", "state", "users", "apps", "contexts"),
            *("conditions", "session", "sticky", "grace", "min_interval", "issuers"),
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


class Before(msgspec.Struct, frozen=True, gc=False):
    """The part of a state that is kept to see afterwards how it has changed."""

    circumstances: dict[str, Held]
    vouched: bool
    ip: str
    location: object
    arrivals: tuple[TravelHeld, ...]
    on: tuple[str, ...]


def before(state: State) -> Before:
    """Keep what `changes` compares."""
    held = dict(state.circumstances)
    return Before(held, state.vouched, state.ip, state.location, state.arrivals, state.on)


def changes(was: Before, state: State, facts: Sequence[Fact]) -> Parts:
    """Return the parts of `state` that these facts, now folded into it, have changed."""
    parts = 0
    for fact in facts:
        parts |= _changed_by(fact, state)
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
    if state.vouched != was.vouched:
        parts |= EVERYTHING
    if state.segments or state.device_network:
        parts |= _NETWORK  # of several words on it the newest may count, and a sighting renews one
    if state.circumstances != was.circumstances:
        parts |= _circumstances_changed(was.circumstances, state.circumstances)
    return parts


def _circumstances_changed(was: Mapping[str, Held], now: Mapping[str, Held]) -> Parts:
    parts = 0
    for name, held in now.items():
        if was.get(name) != held:
            parts |= CIRCUMSTANCES.get(name, EVERYTHING)
    return parts


def _changed_by(fact: Fact, state: State) -> Parts:
    known = _CHANGES.get(type(fact))
    if known is not None:
        return known
    match fact:
        case RiskReported():
            return RISKS[fact.scope]
        case SignalRaised():
            parts = signal(fact.name)
            if len(state.signals) >= SIGNALS_BOUND:
                parts = SIGNALS  # the oldest is forgotten, whatever its name
            # A changed credential voids what was proven with the old one.
            return parts | SIGN_INS if fact.name == CREDENTIAL_CHANGE else parts
        case ClaimsSeen():
            parts = 0
            for name, _ in fact.claims:
                parts |= claim(name)
                if name in IDENTITY:
                    parts |= ASSIGNED
            return parts
        case _:
            return EVERYTHING


def reads(policy: Policy) -> Parts:
    """Return the parts of a state that the evaluation of a policy depends on.

    Beside the time (`steadiness`), and beside whether the policy is for the user (`rule_index`).
    """
    if not is_understood(policy):
        return EVERYTHING
    parts = SIGN_INS | COMPLIANCE | _DEVICE
    return parts if policy.conditions is None else parts | _reads(policy.conditions)


def is_understood(policy: Policy) -> bool:
    """Return whether all that is set in a policy was known when this module was written."""
    return _is_understood(policy) and _is_understood(policy.session)


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
            return _PLACED | _NETWORK
        case Countries():
            return _PLACED | CIRCUMSTANCES[Circumstance.COUNTRY]
        case Asns():
            return _PLACED | CIRCUMSTANCES[Circumstance.ASN]
        case TravelSpeed():
            return _PLACED | TRAVEL
        case Device():
            return _DEVICE | COMPLIANCE
        case UserRisk():
            return RISKS[Scope.USER]
        case SessionRisk():
            return RISKS[Scope.SESSION] if condition.reported else SCORE
        case Score():
            return SCORE
        case _:
            return _reads_by_name(condition)


def _reads_by_name(condition: Condition) -> Parts:
    parts = 0
    match condition:
        case Signals():
            for name in condition.include:
                parts |= signal(name)
            return parts
        case Claims():
            for name, _ in condition.required:
                parts |= claim(name)
            return parts
        case TimeOfDay():
            return parts
        case _:  # what is not known here
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
