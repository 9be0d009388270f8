"""Asks an identity provider what it offers: its metadata, and whether its keys can be used."""

from collections.abc import Mapping

from sidecar.adapters.keys import KeySource
from sidecar.service.answers import Unavailable
from sidecar.wire.provider_metadata import Offer, offer_of
from sidecar.wire.token_settings import Issuer, Tokens
from sidecar.wire.url_credentials import without_credentials


async def discover(issuer: str, patience: float = 10.0) -> Offer:
    """Fetch the metadata and the keys as the daemon will; raises `Unavailable` with the address.

    An issuer whose metadata name it with a slash at the end, or without, is taken by that name: its
    tokens will have it.
    """
    try:
        return await _discover(issuer, patience)
    except Unavailable as error:
        other = issuer[:-1] if issuer.endswith("/") else f"{issuer}/"
        if "differ by the slash" not in str(error):
            raise
    return await _discover(other, patience)


async def _discover(issuer: str, patience: float) -> Offer:
    found: dict[str, object] = {}

    def keep(metadata: Mapping[str, object]) -> None:
        found.update(metadata)

    source = KeySource(
        Issuer(issuer=issuer, audiences=("any",)), Tokens(jwks_timeout=patience), on_metadata=keep
    )
    await source.renew()
    if not source.ready:
        where = found.get("jwks_uri")
        trouble = source.trouble
        address = without_credentials(str(where or issuer))
        told = trouble if "://" in trouble else f"{address}: {trouble}"
        raise Unavailable(told)
    return offer_of(found, issuer, len(source.key_ids))
