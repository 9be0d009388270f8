"""The `state` of a stream's verification: made by one process, known again by any other.

Whoever asks for a verification (`sidecar ssf verify`) is not the sidecar that it comes to, and they
share no memory. So the state proves itself: when it was made, something random, and a MAC by a
secret that both read from the transmitter's files.
"""

import base64
import binascii
import hashlib
import hmac

LONGEST = 86400
"""Seconds for which a state is good: transmitters may take their time."""

_PURPOSE = b"stepup-sidecar stream verification"
_MAC = 16
_NONCE = 8
_TIME = 5


def make_state(secret: str, now: float, nonce: bytes) -> str:
    """Return a state of now.

    `nonce` are eight random bytes. Raises ValueError for another number.
    """
    if len(nonce) != _NONCE:
        raise ValueError("a nonce has eight bytes")
    head = int(now).to_bytes(_TIME, "big") + nonce
    return base64.urlsafe_b64encode(head + _mac(secret, head)).rstrip(b"=").decode()


def is_ours(state: str, secret: str, now: float) -> bool:
    """Return whether a state was made with this secret, and not too long ago."""
    try:
        raw = base64.b64decode(state + "=" * (-len(state) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return False
    if len(raw) != _TIME + _NONCE + _MAC:
        return False
    head = raw[: _TIME + _NONCE]
    age = now - int.from_bytes(head[:_TIME], "big")
    return hmac.compare_digest(raw[len(head) :], _mac(secret, head)) and -LONGEST < age < LONGEST


def _mac(secret: str, head: bytes) -> bytes:
    return hmac.new(secret.encode(), _PURPOSE + head, hashlib.sha256).digest()[:_MAC]
