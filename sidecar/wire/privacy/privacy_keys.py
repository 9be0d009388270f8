"""The file of privacy keys: one secret a line, the first of which writes and all of which read.

Blank lines, and lines that begin with `#`, do not count. A key's id is derived from its secret, so
that two sidecars that know a key by the same id do have the same key.
"""

import base64
import functools

import msgspec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from sidecar.domain.values.plural import counted
from sidecar.wire.yaml.scalars import Misspelt
from sidecar.wire.yaml.tree import has_control

LEAST = 32
"""Characters that a secret has at least: what `openssl rand -base64 32` prints has 44."""

MOST = 4
"""Keys that are known at a time. Each is looked under, so each costs a read more."""

_LONGEST = 8192
_ID_LETTERS = 8


class PrivacyKey(msgspec.Struct, frozen=True):
    """A secret, from which keys for each purpose are derived. Never shown."""

    secret: bytes

    def __repr__(self) -> str:
        return f"PrivacyKey({self.id})"

    def derive(self, purpose: str, size: int) -> bytes:
        """Return `size` bytes that belong to this purpose alone (HKDF, RFC 5869)."""
        return _derive(self.secret, purpose, size)

    @property
    def id(self) -> str:
        """Its name in the store and in messages, which reveals nothing of the secret."""
        return base64.b32encode(self.derive("key id", 5)).decode().lower()[:_ID_LETTERS]


@functools.lru_cache(maxsize=64)
def _derive(secret: bytes, purpose: str, size: int) -> bytes:
    info = f"stepup-sidecar privacy 1: {purpose}".encode()
    return HKDF(algorithm=SHA256(), length=size, salt=None, info=info).derive(secret)


def read_privacy_keys(text: str, file: str) -> tuple[PrivacyKey, ...]:
    """Return the keys of a file's text. Raises Misspelt, which names the line and never quotes."""
    keys: list[PrivacyKey] = []
    for number, line in enumerate(text.splitlines(), 1):
        secret = line.strip()
        if not secret or secret.startswith("#"):
            continue
        where = f"{file}, line {number}"
        if len(secret) < LEAST:
            raise Misspelt(f"{where}: a key has {LEAST} characters at least, as 32 random bytes do")
        if len(secret) > _LONGEST or has_control(secret):
            raise Misspelt(f"{where}: a key is one line of text")
        key = PrivacyKey(secret.encode())
        if key in keys:
            raise Misspelt(f"{where}: this key stands there twice")
        keys.append(key)
    if not keys:
        raise Misspelt(f"{file} has no key: write one with `openssl rand -base64 32`")
    if len(keys) > MOST:
        raise Misspelt(f"{file} has {counted(len(keys), 'key')}, and may have {MOST}")
    return tuple(keys)
