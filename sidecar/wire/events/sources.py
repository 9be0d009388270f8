"""From the configuration of sources to their powers, and who is which of them."""

from collections.abc import Iterable

import msgspec

from sidecar.domain.sources.authority import IDENTITY
from sidecar.domain.sources.source import LOCAL_PREFIX, Source, Sources
from sidecar.wire.settings.receiver import KnownTransmitter
from sidecar.wire.settings.settings import Settings
from sidecar.wire.settings.sources import SourceSettings


class Share(msgspec.Struct, frozen=True):
    """The share of this sidecar that a source may take: events a second, at once, of the spool."""

    rate: float
    burst: int
    spool: float


def local_source(settings: Settings) -> str:
    """Return the name of the peers that no configured source stands for."""
    return LOCAL_PREFIX + settings.app.id


def sources_of(settings: Settings) -> Sources:
    """Return all sources with their powers.

    A transmitter without an entry of its own may send its `events` about the users of its own
    issuer, and has no other power.
    """
    known = {one.transmitter: one for one in settings.sources if one.transmitter}
    configured = [_source(one, settings) for one in settings.sources]
    others = [
        Source(name=one.name, namespaces=namespaces_of(settings, (one.issuer,)))
        for one in settings.receiver.transmitters
        if one.name not in known
    ]
    return Sources((*configured, *others))


def _source(entry: SourceSettings, settings: Settings) -> Source:
    issuers: tuple[str, ...] = entry.issuers
    if entry.transmitter and not issuers:
        issuers = tuple(
            one.issuer for one in settings.receiver.transmitters if one.name == entry.transmitter
        )
    return Source(
        name=entry.name,
        may=None if entry.may is None else frozenset(entry.may),
        may_loosen=frozenset(entry.may_loosen),
        over=frozenset(entry.over),
        may_prove=entry.may_prove,
        may_identify=entry.may_identify,
        namespaces=namespaces_of(settings, issuers) if issuers else None,
        may_watch=entry.may_watch,
        may_ask_sessions=entry.may_ask_sessions,
    )


def namespaces_of(settings: Settings, issuers: Iterable[str]) -> frozenset[str]:
    """Return the namespaces of these issuers, each named by its `iss` or its namespace."""
    known = settings.tokens.namespaces
    return frozenset(known.named(one) or one for one in issuers)


def identity_claims(settings: Settings) -> frozenset[str]:
    """Return the claims by which issuers say who a user is, as events may name them."""
    claims = set(IDENTITY)
    for one in settings.tokens.issuers:
        for claim in (one.user_claim, one.groups_claim, one.roles_claim):
            claims |= {claim, claim.partition(".")[0]}
    return frozenset(claims - {""})


def share_of(settings: Settings, name: str) -> Share:
    """Return how much a source may take up."""
    usual = settings.limits
    entry = next((one for one in settings.sources if one.name == name), None)
    if entry is None:
        return Share(usual.rate, usual.burst, usual.share)
    return Share(
        usual.rate if entry.rate is None else entry.rate,
        usual.burst if entry.burst is None else entry.burst,
        usual.share if entry.share is None else entry.share,
    )


def source_of_transmitter(settings: Settings, transmitter: str) -> Source:
    """Return the source that a transmitter is: by its entry, else of its own name."""
    named = (one.name for one in settings.sources if one.transmitter == transmitter)
    return sources_of(settings).of(next(named, transmitter))


def issuers_of_transmitter(settings: Settings, transmitter: KnownTransmitter) -> frozenset[str]:
    """Return whose identifiers a transmitter may name: those of its source, or its own."""
    for one in settings.sources:
        if one.transmitter == transmitter.name and one.issuers:
            namespaces = namespaces_of(settings, one.issuers)
            return frozenset(
                issuer.issuer
                for issuer in settings.tokens.issuers
                if namespaces & namespaces_of(settings, (issuer.issuer,))
            ) | {transmitter.issuer}
    return frozenset((transmitter.issuer,))
