"""A directory of bundles: a volume, or the checkout of a repository.

A file is read as a whole. Where a checkout is swapped between the two files of a bundle, they do
not fit together: it is refused, and read once more.
"""

import os
from itertools import islice
from pathlib import Path

import trio

from sidecar.adapters.bundles.names import SIGNATURE, file_of, sequence_of
from sidecar.adapters.files.regular_files import read_bytes
from sidecar.domain.values.causes import words_of
from sidecar.wire.bundles.archive import MAX_BYTES
from sidecar.wire.bundles.bundle import SignedBytes
from sidecar.wire.bundles.minisign import MAX_TEXT
from sidecar.wire.bundles.refusal import BundleFlaw, InvalidBundle

MOST = 100_000
"""Names in a directory that are looked at for the newest bundle."""


class DirectorySource:
    """Reads bundles from a directory."""

    def __init__(self, directory: str) -> None:
        self._directory = Path(directory)

    async def newest(self) -> int:
        """Return the highest number of a file of a bundle. Raises `InvalidBundle`."""
        return await trio.to_thread.run_sync(self._newest)

    def _newest(self) -> int:
        try:
            with os.scandir(self._directory) as found:
                return max((sequence_of(one.name) for one in islice(found, MOST)), default=0)
        except OSError as error:
            words = f"{self._directory} cannot be read: {words_of(error)}"
            raise InvalidBundle(BundleFlaw.UNAVAILABLE, words) from None

    async def fetch(self, sequence: int) -> SignedBytes:
        """Return a bundle's bytes and its signature's. Raises `InvalidBundle`."""
        return await trio.to_thread.run_sync(read_signed, self._directory / file_of(sequence))


def read_signed(file: Path) -> SignedBytes:
    """Return the bytes of a bundle and of its signature beside it. Raises `InvalidBundle`."""
    archive = _read(file, MAX_BYTES)
    try:
        signature = _read(file.with_name(file.name + SIGNATURE), MAX_TEXT)
    except FileNotFoundError:
        return SignedBytes(archive, "")
    return SignedBytes(archive, signature.decode("utf-8", "replace"))


def _read(file: Path, most: int) -> bytes:
    try:
        return read_bytes(file, most)
    except FileNotFoundError:
        if file.name.endswith(SIGNATURE):
            raise
        raise InvalidBundle(BundleFlaw.UNAVAILABLE, f"there is no {file}") from None
    except OSError as error:
        words = f"{file} cannot be read: {words_of(error)}"
        raise InvalidBundle(BundleFlaw.UNAVAILABLE, words) from None
