"""Records of any shape as tables for people, with nothing in them that steers the terminal."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from sidecar.cli.asking import plain

_FIRST = ("session", "id", "user", "subject", "device", "standing", "score", "level")
_TIMES = frozenset({"time", "since", "established", "auth_time", "met_until", "binds_from"})
_YEAR_9999 = 253_370_764_800
_LONGEST = 200


def print_rows(rows: Sequence[Mapping[str, Any]], otherwise: str) -> None:
    """A row for each record; `otherwise` where there is none."""
    if rows:
        Console().print(_table(rows))
    else:
        print(otherwise)


def print_record(record: Mapping[str, Any]) -> None:
    """One record: what is simple as lines; records in it, and lists of them, under their names."""
    _print_record(Console(), record)


def _print_record(console: Console, record: Mapping[str, Any]) -> None:
    simple: dict[str, Any] = {}
    for name, value in record.items():
        if _is_rows(value) or (value and isinstance(value, dict)):
            _print_simple(console, simple)
            simple = {}
            console.print(Text(f"\n{plain(name)}", style="bold"))
            if isinstance(value, dict):
                _print_record(console, value)
            else:
                console.print(_table(value))
        elif value not in (None, "", [], {}):
            simple[name] = value
    _print_simple(console, simple)


def _print_simple(console: Console, record: Mapping[str, Any]) -> None:
    if not record:
        return
    lines = Table(show_header=False, box=None, pad_edge=False)
    lines.add_column(style="bold")
    lines.add_column(overflow="fold")
    for name, value in record.items():
        lines.add_row(_cell(name), _cell(value, name))
    console.print(lines)


def _is_rows(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(v, dict) for v in value)


def _table(rows: Sequence[Mapping[str, Any]]) -> Table:
    told = (name for row in rows for name in row if row[name] not in (None, "", [], {}))
    names = list(dict.fromkeys(told))
    names.sort(key=lambda name: _FIRST.index(name) if name in _FIRST else len(_FIRST))
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in names:
        table.add_column(_cell(name), overflow="fold")
    for row in rows:
        table.add_row(*(_cell(row.get(name), name) for name in names))
    return table


def _cell(value: object, name: str = "") -> Text:
    if name in _TIMES and isinstance(value, int | float) and 0 < value < _YEAR_9999:
        moment = datetime.fromtimestamp(value, UTC)
        return Text(moment.isoformat(sep=" ", timespec="seconds").replace("+00:00", "Z"))
    return Text(plain(_words(value))[:_LONGEST])


def _words(value: object) -> str:
    if value is None or value in ("", [], {}):
        return "-"
    match value:
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:.6g}" if abs(value) < 1e6 else f"{value:.3f}"
        case list():
            return ", ".join(map(_words, value))
        case dict():
            return ", ".join(f"{name}: {_words(inner)}" for name, inner in value.items())
        case _:
            return str(value)
