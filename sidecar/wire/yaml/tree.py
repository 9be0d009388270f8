"""YAML that knows where it stands: text to a tree of nodes, each with its file and line.

Read as YAML 1.2's core schema (section 10.3.2), so that `NO` is Norway and `22:00` a time, which
YAML 1.1 makes a boolean and a number. What two readers could understand differently is refused:
keys given twice, keys that are not text, tags, several documents. Anchors are allowed within a
bound on what they expand to, and so are merge keys (`<<: *anchor`, or a list of mappings): what a
mapping says itself wins over what it merges, and of two that it merges the first.
"""

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple, TypeAlias

import msgspec
import yaml

from sidecar.wire.checks.url_credentials import masked

MAX_CHARACTERS = 8 * 1024 * 1024
MAX_NODES = 500_000
"""Nodes in a tree, those behind aliases counted as often as they are used."""

MAX_DEPTH = 64
"""Mappings and lists within each other, those behind aliases counted where they are used."""

MAX_PROBLEMS = 500
"""After so many problems no more are reported: the wrong file was named."""

MERGE = "<<"

WHOLE = "(file)"
"""Stands for the field of a problem that concerns a whole file."""

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_STEPS = re.compile(r"[^.\[\]]+")
_UNREADABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_MAX_DIGITS = 40
_FIXED: dict[str, bool | None] = {
    **dict.fromkeys(("null", "Null", "NULL", "~", "")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INTEGER = re.compile(r"[-+]?[0-9]+")
_BASED = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_SPECIAL = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")


class ConfigProblem(msgspec.Struct, frozen=True):
    """Something the operator must mend. `field` is a dotted path: `policies[0].conditions`."""

    file: str
    line: int
    field: str
    message: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}: {self.field or WHOLE}"
        return f"{masked(where)}: {self.message}"


class ConfigError(Exception):
    """The operator must act: `problems` are all that was found, in the order of their lines."""

    def __init__(self, problems: tuple[ConfigProblem, ...]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


class FilePosition(NamedTuple):
    """The place of a node: a file (or a variable of the environment) and a line, from 1."""

    file: str
    line: int


class Scalar(msgspec.Struct, frozen=True):
    """Text, a number, a truth or nothing."""

    value: str | int | float | bool | None
    place: FilePosition


class Listing(msgspec.Struct, frozen=True):
    """A list."""

    items: "tuple[Node, ...]"
    place: FilePosition


class MappingEntry(NamedTuple):
    """An entry of a mapping: the key's value, and the place where the key stands."""

    place: FilePosition
    node: "Node"


class Table(msgspec.Struct, frozen=True):
    """A mapping."""

    entries: dict[str, MappingEntry]
    place: FilePosition


class AlreadyRefused(msgspec.Struct, frozen=True):
    """Stands for what was refused already: readers pass over it without another word."""

    place: FilePosition


Node: TypeAlias = Scalar | Listing | Table | AlreadyRefused


def is_named(root: Table, field: str) -> bool:
    """Return whether a key of a section stands in the configuration."""
    section, _, key = field.partition(".")
    node = root.entries[section].node if section in root.entries else None
    return isinstance(node, Table) and key in node.entries


def place_of(root: Node, field: str) -> FilePosition:
    """Return where a field stands, by its key; else where the nearest thing around it stands."""
    node, place = root, root.place
    for step in _STEPS.findall(field):
        if isinstance(node, Table) and step in node.entries:
            key, node = node.entries[step]
            # A variable of the environment that gives a part of it has its key, too.
            place = key if key.file == node.place.file else node.place
        elif isinstance(node, Listing) and step.isdigit() and int(step) < len(node.items):
            node = node.items[int(step)]
            place = node.place
        else:
            break
    return place


def plain(node: Node) -> object:
    """Return a tree without its places."""
    match node:
        case Table():
            return {key: plain(entry.node) for key, entry in node.entries.items()}
        case Listing():
            return [plain(item) for item in node.items]
        case Scalar():
            return node.value
        case _:
            return None


def levels_of(node: Node) -> int:
    """Return how many mappings and lists stand within each other here."""
    match node:
        case Table():
            return 1 + max((levels_of(entry.node) for entry in node.entries.values()), default=0)
        case Listing():
            return 1 + max(map(levels_of, node.items), default=0)
        case _:
            return 0


def placed(root: Node, found: Iterable[tuple[str, str]]) -> Iterator[ConfigProblem]:
    """Return each field and message as a problem, where the field stands."""
    for field, message in found:
        place = place_of(root, field)
        yield ConfigProblem(place.file, place.line, field, message)


class Problems:
    """Collects problems, so that all can be reported at once."""

    def __init__(self) -> None:
        self._found: list[ConfigProblem] = []

    @property
    def full(self) -> bool:
        """Return whether there are so many that no more are wanted."""
        return len(self._found) >= MAX_PROBLEMS

    def __len__(self) -> int:
        return len(self._found)

    def add(self, place: FilePosition, field: str, message: str) -> None:
        """Add one, without credentials of URLs that it quotes, unless there are too many."""
        if not self.full:
            self._found.append(ConfigProblem(place.file, place.line, field, masked(message)))

    def check(self) -> None:
        """Raise ConfigError if there are any: file by file, line by line, each once."""
        if self._found:
            files = {name: at for at, name in enumerate(dict.fromkeys(p.file for p in self._found))}
            ordered = sorted(dict.fromkeys(self._found), key=lambda p: (files[p.file], p.line))
            raise ConfigError(tuple(ordered))


def read_tree(text: str, file: str, problems: Problems, field: str = "") -> Node | None:
    """Read one document; None where it cannot be read at all. Adds to `problems`, never raises.

    An empty document is an empty scalar. `field` is the path of the document itself.
    """
    text = text.removeprefix("\ufeff")
    if len(text) > MAX_CHARACTERS:
        problems.add(FilePosition(file, 1), field, f"has more than {MAX_CHARACTERS} characters")
        return None
    unreadable = _UNREADABLE.search(text)
    if unreadable:
        line = text.count("\n", 0, unreadable.start()) + 1
        code = f"U+{ord(unreadable[0]):04X}"
        problems.add(
            FilePosition(file, line), field, f"has the character {code}, which YAML does not allow"
        )
        return None
    reader = _Reader(text, file, problems, field)
    try:
        return reader.document()
    except _Stop as stop:
        problems.add(FilePosition(file, stop.line), reader.field, stop.message)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        message = f"is not valid YAML at column {column}: {error.problem}"
        problems.add(FilePosition(file, line), reader.field, f"{message}{_cure(error, text, line)}")
    except (yaml.YAMLError, ValueError, OverflowError):  # PyYAML leaks these for odd escapes
        problems.add(FilePosition(file, reader.line), reader.field, "is not valid YAML")
    return None


def _cure(error: yaml.MarkedYAMLError, text: str, line: int) -> str:
    """Return what to do about a mistake that is often made; empty where nobody knows."""
    written = "".join(text.split("\n")[line - 1 : line])
    said = f"{error.context or ''} {error.problem or ''}"
    if "\t" in written[: len(written) - len(written.lstrip())]:
        return "; indent with spaces, not with tabs"
    if "mapping values are not allowed" in said or "cannot start any token" in said:
        return "; put the text in quotes"
    if "undefined alias" in said or "alphabetic or numeric" in said:
        return "; a text that begins with * or & is put in quotes"
    if "could not find expected ':'" in said:
        return "; a key ends with a colon and a blank, or the line before lacks its quote"
    if "expected <block end>" in said or "did not find expected key" in said:
        return "; see how far this line and those before it are indented"
    if "',' or" in said:
        return "; close the bracket or brace, or put the text in quotes"
    return ""


class _Stop(Exception):  # noqa: N818 - control flow within this module
    """The document cannot be read any further."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line
        self.message = message


_Content: TypeAlias = yaml.ScalarEvent | yaml.SequenceStartEvent | yaml.MappingStartEvent
_CONTENT = (yaml.ScalarEvent, yaml.SequenceStartEvent, yaml.MappingStartEvent)


class _Anchored(NamedTuple):
    node: Node
    nodes: int
    levels: int


class _Reader:
    """Makes the tree from the parser's events, so that nothing expands before it is counted."""

    def __init__(self, text: str, file: str, problems: Problems, field: str) -> None:
        self._events: Iterator[yaml.Event] = yaml.parse(text, Loader=_LOADER)
        self._file = file
        self._problems = problems
        self._path: list[str] = [field]
        self._anchors: dict[str, _Anchored | None] = {}
        self._nodes = 0
        self._deepest = 0
        self.line = 1

    @property
    def field(self) -> str:
        """The path to what is being read."""
        return "".join(self._path).removeprefix(".")

    def document(self) -> Node:
        self._next()  # the stream's start
        event = self._next()
        if isinstance(event, yaml.StreamEndEvent):
            return Scalar(None, FilePosition(self._file, 1))
        root = self._node(self._next())
        self._next()  # the document's end
        if not isinstance(self._next(), yaml.StreamEndEvent):
            raise _Stop(self.line, "has more than one document; only one is read")
        return root

    def _next(self) -> yaml.Event:
        event = next(self._events)
        if event.start_mark is not None:
            self.line = event.start_mark.line + 1
        return event

    def _node(self, event: yaml.Event) -> Node:
        place = FilePosition(self._file, self.line)
        self._count(1)
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, place)
        if not isinstance(event, _CONTENT):
            raise _Stop(place.line, "is not valid YAML")
        before, deepest = self._nodes, self._deepest
        anchor = event.anchor
        if anchor is not None:
            self._anchors[anchor] = None  # until it is whole, it must not hold itself
            self._deepest = len(self._path)
        node = self._content(event, place)
        if event.tag is not None:
            self._add(place, "has a tag; tags are not allowed")
            node = AlreadyRefused(place)
        if anchor is not None:
            levels = self._deepest - len(self._path)
            self._anchors[anchor] = _Anchored(node, self._nodes - before + 1, levels)
            self._deepest = max(self._deepest, deepest)
        return node

    def _content(self, event: _Content, place: FilePosition) -> Node:
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event, place)
        self._deepen(1, place)
        if isinstance(event, yaml.MappingStartEvent):
            return self._table(place, in_braces=bool(event.flow_style))
        return self._listing(place)

    def _listing(self, place: FilePosition) -> Node:
        items: list[Node] = []
        self._path.append("")
        while not isinstance(event := self._next(), yaml.SequenceEndEvent):
            self._path[-1] = f"[{len(items)}]"
            items.append(self._node(event))
        self._path.pop()
        return Listing(tuple(items), place)

    def _table(self, place: FilePosition, *, in_braces: bool) -> Node:
        entries: dict[str, MappingEntry] = {}
        merged: list[tuple[FilePosition, Node]] = []
        self._path.append("")
        while not isinstance(event := self._next(), yaml.MappingEndEvent):
            at = FilePosition(self._file, self.line)
            self._path[-1] = ""
            if _is_merge(event):
                self._path[-1] = f".{MERGE}"
                merged.append((at, self._node(self._next())))
                continue
            key = self._key(self._node(event), at)
            value = self._next()
            self._path[-1] = f".{shown(key)}" if key is not None else ".?"
            if key in entries:
                self._add(at, f"is given twice; first in line {entries[key].place.line}")
            node = self._node(value)
            if in_braces:  # what comes after a brace that is none, as in a password, is no key
                self._path[-1] = ""
            if key is not None:
                entries.setdefault(key, MappingEntry(at, node))
        self._merge(entries, merged)
        self._path.pop()
        return Table(entries, place)

    def _merge(
        self, entries: dict[str, MappingEntry], merged: list[tuple[FilePosition, Node]]
    ) -> None:
        """Take in what merge keys bring, where the mapping does not say otherwise itself."""
        self._path[-1] = f".{MERGE}"
        if len(merged) > 1:
            self._add(merged[1][0], f"is given twice; first in line {merged[0][0].line}")
        for at, node in merged[:1]:
            for part in node.items if isinstance(node, Listing) else (node,):
                if isinstance(part, Table):
                    for key, entry in part.entries.items():
                        entries.setdefault(key, entry)
                elif not isinstance(part, AlreadyRefused):
                    self._add(at, "must merge mappings: an alias of one, or a list of those")

    def _key(self, node: Node, at: FilePosition) -> str | None:
        if isinstance(node, Scalar) and isinstance(node.value, str):
            return node.value
        if not isinstance(node, AlreadyRefused):
            self._add(at, "has a key that is not text; put it in quotes")
        return None

    def _alias(self, event: yaml.AliasEvent, place: FilePosition) -> Node:
        name = event.anchor or ""
        if name not in self._anchors:
            # It is not named: it may be a password, of which nobody meant that.
            message = (
                "refers to an anchor that is not there; put a text that begins with * in quotes"
            )
            self._add(place, message)
            return AlreadyRefused(place)
        anchored = self._anchors[name]
        if anchored is None:
            self._add(place, f"holds itself, by the anchor {shown(name)!r}")
            return AlreadyRefused(place)
        self._count(anchored.nodes)
        self._deepen(anchored.levels, place)
        return anchored.node

    def _count(self, nodes: int) -> None:
        self._nodes += nodes
        if self._nodes > MAX_NODES:
            raise _Stop(self.line, f"holds more than {MAX_NODES} values, aliases expanded")

    def _deepen(self, levels: int, place: FilePosition) -> None:
        """Take note that here are so many levels more."""
        self._deepest = max(self._deepest, len(self._path) + levels)
        if self._deepest > MAX_DEPTH + 1:  # of the path, the first part is that of the document
            raise _Stop(place.line, f"is nested more than {MAX_DEPTH} levels deep")

    def _scalar(self, event: yaml.ScalarEvent, place: FilePosition) -> Node:
        text = event.value
        if has_control(text):
            self._add(place, "has a control character")
            return AlreadyRefused(place)
        return Scalar(resolve(text) if event.implicit[0] else text, place)

    def _add(self, place: FilePosition, message: str) -> None:
        self._problems.add(place, self.field, message)


def _is_merge(event: yaml.Event) -> bool:
    """Return whether this is a merge key; in quotes it is a key like any other."""
    return isinstance(event, yaml.ScalarEvent) and event.implicit[0] and event.value == MERGE


def resolve(text: str) -> str | int | float | bool | None:
    """Return what a plain scalar means in YAML 1.2's core schema.

    A number of very many digits stays text: nothing here counts so far.
    """
    if text in _FIXED:
        return _FIXED[text]
    if text[0] not in "+-.0123456789" or len(text) > _MAX_DIGITS:
        return text
    if _INTEGER.fullmatch(text):
        return int(text)
    if _BASED.fullmatch(text):
        return int(text, 0)
    if _FLOAT.fullmatch(text):
        return float(text)
    if _SPECIAL.fullmatch(text):
        return float(text.replace(".", ""))
    return text


def has_control(text: str) -> bool:
    """Return whether there are characters that no value may have; tabs and line ends may be."""
    return _CONTROL.search(text) is not None


def shown(text: str) -> str:
    """Text of a file as a message may show it: in one line, not too long, without credentials."""
    clean = masked(text)
    kept = "".join(c if c.isprintable() else "?" for c in clean[:64])
    return kept if len(clean) <= 64 else f"{kept}..."
