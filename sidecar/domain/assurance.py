"""How strongly somebody signed in, and whether that is enough.

A deployment names its assurance levels from weakest to strongest. A level is recognised by the
token's `acr` (OpenID Connect Core 1.0, section 2) or by combinations of `amr` values (RFC 8176).
"""

from collections.abc import Sequence

import msgspec


class Level(msgspec.Struct, frozen=True):
    """One assurance level: its name, the `acr` values and the `amr` combinations that show it."""

    name: str
    acr: tuple[str, ...] = ()
    amr: tuple[frozenset[str], ...] = ()


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


class Authentication(msgspec.Struct, frozen=True):
    """One act of signing in: `auth_time` in whole seconds since the epoch (0: not told)."""

    auth_time: int
    acr: str = ""
    amr: tuple[str, ...] = ()


class Ladder:
    """The levels in order. Rank 0 is "nothing recognised"; rank n is the nth level."""

    __slots__ = ("_by_acr", "_combinations", "_ranks", "levels")

    def __init__(self, levels: Sequence[Level]) -> None:
        self.levels = tuple(levels)
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

    def rank_of_level(self, name: str) -> int | None:
        """The rank of a level by its name, None where no level is so named."""
        return self._ranks.get(name)

    def rank(self, acr: str, amr: Sequence[str]) -> int:
        """The highest rank that this `acr` or any combination within this `amr` shows.

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
        """The name of the level at a rank; empty for rank 0."""
        return self.levels[rank - 1].name if rank else ""

    def acr_values(self, rank: int) -> tuple[str, ...]:
        """What to ask an identity provider for, in order of preference (RFC 9470, section 3)."""
        return self.levels[rank - 1].acr if rank else ()


def is_later(auth_time: int, moment: int | None, skew: int = 0) -> bool:
    """Whether a sign-in at `auth_time` counts as a proof for what began in second `moment`.

    `auth_time` has whole seconds, so it must lie in a later second, less the allowance `skew`
    (contract, "proof"). What has always been so (`None`) is proven by any sign-in.
    """
    return moment is None or auth_time + skew > moment
