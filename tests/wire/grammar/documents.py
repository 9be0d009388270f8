"""Documents drawn from a grammar's own rules: right ones, and ones with some things wrong."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from hypothesis import strategies as st

from sidecar.wire.grammar.records import ByShape, Items, Record, RecordKey, Short
from sidecar.wire.grammar.rules import (
    AsTexts,
    Boolean,
    Built,
    Choice,
    Name,
    Number,
    OneOf,
    Reference,
    Rule,
    Seconds,
    Several,
    Spelled,
    Text,
    Use,
)
from sidecar.wire.grammar.selections import Excluded, Included

ODD: st.SearchStrategy[Any] = st.sampled_from(
    [
        *(None, True, False, "", " a", "a", "all", "block", "every_time", "ODD", "NO", "22:00"),
        *("90s", 0, -1, 1, 1.5, 101, 10**7, [], {}, [[]], [None], {"x": 1}, {"include": []}),
    ]
)
"""What stands where something else is wanted; some of it is right by chance."""

SPELLED: dict[str, list[Any]] = {
    "country codes": ["NO", "de", "Norway", "XX"],
    "AS numbers": [64496, "AS64496", "64497", "ASX", 2**32],
    "names of signals": ["impossible-travel", "a.b_c", "Bad Name"],
    "time, in quotes": ["00:00", "09:30", "22:00", "24:00", "24:01", "9:30"],
    "address": ["192.0.2.1", "2001:db8::1"],
    "addresses": ["192.0.2.1", "2001:db8::1"],
    "time": ["2026-01-05T09:00:00Z", "2026-01-05 09:00:00+01:00", "2026-01-05"],
    "path": ["/pay", "/a%2fb"],
    "names": ["ada", "Jos\u00e9", "all"],
}


class Documents:
    """Draws documents by the rules of a grammar.

    `names` are what may be named, by kind; `own` the documents of rules of one grammar alone, and
    `least` those of what may hold itself. Of `odds` things one is wrong; 0: none.
    """

    def __init__(
        self,
        draw: st.DrawFn,
        names: dict[str, list[str]],
        own: dict[type, Any],
        least: dict[str, Any],
        odds: int,
    ) -> None:
        self._draw = draw
        self._names = names
        self._own = own
        self._least = least
        self._odds = odds
        self._left = 12

    def sample(self, values: Any) -> Any:
        """Draw one of these values."""
        return self._draw(st.sampled_from(list(values)))

    def is_odd(self) -> bool:
        """Return whether something is wrong here."""
        return bool(self._odds) and bool(self.sample([*range(self._odds)]) == self._odds - 1)

    def of(self, rule: Rule[Any]) -> Any:
        """Draw a document by this rule."""
        self._left -= 1
        if self.is_odd():
            return self._draw(ODD)
        own = self._own.get(type(rule))
        return own(self, rule) if own is not None else self._of(rule)

    def several(self, draw: Any, most: int = 2) -> list[Any]:
        """Draw a list that is not empty."""
        return [draw() for _ in range(1 if self._left < 0 else self._draw(st.integers(1, most)))]

    def _of(self, rule: Any) -> Any:  # noqa: C901, PLR0912 - one case a rule
        match rule:
            case Boolean():
                return self._draw(st.booleans())
            case Number(least=least, most=most):
                return self.sample([least, most, (least + most) / 2])
            case Seconds(least=least, most=most):
                return self.sample([least, most, "90s", "1h", "15m"])
            case Text():
                return self.sample(["a", "A text", "x" * 1024])
            case Choice(of_type=of_type):
                return self.sample([member.value for member in of_type])
            case OneOf(known=known):
                return self.sample(known)
            case Name(kind=kind):
                return self.sample(self._names[kind])
            case Spelled(called=called):
                return self.sample(SPELLED[called])
            case Use(kind=kind):
                return self.sample(self._names[kind])
            case Several(item=item) | Included(item=item):
                return self.some(item)
            case Excluded(item=item):
                return self.sample([[], self.some(item)])
            case AsTexts(rule=inner) | Built(rule=inner):
                return self.of(inner)
            case Reference(name=name, rule=inner):
                return self.of(inner()) if self._left > 0 else self._least[name]
            case Record(keys=keys, needs=needs):
                return self.record(keys, needs)
            case Short(record=record, alone=alone):
                return self.of(self.sample([record.keys[alone].rule, record]))
            case ByShape(other=other, mapping=mapping, listing=listing):
                return self.of(self.sample([each for each in (other, mapping, listing) if each]))
            case Items(rule=inner):
                return self.several(functools.partial(self.of, inner))
            case _:
                raise TypeError(f"no documents for {type(rule).__name__}: add it")

    def some(self, item: Rule[Any]) -> Any:
        """Draw one, or a list."""
        found = self.several(functools.partial(self.of, item))
        return self.sample([found, found[0]])

    def record(self, keys: Mapping[str, RecordKey], needs: Sequence[str] = ()) -> dict[str, Any]:
        """Draw a mapping of some of these keys, with all that must be there; odd: without some."""
        wanted = {key for key, one in keys.items() if one.required and not self.is_odd()}
        wanted |= {key for key in keys if self._left > 0 and self._draw(st.booleans())}
        if needs and wanted.isdisjoint(needs) and not self.is_odd():
            wanted.add(self.sample(needs))
        found = {key: self.of(one.rule) for key, one in keys.items() if key in wanted}
        return {**found, "odd": 1} if self.is_odd() else found
