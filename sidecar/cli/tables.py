"""Records as tables: for people at a terminal, or for programs, with nothing that steers either.

On a terminal a row is a line: columns that have no room are left out, and said to be; long cells
are cut. Elsewhere values are separated by tabs, under a head, all of them and whole.
"""

import shutil
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from rich.cells import cell_len, set_cell_size

from sidecar.cli.socket_options import plain
from sidecar.domain.values.moments import iso, to_second

_TIMES = frozenset({"time", "since", "established", "auth_time", "met_until", "binds_from"})
_YEAR_9999 = 253_370_764_800
_GAP = 2


class TableColumn(NamedTuple):
    """A column of a list, cut to no fewer letters than `least` (0: never).

    It takes no more than `most` (0: no bound) before those after it have theirs. Those that are
    `needed` have their least before any other.
    """

    name: str
    least: int = 0
    most: int = 0
    needed: bool = False


def print_rows(
    rows: Sequence[Mapping[str, Any]], columns: Sequence[TableColumn], otherwise: str
) -> None:
    """Print a row for each record, of these columns; `otherwise` where there is none.

    Those that come first are the last to be left out for want of room.
    """
    if not sys.stdout.isatty():
        print("\t".join(column.name for column in columns))
        for row in rows:
            print("\t".join(_value(row.get(column.name), column.name, iso) for column in columns))
    elif rows:
        room = shutil.get_terminal_size().columns
        lines, left_out = fitted(rows, columns, room)
        print("\n".join(lines))
        if left_out:
            words = f"no room for {', '.join(left_out)}: use a wider terminal, or a pipe"
            print(textwrap.fill(words, room), file=sys.stderr)
    if not rows:
        print(otherwise, file=sys.stderr)


def print_record(record: Mapping[str, Any]) -> None:
    """Print one record: what is simple as lines; records in it under their names."""
    simple: dict[str, Any] = {}
    for name, value in record.items():
        if isinstance(value, dict) and value:
            print_fields(simple)
            simple = {}
            print(f"\n{plain(name)}")
            print_record(value)
        else:
            simple[name] = value
    print_fields(simple)


def print_fields(fields: Mapping[str, Any]) -> None:
    """Print a line for each field that says something."""
    texts_of = {plain(name): _value(value, name) for name, value in fields.items()}
    width = max(map(len, texts_of), default=0)
    for name, text in texts_of.items():
        if text:
            print(f"{name:{width}}  {text}")


def fitted(
    rows: Sequence[Mapping[str, Any]], columns: Sequence[TableColumn], room: int
) -> tuple[list[str], list[str]]:
    """Return a head and a line for each record, none wider than `room`; and what had none."""
    cells = {
        column: [_value(row.get(column.name), column.name) for row in rows] for column in columns
    }
    texts_of = {column: texts for column, texts in cells.items() if any(texts)}
    widths = {
        column: max(cell_len(text) for text in (column.name, *texts))
        for column, texts in texts_of.items()
    }
    shown = _fitting(widths, room)
    lines = []
    for at in range(-1, len(rows)):
        line = (
            _cut(column.name if at < 0 else texts_of[column][at] or "-", width)
            for column, width in shown.items()
        )
        lines.append((" " * _GAP).join(line).rstrip())
    return lines, [column.name for column in texts_of if column not in shown]


def _cut(text: str, width: int) -> str:
    return set_cell_size(text if cell_len(text) <= width else f"{text[: width - 1]}…", width)


def _fitting(widths: Mapping[TableColumn, int], room: int) -> dict[TableColumn, int]:
    """Return the columns that have room, each with its width, in their order."""
    shown: dict[TableColumn, int] = {}

    def left() -> int:
        return room - sum(shown.values()) - _GAP * max(0, len(shown) - 1)

    def widen(column: TableColumn, most: int) -> None:
        shown[column] += max(0, min(widths[column], most or room) - shown[column])
        shown[column] += min(0, left())

    for needed in (True, False):
        for column in (one for one in widths if one.needed is needed):
            least = min(widths[column], column.least or room)
            if not shown or left() - _GAP >= least:
                shown[column] = min(least, room)
                if not needed:
                    widen(column, column.most)
        for column in shown:
            widen(column, column.most)
    for column in shown:
        widen(column, room)
    return {column: shown[column] for column in widths if column in shown}


def _value(value: object, name: str = "", written: Callable[[float], str] = to_second) -> str:
    """Return a value as text; times in the form of `written`."""
    if name in _TIMES and isinstance(value, int | float) and 0 < value < _YEAR_9999:
        return written(value)
    return plain(_words(value))


def _words(value: object) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:.6g}" if abs(value) < 1e6 else f"{value:.3f}"
        case list() | tuple():
            return ", ".join(map(_words, value))
        case dict():
            return ", ".join(f"{name} {_words(inner)}" for name, inner in value.items() if inner)
        case _:
            return str(value)
