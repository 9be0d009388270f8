"""Coverage of policies by scenarios: each policy, and each condition, both ways."""

from collections.abc import Iterable
from typing import NamedTuple

from sidecar.domain.explanation.explanation import (
    ConditionExplanation,
    Explanation,
    PolicyExplanation,
    PolicyOutcome,
)


class Tried(NamedTuple):
    """A policy (`condition` empty) or one of its conditions, and which ways it has gone."""

    policy: str
    condition: str
    yes: bool
    no: bool

    @property
    def missing(self) -> str:
        """Return what no scenario has shown, in words; empty: nothing is missing."""
        ways = ("holds", "does not hold") if self.condition else ("fires", "does not fire")
        return " or ".join(
            way for way, seen in zip(ways, (self.yes, self.no), strict=True) if not seen
        )


class Coverage:
    """Gathers which ways policies and conditions went. Disabled policies do not count."""

    def __init__(self, policies: Iterable[str]) -> None:
        self._seen: dict[tuple[str, str], set[bool]] = {(name, ""): set() for name in policies}

    def add(self, explanation: Explanation) -> None:
        """Count an answer, for those policies that are for its user, app and context."""
        for explained in explanation.policies:
            if explained.outcome is PolicyOutcome.DISABLED:
                continue
            counts = not explained.outcome.is_elsewhere
            self._note(explained.policy, "", explained.outcome.fires if counts else None)
            if explained.conditions is not None:
                self._condition(explained, explained.conditions, "", counts=counts)

    def _condition(
        self, explained: PolicyExplanation, node: ConditionExplanation, path: str, *, counts: bool
    ) -> None:
        path = f"{path}.{node.kind}" if path else node.kind
        if not node.parts:
            self._note(explained.policy, f"{path} ({node.asks})", node.holds if counts else None)
        for index, part in enumerate(node.parts):
            at = path if len(node.parts) == 1 else f"{path}[{index}]"
            self._condition(explained, part, at, counts=counts)

    def _note(self, policy: str, condition: str, way: bool | None) -> None:  # noqa: FBT001
        ways = self._seen.setdefault((policy, condition), set())
        if way is not None:
            ways.add(way)

    @property
    def tried(self) -> tuple[Tried, ...]:
        """Every policy, its conditions after it, and which ways each went."""
        return tuple(
            Tried(policy, condition, yes=True in ways, no=False in ways)
            for (policy, condition), ways in sorted(self._seen.items())
        )

    @property
    def percent(self) -> float:
        """Return how many of the ways that there are were gone, in percent.

        100 where there are none.
        """
        gone = sum(len(ways) for ways in self._seen.values())
        return 100.0 * gone / (2 * len(self._seen)) if self._seen else 100.0
