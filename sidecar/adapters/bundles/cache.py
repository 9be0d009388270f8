"""Keeps verified bundles: in memory, and in a directory where one is configured.

What is in the directory is believed by nobody: it is verified again whenever it is read.
"""

import contextlib
import os
import re
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import trio

from sidecar.adapters.bundles.directory import read_signed
from sidecar.adapters.bundles.names import SIGNATURE
from sidecar.domain.values.causes import words_of
from sidecar.wire.bundles.bundle import Bundle, SignedBytes
from sidecar.wire.bundles.refusal import InvalidBundle

KEPT = 5
"""Bundles that are kept: those that were asked for last."""

_FILE = re.compile(r"[0-9a-f]{64}\.tar")


class KeptBundles:
    """Bundles by digest. `failed` is called with why the directory cannot be used."""

    def __init__(self, directory: str, failed: Callable[[str], None]) -> None:
        self._directory = Path(directory) if directory else None
        self._failed = failed
        self._held: OrderedDict[str, SignedBytes] = OrderedDict()

    async def find(self, digest: str) -> SignedBytes | None:
        """Return what is kept under a digest."""
        held = self._held.get(digest)
        if held is None and self._directory is not None and len(digest) == 64:
            held = await trio.to_thread.run_sync(self._read, self._directory / f"{digest}.tar")
        return held

    async def keep(self, bundle: Bundle, given: SignedBytes) -> None:
        """Keep a bundle, beside the ones before."""
        self._held[bundle.digest] = given
        self._held.move_to_end(bundle.digest)
        while len(self._held) > KEPT:
            self._held.popitem(last=False)
        if self._directory is not None:
            await trio.to_thread.run_sync(self._write, self._directory, bundle.digest, given)

    def _read(self, file: Path) -> SignedBytes | None:
        try:
            found = read_signed(file)
            os.utime(file)
        except (InvalidBundle, OSError):
            return None
        return found

    def _write(self, directory: Path, digest: str, given: SignedBytes) -> None:
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            # The signature first: a bundle is there once both are.
            _put(directory / f"{digest}.tar{SIGNATURE}", given.signature.encode())
            _put(directory / f"{digest}.tar", given.archive)
            self._thin_out(directory)
        except OSError as error:
            self._failed(f"{directory}: {words_of(error)}")

    def _thin_out(self, directory: Path) -> None:
        found = [one for one in directory.iterdir() if _FILE.fullmatch(one.name)]
        found.sort(key=lambda one: -one.stat().st_mtime)
        for one in found[KEPT:]:
            one.unlink(missing_ok=True)
            one.with_name(one.name + SIGNATURE).unlink(missing_ok=True)


def _put(file: Path, content: bytes) -> None:
    """Put a file in its place as a whole, for its owner alone."""
    aside = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(handle, "wb") as opened:
            opened.write(content)
            opened.flush()
            os.fsync(opened.fileno())
        aside.replace(file)
    except BaseException:
        with contextlib.suppress(OSError):
            aside.unlink(missing_ok=True)
        raise
