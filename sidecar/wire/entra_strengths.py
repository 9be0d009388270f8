"""Authentication strengths: Graph's allowed combinations of methods to levels of assurance.

Levels form a ladder, strengths are sets of combinations. A level implies a strength if all that
shows the level, or a higher one, is allowed by the strength; the weakest such level is taken. Where
none is, a new level is proposed at the one rung where it neither lets pass what the strength
forbids nor lends the levels below what they do not allow; if there is no such rung, there is no
exact level.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from sidecar.domain.assurance import Level
from sidecar.domain.policy import BLOCK, COMPLIANT_DEVICE, ROUTINE
from sidecar.wire.entra_ledger import Effect, Ledger
from sidecar.wire.entra_names import Names
from sidecar.wire.entra_places import slug
from sidecar.wire.entra_shapes import Strength

Combination = frozenset[str]
Combinations = frozenset[Combination]


def _of(*combinations: str) -> Combinations:
    return frozenset(frozenset(each.split(",")) for each in combinations)


_RESISTANT = _of("windowsHelloForBusiness", "fido2", "x509CertificateMultiFactor")
_PASSWORDLESS = _RESISTANT | _of("deviceBasedPush")
_MULTIFACTOR = _PASSWORDLESS | _of(
    "temporaryAccessPassOneTime",
    "temporaryAccessPassMultiUse",
    "password,microsoftAuthenticatorPush",
    "password,softwareOath",
    "password,hardwareOath",
    "password,sms",
    "password,voice",
    "federatedMultiFactor",
    "microsoftAuthenticatorPush,federatedSingleFactor",
    "softwareOath,federatedSingleFactor",
    "hardwareOath,federatedSingleFactor",
    "sms,federatedSingleFactor",
    "voice,federatedSingleFactor",
)
_SAID_TWICE = _of("password,x509CertificateSingleFactor", "password,x509CertificateMultiFactor")
"""Combinations that the built-in strength has in some tenants and lacks in others."""

_STANDARD: Mapping[str, Combinations] = MappingProxyType(
    {
        "mfa": _MULTIFACTOR,
        "passwordless": _PASSWORDLESS,
        "phishing-resistant": _RESISTANT,
    }
)
BUILT_IN: Mapping[str, str] = MappingProxyType(
    {
        "00000000-0000-0000-0000-000000000002": "mfa",
        "00000000-0000-0000-0000-000000000003": "passwordless",
        "00000000-0000-0000-0000-000000000004": "phishing-resistant",
    }
)
_RESERVED = frozenset({BLOCK, COMPLIANT_DEVICE, ROUTINE})
_MEMBERS = (
    "id",
    "displayName",
    "description",
    "policyType",
    "requirementsSatisfied",
    "createdDateTime",
    "modifiedDateTime",
)
_CONFIGURED = "tokens do not tell which key or certificate was used"
_NOT_HERE = "the strength is neither in the export nor in the names file"
_NO_RUNG = "no level of assurance can mean exactly these combinations"
_PROPOSED = "a new level: your identity provider must answer it with acr {}"
_PARTIAL = "the strength itself could not be carried over whole"


class _Rung(NamedTuple):
    level: Level
    allowed: Combinations | None


class _Known(NamedTuple):
    strength: Strength
    whole: bool


class Control(NamedTuple):
    """The level that stands for a strength; empty if there is none."""

    level: str
    effect: Effect | None = None
    why: str = ""


class Strengths:
    """The strengths that policies can ask for, over a ladder of levels."""

    def __init__(self, names: Names, levels: Sequence[Level]) -> None:
        self._names = names
        self._ladder = [_Rung(level, _STANDARD.get(level.name)) for level in levels]
        self._by_id: dict[str, _Known] = {}
        self.proposed: tuple[str, ...] = ()
        """The names of the levels that the configuration does not have yet."""

    @property
    def levels(self) -> tuple[Level, ...]:
        """The ladder, with the levels that were proposed."""
        return tuple(rung.level for rung in self._ladder)

    def has(self, level: str) -> bool:
        """Whether there is such a level."""
        return any(rung.level.name == level for rung in self._ladder)

    def add(self, strength: Strength, ledger: Ledger) -> None:
        """Take in an exported strength."""
        account(strength, ledger.at, ledger)
        ledger.audit()
        self._by_id[strength.id.lower()] = _Known(strength, not ledger.losses)

    def control(self, strength: Strength, at: str, ledger: Ledger) -> Control:
        """The level that a policy's strength asks for."""
        account(strength, at, ledger)
        name = strength.id.lower()
        told = self._names.of("strengths", name)
        if told and self.has(told):
            return Control(told)
        built_in = BUILT_IN.get(name)
        if built_in is not None and self.has(built_in):
            return Control(built_in)
        known = self._by_id.get(name)
        if strength.allowed_combinations:
            known = _Known(strength, whole=True)
        if known is None or not known.strength.allowed_combinations:
            ledger.lose(f"{at}.id", _NOT_HERE, Effect.WEAKER)
            return Control("")
        if not known.whole:
            ledger.lose(f"{at}.id", _PARTIAL, Effect.WEAKER)
        return self._level(known.strength)

    def _level(self, strength: Strength) -> Control:
        allowed = _of(*(strength.allowed_combinations or ()))
        for rung in self._ladder:
            if rung.allowed and rung.allowed - _SAID_TWICE == allowed - _SAID_TWICE:
                name = rung.level.name
                return Control(name, None, _PROPOSED.format(name) if name in self.proposed else "")
        for index, rung in enumerate(self._ladder):
            above = self._ladder[index:]
            standard = rung.level.name not in self.proposed
            if standard and all(a.allowed and a.allowed <= allowed for a in above):
                more = f"{rung.level.name} is the weakest level that implies it, and asks for more"
                return Control(rung.level.name, Effect.STRICTER, more)
        return self._proposal(strength, allowed)

    def _proposal(self, strength: Strength, allowed: Combinations) -> Control:
        below = [i for i, r in enumerate(self._ladder) if r.allowed and allowed <= r.allowed]
        at = max(below, default=-1) + 1
        fits = all(r.allowed is not None and r.allowed <= allowed for r in self._ladder[at:])
        if not below:
            return Control("", Effect.WEAKER, _NO_RUNG)
        if not fits:
            weaker = self._ladder[max(below)].level.name
            return Control(weaker, Effect.WEAKER, f"{_NO_RUNG}; {weaker} is the next weaker one")
        taken = _RESERVED | {rung.level.name for rung in self._ladder}
        name = slug(strength.display_name or "", taken, "strength")
        self._ladder.insert(at, _Rung(Level(name, (name,)), allowed))
        self.proposed = (*self.proposed, name)
        return Control(name, None, _PROPOSED.format(name))


def account(strength: Strength, at: str, ledger: Ledger) -> None:
    """Account for the members of a strength."""
    ledger.carry(*(f"{at}.{name}" for name in _MEMBERS))
    ledger.carry(*ledger.items(f"{at}.allowedCombinations"))
    if strength.combination_configurations:
        ledger.lose_each(f"{at}.combinationConfigurations", _CONFIGURED, Effect.WEAKER)
