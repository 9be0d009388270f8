"""Asks the OpenID provider of the console for its metadata and keys once, as a sign-in does."""

from sidecar.adapters.tokens.keys import KeySource
from sidecar.wire.console.openid import believed_issuer
from sidecar.wire.diagnosis.console import ProviderReport
from sidecar.wire.settings.admin import OpenIdSettings
from sidecar.wire.settings.settings import Tokens


async def examine_console(openid: OpenIdSettings) -> ProviderReport:
    """Return what came of it."""
    found: dict[str, object] = {}
    source = KeySource(
        believed_issuer(openid), Tokens(jwks_timeout=openid.timeout), on_metadata=found.update
    )
    await source.renew()
    return ProviderReport(
        openid, found, len(source.key_ids) if source.ready else None, source.trouble
    )
