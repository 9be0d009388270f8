"""Lists the YAML files of a directory: every name that asks to be read is listed.

A name is listed whatever it leads to. A link that leads nowhere or a directory of that name is for
the reader to complain of: what a filter leaves out here is a policy that silently holds no more.
"""

from collections.abc import Iterator
from pathlib import Path

SUFFIXES = frozenset({".yaml", ".yml"})
_NOBODYS = (".#", "._")
"""How Emacs names the link beside a file that it is changing, and macOS what it knows of a file
beside that, on a disk that cannot keep it otherwise."""


def is_yaml(name: str) -> bool:
    """Return whether a file of this name is one to read; `.YAML` is one as well."""
    return Path(name).suffix.lower() in SUFFIXES and not name.startswith(_NOBODYS)


def yaml_files(directory: Path) -> list[Path]:
    """Return what is named as a YAML file in a directory, by name; raises OSError."""
    return sorted(entry for entry in directory.iterdir() if is_yaml(entry.name))


def passed_over(directory: Path) -> list[str]:
    """Return what of a directory somebody may think is read, and is not; raises OSError.

    Files that JSON is kept in, and directories that have files to read; by name.
    """
    found = []
    for entry in directory.iterdir():
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            found += [f"{entry.name}/"] if any(is_yaml(one.name) for one in entry.iterdir()) else []
        elif entry.suffix.lower() == ".json":
            found.append(entry.name)
    return sorted(found)


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
