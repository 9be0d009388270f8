"""Verifies a bundle, and only then reads it."""

from collections.abc import Iterable

from sidecar.wire.bundles import minisign
from sidecar.wire.bundles.archive import digest_of, unpack
from sidecar.wire.bundles.bundle import Bundle, SignedBytes
from sidecar.wire.bundles.minisign import InvalidKey, PublicKey
from sidecar.wire.bundles.refusal import BundleFlaw, InvalidBundle


def opened(
    given: SignedBytes, keys: Iterable[PublicKey], *, sequence: int = 0, digest: str = ""
) -> Bundle:
    """Verify a bundle, and read it. Raises `InvalidBundle`.

    `sequence` and `digest` are what it must be, if they are known.
    """
    if digest and digest_of(given.archive) != digest:
        message = f"its digest is {digest_of(given.archive)[:16]}, and not {digest[:16]}"
        raise InvalidBundle(BundleFlaw.TAMPERED, message)
    if not given.signature.strip():
        raise InvalidBundle(BundleFlaw.UNSIGNED, "it has no signature")
    signature = minisign.read_signature(given.signature)
    signed_by = minisign.verify(signature, given.archive, keys)
    contents = unpack(given.archive)
    if sequence and contents.manifest.sequence != sequence:
        number = contents.manifest.sequence
        message = f"it is number {number}, and stands in the place of {sequence}"
        raise InvalidBundle(BundleFlaw.TAMPERED, message)
    return Bundle(contents, signed_by.name, signature.comment)


def keys_of(texts: Iterable[str]) -> tuple[PublicKey, ...]:
    """Return configured public keys, without those that are none: `validate` reports these."""
    keys = []
    for text in texts:
        try:
            keys.append(minisign.read_public_key(text))
        except InvalidKey:
            continue
    return tuple(keys)
