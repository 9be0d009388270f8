"""Each key of the configuration is live or waits; what is documented is read by somebody."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import get_type_hints

import msgspec
import msgspec.inspect as mi
import pytest

from sidecar.wire.config.reloads import changed, in_force, keys
from sidecar.wire.settings.reload import Reload
from sidecar.wire.settings.settings import (
    Admin,
    App,
    Http,
    Issuer,
    Settings,
    Tokens,
    Work,
)
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
    """Return whether it names another setting's file: such are read with the configuration."""
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


def test_every_key_is_declared_live_or_restart_beside_its_definition() -> None:
    assert [key.name for key in keys() if key.declared is None] == []
    assert len(keys()) > 200


def test_a_key_that_nobody_declared_waits() -> None:
    assert keys()[0]._replace(declared=None).reload is Reload.RESTART


def test_no_key_is_declared_below_one_that_is() -> None:
    """A declaration covers what is below: a second one there would say nothing."""
    sections = {key.section for key in keys()}
    for cls in set(structs(struct_type(Settings))) - sections:
        for hint in get_type_hints(cls, include_extras=True).values():
            assert not any(isinstance(mark, Reload) for mark in getattr(hint, "__metadata__", ()))


STARTED = Settings(work=Work(workers=1, tries=1), http=Http(bind="127.0.0.1:1"))
READ = Settings(work=Work(workers=2, tries=2), app=App(id="payroll"))


def test_in_force_after_a_reload_are_live_keys_as_read_and_others_as_started() -> None:
    assert in_force(STARTED, READ) == Settings(
        work=Work(workers=1, tries=2),
        app=App(id="payroll"),
        http=Http(bind="127.0.0.1:1"),
    )
    assert in_force(READ, READ) is READ


@pytest.mark.parametrize(
    ("before", "after", "live", "restart"),
    [
        (Settings(), Settings(), (), ()),
        (Settings(), Settings(http=Http(bind="127.0.0.1:1")), (), ("http.bind",)),
        (Settings(), Settings(admin=Admin(token="new")), ("admin.token",), ()),
        (
            Settings(),
            Settings(admin=Admin(bind="127.0.0.1:1", token="new")),
            ("admin.token",),
            ("admin.bind",),
        ),
        (
            Settings(),
            Settings(tokens=Tokens(issuers=(Issuer(issuer="i", audiences=("a",)),))),
            ("tokens.issuers",),
            (),
        ),
        (STARTED, READ, ("app.id", "work.tries"), ("http.bind", "work.workers")),
    ],
)
def test_the_keys_that_differ_are_named_one_by_one(
    before: Settings, after: Settings, live: tuple[str, ...], restart: tuple[str, ...]
) -> None:
    assert changed(before, after, Reload.LIVE) == live
    assert changed(before, after, Reload.RESTART) == restart
