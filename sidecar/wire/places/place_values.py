"""Places as other people's data spell them: one reader for recordings, databases and tools.

A value that says nothing (null, an empty text, `-`, what `NaN` stands for in tables) is unknown.
Each other one is read, or refused with the reason; a reader raises ValueError.
"""

import math
from collections.abc import Callable, Mapping
from typing import TypeVar

from sidecar.domain.values.location import Place
from sidecar.wire.places.countries import code_of, meant_by
from sidecar.wire.tokens.claim_values import claim_text
from sidecar.wire.yaml import scalars

T = TypeVar("T")
FARTHEST_KM = 20_000
"""An accuracy radius that covers the Earth."""

_SAYS_NOTHING = frozenset({"", "-", "nan", "null", "none", "n/a"})
_TRUTHS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


class InvalidPlace(ValueError):  # noqa: N818 - named by what it is about
    """A member of a place is not what it must be. `member` names it."""

    def __init__(self, member: str, message: str) -> None:
        super().__init__(f"{member}: {message}")
        self.member = member
        self.message = message


def country(value: object) -> str:
    """Return a country's code, of its code or its English name; empty for none."""
    if says_nothing(value):
        return ""
    text = value if isinstance(value, str) else str(value)
    code = code_of(text)
    if not code:
        meant = meant_by(text.strip().upper())
        hint = f"; did you mean {meant}?" if meant else ""
        raise ValueError(f"{text[:64]!r} is no country's code (ISO 3166-1) or English name{hint}")
    return code


def asn(value: object) -> int:
    """Return the number of an autonomous system, written with or without `AS`; 0 for none."""
    if says_nothing(value):
        return 0
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = value.strip() if isinstance(value, str) else value
    if isinstance(text, str) and text.endswith(".0"):  # a table's column of numbers with gaps
        text = text[:-2]
    return scalars.asn(text if isinstance(text, str | int) else "")


def number(value: object, least: float, most: float) -> float | None:
    """Return a number within bounds; None for none."""
    if says_nothing(value):
        return None
    found = math.nan
    if isinstance(value, str):
        try:
            found = float(value)
        except ValueError:
            found = math.nan
    elif isinstance(value, int | float) and not isinstance(value, bool):
        found = _float(value)
    if not least <= found <= most:
        raise ValueError(f"must be a number from {least:g} to {most:g}")
    return found


def coordinates(latitude: T | None, longitude: T | None) -> tuple[T | None, T | None]:
    """Return a pair of coordinates; None for half a pair, and for what lies at 0, 0.

    That is in the sea: who writes it does not know.
    """
    known = latitude is not None and longitude is not None and (latitude or longitude)
    return (latitude, longitude) if known else (None, None)


def says_nothing(value: object) -> bool:
    """Return whether a value stands where nothing is known."""
    if isinstance(value, str):
        return value.strip().lower() in _SAYS_NOTHING
    return value is None or (isinstance(value, float) and math.isnan(value))


def read_place(members: Mapping[str, object]) -> Place:
    """Read a place of which each member may be unknown; raises `InvalidPlace`."""
    unknown = members.keys() - _READERS.keys()
    if unknown:
        raise InvalidPlace(min(unknown, key=str), "is not known here")
    found: dict[str, object] = {}
    for member, value in members.items():
        try:
            found[member] = _READERS[member](value)
        except ValueError as error:
            raise InvalidPlace(member, str(error)) from None
    found["latitude"], found["longitude"] = coordinates(*map(found.get, ("latitude", "longitude")))
    found["accuracy_km"] = found.get("accuracy_km") or 0.0
    return Place(**found)  # type: ignore[arg-type]  # each reader returns its member's type


def _float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _text(value: object) -> str:
    if says_nothing(value):
        return ""
    text = claim_text(value)
    if text is None:
        raise ValueError("must be text")
    return text


def _texts(value: object) -> tuple[str, ...]:
    if says_nothing(value):
        return ()
    texts = value if isinstance(value, list | tuple) else [value]
    if not all(isinstance(text, str) for text in texts):
        raise ValueError("must be a text, or a list of texts")
    return tuple(str(text) for text in texts)


def _truth(value: object) -> bool:
    if says_nothing(value):
        return False
    known = value if isinstance(value, bool) else _TRUTHS.get(str(value).strip().lower())
    if known is None:
        raise ValueError("must be true or false")
    return known


def _build(value: object) -> int:
    return int(number(value, 0, 1e12) or 0)


NUMBERS: Mapping[str, Callable[[object], float | None]] = {
    "latitude": lambda value: number(value, -90, 90),
    "longitude": lambda value: number(value, -180, 180),
    "accuracy_km": lambda value: number(value, 0, FARTHEST_KM),
}
"""How the members of a place that are numbers are read."""

_READERS: Mapping[str, Callable[[object], object]] = {
    "country": country,
    "region": _text,
    "city": _text,
    "asn": asn,
    "organization": _text,
    **NUMBERS,
    "anonymizer": _texts,
    "meaningless": _truth,
    "build": _build,
    "carrier": _truth,
}
MEMBERS = frozenset(_READERS)
"""The members that a place may have."""
