"""A bundle as a value: its manifest, its files, and who signed it."""

from collections.abc import Mapping

import msgspec

MANIFEST = "manifest.json"
PLACES = "places.yaml"
POLICIES = "policies/"
LISTS = "lists/"


class ListedFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file of a bundle: its path, its length and its digest."""

    path: str
    size: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A bundle's word about itself.

    `sequence` only grows: it is what a bundle is called. `made_at` is in seconds since the epoch.
    `policy_set` is what `sidecar_policy_set_info` shows of it where it was built.
    """

    format: int
    sequence: int
    made_at: int
    policy_set: str
    files: tuple[ListedFile, ...]


class Contents(msgspec.Struct, frozen=True):
    """A bundle that was read: its manifest, its files but that, and the digest of the whole."""

    manifest: Manifest
    files: Mapping[str, bytes]
    digest: str

    @property
    def policies(self) -> tuple[str, ...]:
        """The paths of the files of policies, in their order."""
        return tuple(path for path in self.files if path.startswith(POLICIES))


class SignedBytes(msgspec.Struct, frozen=True):
    """An archive and the text of its signature, as they came; empty: there is none."""

    archive: bytes
    signature: str


class Bundle(msgspec.Struct, frozen=True):
    """A bundle that was verified, by which key it is signed, and what the signature says.

    `place` is put before the paths of its files where they are named; empty: its number is.
    """

    contents: Contents
    signed_by: str
    comment: str
    place: str = ""

    @property
    def sequence(self) -> int:
        """The number that it is called by."""
        return self.contents.manifest.sequence

    @property
    def digest(self) -> str:
        """The digest of its archive."""
        return self.contents.digest
