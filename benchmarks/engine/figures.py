"""What a row measures, beside what, and whether its goal is met.

Only figures of one run are compared, taken in turn: another machine, or another minute, has others.
"""

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple


class Goal(NamedTuple):
    """`ours` over the median `beside` of this name (none: by itself) is to be so much.

    `at_least`: no less than `bound`; else no more.
    """

    bound: float
    beside: str = ""
    at_least: bool = False

    @property
    def spoken(self) -> str:
        """The goal in words of a table."""
        sign = ">=" if self.at_least else "<="
        return (
            f"{sign} {self.bound:g} of {self.beside}" if self.beside else f"{sign} {self.bound:g}"
        )


class Figure(NamedTuple):
    """One line of the table: values of each round, ours and those of what stands beside it."""

    name: str
    unit: str
    ours: Sequence[float]
    beside: Mapping[str, Sequence[float]] = {}
    goals: Sequence[Goal] = ()
    note: str = ""

    @property
    def median(self) -> float:
        """Our median."""
        return statistics.median(self.ours)

    def against(self, goal: Goal) -> float:
        """Return what is held against a goal's bound; nan where its peer is not there."""
        if not goal.beside:
            return self.median
        peer = self.beside.get(goal.beside)
        return self.median / statistics.median(peer) if peer else math.nan

    def is_met(self, goal: Goal) -> bool | None:
        """Return whether a goal is met; None: its peer is not there."""
        found = self.against(goal)
        if math.isnan(found):
            return None
        return found >= goal.bound if goal.at_least else found <= goal.bound

    def as_json(self) -> dict[str, Any]:
        """The line as JSON has it."""
        return {
            "name": self.name,
            "unit": self.unit,
            "ours": spread(self.ours),
            "beside": {name: spread(values) for name, values in self.beside.items()},
            "goals": [
                {
                    "goal": goal.spoken,
                    "found": None if math.isnan(self.against(goal)) else self.against(goal),
                    "met": self.is_met(goal),
                }
                for goal in self.goals
            ],
            "note": self.note,
        }


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return the median of rounds, and their extremes."""
    return {"median": statistics.median(values), "least": min(values), "most": max(values)}


def shown(value: float) -> str:
    """Return a figure with three digits that count."""
    if value and abs(value) < 100:
        return f"{value:.3g}"
    return f"{value:,.0f}"


def markdown(figures: Sequence[Figure]) -> str:
    """Return the table of the document."""
    lines = [
        "| what | unit | ours (least..most) | beside it | goal | found | met |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for one in figures:
        ours = f"{shown(one.median)} ({shown(min(one.ours))}..{shown(max(one.ours))})"
        beside = "; ".join(
            f"{name} {shown(statistics.median(values))}" for name, values in one.beside.items()
        )
        goals = one.goals or (None,)
        for at, goal in enumerate(goals):
            cells = ["", "", "", ""] if at else [one.name, one.unit, ours, beside]
            if goal is None:
                cells += ["", "", ""]
            else:
                found, met = one.against(goal), one.is_met(goal)
                verdict = {True: "yes", False: "**no**", None: "not measured"}[met]
                cells += [goal.spoken, "" if math.isnan(found) else shown(found), verdict]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


BAR, LABELS, WIDTH, TOP = 18, 330, 900, 40


def plot(figures: Sequence[Figure]) -> str:
    """Draw how far each goal is reached, as SVG: the line in the middle is the goal."""
    bars = []
    for one in figures:
        for goal in one.goals:
            found = one.against(goal)
            if math.isnan(found) or found <= 0:
                continue
            reached = found / goal.bound if goal.at_least else goal.bound / found
            bars.append((f"{one.name}: {goal.spoken}", reached))
    middle = LABELS + (WIDTH - LABELS) / 2
    scale = (WIDTH - LABELS) / 2 / math.log(32)  # from a 32nd of a goal to 32 times it
    height = TOP + BAR * len(bars) + 10
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-size="11"'
    title = "goal (to either side: up to 32 times)"
    parts = [
        f'{head} font-family="sans-serif"><title>How far each goal is reached</title>',
        f'<text x="{middle}" y="20" text-anchor="middle">{title}</text>',
    ]
    for at, (name, reached) in enumerate(bars):
        top = TOP + at * BAR
        length = max(-1, min(1, math.log(reached) / math.log(32))) * scale * math.log(32)
        left = min(middle, middle + length)
        colour = "#2e7d32" if reached >= 1 else "#c62828"
        text = name.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        parts.append(
            f'<text x="{LABELS - 6}" y="{top + 13}" text-anchor="end">{text}</text>'
            f'<rect x="{left:.1f}" y="{top + 3}" width="{max(1.0, abs(length)):.1f}" height="12"'
            f' fill="{colour}"/>'
        )
    end = TOP + BAR * len(bars)
    parts.append(
        f'<line x1="{middle}" x2="{middle}" y1="{TOP - 8}" y2="{end}" stroke="#555"/></svg>'
    )
    return "\n".join(parts) + "\n"


def keep(directory: Path, figures: Sequence[Figure], machine: Mapping[str, Any]) -> None:
    """Write the figures as JSON, as a table and as a plot."""
    directory.mkdir(parents=True, exist_ok=True)
    kept = {"machine": machine, "rows": [one.as_json() for one in figures]}
    (directory / "engine.json").write_text(json.dumps(kept, indent=1) + "\n")
    (directory / "engine.md").write_text(markdown(figures))
    (directory / "engine.svg").write_text(plot(figures))
