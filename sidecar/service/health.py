"""Whether this sidecar lives, has started, and is ready: a registry of named conditions.

Each condition is `good`, `limping` (told, but checks are still answered) or `bad` (not ready), and
says why. All are bad until first reported, so that a part nobody wired is seen.
"""

from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum

import msgspec

CONDITIONS = ("store", "losses", "keys", "policies", "restart", "view", "doors")
"""What must be good before the first check; `draining` is added when it begins."""

DRAINING = "draining"


class State(StrEnum):
    """How a condition stands."""

    GOOD = "good"
    LIMPING = "limping"
    BAD = "bad"


class Condition(msgspec.Struct, frozen=True):
    """One condition: its name, how it stands and, unless it is good, why."""

    name: str
    state: State
    reason: str = ""


class Report(msgspec.Struct, frozen=True):
    """The answer of a probe: whether it passes, and each condition behind it."""

    ok: bool
    checks: tuple[Condition, ...]


class Health:
    """The conditions by name. Reported by those who know, read by the probes."""

    def __init__(self, names: Iterable[str] = CONDITIONS) -> None:
        self._conditions = {name: Condition(name, State.BAD, "not up yet") for name in names}
        self._pending = set(self._conditions)
        self._reasons: dict[str, Callable[[], str]] = {}

    def good(self, name: str) -> None:
        """The condition is met."""
        self._report(Condition(name, State.GOOD))

    def limping(self, name: str, reason: str | Callable[[], str]) -> None:
        """The condition is not met, but checks can be answered: told, and ready all the same.

        A reason that changes with time is asked for whenever it is told.
        """
        if isinstance(reason, str):
            self._report(Condition(name, State.LIMPING, reason))
        else:
            self._report(Condition(name, State.LIMPING, reason()))
            self._reasons[name] = reason

    def bad(self, name: str, reason: str) -> None:
        """The condition is not met: no traffic should come here."""
        self._report(Condition(name, State.BAD, reason))

    def drain(self) -> None:
        """The daemon ends: not ready from here on."""
        self._conditions[DRAINING] = Condition(DRAINING, State.BAD, "shutting down")

    @property
    def conditions(self) -> Mapping[str, Condition]:
        """All conditions by name."""
        return {condition.name: condition for condition in self._checks()}

    def _checks(self) -> tuple[Condition, ...]:
        return tuple(
            Condition(one.name, one.state, self._reasons[one.name]())
            if one.name in self._reasons
            else one
            for one in self._conditions.values()
        )

    def live(self) -> Report:
        """Passes as long as the event loop turns: a restart mends nothing that a probe can see."""
        return Report(True, self._checks())

    def started(self) -> Report:
        """Passes once every condition has been met at one time or another (limping counts)."""
        return Report(not self._pending, self._checks())

    def ready(self) -> Report:
        """Passes while the daemon has started, no condition is bad, and it does not drain."""
        checks = self._checks()
        bad = any(condition.state is State.BAD for condition in checks)
        return Report(not (self._pending or bad), checks)

    def _report(self, condition: Condition) -> None:
        if condition.name not in self._conditions:
            raise KeyError(condition.name)
        self._conditions[condition.name] = condition
        self._reasons.pop(condition.name, None)
        if condition.state is not State.BAD:
            self._pending.discard(condition.name)
