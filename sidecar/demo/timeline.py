"""The demo's output: a timeline, which shows of each step whether it went as expected.

A terminal gets colours (unless `NO_COLOR` is set) and its own width, anything else plain text of
100 columns.
"""

import sys
from collections.abc import Iterable, Sequence
from typing import TextIO

import trio
from rich.console import Console
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from sidecar.domain.values.plural import counted

WIDTH = 100
_STATUS_COLOURS = {"200": "green", "401": "yellow", "403": "red", "503": "red"}
_REVOKED = "401 invalid token"
_INDENT = 20


class DemoTimeline:
    """Prints steps as they happen. `failures` counts those that did not go as expected."""

    def __init__(self, file: TextIO | None = None) -> None:
        stream = file or sys.stdout
        width = None if stream.isatty() else WIDTH
        self._console = Console(file=stream, width=width, highlight=False, soft_wrap=False)
        unicode = (self._console.encoding or "").lower().startswith("utf")
        self._marks = ("✓", "✗", "·") if unicode else ("+", "!", "-")
        self._rule = "─" if unicode else "-"
        self._started = trio.current_time()
        self._number = 0
        self.steps = 0
        self.failures = 0

    def title(self, text: str, *lines: str) -> None:
        """Print the title of the story, and lines below it."""
        self._console.print(Text(text, style="bold"))
        for line in lines:
            self._console.print(Text(line, style="dim"))

    def act(self, title: str, *lines: str) -> None:
        """Begin an act, and say what it is about."""
        self._number += 1
        self._console.print()
        heading = Text(f"{self._number}. {title}", style="bold")
        self._console.print(Rule(heading, align="left", characters=self._rule, style="dim"))
        for line in lines:
            self._console.print(Padding(Text(line, style="italic dim"), (0, 0, 0, 3), expand=False))

    def say(self, who: str, what: str) -> None:
        """Print a step that has no outcome of its own, or is under way."""
        self._row(Text(self._marks[2], style="dim"), who, Text(what, style="dim"), Text())

    def step(
        self,
        who: str,
        what: str,
        outcome: str,
        *,
        expected: str | None = None,
        why: Iterable[str] = (),
    ) -> None:
        """Print a step. Where its outcome is not the expected one, say so and count it."""
        as_expected = expected is None or outcome == expected
        self.steps += 1
        good, bad, _ = self._marks
        mark = Text(good, style="green") if as_expected else Text(bad, style="bold red")
        self._row(mark, who, Text(what), Text(outcome, style=_colour(outcome)))
        self.note(*why)
        if not as_expected:
            self.failures += 1
            self.note(f"expected: {expected}", f"   actual: {outcome}", style="bold red")

    def astray(self, reason: str) -> None:
        """Print why the story cannot go on, and count it as a failure."""
        self.failures += 1
        mark = Text(self._marks[1], style="bold red")
        self._row(mark, "", Text(f"the story cannot go on: {reason}", style="bold red"), Text())

    def note(self, *lines: str, style: str = "dim") -> None:
        """Print lines below a step, which explain it."""
        for line in lines:
            self._console.print(Padding(Text(line, style=style), (0, 0, 0, _INDENT), expand=False))

    def table(self, headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Print a small table, whose last column is a number."""
        table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="dim")
        for heading in headings:
            table.add_column(heading, justify="right" if heading == headings[-1] else "left")
        for row in rows:
            table.add_row(*(Text(cell) for cell in row))
        self._console.print(Padding(table, (0, 0, 0, _INDENT), expand=False))

    def commands(self, title: str, pairs: Iterable[tuple[str, str]]) -> None:
        """Print commands to try, each with what it does; unbroken, so that they can be copied."""
        self._console.print()
        heading = Text(title, style="bold")
        self._console.print(Rule(heading, align="left", characters=self._rule, style="dim"))
        for what, command in pairs:
            self._console.print(Text(f"# {what}", style="dim"))
            self._console.print(Text(command), soft_wrap=True)

    def end(self) -> None:
        """Print the last line of the story: the steps, the time and the failures."""
        seconds = trio.current_time() - self._started
        steps = f"{counted(self.steps, 'step')} in {seconds:.1f} s"
        self._console.print()
        if self.failures:
            text = Text(f"{steps}, {self.failures} not as expected", style="bold red")
        else:
            text = Text(f"{steps}, all as expected", style="bold green")
        self._console.print(text)

    def _row(self, mark: Text, who: str, what: Text, outcome: Text) -> None:
        time = f"{trio.current_time() - self._started:.2f} s"
        grid = Table.grid(padding=(0, 1), expand=True)
        grid.add_column(width=1)
        grid.add_column(width=8, justify="right", style="dim")
        grid.add_column(width=8, style="bold cyan")
        grid.add_column(ratio=1)
        grid.add_column(width=len(outcome), no_wrap=True)
        grid.add_row(mark, time, who, what, outcome)
        self._console.print(grid)


def _colour(outcome: str) -> str:
    if outcome == _REVOKED:
        return "bold red"
    return _STATUS_COLOURS.get(outcome[:3], "cyan")
