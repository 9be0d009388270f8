"""Diagnosis of an issuer: its keys, and what its metadata offers."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from sidecar.domain.explanation.diagnosis import Diagnosis, Part, doubtful, right, wrong
from sidecar.domain.policy.asked_for import PossibleDemand, demands, unoffered
from sidecar.domain.policy.conditional_access import Policy
from sidecar.domain.values.assurance import Ladder
from sidecar.wire.providers.known import OTHER, KnownProvider, provider_of
from sidecar.wire.providers.offered import acr_values_offered
from sidecar.wire.settings.settings import Issuer
from sidecar.wire.tokens.expectations import names_of
from sidecar.wire.yaml.tree import shown

_PART = Part.ISSUERS


class IssuerReport(NamedTuple):
    """The outcome of asking an issuer.

    `keys` are the names of its keys, None where they cannot be had for the reason `trouble`.
    `metadata` is its discovery document, empty where there is none for the reason `unmet`.
    """

    issuer: Issuer
    keys: tuple[str | None, ...] | None
    trouble: str
    metadata: Mapping[str, object]
    unmet: str = ""

    @property
    def provider(self) -> KnownProvider:
        """Return who made it, as far as it shows."""
        return provider_of(self.issuer.issuer, self.metadata)


def diagnose_issuer(report: IssuerReport) -> Iterator[Diagnosis]:
    """Return how it stands with an issuer."""
    issuer, name = report.issuer, shown(report.issuer.issuer)
    if issuer.introspection.only:
        yield right(_PART, name, "its tokens are opaque, and it is asked about each: no keys")
    elif report.keys is None:
        yield wrong(_PART, f"keys of {name}", report.trouble, _cure_of_keys(report))
    else:
        known = [key for key in report.keys if key is not None]
        yield right(_PART, f"keys of {name}", f"it has {len(report.keys)}: {_all(known)}")
    if report.metadata:
        made = report.provider
        words = "of a provider that is not known by name" if made is OTHER else f"of {made.name}"
        yield right(_PART, f"discovery of {name}", words)
    elif report.keys is not None:
        words = report.unmet or "it was not asked, as its keys come from a file"
        cure = "none is needed; but what it offers (`acr_values_supported`) is not known then"
        yield doubtful(_PART, f"discovery of {name}", words, cure)


def _cure_of_keys(report: IssuerReport) -> str:
    issuer, trouble = report.issuer, report.trouble
    if "certificate" in trouble:
        return "name a file with its authority in the environment, as SSL_CERT_FILE"
    if "slash" in trouble or "metadata" in trouble:
        return "say `tokens.issuers[].issuer` just as the metadata do"
    if issuer.jwks_file:
        return "correct `tokens.issuers[].jwks_file`"
    if issuer.jwks_uri:
        return "correct `tokens.issuers[].jwks_uri`; is it reached from here?"
    return (
        "correct `tokens.issuers[].issuer`, or give `jwks_uri`; is it up, and reached from here"
        " (proxy, DNS, network policy)?"
    )


def diagnose_acr(
    policies: Sequence[Policy], ladder: Ladder, reports: Iterable[IssuerReport]
) -> Iterator[Diagnosis]:
    """Return which policies ask for an `acr` that an issuer's discovery does not offer."""
    for report in reports:
        offered = acr_values_offered(report.metadata)
        asked = tuple(demands(policies, report.issuer.names, ladder))
        if offered is None or not asked:
            continue
        missed = unoffered(asked, offered)
        yield from (_unoffered(one, report, offered) for one in missed)
        if not missed:
            words = f"it offers what policies ask for: {_all(sorted(offered))}"
            yield right(Part.POLICIES, f"acr at {shown(report.issuer.issuer)}", words)


def _unoffered(demand: PossibleDemand, report: IssuerReport, offered: frozenset[str]) -> Diagnosis:
    words = (
        f"it asks for acr {names_of(demand.acr_values)}, and {shown(report.issuer.issuer)} offers"
        f" {_all(sorted(offered))} (`acr_values_supported`): users are sent there in vain"
    )
    cure = (
        "list what it offers as `acr` of the level in `assurance.levels`, or"
        f" {report.provider.cure('acr')}"
    )
    return wrong(Part.POLICIES, demand.policy, words, cure)


def _all(names: Iterable[str]) -> str:
    return ", ".join(repr(shown(one)) for one in names) or "none"
