"""Each key of the configuration is taken up or waits; what is documented is read by somebody."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import msgspec.inspect as mi
import pytest

from sidecar.wire.config.restarts import LIVE, WAITING, is_live, is_taken_up, waiting
from sidecar.wire.settings.settings import Admin, App, Http, Issuer, Settings, Tokens
from sidecar.wire.yaml.structs import struct_type

ROOT = Path(__file__).parents[3] / "sidecar"
DECLARED = ("settings.py", "_settings.py")
"""Ends of the names of modules that only say which settings there are."""


def structs(kind: mi.Type) -> Iterator[type]:
    match kind:
        case mi.StructType(cls=cls, fields=fields):
            yield cls
            for field in fields:
                yield from structs(field.type)
        case mi.DictType(value_type=value):
            yield from structs(value)
        case mi.VarTupleType(item_type=item):
            yield from structs(item)
        case mi.UnionType(types=types):
            for one in types:
                yield from structs(one)


def read_in(tree: ast.AST) -> set[str]:
    """Names that are read of anything, by attribute or in a pattern."""
    names: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(attr=name, ctx=ast.Load()):
                names.add(name)
            case ast.MatchClass(kwd_attrs=found):
                names.update(found)
    return names


def read_somewhere() -> set[str]:
    """Names that are read outside of declarations, or by what of these is read there."""
    names: set[str] = set()
    helping: dict[str, set[str]] = {}
    for file in ROOT.rglob("*.py"):
        tree = ast.parse(file.read_text())
        if not file.name.endswith(DECLARED):
            names |= read_in(tree)
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                helping.setdefault(node.name, set()).update(read_in(node) - {node.name})
    while more := set().union(*(helping[name] for name in names & helping.keys())) - names:
        names |= more
    return names


def is_secret_file(cls: type, name: str) -> bool:
    """Whether it names the file of another setting: such are read with the configuration."""
    return any(name == f"{other.name}_file" for other in msgspec.structs.fields(cls))


def test_every_documented_setting_is_read_by_somebody() -> None:
    read = read_somewhere()
    unread = {
        f"{cls.__name__}.{field.name}"
        for cls in structs(struct_type(Settings))
        for field in msgspec.structs.fields(cls)
        if field.name not in read and not is_secret_file(cls, field.name)
    }
    assert unread == set()


def test_the_interval_of_revalidation_is_read_by_who_looks_at_the_store() -> None:
    assert "revalidate_interval" in read_somewhere()


def test_each_key_that_is_said_to_be_live_or_to_wait_exists() -> None:
    for key in LIVE | WAITING:
        at: Any = Settings()
        for name in key.split("."):
            if name != "sources" or hasattr(at, name):
                at = getattr(at, name)


@pytest.mark.parametrize(
    ("after", "keys"),
    [
        (Settings(), ()),
        (Settings(http=Http(bind="127.0.0.1:1")), ("http.bind",)),
        (Settings(admin=Admin(token="new")), ()),
        (Settings(admin=Admin(bind="127.0.0.1:1", token="new")), ("admin.bind",)),
        (Settings(tokens=Tokens(issuers=(Issuer(issuer="i", audiences=("a",)),))), ()),
    ],
)
def test_the_keys_that_wait_are_told_one_by_one(after: Settings, keys: tuple[str, ...]) -> None:
    assert waiting(Settings(), after) == keys


def test_a_change_of_what_waits_alone_is_not_taken_up() -> None:
    assert not is_taken_up(Settings(), Settings(http=Http(bind="127.0.0.1:1")))
    assert is_taken_up(Settings(), Settings(app=App(id="payroll")))


def test_a_key_that_nobody_thought_of_waits() -> None:
    assert not is_live("something.new")
    assert not is_live("sessions")
    assert is_live("tokens.issuers")
