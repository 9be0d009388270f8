"""Limits on an issuer's tokens: how strong they may call a sign-in, and whom they may name.

A token says what its issuer likes. What an issuer may not say is not taken from its tokens: it is
not known, rather than empty.
"""

import msgspec

from sidecar.wire.settings.tokens import Issuer
from sidecar.wire.tokens.claims import Token


def limited(token: Token, issuer: Issuer) -> Token:
    """Return the token without what its issuer may not say."""
    may = issuer.may_identify
    if may.groups and may.roles and not issuer.assurance_at_most:
        return token
    unsaid = set[str]()
    if not may.groups:
        unsaid |= {"groups", issuer.groups_claim}
        token = msgspec.structs.replace(
            token, groups=frozenset(), groups_known=False, groups_listed=False
        )
    if not may.roles:
        unsaid |= {"roles", issuer.roles_claim}
        token = msgspec.structs.replace(
            token, roles=frozenset(), roles_known=False, roles_listed=False
        )
    authentication = msgspec.structs.replace(token.authentication, at_most=issuer.assurance_at_most)
    return msgspec.structs.replace(
        token,
        authentication=authentication,
        contexts=() if issuer.assurance_at_most else token.contexts,
        claims=tuple((name, values) for name, values in token.claims if name not in unsaid),
    )
