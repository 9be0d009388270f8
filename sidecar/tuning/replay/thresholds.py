"""The thresholds of policies: where a condition begins to hold, and what if it were elsewhere."""

from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import TypeAlias

import msgspec

from sidecar.domain.policy.policy import (
    All,
    AnyOf,
    Condition,
    Not,
    Policy,
    RiskLevel,
    Score,
    SessionRisk,
    Signals,
    TravelSpeed,
    UserRisk,
)

Value: TypeAlias = float | RiskLevel


class ThresholdKind(StrEnum):
    """Conditions that have a threshold, by their name in a policy file."""

    SCORE = "score"
    TRAVEL_SPEED = "travel_speed"
    SIGNALS = "signals"
    USER_RISK = "user_risk"
    SESSION_RISK = "session_risk"

    @property
    def is_level(self) -> bool:
        """Return whether the threshold is a risk level, else a number."""
        return self in {ThresholdKind.USER_RISK, ThresholdKind.SESSION_RISK}


class Threshold(msgspec.Struct, frozen=True):
    """Where conditions of a kind begin to hold in a policy now."""

    policy: str
    kind: ThresholdKind
    current: Value


def thresholds_of(policy: Policy) -> tuple[Threshold, ...]:
    """Return the thresholds of a policy, of each kind the first."""
    found: dict[ThresholdKind, Threshold] = {}
    for condition in _leaves(policy.conditions):
        kind = _kind(condition)
        if kind is not None and isinstance(
            condition, Score | TravelSpeed | Signals | UserRisk | SessionRisk
        ):
            found.setdefault(kind, Threshold(policy.id, kind, condition.at_least))
    return tuple(found.values())


def with_threshold(policy: Policy, kind: ThresholdKind, value: Value, name: str = "") -> Policy:
    """The policy with all its conditions of a kind beginning at `value`, under another `name`."""

    def changed(condition: Condition) -> Condition:
        if _kind(condition) is not kind:
            return condition
        return msgspec.structs.replace(condition, at_least=value)

    conditions = policy.conditions
    if conditions is not None:
        conditions = _mapped(conditions, changed)
    return msgspec.structs.replace(policy, id=name or policy.id, conditions=conditions)


_KINDS: dict[type[Condition], ThresholdKind] = {
    Score: ThresholdKind.SCORE,
    TravelSpeed: ThresholdKind.TRAVEL_SPEED,
    Signals: ThresholdKind.SIGNALS,
    UserRisk: ThresholdKind.USER_RISK,
    SessionRisk: ThresholdKind.SESSION_RISK,
}


def _kind(condition: Condition) -> ThresholdKind | None:
    return _KINDS.get(type(condition))


def _leaves(condition: Condition | None) -> Iterator[Condition]:
    match condition:
        case None:
            return
        case All() | AnyOf():
            for one in condition.conditions:
                yield from _leaves(one)
        case Not():
            yield from _leaves(condition.condition)
        case _:
            yield condition


def _mapped(condition: Condition, change: Callable[[Condition], Condition]) -> Condition:
    match condition:
        case All():
            return All(tuple(_mapped(one, change) for one in condition.conditions))
        case AnyOf():
            return AnyOf(tuple(_mapped(one, change) for one in condition.conditions))
        case Not():
            return Not(_mapped(condition.condition, change))
        case _:
            return change(condition)
