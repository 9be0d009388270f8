"""Pieces of a report's page: every figure is taken from the report's JSON, and says where from.

An element that shows a figure has `data-figure`, the figure's path in the JSON, and `data-value`,
its value there: so a page can be held against its JSON (tests/tuning/report/test_html.py).
"""

import html
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from sidecar.domain.values.plural import counted, plural
from sidecar.tuning.report.report import Report

_NUMBER = ' class="n"'
_CELL = re.compile("<t[dh][^>]*>")


class Figures:
    """A report as its JSON has it, by dotted paths: `sets.0.prompts.total`."""

    def __init__(self, report: Report) -> None:
        self._root: Any = msgspec.to_builtins(report)

    def at(self, path: str) -> Any:
        """What stands at a path."""
        value = self._root
        for key in path.split("."):
            value = value[int(key)] if isinstance(value, list | tuple) else value[key]
        return value

    def attributes(self, path: str) -> str:
        """The attributes of an element that shows the figure at a path."""
        value = msgspec.json.encode(self.at(path)).decode()
        return f'data-figure="{escape(path)}" data-value="{escape(value)}"'

    def text(self, path: str) -> str:
        """The figure at a path, for people."""
        return spelled(self.at(path), rate=path.endswith("_rate"))

    def show(self, path: str) -> str:
        """The figure at a path within text."""
        return f"<b {self.attributes(path)}>{escape(self.text(path))}</b>"

    def counted(self, path: str, noun: str) -> str:
        """The count at a path within text, with its noun."""
        return f"{self.show(path)} {noun if self.at(path) == 1 else plural(noun)}"

    def cell(self, path: str) -> str:
        """The figure at a path as a cell of a table."""
        kind = "" if isinstance(self.at(path), str) else _NUMBER
        return f"<td{kind} {self.attributes(path)}>{escape(self.text(path))}</td>"

    def count(self, path: str) -> int:
        """How many items the list at a path has."""
        return len(self.at(path))


def spelled(value: object, *, rate: bool = False) -> str:
    """A figure for people: thousands apart, rates in percent, a dash for none."""
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case float() if rate:
            return f"{value * 100:.1f} %"
        case float():
            return f"{value:,.10g}"
        case _:
            return str(value)


def escape(text: str) -> str:
    """Text that means nothing in HTML, and that cannot turn what is around it."""
    shown = "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in text)
    return html.escape(shown, quote=True)


def moment(seconds: float) -> str:
    """A time in UTC."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%SZ}"


def table(caption: str, head: Sequence[str], rows: Iterable[str], *, shown: int = 0) -> str:
    """A table; `rows` are ready cells. Above `shown` rows it can be folded up."""
    body = [f"<tr>{row}</tr>" for row in rows]
    if not body:
        return f'<p class="none">{escape(caption)}: none.</p>'
    cells = _CELL.findall(body[0])
    names = "".join(
        f'<th scope="col"{_NUMBER if _NUMBER in cell else ""}>{escape(name)}</th>'
        for name, cell in zip(head, cells, strict=True)
    )
    made = (
        f'<div class="scroll"><table><caption>{escape(caption)}</caption>'
        f"<thead><tr>{names}</tr></thead><tbody>{''.join(body)}</tbody></table></div>"
    )
    if shown and len(body) > shown:
        rows_told = counted(len(body), "row")
        return f"<details><summary>{escape(caption)} ({rows_told})</summary>{made}</details>"
    return made


def name(text: str) -> str:
    """The cell that names a row."""
    return f'<th scope="row">{escape(text)}</th>'
