"""Reports of replays in a directory: which there are, and what each says.

A name is one of a listing, and so never leads out of the directory. Whatever links in it lead to is
its owner's choice, as of a volume's.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import trio

from sidecar.adapters.files.regular_files import read_bytes
from sidecar.domain.values.causes import words_of
from sidecar.wire.console.replay_reports import InvalidReport, ReplayReport, read_report

MOST_FILES = 50
"""Files that are listed: the latest."""

MOST_LOOKED_AT = 1000
"""Files of a directory that are looked at."""

MOST_BYTES = 4 * 1_048_576


class ReplayFile(NamedTuple):
    """A file that may be a report, and when it was written: seconds since the epoch."""

    name: str
    written: float


class ReplayListing(NamedTuple):
    """The files of a directory, the latest first; `trouble` says why there are none, or not all."""

    files: tuple[ReplayFile, ...]
    trouble: str = ""


class ReplayFiles:
    """Reads reports in threads. `directory` gives where they are as of now; empty: nowhere."""

    def __init__(self, directory: Callable[[], str]) -> None:
        self._directory = directory
        self._places = trio.CapacityLimiter(2)

    @property
    def configured(self) -> bool:
        """Return whether there is a directory."""
        return bool(self._directory())

    async def listing(self) -> ReplayListing:
        """Return which files there are; a directory that cannot be read has none."""
        return await trio.to_thread.run_sync(_listed, self._directory(), limiter=self._places)

    async def report(self, name: str) -> ReplayReport:
        """Return the report in a file of a listing. Raises `InvalidReport`."""
        path = Path(self._directory()) / name
        return await trio.to_thread.run_sync(_read, path, limiter=self._places)


def _listed(directory: str) -> ReplayListing:
    found: list[ReplayFile] = []
    trouble = ""
    try:
        for place, path in enumerate(Path(directory).iterdir()):
            if place >= MOST_LOOKED_AT:
                trouble = f"only {MOST_LOOKED_AT} files were looked at"
                break
            if path.suffix == ".json" and not path.name.startswith(".") and path.is_file():
                found.append(ReplayFile(path.name, path.stat().st_mtime))
    except OSError as error:
        return ReplayListing((), f"the directory cannot be read: {words_of(error)}")
    found.sort(key=lambda one: (-one.written, one.name))
    return ReplayListing(tuple(found[:MOST_FILES]), trouble)


def _read(path: Path) -> ReplayReport:
    try:
        return read_report(read_bytes(path, MOST_BYTES))
    except OSError as error:
        raise InvalidReport(f"it cannot be read: {words_of(error)}") from None
