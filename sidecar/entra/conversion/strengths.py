"""Authentication strengths: Graph's allowed combinations of methods to levels and strengths.

A strength that allows what a built-in one does is the level of that name. Every other one becomes a
strength of its own, exactly: shown by an `acr` of its name, which the identity provider answers for
those combinations and no others. Where a level allows all of them, too, that `acr` also shows the
level, so that nobody who shows the strength is asked for what it includes.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import msgspec

from sidecar.domain.policy.conditional_access import BLOCK, COMPLIANT_DEVICE, ROUTINE
from sidecar.domain.values.assurance import Level, Strength
from sidecar.entra.conversion.places import slug
from sidecar.entra.graph_objects import GraphStrength
from sidecar.entra.ledger import Effect, Ledger
from sidecar.entra.names import DirectoryNames

Combination = frozenset[str]
Combinations = frozenset[Combination]


def _of(*combinations: str) -> Combinations:
    return frozenset(frozenset(map(str.strip, each.split(","))) for each in combinations)


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
_CONFIGURED = "your identity provider must see to it before it answers the strength's acr"
_NOT_HERE = "the strength is neither in the export nor in the names file"
_PROPOSED = "a new strength: your identity provider must answer it with acr {}"
_PARTIAL = "the strength itself could not be carried over whole"


class _Known(NamedTuple):
    strength: GraphStrength
    whole: bool


class Control(NamedTuple):
    """The level or strength that stands for an exported one; empty if there is none."""

    name: str
    why: str = ""


class Strengths:
    """The strengths that policies can ask for, beside a ladder of levels."""

    def __init__(
        self,
        names: DirectoryNames,
        levels: Sequence[Level],
        strengths: Mapping[str, Strength] = MappingProxyType({}),
    ) -> None:
        self._names = names
        self._levels = tuple(levels)
        self._strengths = dict(strengths)
        self._by_id: dict[str, _Known] = {}
        self._made: dict[tuple[Combinations, str], str] = {}
        self._shows: dict[str, list[str]] = {}
        self.proposed: dict[str, Strength] = {}
        """Those that the configuration does not have yet, by name."""

    @property
    def levels(self) -> tuple[Level, ...]:
        """The ladder, with the `acr` of strengths that a level includes."""
        return tuple(
            msgspec.structs.replace(level, acr=(*level.acr, *self._shows.get(level.name, ())))
            for level in self._levels
        )

    def has(self, name: str) -> bool:
        """Return whether there is such a level or strength."""
        return name in self._strengths or any(level.name == name for level in self._levels)

    def add(self, strength: GraphStrength, ledger: Ledger) -> None:
        """Take in an exported strength."""
        account(strength, ledger.at, ledger)
        ledger.audit()
        self._by_id[strength.id.lower()] = _Known(strength, not ledger.losses)

    def control(self, strength: GraphStrength, at: str, ledger: Ledger) -> Control:
        """Return the level or strength that a policy's strength asks for."""
        account(strength, at, ledger)
        name = strength.id.lower()
        named = self._names.of("strengths", name)
        if named and self.has(named):
            return Control(named)
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
        return self._made_of(known.strength)

    def _made_of(self, strength: GraphStrength) -> Control:
        allowed = _of(*(strength.allowed_combinations or ()))
        if not strength.combination_configurations:
            for name, combinations in _STANDARD.items():
                if self.has(name) and combinations - _SAID_TWICE == allowed - _SAID_TWICE:
                    return Control(name)
        key = (allowed, strength.id if strength.combination_configurations else "")
        made = self._made.get(key)
        if made is None:
            made = self._made[key] = self._propose(strength, allowed)
        return Control(made, _PROPOSED.format(made))

    def _propose(self, strength: GraphStrength, allowed: Combinations) -> str:
        acrs = {acr for level in self._levels for acr in (level.name, *level.acr)}
        acrs |= {acr for known in self._strengths.values() for acr in known.acr}
        taken = _RESERVED | acrs | self._strengths.keys() | self.proposed.keys()
        name = slug(strength.display_name or "", taken, "strength", strength.id)
        self.proposed[name] = Strength(acr=(name,))
        including = [
            level.name
            for level in self._levels
            if level.name in _STANDARD and allowed <= _STANDARD[level.name]
        ]
        if including:
            self._shows.setdefault(including[-1], []).append(name)
        return name


def account(strength: GraphStrength, at: str, ledger: Ledger) -> None:
    """Account for the members of a strength."""
    ledger.carry(*(f"{at}.{name}" for name in _MEMBERS))
    ledger.carry(*ledger.items(f"{at}.allowedCombinations"))
    if strength.combination_configurations:
        ledger.note(f"{at}.combinationConfigurations", _CONFIGURED)
