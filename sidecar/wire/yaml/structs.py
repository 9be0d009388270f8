"""From a tree to msgspec structs, field by field, so that every problem is reported at once.

`msgspec.convert` stops at the first problem and knows no lines. Here the same types are walked
(as `msgspec.inspect` describes them), with two liberties: what is missing in a struct is taken
from its default *instance*, and a mapping whose default is not empty is merged into that default.
"""

import difflib
import functools
import math
import re
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from typing import Any, TypeAlias

import msgspec
import msgspec.inspect as mi

from sidecar.wire.yaml.scalars import (
    INSTEAD,
    READERS,
    HoldsCredential,
    Misspelt,
    Plain,
    ScalarKind,
    text,
)
from sidecar.wire.yaml.tree import AlreadyRefused, Listing, Node, Problems, Scalar, Table, shown

Refined: TypeAlias = Mapping[tuple[type, str], Any]
"""What a field of a struct may be where it is configured, if its own type does not say."""

_CHOICES = re.compile(r"\^\((\w+(?:\|\w+)*)\)\$")
_FEW = 40
_NEAR = 0.66
"""How much of two names is alike, from 0 to 1, where one may be the other misspelt."""

_ABOUT = 0.04
"""Names whose likeness differs by no more are about as near."""

_MOST_NEAR = 3
_INT64 = 2**63 - 1


class Missing(Enum):
    """Stands for a value that could not be read; its problem has been reported."""

    MISSING = "missing"


MISSING = Missing.MISSING


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return the rest of a message on an unknown name: the nearest known ones, else all if few.

    Of several that are about as near all are named: to name one alone would be to choose for who
    wrote it, and it may be the weaker one.
    """
    names = sorted(known)
    folded = {each.lower().replace("-", "_"): each for each in reversed(names)}
    wanted = name[:100].lower().replace("-", "_")
    matcher = difflib.SequenceMatcher(b=wanted)
    near: list[tuple[float, str]] = []
    for each, spelled in folded.items():
        matcher.set_seq1(each)
        if matcher.quick_ratio() >= _NEAR and (ratio := matcher.ratio()) >= _NEAR:
            near.append((ratio, spelled))
    best = max(near, default=(0.0, ""))[0]
    nearest = sorted(repr(spelled) for ratio, spelled in near if ratio >= best - _ABOUT)
    if nearest:
        return f"; did you mean {' or '.join(nearest[:_MOST_NEAR])}?"
    return f"; known are {', '.join(names)}" if 0 < len(names) <= _FEW else ""


def kind_of(node: Node) -> str:
    """Return what a node is, in plain words."""
    match node:
        case Table():
            return "a mapping"
        case Listing():
            return "a list"
        case Scalar(value=None):
            return "empty"
        case Scalar(value=bool()):
            return "true or false"
        case Scalar(value=str()):
            return "text"
        case _:
            return "a number"


def refuse(problems: Problems, node: Node, field: str, wanted: str) -> Missing:
    """Report that `node` is not `wanted`, unless it was refused already."""
    if not isinstance(node, AlreadyRefused):
        problems.add(node.place, field, f"must be {wanted}, not {kind_of(node)}")
    return MISSING


def refuse_unknown(problems: Problems, table: Table, field: str, known: Iterable[str]) -> None:
    """Report keys that are not known here."""
    names = frozenset(known)
    here = {name for name in names if "." not in name}  # others stand below one of these
    for key, entry in table.entries.items():
        if key not in names and not problems.full:
            problems.add(entry.place, join(field, key), f"unknown key{suggestion(key, here)}")


def join(field: str, key: str) -> str:
    """Return the path of a key within a field."""
    return f"{field}.{shown(key)}" if field else shown(key)


@functools.cache
def struct_type(cls: type) -> mi.StructType:
    """Return how msgspec describes a struct."""
    info = mi.type_info(cls)
    if not isinstance(info, mi.StructType):
        raise TypeError(f"{cls.__name__} is no struct")
    return info


@functools.cache
def _type(annotation: Any) -> mi.Type:
    return mi.type_info(annotation)


class Shapes:
    """Reads nodes as types; adds to `problems`. `readers` say how marked values are spelled."""

    def __init__(
        self,
        problems: Problems,
        refined: Refined,
        readers: Mapping[ScalarKind, Callable[[Plain], Plain]] = READERS,
    ) -> None:
        self._problems = problems
        self._refined = refined
        self._readers = readers

    def fields(self, table: Table, cls: type, field: str, default: Any = None) -> dict[str, Any]:
        """Return the fields of a struct that could be read, by name.

        `default` is its default instance.
        """
        info = struct_type(cls)
        refuse_unknown(self._problems, table, field, (f.encode_name for f in info.fields))
        values = {}
        for member in info.fields:
            value = self._member(table, cls, member, field, default)
            if value is not MISSING:
                values[member.name] = value
        return values

    def _member(self, table: Table, cls: type, member: mi.Field, field: str, default: Any) -> Any:
        path = join(field, member.encode_name)
        kind = self.type_of(cls, member)
        standard = getattr(default, member.name, msgspec.UNSET)
        if standard is msgspec.UNSET:
            standard = default_of(member)
        entry = table.entries.get(member.encode_name)
        if entry is not None:
            return self.read(entry.node, kind, path, standard)
        if standard is msgspec.UNSET:
            self._problems.add(table.place, path, "is required")
            return MISSING
        if isinstance(kind, mi.StructType):
            return self.read(Table({}, table.place), kind, path, standard)
        if _mark(kind) is ScalarKind.FILE:
            return self.read(Scalar(standard, table.place), kind, path)
        return standard

    def type_of(self, cls: type, member: mi.Field) -> mi.Type:
        """Return the type that a field is read as."""
        refined = self._refined.get((cls, member.name))
        return member.type if refined is None else _type(refined)

    def read(self, node: Node, kind: mi.Type, field: str, default: Any = msgspec.UNSET) -> Any:
        """Return the value of a node, MISSING where it is none (which has been reported)."""
        mark = _mark(kind)
        inner = kind.type if isinstance(kind, mi.Metadata) else kind
        match inner:
            case mi.StructType():
                return self._struct(node, inner, field, default)
            case mi.DictType():
                return self._dict(node, inner, field, default)
            case mi.VarTupleType() | mi.FrozenSetType():
                return self._list(node, inner, field)
            case mi.UnionType():
                return self._union(node, inner, field)
            case mi.EnumType():
                return self._enum(node, inner, field)
        if not isinstance(node, Scalar) or node.value is None:
            return refuse(self._problems, node, field, _wanted(inner))
        try:
            value = node.value if mark is None else self._readers[mark](node.value)
            return _leaf(value, inner, duration=mark is ScalarKind.DURATION)
        except HoldsCredential as error:
            self._problems.add(node.place, field, f"{error}{_instead(kind)}")
            return MISSING
        except ValueError as error:
            self._problems.add(node.place, field, str(error))
            return MISSING

    def _struct(self, node: Node, kind: mi.StructType, field: str, default: Any) -> Any:
        if isinstance(node, Scalar) and node.value is None and default is not msgspec.UNSET:
            node = Table({}, node.place)  # a section with nothing but comments
        if not isinstance(node, Table):
            return refuse(self._problems, node, field, "a mapping")
        values = self.fields(node, kind.cls, field, default)
        return kind.cls(**values) if len(values) == len(kind.fields) else MISSING

    def _dict(self, node: Node, kind: mi.DictType, field: str, default: Any) -> Any:
        if not isinstance(node, Table):
            return refuse(self._problems, node, field, "a mapping")
        standard = default if isinstance(default, dict) else {}
        found = dict(standard)
        for key, entry in node.entries.items():
            path = join(field, key)
            value = self.read(entry.node, kind.value_type, path, standard.get(key, msgspec.UNSET))
            if value is not MISSING:
                found[key] = value
        return found

    def _list(self, node: Node, kind: mi.VarTupleType | mi.FrozenSetType, field: str) -> Any:
        if not isinstance(node, Listing):
            return refuse(self._problems, node, field, "a list")
        if kind.min_length and len(node.items) < kind.min_length:
            self._problems.add(node.place, field, "must not be empty")
            return MISSING
        found = [
            self.read(item, kind.item_type, f"{field}[{index}]")
            for index, item in enumerate(node.items)
        ]
        if MISSING in found:
            return MISSING
        return frozenset(found) if isinstance(kind, mi.FrozenSetType) else tuple(found)

    def _union(self, node: Node, kind: mi.UnionType, field: str) -> Any:
        may_be_none = any(isinstance(each, mi.NoneType) for each in kind.types)
        if may_be_none and isinstance(node, Scalar) and node.value is None:
            return None
        one, *several = present_in(kind)
        many = next((each for each in several if isinstance(node, Listing)), one)
        return self.read(node, many, field)

    def _enum(self, node: Node, kind: mi.EnumType, field: str) -> Any:
        choices = {str(member.value): member for member in kind.cls}
        if not isinstance(node, Scalar) or not isinstance(node.value, str):
            return refuse(self._problems, node, field, f"one of {', '.join(choices)}")
        if node.value not in choices:
            hint = suggestion(node.value, choices)
            self._problems.add(node.place, field, f"{shown(node.value)!r} is not known{hint}")
            return MISSING
        return choices[node.value]


def present_in(kind: mi.UnionType) -> list[mi.Type]:
    """Return what a union may be besides nothing: one type, or one and a list of such."""
    present = [each for each in kind.types if not isinstance(each, mi.NoneType)]
    return sorted(present, key=lambda each: isinstance(_bare(each), mi.VarTupleType))


def _bare(kind: mi.Type) -> mi.Type:
    return kind.type if isinstance(kind, mi.Metadata) else kind


def default_of(member: mi.Field) -> Any:
    """Return a field's default; UNSET where it is required."""
    if member.default is not msgspec.NODEFAULT:
        return member.default
    return (
        msgspec.UNSET if member.default_factory is msgspec.NODEFAULT else member.default_factory()
    )


def _mark(kind: mi.Type) -> ScalarKind | None:
    if isinstance(kind, mi.Metadata) and kind.extra:
        found = kind.extra.get("kind")
        return found if isinstance(found, ScalarKind) else None
    return None


def _instead(kind: mi.Type) -> str:
    """Say where the credential goes that a URL must not hold."""
    found = (kind.extra or {}).get(INSTEAD) if isinstance(kind, mi.Metadata) else None
    return f"; put it into `{found}`" if found else "; none is used here"


def _wanted(kind: mi.Type) -> str:
    match kind:
        case mi.StrType():
            return "text"
        case mi.IntType():
            return "a whole number"
        case mi.FloatType():
            return "a number"
        case _:
            return "true or false"


def _leaf(value: Plain, kind: mi.Type, *, duration: bool) -> Plain:
    """Check a value against its type's bounds; raises ValueError."""
    match kind:
        case mi.StrType():
            return _matched(text(value), kind.pattern)
        case mi.BoolType():
            if not isinstance(value, bool):
                raise Misspelt("must be true or false")
            return value
        case mi.IntType() | mi.FloatType():
            return _number(value, kind, "0s" if duration else "0", duration=duration)
        case _:
            raise TypeError(f"no setting may be {kind!r}")


def _matched(value: str, pattern: str | None) -> str:
    if pattern is None or re.search(pattern, value):
        return value
    choices = _CHOICES.fullmatch(pattern)
    if choices is None:
        raise Misspelt(f"must match {pattern}")
    raise Misspelt(f"{shown(value)!r} is not known{suggestion(value, choices[1].split('|'))}")


def _number(value: Plain, kind: mi.IntType | mi.FloatType, zero: str, *, duration: bool) -> Plain:
    whole = isinstance(kind, mi.IntType)
    if whole and isinstance(value, float) and duration and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
        raise Misspelt(f"must be {'whole seconds' if whole and duration else _wanted(kind)}")
    if not math.isfinite(value) or abs(value) > _INT64:
        raise Misspelt("is too large")
    if kind.gt is not None and value <= kind.gt:
        raise Misspelt(f"must be more than {zero if kind.gt == 0 else kind.gt}")
    if kind.ge is not None and value < kind.ge:
        raise Misspelt(f"must be at least {zero if kind.ge == 0 else kind.ge}")
    if kind.le is not None and value > kind.le:
        raise Misspelt(f"must be at most {f'{kind.le / 86400:g}d' if duration else kind.le}")
    return value if whole else float(value)
