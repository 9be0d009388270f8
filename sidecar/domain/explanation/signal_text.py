"""Writes in a clause what a signal says."""

from typing import assert_never

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
    TokenClaimsChange,
)
from sidecar.domain.values import durations


def text_of(signal: Signal) -> str:  # noqa: C901, PLR0912 - a case a kind
    """Return what a signal says, whoever says it of whom."""
    match signal:
        case SessionEstablished():
            with_ = " ".join(filter(None, (signal.acr, *signal.amr)))
            return f"began{_at(signal.ip)}" + (f", signed in with {with_}" if with_ else "")
        case SessionPresented():
            return f"used{_at(signal.ip)}"
        case SessionRevoked():
            return f"revoked{_because(signal.reason)}"
        case NetworkChange():
            return f"network moved to {signal.segment}"
        case DeviceComplianceChange():
            return f"device is {'compliant' if signal.compliant else 'not compliant'}"
        case RiskLevelChange():
            return f"risk is {signal.level.value.lower()}{_because(signal.reason)}"
        case CredentialChange():
            kind, change = signal.credential_type or "credential", signal.change_type or "changed"
            return f"{kind}: {change}"
        case AssuranceLevelChange():
            fell = signal.direction == "decrease"
            return f"assurance {'fell' if fell else 'rose'} to {signal.level}"
        case TokenClaimsChange():
            claims = (f"{name} is {' and '.join(values)}" for name, values in signal.claims)
            return f"claims changed: {'; '.join(claims)}"
        case RiskSignal():
            fades = f", halves every {durations.spelled(signal.half_life)}"
            return f"signal {signal.name}, weight {signal.weight:g}{fades}"
        case OperatorMark():
            where = ", ".join(signal.contexts) or "all contexts"
            age = f" at most {durations.spelled(signal.max_age)} old" if signal.max_age >= 0 else ""
            asked = f"marked for {where}, until a sign-in with {signal.control}{age}"
            return asked + _because(signal.reason)
        case OperatorClear():
            return f"marks cleared{_because(signal.reason)}"
        case _:
            assert_never(signal)


def _at(address: str) -> str:
    return f" at {address}" if address else ""


def _because(reason: str) -> str:
    return f": {reason}" if reason else ""
