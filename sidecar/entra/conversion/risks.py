"""Sets of Graph's risk levels, said exactly in terms of "at least".

`none` < `low` < `medium` < `high`, where a level that was never reported is `none`. Entra's sign-in
risk is what is reported of a session, whatever our own score of it is.
"""

from collections.abc import Callable, Sequence

from sidecar.domain.policy.conditional_access import (
    All,
    AnyOf,
    Condition,
    Not,
    RiskLevel,
    SessionRisk,
    UserRisk,
)
from sidecar.entra.graph_objects import Texts
from sidecar.entra.ledger import Effect, Ledger

_LEVELS = {"low": RiskLevel.LOW, "medium": RiskLevel.MEDIUM, "high": RiskLevel.HIGH}
_UNKNOWN = "is no risk level that signals report"

NEVER: Condition = All((UserRisk(RiskLevel.LOW), Not(UserRisk(RiskLevel.LOW))))
"""Holds for nobody: of a policy that is for nothing here, so that enabling it changes nothing."""


def user_risk(levels: Texts | None, at: str, ledger: Ledger) -> Condition | None:
    """Return the condition that the user's risk is one of these."""
    known = _known(levels, at, ledger, ("none", *_LEVELS))
    ledger.carry(*(item for item, _ in known))
    return _among({level for _, level in known}, ("none", *_LEVELS), UserRisk) if levels else None


def session_risk(levels: Texts | None, at: str, ledger: Ledger) -> Condition | None:
    """Return the condition that the session's reported risk, not its score, is one of these."""
    known = _known(levels, at, ledger, ("none", *_LEVELS))
    ledger.carry(*(item for item, _ in known))
    named = {level for _, level in known}
    return _among(named, ("none", *_LEVELS), _reported) if levels else None


def _reported(at_least: RiskLevel) -> Condition:
    return SessionRisk(at_least, reported=True)


def _known(
    levels: Texts | None, at: str, ledger: Ledger, known: Sequence[str]
) -> list[tuple[str, str]]:
    found = []
    for item, level in zip(ledger.items(at), levels or (), strict=True):
        if level in known:
            found.append((item, level))
        else:
            ledger.lose(item, _UNKNOWN, Effect.WEAKER)
    if levels and not found:
        ledger.idle.append("no risk level is left that could be reported")
    return found


def _among(
    named: set[str], ladder: Sequence[str], at_least: Callable[[RiskLevel], Condition]
) -> Condition | None:
    """Return the condition for any of the levels `named`; None for all of them.

    Neighbouring levels become one interval, since conditions say "at least" alone.
    """
    runs: list[Condition] = []
    start = 0
    for end in range(len(ladder) + 1):
        if end < len(ladder) and ladder[end] in named:
            continue
        if start < end:
            parts: list[Condition] = []
            if start > 0:
                parts.append(at_least(_LEVELS[ladder[start]]))
            if end < len(ladder):
                parts.append(Not(at_least(_LEVELS[ladder[end]])))
            if not parts:
                return None
            runs.append(parts[0] if len(parts) == 1 else All(tuple(parts)))
        start = end + 1
    if not runs:
        return None
    return runs[0] if len(runs) == 1 else AnyOf(tuple(runs))
