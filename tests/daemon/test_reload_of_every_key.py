"""A reload of every key at a running daemon: what its log says of each is so.

The daemon runs here, so that its parts can be looked at: none has a copy of a live key as it was,
and none has a key that waits for a restart as it will be.
"""

import enum
import gc
import io
import json
import types
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
import trio

from sidecar.daemon.configuration.files import read_configuration
from sidecar.daemon.configuration.in_force import InForce
from sidecar.daemon.lifecycle import Daemon
from sidecar.wire.config.reloads import Key, keys
from sidecar.wire.settings.reload import Reload
from sidecar.wire.settings.settings import Settings
from sidecar.wire.yaml.tree import Table
from tests.adapters.servers import RIGHTS, Server
from tests.daemon.every_key import BESIDE_OTHERS, OTHER_PASSWORD, OTHER_USER, configurations
from tests.waiting import until


class Reloaded(NamedTuple):
    """What came of one reload that changed every key."""

    before: Settings
    read: Settings
    in_force: Settings
    lines: list[dict[str, Any]]
    held: Mapping[str, list[str]]
    planted: Mapping[str, list[str]]

    def keys(self, event: str) -> list[str]:
        """Return the keys that the one line of an event names."""
        (keys,) = (one["keys"] for one in self.lines if one["event"] == event and "keys" in one)
        return list(keys)


@pytest.fixture(scope="module")
def reloaded(tmp_path_factory: pytest.TempPathFactory, valkey_server: Server) -> Iterator[Reloaded]:
    """One daemon, and one reload by which every key changes."""
    directory = tmp_path_factory.mktemp("k")
    with valkey_server.client() as client:
        client.flushall()
        client.execute_command("ACL", "SETUSER", OTHER_USER, "on", f">{OTHER_PASSWORD}", *RIGHTS)
        first, second = configurations(directory, valkey_server)
        file, aside = directory / "sidecar.yaml", directory / "aside.yaml"
        file.write_text(first)
        aside.write_text(second)
        yield trio.run(reload, file, aside)
        client.execute_command("ACL", "DELUSER", OTHER_USER)


async def reload(file: Path, aside: Path) -> Reloaded:
    daemon = Daemon(read_configuration(file, {}), {})
    before = daemon.in_force.settings()
    lines = daemon.telemetry._lines._stream = io.BytesIO()  # noqa: SLF001 - its standard error
    async with trio.open_nursery() as nursery:
        await nursery.start(daemon.run, trio.Event())
        lines.truncate(0)
        await trio.Path(aside).rename(file)
        await until(lambda: b"restart-required" in lines.getvalue(), within=60)
        with trio.move_on_after(10):  # those that are let go end soon
            while any((held := held_in(daemon, before, nursery)).values()):  # noqa: ASYNC110
                await trio.sleep(0.1)  # the pace of looking; what is held still fails below
        kept = (
            before.sessions.min_ttl,
            before.log,
            [daemon.in_force.read.settings.http.write_timeout],
        )
        planted = held_in(daemon, before, nursery, lambda: kept)
        read, in_force = daemon.in_force.read.settings, daemon.in_force.settings()
        nursery.cancel_scope.cancel()
    said = [
        json.loads(one) for one in lines.getvalue().lstrip(b"\0").splitlines() if one[:1] == b"{"
    ]
    return Reloaded(before, read, in_force, said, held, planted)


def held_in(
    daemon: Daemon, before: Settings, nursery: trio.Nursery, *others: object
) -> dict[str, list[str]]:
    """Return by key who holds what they should not: as it was, or as it will be."""
    read = daemon.in_force.read.settings
    unwanted = {
        key.name: (key.of(before) if key.reload is Reload.LIVE else key.of(read)) for key in keys()
    }
    by_value: dict[tuple[type, object], list[str]] = {}
    for name, value in unwanted.items():
        if is_entry(value):
            by_value.setdefault((type(value), value), []).append(name)
    sections: dict[type, list[Key]] = {}
    for key in keys():
        sections.setdefault(key.section, []).append(key)
    found: dict[str, list[str]] = {key.name: [] for key in keys()}
    for one, way in within(daemon, *tasks_of(nursery), *others):
        if isinstance(one, float | str | int):
            for name in by_value.get((type(one), one), ()):
                found[name].append(way())
        elif isinstance(one, msgspec.Struct):
            for key in sections.get(type(one), ()):
                if getattr(one, key.path[-1]) == unwanted[key.name]:
                    found[key.name].append(way())
    return found


def is_entry(value: object) -> bool:
    """Whether a value is found in no other place than where its key was copied to."""
    match value:
        case enum.Enum() | bool():
            return False
        case int():
            return value > 4000
        case str():
            return len(value) > 8
        case _:
            return isinstance(value, float)


def within(*roots: object) -> Iterator[tuple[object, Any]]:
    """Give every object that these have, and the way to it."""
    above: dict[int, object] = {id(one): None for one in roots}
    waiting = list(roots)
    while waiting:
        one = waiting.pop()
        yield one, partial(way_to, above, one)
        for other in parts_of(one):
            if id(other) not in above:
                above[id(other)] = one
                waiting.append(other)


def way_to(above: Mapping[int, object], one: object) -> str:
    steps: list[str] = []
    while one is not None and len(steps) < 12:
        steps.append(getattr(one, "__qualname__", type(one).__name__))
        one = above[id(one)]
    return " < ".join(steps)


def parts_of(one: object) -> list[object]:
    """Return what an object refers to, but for what all share, and the snapshot."""
    match one:
        case types.ModuleType() | type() | types.CodeType() | types.BuiltinFunctionType():
            return []
        case InForce() | Table() | io.BytesIO():
            return []
        case trio.lowlevel.Task() | trio.Nursery():
            return []  # what runs is among the roots, and the test itself runs, too
        case types.FunctionType():
            return [one.__closure__, one.__defaults__, one.__kwdefaults__]
        case _:
            return gc.get_referents(one)


def tasks_of(nursery: trio.Nursery) -> Iterator[object]:
    for task in nursery.child_tasks:
        yield task.coro
        for below in task.child_nurseries:
            yield from tasks_of(below)


EACH = [key for key in keys() if key.name not in BESIDE_OTHERS]


@pytest.mark.parametrize("key", EACH, ids=[key.name for key in EACH])
def test_what_the_log_says_of_the_key_is_so(reloaded: Reloaded, key: Key) -> None:
    assert key.of(reloaded.before) != key.of(reloaded.read), "the reload must change it"
    is_live = key.reload is Reload.LIVE
    applied, waiting = reloaded.keys("reload-applied"), reloaded.keys("restart-required")
    assert (key.name in applied, key.name in waiting) == (is_live, not is_live)
    assert key.of(reloaded.in_force) == key.of(reloaded.read if is_live else reloaded.before)
    assert reloaded.held[key.name] == [], "no part has it otherwise"


def test_a_part_that_keeps_a_copy_would_be_found(reloaded: Reloaded) -> None:
    found = {key for key, held in reloaded.planted.items() if held} - BESIDE_OTHERS
    of_log = {"log.level", "log.format", "log.checks", "log.explain"}
    assert found == {"http.write_timeout", "sessions.min_ttl", *of_log}
