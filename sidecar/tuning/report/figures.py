"""Figures of a report with their paths in its JSON, and their spelling for people."""

from collections.abc import Iterator
from typing import Any

import msgspec

from sidecar.domain.values.moments import to_second
from sidecar.tuning.report.report import Report


class Figure:
    """A value of a report's JSON, with its path there: `sets.0.prompts.total`.

    Values below it are reached by key, by index and by iteration. `str()` spells it for people.
    """

    __slots__ = ("path_", "value_")

    def __init__(self, value: Any, path: str = "") -> None:
        self.value_ = value
        self.path_ = path

    def __getitem__(self, key: str | int) -> "Figure":
        return Figure(self.value_[key], f"{self.path_}.{key}" if self.path_ else str(key))

    def __iter__(self) -> Iterator["Figure"]:
        return (self[at] for at in range(len(self)))

    def __len__(self) -> int:
        return len(self.value_)

    def __bool__(self) -> bool:
        return bool(self.value_)

    def __str__(self) -> str:
        return spelled(self.value_, rate=self.path_.endswith("_rate"))


def figures_of(report: Report) -> Figure:
    """Return a report as its JSON has it."""
    return Figure(msgspec.to_builtins(report))


def path(figure: Figure) -> str:
    """Return the path of a figure in the JSON."""
    return figure.path_


def value(figure: Figure) -> Any:
    """Return the value of a figure."""
    return figure.value_


def json(figure: Figure) -> str:
    """Return the value of a figure in JSON."""
    return msgspec.json.encode(figure.value_).decode()


def is_text(figure: Figure) -> bool:
    """Return whether a figure is words or a list of them; a missing number is a number."""
    return isinstance(figure.value_, str | tuple)


def spelled(value: object, *, rate: bool = False) -> str:
    """Spell a value for people: thousands apart, rates in percent, a dash for none."""
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
        case list() | tuple():
            return "; ".join(map(spelled, value))
        case _:
            return str(value)


def moment(figure: Figure) -> str:
    """Spell seconds since the epoch as a time in UTC."""
    return to_second(figure.value_)
