"""The check of an issuer's signature: made with one of its keys, by an allowed algorithm.

The one place that asks an issuer again for its keys before it says no. `wire.tokens.jws` has read
the text before.
"""

from collections.abc import Collection
from enum import StrEnum

from sidecar.adapters.tokens.keys import KeySource
from sidecar.wire.tokens.jwks import ALGORITHMS, signed_by
from sidecar.wire.tokens.jws import Unverified


class Unsigned(StrEnum):
    """The reasons, in words, why a text does not count as signed."""

    ALGORITHM = "the algorithm is not allowed"
    KEY = "the key that signed it is not known"
    SIGNATURE = "the signature does not fit"


async def unsigned(
    text: str, parts: Unverified, algorithms: Collection[str], source: KeySource
) -> Unsigned | None:
    """Return why a compact JWS is not signed by this issuer; None where it is.

    Raises `Unavailable` while the issuer's keys cannot be had.
    """
    algorithm = parts.algorithm
    if algorithm not in algorithms or algorithm not in ALGORITHMS:
        return Unsigned.ALGORITHM
    keys = await source.find(parts.key_id, algorithm)
    if not keys:
        return Unsigned.KEY
    if any(signed_by(text, algorithm, key.public) for key in keys):
        return None
    # A rotation without a `kid`, or within one, shows only as a signature that does not fit.
    if await source.renewed(keys):
        held = source.held(parts.key_id, algorithm)
        if any(signed_by(text, algorithm, key.public) for key in held):
            return None
    return Unsigned.SIGNATURE
