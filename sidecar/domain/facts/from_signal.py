"""Facts from signals: the facts that an event stands for, and the record that they join."""

from collections.abc import Callable
from typing import NamedTuple, assert_never

import msgspec

from sidecar.domain.facts.fact_kinds import (
    AgentSeen,
    AssuranceLowered,
    ClaimsSeen,
    ComplianceReported,
    DeviceBound,
    Fact,
    MarksCleared,
    NetworkReported,
    Revoked,
    RiskReported,
    Scope,
    ShownWith,
    Sighted,
    SignalRaised,
    SignedIn,
    StepUpAsked,
)
from sidecar.domain.facts.signal import (
    AssuranceLevelChange,
    CredentialChange,
    DeviceComplianceChange,
    NetworkChange,
    OperatorClear,
    OperatorMark,
    RiskLevelChange,
    RiskSignal,
    SessionEstablished,
    SessionPresented,
    SessionRevoked,
    Signal,
    Subject,
    TokenClaimsChange,
)
from sidecar.domain.policy.conditional_access import RiskLevel
from sidecar.domain.values.assurance import METHODS, Authentication
from sidecar.domain.values.location import Place

Locate = Callable[[str], Place]


class SignalFacts(NamedTuple):
    """The facts of one event, and the kind of record that they join."""

    scope: Scope
    facts: tuple[Fact, ...]


def tightens(signal: Signal) -> bool:
    """Return whether this can only make sessions' standings stricter, whatever was said before it.

    What compares (a middling risk, a weight, a segment) can take the place of something stricter,
    and what is said of a session, or of who its user is, can make a condition hold no more.
    """
    match signal:
        case SessionRevoked() | CredentialChange() | OperatorMark():
            return True
        case DeviceComplianceChange():
            return not signal.compliant
        case RiskLevelChange():
            return signal.level is RiskLevel.HIGH
        case AssuranceLevelChange():
            return signal.direction == "decrease"
        case (
            SessionEstablished()
            | SessionPresented()
            | NetworkChange()
            | TokenClaimsChange()
            | RiskSignal()
            | OperatorClear()
        ):
            return False
        case _:
            assert_never(signal)


def scope_of(subject: Subject) -> Scope:
    """Return the narrowest of what a subject names."""
    if subject.session:
        return Scope.SESSION
    return Scope.DEVICE if subject.device else Scope.USER


def facts_from(signal: Signal, locate: Locate) -> SignalFacts:
    """Return the facts that `signal` stands for, by the word of its source.

    `locate` gives an address's place.
    """
    scope, facts = _facts_from(signal, locate)
    if signal.source:
        facts = tuple(msgspec.structs.replace(fact, source=signal.source) for fact in facts)
    return SignalFacts(scope, facts)


def _facts_from(signal: Signal, locate: Locate) -> SignalFacts:  # noqa: C901, PLR0912 - a case a kind
    stamp, subject = signal.stamp, signal.subject
    scope = scope_of(subject)
    device = subject.device if scope is Scope.DEVICE else ""
    match signal:
        case SessionEstablished():
            return SignalFacts(Scope.SESSION, _established(signal, locate))
        case SessionPresented():
            return SignalFacts(Scope.SESSION, _presented(signal, locate))
        case SessionRevoked():
            return _revoked(signal)
        case OperatorMark():
            asked = StepUpAsked(
                stamp=stamp,
                scope=scope,
                contexts=signal.contexts,
                control=signal.control,
                max_age=signal.max_age,
                reason=signal.reason,
                device=device,
            )
            return SignalFacts(scope, (asked,))
        case OperatorClear():
            cleared = MarksCleared(stamp=stamp, scope=scope, reason=signal.reason, device=device)
            return SignalFacts(scope, (cleared,))
        case NetworkChange():
            return SignalFacts(
                scope, (NetworkReported(stamp=stamp, network=signal.segment, device=device),)
            )
        case DeviceComplianceChange():
            fact = ComplianceReported(
                stamp=stamp, device=subject.device, compliant=signal.compliant
            )
            return SignalFacts(Scope.DEVICE, (fact,))
        case RiskLevelChange():
            risk = RiskReported(stamp=stamp, scope=scope, level=signal.level, device=device)
            return SignalFacts(scope, (risk,))
        case CredentialChange():
            raised = SignalRaised(stamp=stamp, scope=Scope.USER, name="credential-change")
            return SignalFacts(Scope.USER, (raised,))
        case AssuranceLevelChange():
            of_user = scope is Scope.USER
            return SignalFacts(
                Scope.USER if of_user else Scope.SESSION, (_assurance(signal, everywhere=of_user),)
            )
        case TokenClaimsChange():
            claims = ClaimsSeen(stamp=stamp, scope=scope, claims=signal.claims)
            return SignalFacts(scope, (claims,))
        case RiskSignal():
            named = SignalRaised(
                stamp=stamp,
                scope=scope,
                name=signal.name,
                weight=signal.weight,
                half_life=signal.half_life,
                device=device,
            )
            return SignalFacts(scope, (named,))
        case _:
            assert_never(signal)


def _established(signal: SessionEstablished, locate: Locate) -> tuple[Fact, ...]:
    authentication = Authentication(signal.auth_time, signal.acr, signal.amr)
    came = ShownWith(
        ip=signal.ip,
        place=locate(signal.ip) if signal.ip else Place(),
        device=signal.subject.device,
        user_agent=signal.user_agent,
        made_there=bool(signal.ip),
    )
    signed_in = SignedIn(stamp=signal.stamp, authentication=authentication, shown_with=came)
    facts: list[Fact] = [signed_in]
    if signal.subject.device:
        facts.append(DeviceBound(stamp=signal.stamp, device=signal.subject.device))
    if signal.subject.user:
        claims = (("user", (signal.subject.user,)),)
        facts.append(ClaimsSeen(stamp=signal.stamp, scope=Scope.SESSION, claims=claims))
    return (*facts, *_surroundings(signal, locate))


def _presented(signal: SessionPresented, locate: Locate) -> tuple[Fact, ...]:
    facts: list[Fact] = []
    if signal.subject.device:
        facts.append(DeviceBound(stamp=signal.stamp, device=signal.subject.device))
    return (*facts, *_surroundings(signal, locate))


def _surroundings(
    signal: SessionEstablished | SessionPresented, locate: Locate
) -> tuple[Fact, ...]:
    facts: list[Fact] = []
    if signal.ip:
        facts.append(Sighted(stamp=signal.stamp, ip=signal.ip, place=locate(signal.ip)))
    if signal.user_agent:
        facts.append(AgentSeen(stamp=signal.stamp, user_agent=signal.user_agent))
    return tuple(facts)


def _revoked(signal: SessionRevoked) -> SignalFacts:
    """Revoke every session that matches all members of a complex subject (CAEP 1.0, 3.1)."""
    subject = signal.subject
    if subject.session:
        scope, device = Scope.SESSION, subject.device
    elif subject.user:
        scope, device = Scope.USER, subject.device
    else:
        scope, device = Scope.DEVICE, subject.device
    revoked = Revoked(stamp=signal.stamp, scope=scope, reason=signal.reason, device=device)
    return SignalFacts(scope, (revoked,))


def _assurance(signal: AssuranceLevelChange, *, everywhere: bool) -> Fact:
    """Return a sign-in at the event's time for a rise, a cap on what was shown for a fall.

    Levels of the namespace `RFC8176` are methods, all others are `acr` values; and so is what that
    RFC does not register, since some who send an `acr` name it all the same.
    """
    if signal.direction == "decrease":
        return AssuranceLowered(stamp=signal.stamp, level=signal.level)
    second = signal.stamp.second
    words = tuple(signal.level.split())
    if signal.namespace == "RFC8176" and METHODS.issuperset(words):
        authentication = Authentication(second, amr=words)
    else:
        authentication = Authentication(second, signal.level)
    return SignedIn(stamp=signal.stamp, authentication=authentication, everywhere=everywhere)
