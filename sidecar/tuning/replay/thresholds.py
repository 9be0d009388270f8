"""The thresholds of policies: where a condition begins to hold, and what if it were elsewhere."""

from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import TypeAlias

import msgspec

from sidecar.domain.policy.conditional_access import (
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
    key_of,
)

Value: TypeAlias = float | RiskLevel


class ThresholdKind(StrEnum):
    """Conditions that have a threshold, by their name in a policy file."""

    SCORE = key_of(Score)
    TRAVEL_SPEED = key_of(TravelSpeed)
    SIGNALS = key_of(Signals)
    USER_RISK = key_of(UserRisk)
    SESSION_RISK = key_of(SessionRisk)

    @property
    def is_level(self) -> bool:
        """Return whether the threshold is a risk level, else a number."""
        return self in {ThresholdKind.USER_RISK, ThresholdKind.SESSION_RISK}


class Threshold(msgspec.Struct, frozen=True):
    """The value from which conditions of a kind hold in a policy now."""

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
    """Return the policy, called `name`, with all its conditions of a kind beginning at `value`."""

    def changed(condition: Condition) -> Condition:
        if _kind(condition) is not kind:
            return condition
        return msgspec.structs.replace(condition, at_least=value)

    conditions = policy.conditions
    if conditions is not None:
        conditions = _mapped(conditions, changed)
    return msgspec.structs.replace(policy, id=name or policy.id, conditions=conditions)


def _kind(condition: Condition) -> ThresholdKind | None:
    key = key_of(type(condition))
    return ThresholdKind(key) if key in set(ThresholdKind) else None


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
