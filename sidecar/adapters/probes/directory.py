"""Looks at the directories that a daemon with these settings makes files in."""

import os
from collections.abc import Iterator
from pathlib import Path

from sidecar.domain.explanation.diagnosis import Diagnosis, Part, doubtful, right
from sidecar.wire.settings.settings import Settings

_PART = Part.CONFIGURATION


def examine_directories(settings: Settings) -> Iterator[Diagnosis]:
    """Return whether the sockets and the spool can be made here. Nothing is written.

    Where they cannot it is doubtful, as the daemon may run elsewhere, or as another user.
    """
    http = settings.http
    files = [("socket.path", settings.socket.path)]
    files += [("http.unix", http.unix)] if http.enabled and http.unix else []
    for field, file in files:
        yield _directory(field, Path(file).absolute().parent)
    if settings.spool.dir:
        yield _directory("spool.dir", _nearest(Path(settings.spool.dir).absolute()))


def _nearest(directory: Path) -> Path:
    """Return the directory, or the nearest above it that is there: those below are made."""
    return next(one for one in (directory, *directory.parents) if one.exists())


def _directory(field: str, directory: Path) -> Diagnosis:
    if not directory.is_dir():
        words = f"there is no directory {directory}: here the daemon does not start"
        cure = f"make it, owned by the daemon's user, or set `{field}` to one that is there"
        return doubtful(_PART, field, words, cure)
    if not os.access(directory, os.W_OK | os.X_OK):
        words = f"this user may not write in {directory}: as this user the daemon does not start"
        cure = f"give it to the daemon's user, or set `{field}` to one that it may write in"
        return doubtful(_PART, field, words, cure)
    return right(_PART, field, f"this user may write in {directory}")
