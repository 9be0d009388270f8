"""What is right, doubtful and wrong with an issuer: its keys, and what its metadata offers."""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from sidecar.domain.assurance import Ladder
from sidecar.domain.diagnosis import Diagnosis, Part, doubtful, right, wrong
from sidecar.domain.policy import Policy, State
from sidecar.wire.positions import shown
from sidecar.wire.providers import OTHER, Provider, provider_of
from sidecar.wire.settings import Issuer
from sidecar.wire.token_expectations import names_of

_PART = Part.ISSUERS


class IssuerReport(NamedTuple):
    """What came of asking an issuer.

    `keys` are the names of its keys, None where they cannot be had for the reason `trouble`.
    `metadata` is its discovery document, empty where there is none for the reason `unmet`.
    """

    issuer: Issuer
    keys: tuple[str | None, ...] | None
    trouble: str
    metadata: Mapping[str, object]
    unmet: str = ""

    @property
    def provider(self) -> Provider:
        """Who made it, as far as it shows."""
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
        yield right(_PART, f"keys of {name}", f"it has {len(report.keys)}: {names_of(known)}")
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
    policies: Iterable[Policy], ladder: Ladder, reports: Iterable[IssuerReport]
) -> Iterator[Diagnosis]:
    """Return which policies ask for an `acr` that an issuer's discovery does not offer."""
    awake = [policy for policy in policies if policy.state is not State.DISABLED]
    for report in reports:
        offered = report.metadata.get("acr_values_supported")
        if not isinstance(offered, list):
            continue
        asked = 0
        name = shown(report.issuer.issuer)
        for policy in awake:
            if report.issuer.names not in policy.issuers:
                continue
            for values in _asked(policy, ladder):
                asked += 1
                if not set(values) & set(offered):
                    yield _unoffered(policy, values, report, offered)
        if asked:
            words = f"of {asked} requirements of policies, each is looked up in what it offers"
            yield right(Part.POLICIES, f"acr at {name}", words)


def _asked(policy: Policy, ladder: Ladder) -> Iterator[tuple[str, ...]]:
    """The `acr_values` of each alternative of a policy's grant, where there are any."""
    for way in policy.grant.alternatives:
        levels = [name for name in way if ladder.rank_of_level(name) or name in ladder.strengths]
        values = ladder.acr_values(ladder.requirements(levels)) if levels else ()
        if values:
            yield values


def _unoffered(
    policy: Policy, values: tuple[str, ...], report: IssuerReport, offered: list[object]
) -> Diagnosis:
    there = names_of(str(one) for one in offered)
    words = (
        f"it asks for acr {names_of(values)}, and {shown(report.issuer.issuer)} offers {there}"
        " (`acr_values_supported`): users are sent there in vain"
    )
    cure = (
        "list what it offers as `acr` of the level in `assurance.levels`, or"
        f" {report.provider.cure('acr')}"
    )
    return wrong(Part.POLICIES, policy.id, words, cure)
