"""Diagnosis of sign-in at the console by an OpenID provider: what it offers, and what it lacks."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from sidecar.domain.explanation.diagnosis import Diagnosis, Part, doubtful, right, wrong
from sidecar.wire.console.openid import InvalidProvider, endpoints_of
from sidecar.wire.settings.admin import OpenIdSettings
from sidecar.wire.tokens.claim_paths import parts_of
from sidecar.wire.yaml.tree import shown

_PART = Part.CONSOLE
_WITHOUT_SECRET = ("none",)
_WITH_SECRET = ("client_secret_basic", "client_secret_post")


class ProviderReport(NamedTuple):
    """The outcome of asking the console's provider.

    `metadata` is its discovery document, empty where it cannot be had for the reason `trouble`;
    `keys` is how many it has, None where they cannot be had for that reason.
    """

    openid: OpenIdSettings
    metadata: Mapping[str, object]
    keys: int | None
    trouble: str = ""


def diagnose_console(report: ProviderReport) -> Iterator[Diagnosis]:
    """Return how it stands with the console's provider (OpenID Connect Discovery 1.0, section 3).

    What its metadata leave out is taken as that section says.
    """
    name = shown(report.openid.issuer)
    if report.trouble:
        cure = (
            "correct `admin.console.openid.issuer`, say it just as the metadata do; is it up, and"
            " reached from here (proxy, DNS, network policy)?"
        )
        yield wrong(_PART, f"provider {name}", report.trouble, cure)
    if not report.metadata:
        return
    if report.keys is not None:
        yield right(_PART, f"keys of {name}", f"it has {report.keys}")
    try:
        endpoints = endpoints_of(report.metadata)
    except InvalidProvider as error:
        cure = "name a provider of OpenID Connect that has the authorization code flow"
        yield wrong(_PART, f"provider {name}", str(error), cure)
        return
    amiss = [*_missed(report), *_unsaid(report)]
    yield from amiss
    if not amiss:
        words = f"people can sign in there: they are sent to {shown(endpoints.authorization)}"
        yield right(_PART, f"provider {name}", words)


def _missed(report: ProviderReport) -> Iterator[Diagnosis]:
    """Yield what a sign-in needs and the provider does not offer."""
    openid, offered = report.openid, _Offered(report.metadata)
    flows = offered.of("response_types_supported")
    if flows is not None and "code" not in flows:
        cure = "have the authorization code flow (`response_type=code`) enabled there"
        yield _wrong(report, "response_types_supported", "does not have `code`", cure)
    methods = offered.of("code_challenge_methods_supported")
    if methods is not None and "S256" not in methods:
        cure = "have PKCE with S256 enabled there: a code could be redeemed by who steals it"
        yield _wrong(report, "code_challenge_methods_supported", "does not have `S256`", cure)
    signed = offered.of("id_token_signing_alg_values_supported")
    if signed is not None and not set(signed) & set(openid.algorithms):
        cure = (
            "have ID tokens signed by an asymmetric algorithm, and list it in"
            " `admin.console.openid.algorithms`"
        )
        words = "has none of `admin.console.openid.algorithms`"
        yield _wrong(report, "id_token_signing_alg_values_supported", words, cure)
    wanted = _WITH_SECRET if openid.client_secret else _WITHOUT_SECRET
    ways = offered.of("token_endpoint_auth_methods_supported") or ("client_secret_basic",)
    if not set(ways) & set(wanted):
        cure = (
            "have the console's client use its secret by one of these"
            if openid.client_secret
            else "set `admin.console.openid.client_secret_file`, or have it be a public client"
        )
        words = f"has none of {', '.join(wanted)}"
        yield _wrong(report, "token_endpoint_auth_methods_supported", words, cure)


def _unsaid(report: ProviderReport) -> Iterator[Diagnosis]:
    """Yield what a provider does not say that it has: it may have it all the same."""
    openid, offered = report.openid, _Offered(report.metadata)
    if offered.of("code_challenge_methods_supported") is None:
        cure = "see in its documents that it checks `code_verifier` (RFC 7636)"
        yield _doubtful(report, "code_challenge_methods_supported", "is not there", cure)
    scopes = offered.of("scopes_supported")
    unknown = [one for one in openid.scopes if scopes is not None and one not in scopes]
    if unknown:
        cure = "correct `admin.console.openid.scopes`, or have the client allowed to ask for them"
        words = f"does not have {', '.join(map(shown, unknown))}"
        yield _doubtful(report, "scopes_supported", words, cure)
    claims = offered.of("claims_supported")
    for member in ("roles_claim", "name_claim"):
        claim = getattr(openid, member)
        if claims is not None and not {claim, parts_of(claim)[0]} & set(claims):
            cure = f"have the claim put into ID tokens, or correct `admin.console.openid.{member}`"
            yield _doubtful(report, "claims_supported", f"does not have {shown(claim)}", cure)


class _Offered:
    """The lists of names in a provider's metadata."""

    def __init__(self, metadata: Mapping[str, object]) -> None:
        self._metadata = metadata

    def of(self, member: str) -> tuple[str, ...] | None:
        """Return the names in a list; None: it is not there, or is none."""
        names = self._metadata.get(member)
        if not isinstance(names, list):
            return None
        return tuple(one for one in names if isinstance(one, str))


def _wrong(report: ProviderReport, member: str, words: str, cure: str) -> Diagnosis:
    return wrong(_PART, member, f"of {shown(report.openid.issuer)}: it {words}", cure)


def _doubtful(report: ProviderReport, member: str, words: str, cure: str) -> Diagnosis:
    return doubtful(_PART, member, f"of {shown(report.openid.issuer)}: it {words}", cure)
