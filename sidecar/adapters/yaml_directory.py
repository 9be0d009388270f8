"""Lists the YAML files of a directory: every name that asks to be read is listed.

A name is listed whatever it leads to. A link that leads nowhere or a directory of that name is for
the reader to complain of: what a filter leaves out here is a policy that silently holds no more.
"""

from collections.abc import Iterator
from pathlib import Path

SUFFIXES = frozenset({".yaml", ".yml"})
_EDITORS_LOCK = ".#"
"""How Emacs names the link that leads nowhere beside a file that it is changing."""


def is_yaml(name: str) -> bool:
    """Whether a file of this name is one to read; `.YAML` is one as well."""
    return Path(name).suffix.lower() in SUFFIXES and not name.startswith(_EDITORS_LOCK)


def yaml_files(directory: Path) -> list[Path]:
    """Return what is named as a YAML file in a directory, by name; raises OSError."""
    return sorted(entry for entry in directory.iterdir() if is_yaml(entry.name))


def yaml_files_below(directory: Path) -> list[Path]:
    """Return what is named as a YAML file in a directory and those in it; raises OSError.

    Directories that begin with a dot are left out: in a ConfigMap's mount they hold the files that
    the mount's own links lead to.
    """
    return sorted(_below(directory, frozenset()))


def _below(directory: Path, above: frozenset[tuple[int, int]]) -> Iterator[Path]:
    found = directory.stat()
    here = above | {(found.st_dev, found.st_ino)}
    for entry in directory.iterdir():
        if is_yaml(entry.name):
            yield entry
        elif entry.is_dir() and not entry.name.startswith("."):
            inside = entry.stat()
            if (inside.st_dev, inside.st_ino) not in here:  # a link may lead back up
                yield from _below(entry, here)
