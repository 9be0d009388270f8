"""Asks an issuer for its keys and metadata once, as a daemon does at its start."""

from collections.abc import Mapping

import trio

from sidecar.adapters.tokens.documents import Documents
from sidecar.adapters.tokens.keys import KeySource, metadata_addresses
from sidecar.service.ports.calls import Unavailable
from sidecar.wire.diagnosis.issuer import IssuerReport
from sidecar.wire.settings.settings import Issuer, Tokens
from sidecar.wire.tokens.jws import bounded_object


async def examine_issuer(issuer: Issuer, tokens: Tokens) -> tuple[IssuerReport, KeySource]:
    """Return what came of it, and the keys, with which tokens can be verified."""
    documents = Documents()
    found: dict[str, object] = {}

    def keep(metadata: Mapping[str, object]) -> None:
        found.update(metadata)

    source = KeySource(issuer, tokens, documents=documents, on_metadata=keep)
    if not issuer.introspection.only:
        await source.renew()
    unmet = ""
    if not found and not issuer.jwks_file and (issuer.jwks_uri or issuer.introspection.only):
        try:
            found = await _metadata(issuer, tokens, documents)
        except (Unavailable, ValueError) as error:
            unmet = str(error)
    keys = source.key_ids if source.ready else None
    return IssuerReport(issuer, keys, source.trouble, found, unmet), source


async def _metadata(issuer: Issuer, tokens: Tokens, documents: Documents) -> dict[str, object]:
    """Return the metadata of an issuer whose keys do not come by them. Raises `Unavailable`."""
    address = metadata_addresses(issuer.issuer)[0]
    with trio.move_on_after(tokens.jwks_timeout):
        return bounded_object(await documents.fetch(address))
    raise Unavailable(f"{address}: did not answer in time")
