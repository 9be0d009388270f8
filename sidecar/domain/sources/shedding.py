"""The order in which events are shed where there are too many: what is needed least goes first.

    repeat < sighting < loosening < tightening < revocation

Each step may fill a part of what it shares with those above it, and no more: so a flood of one step
leaves room for all that is needed more, however long it lasts. Nothing is lost by what is shed: its
sender is answered `overloaded`, and may send it again.
"""

from collections.abc import Mapping
from enum import StrEnum
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
from sidecar.domain.policy.conditional_access import RiskLevel


class Need(StrEnum):
    """The need for an event, from the least; the values are those of a metric's label."""

    REPEAT = "repeat"
    SIGHTING = "sighting"
    LOOSENING = "loosening"
    TIGHTENING = "tightening"
    REVOCATION = "revocation"


class Bottleneck(StrEnum):
    """A thing there is too little of for all events; the values are those of a metric's label."""

    RATE = "rate"
    STORE = "store"
    LOGGING = "logging"
    SPOOL = "spool"


_EIGHTHS: Mapping[Need, int] = {
    Need.REPEAT: 4,
    Need.SIGHTING: 5,
    Need.LOOSENING: 6,
    Need.TIGHTENING: 7,
    Need.REVOCATION: 8,
}

SPOKEN: Mapping[Need, str] = {
    Need.REPEAT: "events that were taken before",
    Need.SIGHTING: "sightings",
    Need.LOOSENING: "new sessions and events that loosen or prove",
    Need.TIGHTENING: "events other than revocations",
    Need.REVOCATION: "events",
}
REASONS: Mapping[Bottleneck, str] = {
    Bottleneck.RATE: "the source's rate is used up",
    Bottleneck.STORE: "too much waits for the store",
    Bottleneck.LOGGING: "too much waits to be logged",
    Bottleneck.SPOOL: "the spool is full",
}


def need_of(signal: Signal) -> Need:
    """Return how much an event is needed, where it was not taken before.

    What depends on the words of others, such as another segment, counts as tightening.
    """
    match signal:
        case SessionRevoked() | OperatorMark() | OperatorClear():
            return Need.REVOCATION
        case SessionPresented():
            return Need.SIGHTING  # each check of the session shows as much
        case SessionEstablished():
            return Need.LOOSENING  # its first check, with its token, shows as much
        case DeviceComplianceChange(compliant=loosens):
            return Need.LOOSENING if loosens else Need.TIGHTENING
        case RiskLevelChange(level=level):
            return Need.LOOSENING if level is RiskLevel.LOW else Need.TIGHTENING
        case AssuranceLevelChange(direction=direction):
            return Need.TIGHTENING if direction == "decrease" else Need.LOOSENING
        case NetworkChange() | CredentialChange() | TokenClaimsChange() | RiskSignal():
            return Need.TIGHTENING
        case _:
            assert_never(signal)


def may_fill(need: Need, of: Bottleneck) -> float:
    """Return which part of a bottleneck events of this need may fill.

    That much waits to be logged keeps no event from being in force: so nothing that tightens is
    shed for it. Revocations may exceed a source's rate, and have a part of the spool to themselves.
    """
    if need is Need.REVOCATION:
        return 1.0
    if need is Need.TIGHTENING and of is not Bottleneck.STORE:
        return 1.0
    return _EIGHTHS[need] / 8


def sheds(need: Need, of: Bottleneck, filled: float) -> bool:
    """Return whether events of this need are shed where a bottleneck is filled by so much."""
    if of is Bottleneck.LOGGING and need in {Need.TIGHTENING, Need.REVOCATION}:
        return False
    return filled >= may_fill(need, of)


def refusal(need: Need, of: Bottleneck) -> str:
    """Say in words why an event is shed."""
    return f"{SPOKEN[need]} are refused while {REASONS[of]}; try again later"
