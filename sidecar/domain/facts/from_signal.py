"""What an event says, and of whom: from signals to facts."""

from collections.abc import Callable
from typing import NamedTuple, assert_never

import msgspec

from sidecar.domain.facts.facts import (
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
from sidecar.domain.policy.policy import RiskLevel
from sidecar.domain.values.assurance import METHODS, Authentication
from sidecar.domain.values.location import Place

Locate = Callable[[str], Place]


class Meaning(NamedTuple):
    """The facts of one event and whose record they join."""

    scope: Scope
    facts: tuple[Fact, ...]


def tightens(signal: Signal) -> bool:
    """Return whether this can only make sessions' standings stricter, whatever was said before it.

    What compares (a middling risk, a weight, a segment) can take the place of something stricter,
    and what tells of a session, or of who its user is, can make a condition hold no more.
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


def meaning_of(signal: Signal, locate: Locate) -> Meaning:
    """Return what `signal` says.

    `locate` gives an address's place. Its facts are the source's word.
    """
    scope, facts = _meaning(signal, locate)
    if signal.source:
        facts = tuple(msgspec.structs.replace(fact, source=signal.source) for fact in facts)
    return Meaning(scope, facts)


def _meaning(signal: Signal, locate: Locate) -> Meaning:  # noqa: C901, PLR0912 - a case a kind
    stamp, subject = signal.stamp, signal.subject
    scope = scope_of(subject)
    device = subject.device if scope is Scope.DEVICE else ""
    match signal:
        case SessionEstablished():
            return Meaning(Scope.SESSION, _established(signal, locate))
        case SessionPresented():
            return Meaning(Scope.SESSION, _presented(signal, locate))
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
            return Meaning(scope, (asked,))
        case OperatorClear():
            cleared = MarksCleared(stamp=stamp, scope=scope, reason=signal.reason, device=device)
            return Meaning(scope, (cleared,))
        case NetworkChange():
            return Meaning(
                scope, (NetworkReported(stamp=stamp, network=signal.segment, device=device),)
            )
        case DeviceComplianceChange():
            fact = ComplianceReported(
                stamp=stamp, device=subject.device, compliant=signal.compliant
            )
            return Meaning(Scope.DEVICE, (fact,))
        case RiskLevelChange():
            risk = RiskReported(stamp=stamp, scope=scope, level=signal.level, device=device)
            return Meaning(scope, (risk,))
        case CredentialChange():
            raised = SignalRaised(stamp=stamp, scope=Scope.USER, name="credential-change")
            return Meaning(Scope.USER, (raised,))
        case AssuranceLevelChange():
            of_user = scope is Scope.USER
            return Meaning(
                Scope.USER if of_user else Scope.SESSION, (_assurance(signal, everywhere=of_user),)
            )
        case TokenClaimsChange():
            claims = ClaimsSeen(stamp=stamp, scope=scope, claims=signal.claims)
            return Meaning(scope, (claims,))
        case RiskSignal():
            named = SignalRaised(
                stamp=stamp,
                scope=scope,
                name=signal.name,
                weight=signal.weight,
                half_life=signal.half_life,
                device=device,
            )
            return Meaning(scope, (named,))
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


def _revoked(signal: SessionRevoked) -> Meaning:
    """A complex subject revokes every session that matches all its members (CAEP 1.0, 3.1)."""
    subject = signal.subject
    if subject.session:
        scope, device = Scope.SESSION, subject.device
    elif subject.user:
        scope, device = Scope.USER, subject.device
    else:
        scope, device = Scope.DEVICE, subject.device
    revoked = Revoked(stamp=signal.stamp, scope=scope, reason=signal.reason, device=device)
    return Meaning(scope, (revoked,))


def _assurance(signal: AssuranceLevelChange, *, everywhere: bool) -> Fact:
    """A rise is a sign-in at the event's time; a fall caps what was shown until then.

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
