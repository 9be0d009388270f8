"""Assurance: the strength of sign-ins, and the requirements that they meet.

A deployment names its assurance levels from weakest to strongest. A level is recognised by the
token's `acr` (OpenID Connect Core 1.0, section 2) or by combinations of `amr` values (RFC 8176).
Beside the ladder of levels stand *strengths*: named sets of what is allowed, which need not be
comparable with anything. Every level is a rung that any higher one covers; a strength is covered
only by what it lists.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import NamedTuple

import msgspec


class Level(msgspec.Struct, frozen=True, gc=False):
    """One assurance level: its name, the `acr` values and the `amr` combinations that show it."""

    name: str
    acr: tuple[str, ...] = ()
    amr: tuple[frozenset[str], ...] = ()


METHODS = frozenset(
    {
        *("face", "fpt", "geo", "hwk", "iris", "kba", "mca", "mfa", "otp", "pin", "pop"),
        *("pwd", "rba", "retina", "sc", "sms", "swk", "tel", "user", "vbm", "wia"),
    }
)
"""The values of `amr` that RFC 8176, section 2, registers."""

DEFAULT_LEVELS = (
    Level("single-factor", ("single-factor",), (frozenset({"pwd"}), frozenset({"pin"}))),
    Level(
        "mfa",
        ("mfa",),
        (
            frozenset({"mfa"}),
            frozenset({"pwd", "otp"}),
            frozenset({"pwd", "sms"}),
            frozenset({"pwd", "tel"}),
            frozenset({"pwd", "swk"}),
            frozenset({"pwd", "hwk"}),
        ),
    ),
    Level(
        "passwordless",
        ("passwordless",),
        (
            frozenset({"swk", "user"}),
            frozenset({"swk", "pin"}),
            frozenset({"swk", "fpt"}),
            frozenset({"swk", "face"}),
        ),
    ),
    Level(
        "phishing-resistant",
        ("phr", "phrh"),
        (
            frozenset({"hwk", "user"}),
            frozenset({"hwk", "pin"}),
            frozenset({"hwk", "fpt"}),
            frozenset({"hwk", "face"}),
            frozenset({"sc", "pin"}),
        ),
    ),
)
"""Levels for tokens with the usual `amr` values, weakest first, where none are configured."""


class Strength(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """An authentication strength: a sign-in has it with one of these `acr`, or one of these `amr`.

    `acr` values are asked for in this order. An `amr` combination is shown by a sign-in that has
    all of its methods.
    """

    acr: tuple[str, ...] = ()  # that have it, the preferred one first
    amr: tuple[frozenset[str], ...] = ()  # combinations of methods (RFC 8176), any of which has it


class Authentication(msgspec.Struct, frozen=True, gc=False):
    """One act of signing in: `auth_time` in whole seconds since the epoch (0: unknown).

    `at_most`: the level that it counts for at most, whatever it shows; empty: any.
    """

    auth_time: int
    acr: str = ""
    amr: tuple[str, ...] = ()
    at_most: str = ""


class Requirement(NamedTuple):
    """A demand on one sign-in: a strength where one is named, else at least this rank."""

    rank: int = 0
    strength: str = ""


class CountedSignIn(NamedTuple):
    """A sign-in, and what it counts for: a rank, and the strengths it has."""

    rank: int
    strengths: frozenset[str]
    authentication: Authentication

    def meets(self, requirement: Requirement) -> bool:
        """Return whether this sign-in is enough for the requirement."""
        if requirement.strength:
            return requirement.strength in self.strengths
        return self.rank >= requirement.rank


class Ladder:
    """The levels in order, and the strengths beside them.

    Rank 0 is "nothing recognised"; rank n is the nth level. What few ways of signing in, and few
    sets of requirements, come to is remembered: each check and each fold asks for it.
    """

    __slots__ = (
        "_acr_values",
        "_by_acr",
        "_combinations",
        "_counts",
        "_ranks",
        "levels",
        "strengths",
    )

    def __init__(
        self,
        levels: Sequence[Level],
        strengths: Mapping[str, Strength] = MappingProxyType({}),
    ) -> None:
        self.levels = tuple(levels)
        self.strengths = dict(strengths)
        self._ranks = {level.name: rank for rank, level in enumerate(levels, 1)}
        self._by_acr = dict(self._ranks)
        self._by_acr.update(
            (acr, rank) for rank, level in enumerate(levels, 1) for acr in level.acr
        )
        self._combinations = tuple(
            (combination, rank)
            for rank, level in reversed(tuple(enumerate(levels, 1)))
            for combination in level.amr
        )
        self._counts = lru_cache(_REMEMBERED)(self._count)
        self._acr_values = lru_cache(_REMEMBERED)(self._joined_acr_values)

    def rank_of_level(self, name: str) -> int | None:
        """Return the rank of a level by its name, None where no level is so named."""
        return self._ranks.get(name)

    def rank(self, acr: str, amr: Sequence[str]) -> int:
        """Return the highest rank that this `acr` or any combination within this `amr` shows.

        A level's own name counts as an `acr` of it.
        """
        best = self._by_acr.get(acr, 0)
        methods = frozenset(amr)
        for combination, rank in self._combinations:
            if rank <= best:
                break
            if combination <= methods:
                return rank
        return best

    def name(self, rank: int) -> str:
        """Return the name of the level at a rank; empty for rank 0."""
        return self.levels[rank - 1].name if rank else ""

    def strengths_of(self, acr: str, amr: Sequence[str]) -> frozenset[str]:
        """Return the strengths that a sign-in with this `acr` and `amr` has."""
        if not self.strengths:
            return _NONE
        methods = frozenset(amr)
        return frozenset(
            name
            for name, strength in self.strengths.items()
            if acr in strength.acr or any(way <= methods for way in strength.amr)
        )

    def shown(self, authentication: Authentication) -> CountedSignIn:
        """Return what a sign-in counts for."""
        rank, strengths = self._counts(authentication.acr, authentication.amr)
        if authentication.at_most:
            # Of strengths what an `acr` of that level's name has: they are in no order with levels.
            rank = min(rank, self._ranks.get(authentication.at_most, 0))
            strengths &= self._counts(authentication.at_most, ())[1]
        return CountedSignIn(rank, strengths, authentication)

    def _count(self, acr: str, amr: tuple[str, ...]) -> tuple[int, frozenset[str]]:
        return self.rank(acr, amr), self.strengths_of(acr, amr)

    def requirements(self, controls: Iterable[str]) -> tuple[Requirement, ...]:
        """Return what these controls ask for together: the highest level, and each strength.

        Without any control, any sign-in will do.
        """
        names = sorted(set(controls))
        rank = max((self._ranks.get(name, 0) for name in names), default=0)
        strengths = [Requirement(strength=name) for name in names if name in self.strengths]
        return (*((Requirement(rank),) if rank or not strengths else ()), *strengths)

    def requirement_name(self, requirement: Requirement) -> str:
        """Return the name of the required level or strength; empty where any sign-in will do."""
        return requirement.strength or self.name(requirement.rank)

    def implies(self, one: Requirement, other: Requirement) -> bool:
        """Return whether every sign-in that meets `one` meets `other`, too."""
        return all(sign_in.meets(other) for sign_in in self._least(one))

    def _least(self, requirement: Requirement) -> Iterator[CountedSignIn]:
        """Sign-ins that just meet it: every other that does shows all that one of these shows."""
        acrs: Iterable[str]
        ways: Iterable[frozenset[str]]
        if requirement.strength:
            strength = self.strengths[requirement.strength]
            acrs, ways = strength.acr, strength.amr
        elif requirement.rank:
            enough = self.levels[requirement.rank - 1 :]
            acrs = [acr for level in enough for acr in (level.name, *level.acr)]
            ways = [way for level in enough for way in level.amr]
        else:
            acrs, ways = ("",), ()
        yield from (self.shown(Authentication(0, acr)) for acr in acrs)
        yield from (self.shown(Authentication(0, "", tuple(way))) for way in ways)

    def acr_values(self, requirements: Sequence[Requirement]) -> tuple[str, ...]:
        """Return what to ask an identity provider for, the best first (RFC 9470, section 3).

        The values by which one sign-in meets all of the requirements; where there is none, those
        of the first: the strongest level, else the first strength. The others are asked for next.
        """
        return self._acr_values(tuple(requirements))

    def _joined_acr_values(self, requirements: tuple[Requirement, ...]) -> tuple[str, ...]:
        rank = max((each.rank for each in requirements if not each.strength), default=0)
        asked = [Requirement(rank)] if rank else []
        asked += dict.fromkeys(each for each in requirements if each.strength)
        if not asked:
            return ()
        values = dict.fromkeys(acr for each in asked for acr in self._acr_of(each))
        enough = (acr for acr in values if self._alone_meets(acr, asked))
        return tuple(enough) or next(filter(None, map(self._acr_of, asked)), ())

    def answer(
        self, requirements: Sequence[Requirement], least: int = 0
    ) -> tuple[str, tuple[str, ...]]:
        """Return the `acr` and `amr` of a user who does as asked, or signs in with rank `least`.

        Where no `acr` would bring a strength, the methods of its first combination do.
        """
        strengths = [self.strengths[each.strength] for each in requirements if each.strength]
        if not strengths:
            return self.name(max([least, *(each.rank for each in requirements)])), ()
        values = self.acr_values(requirements)
        return (values[0], ()) if values else ("", tuple(sorted(strengths[0].amr[0])))

    def _alone_meets(self, acr: str, requirements: Iterable[Requirement]) -> bool:
        sign_in = self.shown(Authentication(0, acr))
        return all(sign_in.meets(each) for each in requirements)

    def _acr_of(self, requirement: Requirement) -> tuple[str, ...]:
        if requirement.strength:
            return self.strengths[requirement.strength].acr
        return self.levels[requirement.rank - 1].acr


_NONE: frozenset[str] = frozenset()
_REMEMBERED = 1024


def is_later(auth_time: int, moment: int | None, skew: int = 0) -> bool:
    """Return whether a sign-in at `auth_time` counts as a proof for what began in second `moment`.

    `auth_time` has whole seconds, so it must lie in a later second, less the allowance `skew`
    (contract, "proof"). What has always been so (`None`) is proven by any sign-in whose time
    is known; one without (0) proves nothing.
    """
    return auth_time > 0 and (moment is None or auth_time + skew > moment)
