"""Offers of an identity provider, by its metadata (OpenID Connect Discovery 1.0, section 3)."""

from collections.abc import Iterable, Mapping

import msgspec

from sidecar.domain.values.assurance import DEFAULT_LEVELS, Level
from sidecar.wire.checks.reach import is_fetchable
from sidecar.wire.providers.known import OTHER, KnownProvider, provider_of
from sidecar.wire.providers.offered import texts_in
from sidecar.wire.settings.tokens import Issuer
from sidecar.wire.tokens.jwks import ALGORITHMS
from sidecar.wire.yaml.tree import shown

WELL_KNOWN = ("/.well-known/openid-configuration", "/.well-known/oauth-authorization-server")

KNOWN_ACRS: Mapping[str, str] = {
    "1": "single-factor",
    "urn:okta:loa:1fa:any": "single-factor",
    "urn:okta:loa:1fa:pwd": "single-factor",
    "urn:okta:loa:2fa:any": "mfa",
    "https://refeds.org/profile/sfa": "single-factor",
    "https://refeds.org/profile/mfa": "mfa",
    "http://schemas.openid.net/pape/policies/2007/06/multi-factor": "mfa",
    "http://schemas.openid.net/pape/policies/2007/06/phishing-resistant": "phishing-resistant",
    "urn:oasis:names:tc:SAML:2.0:ac:classes:Password": "single-factor",
    "urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport": "single-factor",
}
"""Values of `acr` that are published with a meaning, by the built-in level that has it.

Okta's as its developer documentation lists them, REFEDS' profiles, the policies of OpenID PAPE 1.0,
SAML 2.0's authentication contexts. `1` is what Keycloak says of a password while no levels of its
own are configured; higher numbers mean what its operator has made of them.
"""


_MOST_SHOWN = 12


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """The offers of a provider, by its metadata; empty where they do not say."""

    issuer: str
    acr_values: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    claims: tuple[str, ...] = ()
    algorithms: tuple[str, ...] = ()
    keys: int = 0  # usable ones at its `jwks_uri`; 0: they were not looked at
    provider: KnownProvider = OTHER


def offer_of(metadata: Mapping[str, object], issuer: str, keys: int = 0) -> Offer:
    """Read an issuer's metadata; a member that is no list of texts counts as absent."""
    return Offer(
        issuer=issuer,
        acr_values=texts_in(metadata.get("acr_values_supported")),
        scopes=texts_in(metadata.get("scopes_supported")),
        claims=texts_in(metadata.get("claims_supported")),
        algorithms=texts_in(metadata.get("id_token_signing_alg_values_supported")),
        keys=keys,
        provider=provider_of(issuer, metadata),
    )


def issuer_of(text: str) -> str:
    """Return the issuer that somebody means who gives the address of its metadata, or its host."""
    text = text.strip()
    for suffix in WELL_KNOWN:
        head, found, tail = text.partition(suffix)
        if found:
            return head + tail.partition("?")[0]
    return text if "://" in text or not text else f"https://{text}"


def issuer_problem(issuer: str) -> str:
    """Return why this can be no issuer that is asked; empty where it can.

    OpenID Connect Discovery 1.0, section 3: https, without a query and a fragment.
    """
    if not is_fetchable(issuer):
        return "must be https://..., or http on this machine itself"
    if "?" in issuer or "#" in issuer:
        return "must have no query and no fragment"
    return ""


def algorithms_for(offer: Offer) -> tuple[str, ...]:
    """Return the algorithms to configure; none where the default ones have what it signs with."""
    usual = next(
        field.default for field in msgspec.structs.fields(Issuer) if field.name == "algorithms"
    )
    if not offer.algorithms or set(offer.algorithms) & set(usual):
        return ()
    return tuple(name for name in offer.algorithms if name in ALGORITHMS)


def levels_for(
    offer: Offer, chosen: Mapping[str, Iterable[str]]
) -> tuple[tuple[Level, ...], tuple[str, ...]]:
    """Return the assurance levels to configure, and which values of `acr` belong to none.

    `chosen` says of a level which values show it; a known value needs no word. Where all that is
    offered are built-in values, and nothing was chosen, there are no levels: the built-in ones do.
    """
    by_level: dict[str, list[str]] = {level.name: [] for level in DEFAULT_LEVELS}
    builtin = {acr: level.name for level in DEFAULT_LEVELS for acr in (level.name, *level.acr)}
    placed: set[str] = set()
    for level, values in chosen.items():
        by_level[level].extend(values)
        placed.update(values)
    for value in offer.acr_values:
        known = builtin.get(value) or KNOWN_ACRS.get(value)
        if known and value not in placed:
            by_level[known].append(value)
            placed.add(value)
    unplaced = tuple(value for value in offer.acr_values if value not in placed)
    if placed <= set(builtin) and not chosen:
        return (), unplaced
    return (
        tuple(
            Level(level.name, tuple(by_level[level.name]) or level.acr, level.amr)
            for level in DEFAULT_LEVELS
        ),
        unplaced,
    )


def remarks_on(offer: Offer, unplaced: tuple[str, ...]) -> tuple[str, ...]:
    """Return what somebody should know of a provider before its tokens are judged, in sentences."""
    remarks = []
    if offer.provider is not OTHER:
        remarks.append(
            f"this is {offer.provider.name}: what to switch on there, and its entry in"
            f" `tokens.issuers`, says docs/providers/{offer.provider.page}.md"
        )
    if not offer.acr_values:
        remarks.append(
            "the provider does not say which values of `acr` it offers; a step-up asks for `mfa`."
            " If it calls that otherwise, name it: --acr mfa=VALUE"
        )
    if unplaced:
        remarks.append(
            "the provider offers values of `acr` that no assurance level has:"
            f" {_some(unplaced)}. Say what they show, such as --acr mfa=VALUE"
        )
    missing = [name for name in ("sid", "auth_time", "acr", "amr") if name not in offer.claims]
    if offer.claims and missing:
        remarks.append(
            f"the provider does not list {', '.join(missing)} among its claims: have it put them"
            " into access tokens, as a step-up is judged by auth_time and by acr or amr"
        )
        remarks.extend(f"{name}: {offer.provider.cure(name)}" for name in missing)
    return tuple(remarks)


def _some(values: tuple[str, ...]) -> str:
    """Return the first of many, each in short: a provider may say as much as it likes."""
    more = len(values) - _MOST_SHOWN
    listed = ", ".join(map(shown, values[:_MOST_SHOWN]))
    return f"{listed} and {more} more" if more > 0 else listed
