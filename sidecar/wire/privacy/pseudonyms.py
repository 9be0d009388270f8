"""Keyed pseudonyms of people, sessions, devices and addresses: what the log has in their place.

A pseudonym is a letter for the kind, a colon, and a hundred bits of HMAC-SHA-256 in base32:
`u:k3f9...`. Who holds the key can compute it from a name, and nobody else can test a guess.
"""

import base64
import enum
import functools
import hmac
from collections.abc import Callable

from sidecar.wire.privacy.privacy_keys import PrivacyKey

_LETTERS = 20


class PseudonymKind(enum.StrEnum):
    """The kind of a name: equal names of two kinds have pseudonyms of their own."""

    USER = "u"
    SESSION = "s"
    DEVICE = "d"
    ADDRESS = "a"


Pseudonym = Callable[[PseudonymKind, str, str], str]
"""Return the pseudonym of a kind, a namespace and a name in it."""


def pseudonym(key: PrivacyKey, kind: PseudonymKind, namespace: str, name: str) -> str:
    """Return the pseudonym of a name in a namespace (empty for addresses, which have none)."""
    parts = (kind.value, namespace, name)
    encoded = [part.encode("utf-8", "surrogatepass") for part in parts]
    message = b"".join(len(part).to_bytes(8, "big") + part for part in encoded)
    raw = hmac.digest(key.derive("log pseudonyms", 32), message, "sha256")
    return f"{kind}:{base64.b32encode(raw).decode().lower()[:_LETTERS]}"


def pseudonyms_by(key: PrivacyKey, bound: int = 8192) -> Pseudonym:
    """Return `pseudonym` under a key, which remembers the last `bound` of them."""
    return functools.lru_cache(maxsize=bound)(functools.partial(pseudonym, key))
