"""Keys and signatures in the formats of minisign, so that either tool reads what the other wrote.

Each file has an untrusted comment in its first line and base64 in its second. A signature is
Ed25519 over the BLAKE2b-512 digest of what is signed ("prehashed"); those over the bytes
themselves, which minisign made before version 0.10, are refused. A second signature covers the
first and the trusted comment. A secret key is masked by a stream that scrypt makes of a password.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sidecar.wire.bundles.refusal import BundleFlaw, InvalidBundle

MAX_TEXT = 4096
"""Characters of the longest file of a key or signature that is read."""

UNTRUSTED = "untrusted comment: "
TRUSTED = "trusted comment: "
_PURE, _PREHASHED = b"Ed", b"ED"
_SCRYPT, _OPEN, _BLAKE2B = b"Sc", b"\0\0", b"B2"
_SECRET_BYTES = 8 + 64 + 32
_MOST_MEMORY = 1 << 30
LIMITS = (1 << 23, 1 << 28)
"""What masking a new secret key costs: 256 MiB and about a second."""


class InvalidKey(ValueError):  # noqa: N818 - named by who must act
    """The text is no key, or the password is not its own."""


class PasswordNeeded(InvalidKey):
    """The secret key is masked by a password, and none was given."""


class PublicKey(NamedTuple):
    """A public key, with the eight bytes by which signatures name it."""

    id: bytes
    raw: bytes

    @property
    def name(self) -> str:
        """Return the key's name as minisign prints it."""
        return name_of(self.id)

    @property
    def text(self) -> str:
        """Return the key in a line, as `public_keys` has it."""
        return base64.b64encode(_PURE + self.id + self.raw).decode()


class SecretKey(NamedTuple):
    """A secret key: its id, and the seed that the key is made of."""

    id: bytes
    seed: bytes

    @property
    def public(self) -> PublicKey:
        """Return the key by which its signatures are verified."""
        own = Ed25519PrivateKey.from_private_bytes(self.seed).public_key()
        return PublicKey(self.id, own.public_bytes(Encoding.Raw, PublicFormat.Raw))


class Signature(NamedTuple):
    """A signature, by whose key, and the comment that it covers."""

    key_id: bytes
    raw: bytes
    comment: str
    over_all: bytes


def name_of(key_id: bytes) -> str:
    """Return an id of a key as minisign prints it: the greatest byte first."""
    return key_id[::-1].hex().upper()


def read_public_key(text: str) -> PublicKey:
    """Read a public key: its line of base64, or a whole file. Raises `InvalidKey`."""
    if len(text) > MAX_TEXT:
        raise InvalidKey("is too long for a public key")
    lines = [line for line in text.strip().splitlines() if not line.startswith(UNTRUSTED)]
    raw = _decoded(lines[0]) if len(lines) == 1 else None
    if raw is None or len(raw) != 42 or raw[:2] != _PURE:
        raise InvalidKey("is no public key of minisign: 56 characters that begin with RW")
    return PublicKey(raw[2:10], raw[10:])


def write_public_key(key: PublicKey) -> str:
    """Return a public key's file."""
    return f"{UNTRUSTED}minisign public key {key.name}\n{key.text}\n"


def read_secret_key(text: str, password: bytes | None = None) -> SecretKey:
    """Read a secret key's file. Raises `InvalidKey`, and `PasswordNeeded` where it is masked."""
    lines = text.strip().splitlines() if len(text) <= MAX_TEXT else []
    raw = _decoded(lines[1]) if len(lines) == 2 and lines[0].startswith(UNTRUSTED) else None
    if raw is None or len(raw) != 54 + _SECRET_BYTES or raw[:2] != _PURE or raw[4:6] != _BLAKE2B:
        raise InvalidKey("is no secret key of minisign")
    kind, salt, hidden = raw[2:4], raw[6:38], raw[54:]
    if kind == _SCRYPT:
        if password is None:
            raise PasswordNeeded("is protected by a password")
        costs = int.from_bytes(raw[38:46], "little"), int.from_bytes(raw[46:54], "little")
        hidden = _masked(hidden, _stream(password, salt, *costs))
    elif kind != _OPEN:
        raise InvalidKey("is protected in a way that is not known")
    key_id, seed, own, check = hidden[:8], hidden[8:40], hidden[40:72], hidden[72:]
    if not hmac.compare_digest(check, _check(key_id, seed, own)):
        raise InvalidKey("is damaged, or the password is wrong")
    key = SecretKey(key_id, seed)
    if key.public.raw != own:
        raise InvalidKey("holds two keys that do not belong together")
    return key


def write_secret_key(
    key: SecretKey, password: bytes | None, salt: bytes, limits: tuple[int, int] = LIMITS
) -> str:
    """Return a secret key's file, masked by the password; None: as it is.

    `salt` is 32 random bytes; `limits` are libsodium's of operations and of memory.
    """
    own = key.public.raw
    plain = key.id + key.seed + own + _check(key.id, key.seed, own)
    if password is None:
        head = _PURE + _OPEN + _BLAKE2B + bytes(48)
        words = "minisign secret key, not protected by a password"
    else:
        costs = b"".join(limit.to_bytes(8, "little") for limit in limits)
        head = _PURE + _SCRYPT + _BLAKE2B + salt + costs
        plain = _masked(plain, _stream(password, salt, *limits))
        words = "minisign encrypted secret key"
    return f"{UNTRUSTED}{words}\n{base64.b64encode(head + plain).decode()}\n"


def sign(key: SecretKey, content: bytes, comment: str) -> str:
    """Return the signature's file for a content, with a trusted comment of one line."""
    if not comment.replace("\t", " ").isprintable():
        raise ValueError("a trusted comment is one line")
    own = Ed25519PrivateKey.from_private_bytes(key.seed)
    raw = own.sign(_digest(content))
    over_all = own.sign(raw + comment.encode())
    first = base64.b64encode(_PREHASHED + key.id + raw).decode()
    untrusted = f"{UNTRUSTED}signature from minisign secret key {key.public.name}"
    return f"{untrusted}\n{first}\n{TRUSTED}{comment}\n{base64.b64encode(over_all).decode()}\n"


def read_signature(text: str) -> Signature:
    """Read a signature's file. Raises `InvalidBundle`."""
    lines = text.rstrip("\n").split("\n") if len(text) <= MAX_TEXT else []
    if len(lines) != 4 or not lines[0].startswith(UNTRUSTED) or not lines[2].startswith(TRUSTED):
        raise InvalidBundle(BundleFlaw.MALFORMED, "the signature is no file of minisign")
    raw, over_all = _decoded(lines[1]), _decoded(lines[3])
    if raw is None or len(raw) != 74 or over_all is None or len(over_all) != 64:
        raise InvalidBundle(BundleFlaw.MALFORMED, "the signature is no file of minisign")
    if raw[:2] != _PREHASHED:
        message = "the signature is not prehashed: sign with minisign 0.10 or later, or with -H"
        raise InvalidBundle(BundleFlaw.MALFORMED, message)
    return Signature(raw[2:10], raw[10:], lines[2].removeprefix(TRUSTED), over_all)


def verify(signature: Signature, content: bytes, keys: Iterable[PublicKey]) -> PublicKey:
    """Return the key that signed a content. Raises `InvalidBundle` where none of these did."""
    named = [key for key in keys if key.id == signature.key_id]
    if not named:
        message = f"it is signed by the key {name_of(signature.key_id)}, which is not configured"
        raise InvalidBundle(BundleFlaw.FOREIGN_KEY, message)
    digest = _digest(content)
    for key in named:
        try:
            public = Ed25519PublicKey.from_public_bytes(key.raw)
            public.verify(signature.raw, digest)
            public.verify(signature.over_all, signature.raw + signature.comment.encode())
        except (InvalidSignature, ValueError):
            continue
        return key
    message = f"the signature of the key {name_of(signature.key_id)} is not of these bytes"
    raise InvalidBundle(BundleFlaw.WRONG_SIGNATURE, message)


def _decoded(line: str) -> bytes | None:
    try:
        return base64.b64decode(line, validate=True)
    except (binascii.Error, ValueError):
        return None


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=64).digest()


def _check(key_id: bytes, seed: bytes, own: bytes) -> bytes:
    return hashlib.blake2b(_PURE + key_id + seed + own, digest_size=32).digest()


def _masked(content: bytes, stream: bytes) -> bytes:
    return bytes(one ^ other for one, other in zip(content, stream, strict=True))


def _stream(password: bytes, salt: bytes, opslimit: int, memlimit: int) -> bytes:
    """Return what hides a secret key: scrypt, with the costs that libsodium makes of two limits.

    Raises `InvalidKey` where that would take more than a gibibyte.
    """
    n, r, p = _costs(opslimit, memlimit)
    if 128 * n * r > _MOST_MEMORY or p > 64:
        raise InvalidKey("asks for more memory than a secret key may")
    maxmem = 128 * r * (n + p + 2) + (1 << 20)
    return hashlib.scrypt(password, salt=salt, n=n, r=r, p=p, maxmem=maxmem, dklen=_SECRET_BYTES)


def _costs(opslimit: int, memlimit: int) -> tuple[int, int, int]:
    """Return N, r and p, as `crypto_pwhash_scryptsalsa208sha256` picks them."""
    opslimit, r = max(opslimit, 32768), 8
    if opslimit < memlimit // 32:
        return _power(opslimit // (r * 4)), r, 1
    n = _power(memlimit // (r * 128))
    return n, r, min(opslimit // 4 // n, 0x3FFFFFFF) // r


def _power(most: int) -> int:
    """Return the least power of two, from 2 on, that is more than half of this."""
    n = 2
    while n <= most // 2 and n < 1 << 63:
        n *= 2
    return n
