"""The memory that this process may take, by its container, and has taken (Linux)."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
OWN = Path("/proc/self")
_NONE = 1 << 50
"""Version 1 says "no limit" by a number that no machine has."""


def container_limit(cgroups: Path = CGROUPS, own: Path = OWN) -> int | None:
    """Return how many bytes the control groups of this process allow; None: without limit.

    Versions 2 (`memory.max`) and 1 (`memory.limit_in_bytes`); of a group and those above it the
    least counts. Within a container the root of the tree is most often the container's own group,
    whatever path the kernel names for the process.
    """
    limits = []
    for file in _files(cgroups, own):
        with suppress(OSError, ValueError):  # "max", or no such file here
            limits.append(int(file.read_text()))
    least = min(limits, default=_NONE)
    return least if 0 < least < _NONE else None


def _files(cgroups: Path, own: Path) -> Iterator[Path]:
    try:
        lines = (own / "cgroup").read_text().splitlines()
    except OSError:
        lines = []
    for line in ["0::/", "0:memory:/", *lines]:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if not controllers:
            root, name = cgroups, "memory.max"
        elif "memory" in controllers.split(","):
            root, name = cgroups / "memory", "memory.limit_in_bytes"
        else:
            continue
        at = root / path.lstrip("/")
        for group in (at, *at.parents):
            if group == root or root in group.parents:
                yield group / name


def resident(own: Path = OWN) -> int:
    """Return the bytes of memory that this process holds; 0 where that is unknown."""
    try:
        pages = int((own / "statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
