"""The places of a bundle, put beside those of the configuration before either is read.

Each keeps where it stands, so that what is wrong is reported with the bundle's file and line.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from sidecar.wire.bundles.bundle import LISTS, PLACES, POLICIES
from sidecar.wire.yaml.tree import (
    FilePosition,
    Listing,
    MappingEntry,
    Node,
    Problems,
    Scalar,
    Table,
    read_tree,
)

_SECTIONS = ("locations", "networks")
NONE = "none"
"""In a file of CIDRs, alone: it is to hold none."""


class BundledFiles(NamedTuple):
    """The files of a bundle by their paths, and what is put before these where they are named."""

    files: Mapping[str, bytes]
    label: str


def texts_of(bundled: BundledFiles, problems: Problems) -> list[tuple[str, str]]:
    """Return the files of policies with their texts, in order."""
    return [
        (f"{bundled.label}{path}", text)
        for path in sorted(bundled.files)
        if path.startswith(POLICIES) and (text := _text(bundled, path, problems)) is not None
    ]


def with_places(root: Table, bundled: BundledFiles, problems: Problems) -> Table:
    """Return a configuration with the bundle's locations and networks behind its own.

    A name that both have is refused where the configuration is checked, as any that is there twice.
    """
    text = _text(bundled, PLACES, problems) if PLACES in bundled.files else None
    if text is None:
        return root
    file = f"{bundled.label}{PLACES}"
    tree = read_tree(text, file, problems)
    if not isinstance(tree, Table):
        if tree is not None:
            words = f"must be a mapping of {' and '.join(_SECTIONS)}"
            problems.add(FilePosition(file, 1), "", words)
        return root
    entries = dict(root.entries)
    for name, entry in tree.entries.items():
        if name not in _SECTIONS:
            message = f"is not known here; a bundle has {' and '.join(_SECTIONS)}"
            problems.add(entry.place, name, message)
        elif not isinstance(entry.node, Listing):
            problems.add(entry.place, name, "must be a list")
        else:
            own = tuple(_with_list(one, bundled, problems) for one in entry.node.items)
            entries[name] = _joined(root.entries.get(name), own, entry)
    return Table(entries, root.place)


def _joined(known: MappingEntry | None, own: tuple[Node, ...], entry: MappingEntry) -> MappingEntry:
    if known is None or not isinstance(known.node, Listing):
        return MappingEntry(entry.place, Listing(own, entry.node.place))
    return MappingEntry(known.place, Listing((*known.node.items, *own), known.node.place))


def _with_list(node: Node, bundled: BundledFiles, problems: Problems) -> Node:
    """Return a place with the CIDRs of the file that it names, in the place of its name."""
    if not isinstance(node, Table) or "cidr_file" not in node.entries:
        return node
    entries = dict(node.entries)
    named = entries.pop("cidr_file")
    path = named.node.value if isinstance(named.node, Scalar) else None
    if not isinstance(path, str) or not path.startswith(LISTS) or path not in bundled.files:
        message = f"names no file of the bundle: they are in {LISTS}"
        problems.add(named.place, "cidr_file", message)
        return node
    found = tuple(_cidrs(bundled, path, problems))
    known = entries.get("cidrs")
    said = known.node.items if known is not None and isinstance(known.node, Listing) else ()
    entries["cidrs"] = MappingEntry(named.place, Listing((*said, *found), named.place))
    return Table(entries, node.place)


def _cidrs(bundled: BundledFiles, path: str, problems: Problems) -> Iterator[Scalar]:
    """Yield each CIDR of a file, with its line. `#` and `;` comment."""
    text = _text(bundled, path, problems)
    if text is None:
        return
    lines: list[tuple[int, str]] = []
    for number, line in enumerate(text.splitlines(), 1):
        said = line.partition("#")[0].partition(";")[0].strip()
        if said:
            lines.append((number, said))
    file = f"{bundled.label}{path}"
    if not lines:
        message = f"holds no CIDR; where it is to hold none, say `{NONE}`"
        problems.add(FilePosition(file, 1), "", message)
    if [said for _, said in lines] == [NONE]:
        return
    for number, said in lines:
        yield Scalar(said, FilePosition(file, number))


def _text(bundled: BundledFiles, path: str, problems: Problems) -> str | None:
    try:
        text = bundled.files[path].decode("utf-8")
    except UnicodeDecodeError:
        problems.add(FilePosition(f"{bundled.label}{path}", 1), "", "is not UTF-8 text")
        return None
    return text.replace("\r\n", "\n").replace("\r", "\n")
