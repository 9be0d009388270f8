"""A map from the columns of a CSV recording to the members of an occurrence.

```yaml
time: createdDateTime                                  # a column
type: {constant: session-established}
subject.user: userPrincipalName
data.amr: {column: methods, split: ";"}
label: {column: verdict, values: {fraud: attack, ok: legitimate}}
```

A key is a member's dotted path in the event form; a value the column's name, or a mapping with
`column` or `constant`, `values` (what stands there, and what it means), `split` (into a list) and
`default` (for an empty cell). Empty cells without a default are left out.
"""

import csv
import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from sidecar.domain.values.plural import counted
from sidecar.wire.yaml.nodes import Leaves, inside
from sidecar.wire.yaml.structs import suggestion
from sidecar.wire.yaml.tree import FilePosition, Node, Problems, Table, read_tree, shown

_MEMBERS = frozenset(
    {
        *("type", "op", "time", "id", "source", "label", "app"),
        *("context", "contexts", "method", "host", "path"),
        *("subject.user", "subject.device", "subject.session", "subject.issuer"),
        *("data.ip", "data.user_agent", "data.acr", "data.amr", "data.auth_time", "data.exp"),
        *("data.app", "data.reason", "data.segment", "data.current_status"),
        *("data.current_level", "data.credential_type", "data.change_type", "data.namespace"),
        *("data.change_direction", "data.name", "data.weight", "data.half_life"),
        *("place.country", "place.region", "place.city", "place.asn", "place.organization"),
        *("place.latitude", "place.longitude", "place.accuracy_km", "place.anonymizer"),
        "place.carrier",
    }
)
_FREE = re.compile(r"(?:data\.)?claims\.[^.]{1,256}")
_WHOLE = frozenset({"data.auth_time", "data.exp", "place.asn"})
_NUMBERS = frozenset(
    {
        *("data.weight", "data.half_life"),
        *("place.latitude", "place.longitude", "place.accuracy_km"),
    }
)
_LISTS = frozenset({"contexts", "data.amr", "place.anonymizer"})
_TRUTHS = frozenset({"place.carrier"})
_SAID = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_KEYS = ("column", "constant", "values", "split", "default")

_SEPARATORS = (",", ";", "\t")
_SEPARATOR_LINE = re.compile(r"sep=([,;\t])")
_QUOTED = re.compile(r'"[^"]*"')

Row = dict[str, object]


class CsvColumn(NamedTuple):
    """The source of one member's value: see the module."""

    member: str
    column: str
    constant: str
    values: Mapping[str, str]
    split: str
    default: str
    line: int


class UnreadableRow(Exception):  # noqa: N818 - named by who must act: whoever made the recording
    """A row does not have the columns of its head, or is no CSV."""


def read_columns(text: str, file: str) -> tuple[CsvColumn, ...]:
    """Read a column map. Raises ConfigError with everything that is wrong with it."""
    problems = Problems()
    tree = read_tree(text, file, problems)
    leaves = Leaves(problems)
    columns: list[CsvColumn] = []
    if isinstance(tree, Table):
        for member, entry in tree.entries.items():
            if member not in _MEMBERS and not _FREE.fullmatch(member):
                hint = suggestion(member, _MEMBERS)
                problems.add(entry.place, member, f"is no member of a recording{hint}")
                continue
            column = _column(leaves, member, entry.node)
            if column is not None:
                columns.append(column)
        for needed in ("time", "type"):
            if needed not in tree.entries and not (needed == "type" and "op" in tree.entries):
                problems.add(tree.place, needed, "is required")
    elif tree is not None:
        leaves.add(tree, "", "must be a mapping from members to columns")
    problems.check()
    return tuple(columns)


def _column(leaves: Leaves, member: str, node: Node) -> CsvColumn | None:
    line = node.place.line
    if not isinstance(node, Table):
        name = leaves.text(node, member)
        return None if name is None else CsvColumn(member, name, "", {}, "", "", line)
    table = leaves.table(node, member, _KEYS)
    if table is None:
        return None
    if ("column" in table) == ("constant" in table):
        leaves.add(node, member, "must have either `column` or `constant`")
        return None
    texts = {
        key: leaves.text(table[key], inside(member, key)) or ""
        for key in ("column", "constant", "split", "default")
        if key in table
    }
    values: dict[str, str] = {}
    if "values" in table:
        meanings = table["values"]
        if isinstance(meanings, Table):
            for name, entry in meanings.entries.items():
                meaning = leaves.text(entry.node, f"{inside(member, 'values')}.{shown(name)}")
                values[name] = meaning or ""
        else:
            leaves.add(meanings, inside(member, "values"), "must be a mapping")
    return CsvColumn(
        member,
        texts.get("column", ""),
        texts.get("constant", ""),
        values,
        texts.get("split", ""),
        texts.get("default", ""),
        line,
    )


def rows(
    lines: Iterable[str], columns: Sequence[CsvColumn], file: str, map_file: str
) -> Iterator[tuple[int, Row | UnreadableRow]]:
    """Yield the rows of a CSV file as objects for `occurrences`, each with its line.

    Raises ConfigError where the map names a column that the head does not have.
    """
    table = _Table(lines)
    makers = _makers(table.head, columns, file, map_file)
    for number, cells in table.rows():
        yield number, cells if isinstance(cells, UnreadableRow) else _row(cells, makers)


def named_rows(lines: Iterable[str]) -> Iterator[tuple[int, Row | UnreadableRow]]:
    """Yield the rows of a CSV file, each cell by the name of its column, each row with its line."""
    table = _Table(lines)
    for number, cells in table.rows():
        if isinstance(cells, UnreadableRow):
            yield number, cells
        else:
            yield number, dict(zip(table.head, cells, strict=True))


def head_of(lines: Iterable[str]) -> list[str]:
    """Return the names of a CSV file's columns; none where it has no head."""
    return _Table(lines).head


class _Table:
    """A CSV file with its head, which shows what separates its columns."""

    def __init__(self, lines: Iterable[str]) -> None:
        rest = iter(lines)
        first, self._skipped = next(rest, ""), 0
        named = _SEPARATOR_LINE.fullmatch(first.strip().removeprefix("\ufeff"))
        if named:  # Excel's word for it
            first, self._skipped = next(rest, ""), 1
        delimiter = named[1] if named else _separator(first)
        self._reader = csv.reader(itertools.chain((first,), rest), delimiter=delimiter, strict=True)
        try:
            head = next(self._reader, [])
        except csv.Error:
            head = []
        self.head = [name.strip().removeprefix("\ufeff").strip() for name in head]

    def rows(self) -> Iterator[tuple[int, list[str] | UnreadableRow]]:
        """Yield the other rows, each with the line on which it ends."""
        while True:
            try:
                cells = next(self._reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield self._line, UnreadableRow(str(error))
                continue
            if not cells:
                continue
            if len(cells) != len(self.head):
                message = f"has {counted(len(cells), 'column')}, the head has {len(self.head)}"
                yield self._line, UnreadableRow(message)
                continue
            yield self._line, cells

    @property
    def _line(self) -> int:
        return self._reader.line_num + self._skipped


def _separator(head: str) -> str:
    """Return what separates the columns: of comma, semicolon and tab, what the head has most of."""
    bare = _QUOTED.sub("", head)
    return max(_SEPARATORS, key=bare.count)


class _Maker(NamedTuple):
    path: tuple[str, ...]
    at: int
    column: CsvColumn
    convert: Callable[[str], object]


def _makers(
    head: Sequence[str], columns: Sequence[CsvColumn], file: str, map_file: str
) -> list[_Maker]:
    problems = Problems()
    found = []
    for column in columns:
        at = -1
        if column.column:
            if column.column not in head:
                missing = f"there is no column {shown(column.column)!r} in {file}"
                message = f"{missing}{suggestion(column.column, head)}"
                problems.add(FilePosition(map_file, column.line), column.member, message)
                continue
            if head.count(column.column) > 1:
                message = f"there is more than one column {shown(column.column)!r} in {file}"
                problems.add(FilePosition(map_file, column.line), column.member, message)
                continue
            at = head.index(column.column)
        path = column.member.split(".", 2 if column.member.startswith("data.") else 1)
        found.append(_Maker(tuple(path), at, column, _conversion(column)))
    problems.check()
    return found


def _conversion(column: CsvColumn) -> Callable[[str], object]:
    if column.split:
        return lambda text: [part.strip() for part in text.split(column.split) if part.strip()]
    if column.member in _LISTS or _FREE.fullmatch(column.member):
        return lambda text: [text]
    if column.member == "time":
        return _number  # a date stays text, which `occurrences` reads
    if column.member in _WHOLE:
        return _whole
    if column.member in _NUMBERS:
        return _number
    if column.member in _TRUTHS:
        return lambda text: _SAID.get(text.strip().lower(), text)
    return str


def _number(text: str) -> object:
    """Return a number; what is none stays text, and is refused as such where it is used."""
    try:
        return float(text)
    except ValueError:
        return text


def _whole(text: str) -> object:
    try:
        return int(text)
    except ValueError:
        return _number(text)


def _row(cells: Sequence[str], makers: Iterable[_Maker]) -> Row:
    row: Row = {}
    for path, at, column, convert in makers:
        text = cells[at].strip() if at >= 0 else column.constant
        if text in column.values:
            text = column.values[text]
        text = text or column.default
        if text:
            _put(row, path, convert(text))
    return row


def _put(row: Row, path: Sequence[str], value: object) -> None:
    for key in path[:-1]:
        row = row.setdefault(key, {})  # type: ignore[assignment]
    row[path[-1]] = value
