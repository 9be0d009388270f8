"""Overrides from the environment: `SIDECAR_SECTION__KEY`, laid over the configuration's tree.

Deeper keys follow after further `__`, items of a list by their number; case does not count. A key
that has no section is `SIDECAR_KEY`, such as `SIDECAR_ROUTES`, and `SIDECAR_SOCKET` is the socket's
path, which the client reads, too. Any other variable without `__` is none of ours: Kubernetes makes
`SIDECAR_PORT` and the like for a Service named `sidecar`.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import msgspec.inspect as mi

from sidecar.wire.settings.settings import Settings
from sidecar.wire.yaml.structs import Shapes, default_of, present_in, struct_type, suggestion
from sidecar.wire.yaml.tree import (
    AlreadyRefused,
    FilePosition,
    Listing,
    MappingEntry,
    Node,
    Problems,
    Scalar,
    Table,
    has_control,
    read_tree,
    resolve,
)

PREFIX = "sidecar_"
ALIASES = {"sidecar_socket": ("socket", "path")}
PATH_VARIABLES = frozenset({*ALIASES, "sidecar_socket__path"})
"""Those that name the socket, in lower case."""
FILE_SUFFIX = "_file"


class _Variable(NamedTuple):
    name: str
    keys: tuple[str, ...]
    value: str

    @property
    def place(self) -> FilePosition:
        return FilePosition(self.name, 1)

    def field(self, depth: int) -> str:
        return ".".join(self.keys[:depth])


def overlay(root: Table, environ: Mapping[str, str], shapes: Shapes, problems: Problems) -> Table:
    """Return the tree with the environment's values in it; what cannot be used is reported."""
    layer = _Overlay(shapes, problems, root.place.file)
    tree: Node = root
    kind = struct_type(Settings)
    for variable in _variables(environ, problems):
        tree = layer.put(tree, kind, variable, 0)
    return tree if isinstance(tree, Table) else root


def _variables(environ: Mapping[str, str], problems: Problems) -> Iterator[_Variable]:
    """Our variables, those of a whole before those of its parts."""
    known: dict[tuple[str, ...], str] = {}
    found = []
    members = struct_type(Settings).fields
    alone = {m.encode_name for m in members if not isinstance(m.type, mi.StructType)}
    for name in sorted(environ):
        folded = name.lower()
        keys: tuple[str, ...] | None = ALIASES.get(folded)
        if keys is None and folded.startswith(PREFIX):
            rest = tuple(folded.removeprefix(PREFIX).split("__"))
            keys = rest if len(rest) > 1 or rest[0] in alone else None
        if keys is None:
            continue
        if keys in known and environ[known[keys]] != environ[name]:
            message = f"is given by {known[keys]} already, with another value"
            problems.add(FilePosition(name, 1), ".".join(keys), message)
        elif keys not in known:
            known[keys] = name
            found.append(_Variable(name, keys, environ[name]))
    return iter(sorted(found, key=_order))


def _order(variable: _Variable) -> list[tuple[int, str]]:
    """Numbers by their size, and a whole before its parts."""
    return [(len(key) if key.isdigit() else 0, key) for key in variable.keys]


class _Overlay:
    def __init__(self, shapes: Shapes, problems: Problems, file: str) -> None:
        self._file = file
        self._shapes = shapes
        self._problems = problems

    def put(self, node: Node | None, kind: mi.Type, variable: _Variable, depth: int) -> Node:
        """Return the node with the variable's value at its keys from `depth` on."""
        inner = _inner(kind)
        if depth == len(variable.keys):
            return self._value(kind, variable)
        match inner:
            case mi.StructType():
                return self._in_struct(node, inner, variable, depth)
            case mi.DictType():
                return self._in_dict(node, inner, variable, depth)
            case mi.VarTupleType() | mi.FrozenSetType():
                return self._in_list(node, inner, variable, depth)
            case _:
                return self._refuse(node, variable, depth, "has no keys below it")

    def _refuse(self, node: Node | None, variable: _Variable, depth: int, message: str) -> Node:
        self._problems.add(variable.place, variable.field(depth), message)
        return node if node is not None else AlreadyRefused(variable.place)

    def _in_struct(
        self, node: Node | None, kind: mi.StructType, variable: _Variable, depth: int
    ) -> Node:
        members = {member.encode_name: member for member in kind.fields}
        name = variable.keys[depth]
        if name not in members:
            message = f"unknown key{suggestion(name, members)}"
            return self._refuse(node, variable, depth + 1, message)
        table = _table(node, variable.place)
        if table is None:
            return self._in_the_way(node, variable, depth)
        entries = dict(table.entries)
        before = entries.get(name)
        member = self._shapes.type_of(kind.cls, members[name])
        below = self.put(before.node if before else None, member, variable, depth + 1)
        entries[name] = MappingEntry(variable.place, below)
        _drop_partner(entries, name, self._file)
        return Table(entries, table.place)

    def _in_dict(
        self, node: Node | None, kind: mi.DictType, variable: _Variable, depth: int
    ) -> Node:
        table = _table(node, variable.place)
        if table is None:
            return self._in_the_way(node, variable, depth)
        name = variable.keys[depth]
        dashed = name.replace("_", "-")
        if name not in table.entries and (dashed in table.entries or dashed in _weights()):
            name = dashed
        before = table.entries.get(name)
        below = self.put(before.node if before else None, kind.value_type, variable, depth + 1)
        return Table({**table.entries, name: MappingEntry(variable.place, below)}, table.place)

    def _in_list(
        self,
        node: Node | None,
        kind: mi.VarTupleType | mi.FrozenSetType,
        variable: _Variable,
        depth: int,
    ) -> Node:
        if node is not None and not isinstance(node, Listing):
            return self._in_the_way(node, variable, depth)
        items = list(node.items) if node is not None else []
        key = variable.keys[depth]
        at = int(key) if key.isascii() and key.isdigit() and len(key) < 5 else None
        if at is None or at > len(items):
            message = f"is no item of the list; the next one would be {len(items)}"
            return self._refuse(node, variable, depth + 1, message)
        below = self.put(
            items[at] if at < len(items) else None, kind.item_type, variable, depth + 1
        )
        items[at:] = [below, *items[at + 1 :]]
        return Listing(tuple(items), node.place if node is not None else variable.place)

    def _in_the_way(self, node: Node | None, variable: _Variable, depth: int) -> Node:
        if isinstance(node, AlreadyRefused):
            return node
        message = "cannot be set: the file has something else here"
        return self._refuse(node, variable, depth + 1, message)

    def _value(self, kind: mi.Type, variable: _Variable) -> Node:
        value = variable.value
        if has_control(value):
            message = "has a control character, or is not UTF-8"
            return self._refuse(None, variable, len(variable.keys), message)
        kinds = present_in(kind) if isinstance(kind, mi.UnionType) else [kind]
        inner = _inner(kinds[-1] if "," in value else kinds[0])
        match inner:
            case mi.StructType() | mi.DictType():
                return self._tree(variable)
            case mi.VarTupleType() | mi.FrozenSetType() as many:
                if isinstance(kind, mi.UnionType) and resolve(value.strip()) is None:
                    return Scalar(None, variable.place)
                # Where one will do, too, no brackets are asked for: `[::]:9090` has its own.
                if value.lstrip().startswith(("[", "- ")) and len(kinds) == 1:
                    return self._tree(variable)
                parts = [part.strip() for part in value.split(",")] if value.strip() else []
                items = (self._value(many.item_type, variable._replace(value=p)) for p in parts)
                return Listing(tuple(items), variable.place)
            case mi.StrType() | mi.EnumType():
                return Scalar(value, variable.place)
            case _:
                return Scalar(resolve(value.strip()), variable.place)

    def _tree(self, variable: _Variable) -> Node:
        field = variable.field(len(variable.keys))
        tree = read_tree(variable.value, variable.name, self._problems, field)
        return tree if tree is not None else AlreadyRefused(variable.place)


def _table(node: Node | None, place: FilePosition) -> Table | None:
    """Return the node as a mapping, a new one where there is nothing yet; None where it is none."""
    if node is None or (isinstance(node, Scalar) and node.value is None):
        return Table({}, place)
    return node if isinstance(node, Table) else None


def _inner(kind: mi.Type) -> mi.Type:
    while isinstance(kind, mi.Metadata):
        kind = kind.type
    if isinstance(kind, mi.UnionType):
        return _inner(present_in(kind)[0])
    return kind


def _drop_partner(entries: dict[str, MappingEntry], name: str, file: str) -> None:
    """Drop the file's secret, in whichever of two forms: the environment's takes its place."""
    partner = name.removesuffix(FILE_SUFFIX) if name.endswith(FILE_SUFFIX) else name + FILE_SUFFIX
    if partner in entries and entries[partner].place.file == file:
        del entries[partner]


def _weights() -> frozenset[str]:
    """Return the names with dashes, which a shell cannot put into a variable's name."""
    (risk,) = (m for m in struct_type(Settings).fields if m.name == "risk")
    return frozenset(default_of(risk).weights)
