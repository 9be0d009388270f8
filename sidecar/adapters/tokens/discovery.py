"""Asks an identity provider what it offers: its metadata, and whether its keys can be used."""

from collections.abc import Mapping

from sidecar.adapters.tokens.keys import KeySource
from sidecar.service.ports.calls import Unavailable
from sidecar.wire.providers.metadata import Offer, offer_of
from sidecar.wire.settings.tokens import Issuer, Tokens


async def discover(issuer: str, patience: float = 10.0) -> Offer:
    """Fetch the metadata and the keys as the daemon will; raises `Unavailable` with the address.

    An issuer whose metadata name it with a slash at the end, or without, is taken by that name: its
    tokens will have it.
    """
    source, found = await _asked(issuer, patience)
    if source.named and source.named.rstrip("/") == issuer.rstrip("/"):
        issuer = source.named
        source, found = await _asked(issuer, patience)
    if not source.ready:
        where = found.get("jwks_uri")
        trouble = source.trouble
        raise Unavailable(trouble if "://" in trouble else f"{where or issuer}: {trouble}")
    return offer_of(found, issuer, len(source.key_ids))


async def _asked(issuer: str, patience: float) -> tuple[KeySource, Mapping[str, object]]:
    """Return where the keys of an issuer come from, asked once, and its metadata."""
    found: dict[str, object] = {}

    def keep(metadata: Mapping[str, object]) -> None:
        found.update(metadata)

    source = KeySource(
        Issuer(issuer=issuer, audiences=("any",)), Tokens(jwks_timeout=patience), on_metadata=keep
    )
    await source.renew()
    return source, found
