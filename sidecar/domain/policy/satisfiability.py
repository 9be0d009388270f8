"""Satisfiability of conditions: one can hold, holds always, or holds wherever another does.

A condition is brought into disjunctive form: alternatives, each a set of *literals*, an atom that
holds or does not. An alternative is impossible where two of its literals contradict each other, a
condition where all its alternatives are. What holds always is what cannot fail; what implies
another cannot hold while that fails. Only what is certain is reported: what is not understood here
is taken to be possible.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple, TypeAlias

from sidecar.domain.policy.conditional_access import (
    All,
    Anonymizer,
    AnyOf,
    Asns,
    Changed,
    Claims,
    Condition,
    Countries,
    Device,
    Locations,
    Networks,
    Not,
    RiskLevel,
    Score,
    Selection,
    SessionRisk,
    Signals,
    TimeOfDay,
    TravelSpeed,
    UserRisk,
)

MOST_ALTERNATIVES = 512
"""A condition with more of them is not looked into."""

_WEEK = (1 << 7 * 24 * 60) - 1
_DEVICES = frozenset({"unknown", "unreported", "compliant", "not-compliant"})
_RISK, _REPORTED = "session risk", "reported session risk"
_RISKS = frozenset({"none", "low", "medium", "high"})


class Values(NamedTuple):
    """A set of values of one thing: these (`listed`), or all but these."""

    names: frozenset[str]
    listed: bool = True

    @property
    def empty(self) -> bool:
        """Return whether no value is in it."""
        return self.listed and not self.names

    def inverted(self) -> "Values":
        """Return all the others."""
        return Values(self.names, not self.listed)

    def both(self, other: "Values") -> "Values":
        """Return those in both."""
        match self.listed, other.listed:
            case True, True:
                return Values(self.names & other.names)
            case True, False:
                return Values(self.names - other.names)
            case False, True:
                return Values(other.names - self.names)
            case _:
                return Values(self.names | other.names, listed=False)


class Among(NamedTuple):
    """The one value of `thing` is in a set; `unknown` is a value like any other."""

    thing: str
    values: Values


class AtLeast(NamedTuple):
    """A number is at least this; `none` where it may be lacking, which is below all."""

    thing: str
    number: float


class Minutes(NamedTuple):
    """The local time is one of these minutes of the week, as bits."""

    zone: str
    bits: int


class Within(NamedTuple):
    """One of several values of `thing` is in the set."""

    thing: str
    names: frozenset[str]


class Live(NamedTuple):
    """One of these signals weighs at least this."""

    names: frozenset[str]
    number: float


class Opaque(NamedTuple):
    """Something of which nothing is known but that it is itself."""

    what: object


Atom: TypeAlias = Among | AtLeast | Minutes | Within | Live | Opaque


class Literal(NamedTuple):
    """An atom that holds, or does not."""

    atom: Atom
    holds: bool


Alternatives: TypeAlias = list[tuple[Literal, ...]] | None
"""None: there are too many."""

_TRUE: Alternatives = [()]
_FALSE: Alternatives = []


def can_hold(condition: Condition | None) -> bool:
    """Return whether the condition could hold."""
    return _possible(_form(condition, holds=True))


def always_holds(condition: Condition | None) -> bool:
    """Return whether the condition holds whatever is the case."""
    return not _possible(_form(condition, holds=False))


def implies(one: Condition | None, other: Condition | None) -> bool:
    """Return whether `other` holds wherever `one` does."""
    # What is plain by its text is certain also where the forms have too many alternatives.
    if (
        one == other
        or (isinstance(one, All) and other in one.conditions)
        or (isinstance(other, AnyOf) and one in other.conditions)
    ):
        return True
    return not _possible(_every([_form(one, holds=True), _form(other, holds=False)]))


def excludes(one: Condition | None, other: Condition | None) -> bool:
    """Return whether the two never hold together."""
    if (isinstance(other, Not) and other.condition == one) or (
        isinstance(one, Not) and one.condition == other
    ):
        return True
    return not _possible(_every([_form(one, holds=True), _form(other, holds=True)]))


def leaves(condition: Condition | None) -> Iterator[Condition]:
    """Yield the conditions that a condition is made of, without `all`, `any` and `not`."""
    match condition:
        case None:
            return
        case All() | AnyOf():
            for part in condition.conditions:
                yield from leaves(part)
        case Not():
            yield from leaves(condition.condition)
        case _:
            yield condition


def _possible(form: Alternatives) -> bool:
    return form is None or any(_consistent(alternative) for alternative in form)


def _form(condition: Condition | None, *, holds: bool) -> Alternatives:
    """Return the disjunctive form of a condition, or of its opposite."""
    match condition:
        case None:
            return _TRUE if holds else _FALSE
        case Not():
            return _form(condition.condition, holds=not holds)
        case All() | AnyOf():
            parts = [_form(part, holds=holds) for part in condition.conditions]
            return _every(parts) if isinstance(condition, All) == holds else _some(parts)
        case _:
            return _leaf(condition, holds=holds)


def _every(parts: Iterable[Alternatives]) -> Alternatives:
    found: list[tuple[Literal, ...]] = [()]
    for part in parts:
        if part is None:
            return None
        found = [(*one, *other) for one in found for other in part]
        if len(found) > MOST_ALTERNATIVES:
            return None
    return found


def _some(parts: Iterable[Alternatives]) -> Alternatives:
    found: list[tuple[Literal, ...]] = []
    for part in parts:
        if part is None:
            return None
        found += part
    return found if len(found) <= MOST_ALTERNATIVES else None


def _leaf(condition: Condition, *, holds: bool) -> Alternatives:  # noqa: C901, PLR0912 - one each
    match condition:
        case Changed():
            each = [Opaque(("changed", name)) for name in condition.circumstances]
            return _any_of(each, holds=holds)
        case Countries():
            return _one(Among("country", _values(condition.selection)), holds=holds)
        case Asns():
            return _one(Among("asn", _values(condition.selection)), holds=holds)
        case Networks():
            return _one(Among("network", _values(condition.selection)), holds=holds)
        case Locations():
            thing = "location of the call" if condition.strict else "location"
            return _located(condition.selection, thing, holds=holds)
        case Device():
            return _one(Among("device", Values(_devices(condition))), holds=holds)
        case UserRisk():
            return _one(Among("user risk", Values(_from(condition.at_least))), holds=holds)
        case SessionRisk():
            levels = _from(condition.at_least)
            if condition.reported:
                return _one(Among(_REPORTED, Values(levels)), holds=holds)
            if condition.at_least is RiskLevel.LOW:  # the score always gives a level
                return _TRUE if holds else _FALSE
            return _one(Among(_RISK, Values(levels)), holds=holds)
        case Score():
            if condition.at_least <= 0:
                return _TRUE if holds else _FALSE
            if condition.at_least > 100:
                return _FALSE if holds else _TRUE
            return _one(AtLeast("score", condition.at_least), holds=holds)
        case TravelSpeed():
            return _one(AtLeast("speed", condition.at_least), holds=holds)
        case Signals():
            if condition.at_least > 100:
                return _FALSE if holds else _TRUE
            return _one(Live(condition.include, condition.at_least), holds=holds)
        case Claims():
            each_claim = [
                _one(Within(f"claim {name}", values), holds=holds)
                for name, values in condition.required
            ]
            return _every(each_claim) if holds else _some(each_claim)
        case Anonymizer():
            atom: Atom = Opaque(("anonymizer",))
            if condition.kinds:
                atom = Within("anonymizer", condition.kinds)
            return _one(atom, holds=holds == condition.present)
        case TimeOfDay():
            return _one(Minutes(condition.timezone, _minutes(condition)), holds=holds)
        case _:
            return _one(Opaque(condition), holds=holds)


def _one(atom: Atom, *, holds: bool) -> Alternatives:
    return [(Literal(atom, holds),)]


def _any_of(atoms: Iterable[Atom], *, holds: bool) -> Alternatives:
    if holds:
        return [(Literal(atom, True),) for atom in atoms]
    return [tuple(Literal(atom, False) for atom in atoms)]


def _values(selection: Selection) -> Values:
    """Return the values that a selection takes; an unknown one counts as one that is not named."""
    if selection.include is None:
        return Values(selection.exclude, listed=False)
    return Values(selection.include - selection.exclude)


def _located(selection: Selection, thing: str, *, holds: bool) -> Alternatives:
    """Return an address lies in any number of locations."""
    within = [] if selection.include is None else [Within(thing, selection.include)]
    outside = [Within(thing, frozenset({name})) for name in sorted(selection.exclude)]
    if holds:
        yes = [Literal(atom, True) for atom in within]
        return [(*yes, *(Literal(atom, False) for atom in outside))]
    return [
        *((Literal(atom, False),) for atom in within),
        *((Literal(atom, True),) for atom in outside),
    ]


def _devices(condition: Device) -> frozenset[str]:
    found = _DEVICES
    if condition.known is not None:
        found = found - {"unknown"} if condition.known else frozenset({"unknown"})
    if condition.compliant is not None:
        found &= {"compliant" if condition.compliant else "not-compliant"}
    return found


def _from(level: RiskLevel) -> frozenset[str]:
    return frozenset(each.value for each in RiskLevel if each.height >= level.height)


def _minutes(window: TimeOfDay) -> int:
    """Return the minutes of the week in which the window is open."""
    bits = 0
    length = (window.end - window.start) % (24 * 60) or 24 * 60
    for day in window.days:
        begin = day * 24 * 60 + window.start
        for minute in range(begin, begin + length):
            bits |= 1 << minute % (7 * 24 * 60)
    return bits


def _consistent(literals: tuple[Literal, ...]) -> bool:
    """Return whether these literals can all be so at once."""
    whole: dict[str, Values] = {
        "device": Values(_DEVICES),
        "user risk": Values(_RISKS),
        _REPORTED: Values(_RISKS),
        _RISK: Values(_RISKS - {"none"}),
    }
    minutes: dict[str, int] = {}
    for literal in literals:
        match literal.atom:
            case Among(thing, values):
                values = values if literal.holds else values.inverted()
                whole[thing] = whole.get(thing, Values(frozenset(), listed=False)).both(values)
            case Minutes(zone, bits):
                bits = bits if literal.holds else _WEEK & ~bits
                minutes[zone] = minutes.get(zone, _WEEK) & bits
            case _:
                pass
    if any(values.empty for values in whole.values()) or 0 in minutes.values():
        return False
    held = [literal.atom for literal in literals if literal.holds]
    failed = [literal.atom for literal in literals if not literal.holds]
    return not any(_entails(one, other) for one in held for other in failed)


def _entails(one: Atom, other: Atom) -> bool:
    """Return whether an atom that holds makes another hold.

    Sets of values are compared by `_consistent`.
    """
    if one == other:
        return True
    match one, other:
        case AtLeast(), AtLeast():
            return one.thing == other.thing and one.number >= other.number
        case Within(), Within():
            return one.thing == other.thing and one.names <= other.names
        case Within(thing="anonymizer"), Opaque(what=("anonymizer",)):
            return True
        case Among(thing="reported session risk"), Among(thing="session risk"):
            return (
                one.values.names <= other.values.names
            )  # what is reported counts beside the score
        case Live(), Live():
            return one.names <= other.names and one.number >= other.number
        case _:
            return False
