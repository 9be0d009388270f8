"""The health of this sidecar: named conditions, by which it lives, has started and is ready.

Each condition is `good`, `limping` (shown, but checks are still answered) or `bad` (not ready), and
says why. All are bad until first reported, so that a part nobody wired is seen.

A start needs nothing outside of the process: it is over when the doors are open. A probe that
restarts a pod must not ask about others, whom a restart does not mend.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from enum import StrEnum

import msgspec

CONDITIONS = ("store", "losses", "privacy", "keys", "policies", "restart", "view", "doors")
"""The conditions that must be good before it is ready; `draining` is added when it begins."""

DOORS = "doors"
GEOGRAPHY = "geography"
TRANSMITTERS = "transmitters"
"""Conditions of daemons that have geography databases, or hear transmitters."""

DRAINING = "draining"


def _unheard(report: "HealthReport") -> None:
    """Drop the report, as nobody listens."""


class HealthState(StrEnum):
    """The state of a condition."""

    GOOD = "good"
    LIMPING = "limping"
    BAD = "bad"


class Condition(msgspec.Struct, frozen=True):
    """One condition: its name, how it stands and, unless it is good, why."""

    name: str
    state: HealthState
    reason: str = ""


class HealthReport(msgspec.Struct, frozen=True):
    """The answer of a probe: whether it passes, and each condition behind it."""

    ok: bool
    checks: tuple[Condition, ...]


class Health:
    """The conditions by name. Reported by those who know, read by the probes.

    `on_change` is called whenever the sidecar becomes ready, or is so no longer.
    """

    def __init__(
        self,
        names: Iterable[str] = CONDITIONS,
        on_change: Callable[[HealthReport], None] = _unheard,
    ) -> None:
        self._on_change = on_change
        self._was_ready = False
        self._conditions = {name: Condition(name, HealthState.BAD, "not up yet") for name in names}
        self._pending = set(self._conditions)
        self._reasons: dict[str, Callable[[], str]] = {}

    def have(self, names: Iterable[str]) -> None:
        """Have just these from now on; of one that is new nothing bad is known."""
        drained = self._conditions.get(DRAINING)
        self._conditions = {
            name: self._conditions.get(name, Condition(name, HealthState.GOOD)) for name in names
        }
        if drained is not None:
            self._conditions[DRAINING] = drained
        self._pending &= self._conditions.keys()
        self._reasons = {
            name: why for name, why in self._reasons.items() if name in self._conditions
        }
        self._note()

    def good(self, name: str) -> None:
        """Report that the condition is met."""
        self._report(Condition(name, HealthState.GOOD))

    def limping(self, name: str, reason: str | Callable[[], str]) -> None:
        """Report that the condition is not met, but checks can be answered: still ready.

        A reason that changes with time is a callable, which is called for each report.
        """
        self._set(name, HealthState.LIMPING, reason)

    def bad(self, name: str, reason: str | Callable[[], str]) -> None:
        """Report that the condition is not met: no traffic should come here. See `limping`."""
        self._set(name, HealthState.BAD, reason)

    def drain(self) -> None:
        """Report that the daemon ends: it is not ready from here on."""
        self._conditions[DRAINING] = Condition(DRAINING, HealthState.BAD, "shutting down")
        self._note()

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

    def live(self) -> HealthReport:
        """Pass as long as the event loop turns: a restart mends nothing that a probe can see."""
        return HealthReport(True, self._checks())

    def started(self) -> HealthReport:
        """Pass once the doors have been open."""
        return HealthReport(DOORS not in self._pending, self._checks())

    def ready(self, tolerate: Collection[str] = ()) -> HealthReport:
        """Pass while no condition is bad and the daemon does not drain.

        A condition to `tolerate` does not count where it is lost, once it has been met.
        """
        return HealthReport(self._is_ready(tolerate), self._checks())

    def _is_ready(self, tolerate: Collection[str] = ()) -> bool:
        forgiven = set(tolerate) - self._pending - {DRAINING}
        return not any(
            one.state is HealthState.BAD and one.name not in forgiven
            for one in self._conditions.values()
        )

    def _set(self, name: str, state: HealthState, reason: str | Callable[[], str]) -> None:
        if isinstance(reason, str):
            self._report(Condition(name, state, reason))
        else:
            self._report(Condition(name, state, reason()))
            self._reasons[name] = reason

    def _report(self, condition: Condition) -> None:
        if condition.name not in self._conditions:
            raise KeyError(condition.name)
        self._conditions[condition.name] = condition
        self._reasons.pop(condition.name, None)
        if condition.state is not HealthState.BAD:
            self._pending.discard(condition.name)
        self._note()

    def _note(self) -> None:
        is_ready = self._is_ready()
        if is_ready is not self._was_ready:
            self._was_ready = is_ready
            self._on_change(self.ready())
