"""The archive of a bundle: files by name, as one tar in the only form that is read again.

    manifest.json               what it is, and the digest of every other file
    policies/NAME.yaml          as `policies.path` has them
    places.yaml                 `locations` and `networks` beside those of the configuration
    lists/NAME                  files of CIDRs that `places.yaml` names

A bundle of the same files is the same bytes: members by name after the manifest, without owner,
mode or time. What differs from that in a single byte is no bundle. So there are no links, no
devices, no paths that lead elsewhere, no name twice, nothing behind the end, and nothing unpacks
to more than it is: the archive is not compressed.
"""

import hashlib
import re
from collections.abc import Mapping

import msgspec

from sidecar.wire.bundles.bundle import MANIFEST, POLICIES, Contents, ListedFile, Manifest
from sidecar.wire.bundles.refusal import BundleFlaw, InvalidBundle

FORMAT = 1
MAX_BYTES = 8 * 1024 * 1024
"""Bytes of the largest archive."""

MAX_FILES = 2000
MAX_SEQUENCE = 10**12
_BLOCK = 512
_END = bytes(2 * _BLOCK)
_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}"
_PATH = re.compile(rf"policies/{_NAME}\.ya?ml|lists/{_NAME}|places\.yaml")
_DIGEST = re.compile(r"[0-9a-f]{64}")


def is_path(path: str) -> bool:
    """Return whether a bundle may have a file of this path."""
    return _PATH.fullmatch(path) is not None


def digest_of(content: bytes) -> str:
    """Return the digest by which a bundle is known: SHA-256, as 64 digits."""
    return hashlib.sha256(content).hexdigest()


def pack(files: Mapping[str, bytes], *, sequence: int, made_at: int, policy_set: str) -> bytes:
    """Return the archive of these files. Raises `InvalidBundle`."""
    paths = sorted(files)
    listed = tuple(ListedFile(one, len(files[one]), digest_of(files[one])) for one in paths)
    manifest = Manifest(FORMAT, sequence, made_at, policy_set, listed)
    _check(manifest)
    archive = _archive(manifest, files)
    if len(archive) > MAX_BYTES:
        raise _malformed(f"it has {len(archive)} bytes, and may have {MAX_BYTES}")
    return archive


def unpack(archive: bytes) -> Contents:
    """Read an archive. Raises `InvalidBundle` for whatever `pack` does not make."""
    if len(archive) > MAX_BYTES:
        raise _malformed(f"it has {len(archive)} bytes, and may have {MAX_BYTES}")
    members = _members(archive)
    manifest = _manifest(members.pop(MANIFEST, b""))
    listed = {one.path: one for one in manifest.files}
    if listed.keys() != members.keys():
        raise _malformed("its files are not those of its manifest")
    for path, content in members.items():
        if listed[path].size != len(content) or listed[path].sha256 != digest_of(content):
            raise _malformed(f"{path} is not what its manifest says")
    if _archive(manifest, members) != archive:
        raise _malformed("it is not in the form that `sidecar policies build` writes")
    return Contents(manifest, members, digest_of(archive))


def _malformed(message: str) -> InvalidBundle:
    return InvalidBundle(BundleFlaw.MALFORMED, message)


def _check(manifest: Manifest) -> None:
    if manifest.format != FORMAT:
        raise _malformed(f"its format is {manifest.format}, and {FORMAT} is read")
    if not 1 <= manifest.sequence <= MAX_SEQUENCE:
        raise _malformed(f"its sequence is not between 1 and {MAX_SEQUENCE}")
    if not 0 <= manifest.made_at <= MAX_SEQUENCE or len(manifest.policy_set) > 64:
        raise _malformed("its manifest has a value that cannot be")
    if len(manifest.files) > MAX_FILES:
        raise _malformed(f"it has more than {MAX_FILES} files")
    paths = [one.path for one in manifest.files]
    if paths != sorted(set(paths)):
        raise _malformed("its manifest does not list each file once, by name")
    for one in manifest.files:
        if not is_path(one.path):
            raise _malformed(f"it has a file {one.path[:120]!r}, which no bundle has")
        if one.size < 0 or not _DIGEST.fullmatch(one.sha256):
            raise _malformed(f"its manifest says of {one.path} what cannot be")
    if not any(path.startswith(POLICIES) for path in paths):
        raise _malformed("it has no file of policies; where none are wanted, one says so")


def _manifest(content: bytes) -> Manifest:
    try:
        manifest = msgspec.json.decode(content, type=Manifest)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise _malformed("it has no manifest that can be read") from None
    _check(manifest)
    return manifest


def _archive(manifest: Manifest, files: Mapping[str, bytes]) -> bytes:
    encoded = msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n"
    members = [(MANIFEST, encoded), *((path, files[path]) for path in sorted(files))]
    parts: list[bytes] = []
    for path, content in members:
        parts += [_header(path, len(content)), content, bytes(-len(content) % _BLOCK)]
    return b"".join((*parts, _END))


def _header(path: str, size: int) -> bytes:
    """Return the header of a member, as POSIX 1003.1-1990 has it: a file that anybody may read."""
    name, zero, none = path.encode("ascii").ljust(100, b"\0"), b"0000000\0", bytes(100)
    before = name + b"0000644\0" + zero + zero + b"%011o\0" % size + b"%011o\0" % 0
    after = b"0" + none + b"ustar\0" + b"00" + bytes(64) + zero + zero + bytes(167)
    sum_of_bytes = sum(before) + sum(b" " * 8) + sum(after)
    return before + b"%06o\0 " % sum_of_bytes + after


def _members(archive: bytes) -> dict[str, bytes]:
    """Return the members of an archive, which are compared with what they should be as a whole."""
    members: dict[str, bytes] = {}
    at = 0
    while archive[at : at + _BLOCK].strip(b"\0"):
        header = archive[at : at + _BLOCK]
        path, size = _described(header)
        if path in members:
            raise _malformed(f"it has {path} twice")
        if len(members) > MAX_FILES:
            raise _malformed(f"it has more than {MAX_FILES} files")
        at += _BLOCK
        members[path] = archive[at : at + size]
        if len(members[path]) != size:
            raise _malformed(f"it ends within {path}")
        at += size + -size % _BLOCK
    return members


def _described(header: bytes) -> tuple[str, int]:
    """Return the path and size that a member's header has, if it is as we write it."""
    name, digits = header[:100].rstrip(b"\0"), header[124:136].rstrip(b"\0")
    try:
        path, size = name.decode("ascii"), int(digits, 8)
    except ValueError:
        raise _malformed("it is no archive of a bundle") from None
    if path != MANIFEST and not is_path(path):
        raise _malformed(f"it has a file {path!r}, which no bundle has")
    if size < 0 or size > MAX_BYTES or _header(path, size) != header:
        raise _malformed(f"it is not in the form of a bundle at {path}")
    return path, size
