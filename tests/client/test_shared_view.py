"""What an app believes of the file, and what it does where there is nothing to believe."""

import os
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from stepup_client import Decision, SharedView, VerifiedToken
from stepup_client.connection.calls import AsyncCalls, Calls
from stepup_client.connection.requests import Request
from stepup_client.shared.checks import AsyncSharedChecks, SharedChecks
from stepup_client.shared.mapped_table import MappedTable, NotOurs, listener
from stepup_client.shared.view import RETRY

from sidecar.adapters.listening.socket_files import AddressInUse, UnusableGroup
from sidecar.adapters.shared_memory.table_files import MappedFile, TableFiles, boot_id
from sidecar.wire.shared_table import layout
from sidecar.wire.shared_table.layout import (
    ContextBit,
    Description,
    TableSession,
    call_text,
    key_of,
    shown_text,
)
from sidecar.wire.shared_table.table import ClockReading, TableOrigin, TableWriter
from tests.client.daemon import daemon

KEY = b"k" * layout.KEY_BYTES
CONTEXTS = {"c1": ContextBit(1, 10_000_000_000), "c2": ContextBit(2, 10_000_000_000)}
OF_SHOWN: dict[str, Any] = {
    "issuer": "i",
    "user": "ada",
    "session": "s1",
    "auth_time": 7,
    "acr": "mfa",
}
SHOWN = VerifiedToken("a.b.c", **OF_SHOWN)
TEXT = call_text(shown_text(TableSession("i", "ada", "s1"), 7, "mfa", "a.b.c"), "192.0.2.1", "")


class Written:
    """A table with one call, which passes in `c1` and as a routine call."""

    def __init__(self, files: TableFiles) -> None:
        self.files = files
        self.memory: MappedFile = files.make(64)
        now = ClockReading(time.time_ns(), time.monotonic_ns())
        origin = TableOrigin(boot_id(), 1, KEY)
        self.table = TableWriter(
            self.memory.words, origin, Description(CONTEXTS), patience=60_000_000_000, now=now
        )
        place = self.table.publish(key_of(TEXT, KEY), 0b11, now.wall / 1e9 + 600)
        assert place is not None
        self.place = place
        self.table.beat(now, now.monotonic)
        self.table.go_live()

    def put(self, at: int, word: int) -> None:
        self.memory.words[at] = word


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "decisions.table"


@pytest.fixture
def written(path: Path) -> Iterator[Written]:
    files = TableFiles(str(path))
    files.claim()
    yield Written(files)
    files.release()


def view_of(path: Path, owner: int | None = None) -> SharedView:
    return SharedView(str(path), owner=os.geteuid() if owner is None else owner)


def passes(view: SharedView, context: Any = "c1") -> bool:
    return view.allows(SHOWN, context, ip="192.0.2.1")


def test_a_call_that_is_written_passes(path: Path, written: Written) -> None:
    view = view_of(path)
    assert passes(view)
    assert passes(view, "")
    assert passes(view, ["c1"])
    assert passes(view, ())
    assert not view.trouble
    assert not passes(view, "c2")
    assert not passes(view, ["c1", "c2"])
    assert not passes(view, ["c1", "c9"])
    assert not passes(view, ["c1", ""])


def test_only_the_owner_writes_and_only_its_group_reads(path: Path, written: Written) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert path.stat().st_size == layout.size_of(64)


def changed_mode(path: Path, _: Written) -> None:
    path.chmod(0o644)


def writable(path: Path, _: Written) -> None:
    path.chmod(0o660)


def linked(path: Path, _: Written) -> None:
    other = path.with_name("other")
    path.rename(other)
    path.symlink_to(other)


def a_directory(path: Path, _: Written) -> None:
    path.unlink()
    path.mkdir()


def a_pipe(path: Path, _: Written) -> None:
    path.unlink()
    os.mkfifo(path)


def short(path: Path, _: Written) -> None:
    path.unlink()
    path.write_bytes(b"SUTABLE\0")
    path.chmod(0o640)


def longer(path: Path, _: Written) -> None:
    os.truncate(path, layout.size_of(65))


def word(at: int, value: int) -> Callable[[Path, Written], None]:
    return lambda _, written: written.put(at, value)


@pytest.mark.parametrize(
    "spoil",
    [
        changed_mode,
        writable,
        linked,
        a_directory,
        a_pipe,
        short,
        longer,
        word(layout.AT_MAGIC, 1),
        word(layout.AT_VERSION, layout.VERSION + 1),
        word(layout.AT_VERSION, layout.VERSION - 1),
        word(layout.AT_STATE, layout.UNBORN),
        word(layout.AT_STATE, layout.DEAD),
        word(layout.AT_BEAT, 1),
        word(layout.AT_BEAT, 1 << 63),
        word(layout.AT_BOOT, 1),
        word(layout.AT_SLOTS, 0),
        word(layout.AT_SLOTS, 1 << 40),
        word(layout.AT_TEXT, 3),
        word(layout.AT_TEXT, 0),
    ],
)
def test_what_is_not_the_sidecars_table_is_not_believed(
    path: Path, written: Written, spoil: Callable[[Path, Written], None]
) -> None:
    spoil(path, written)
    view = view_of(path)
    assert not passes(view)
    assert view.trouble


def test_a_table_of_another_user_is_not_believed(path: Path, written: Written) -> None:
    view = view_of(path, owner=os.geteuid() + 1)
    assert not passes(view)
    assert "uid" in view.trouble


@pytest.mark.parametrize(
    "spoil",
    [
        word(layout.AT_STATE, layout.DEAD),
        word(layout.AT_BEAT, 1),
        word(layout.AT_FRESH, 1),
        word(layout.AT_OFFSET, 0),
    ],
)
def test_a_table_that_was_believed_is_no_longer(
    path: Path, written: Written, spoil: Callable[[Path, Written], None]
) -> None:
    view = view_of(path)
    assert passes(view)
    spoil(path, written)
    assert not passes(view)


def test_where_the_view_lags_routine_calls_pass_alone(path: Path, written: Written) -> None:
    view = view_of(path)
    written.put(layout.AT_FRESH, 1)
    assert passes(view, "")
    assert not passes(view, "c1")


def test_another_table_is_found_after_a_while(path: Path, written: Written) -> None:
    view = view_of(path)
    assert passes(view)
    written.table.die()
    assert not passes(view)
    again = Written(written.files)
    view._retry_at -= RETRY  # noqa: SLF001 - time that the test has no need to let pass
    assert passes(view)
    again.table.withdraw(again.place)
    assert not passes(view)


def test_a_table_that_is_over_is_held_by_no_token_that_was_found_in_it(
    path: Path, written: Written
) -> None:
    view = view_of(path)
    kept = []
    for _ in range(5):
        token = VerifiedToken(SHOWN.token, **OF_SHOWN)
        assert view.allows(token, "c1", ip="192.0.2.1")
        kept.append(token)
        written.table.die()
        assert not passes(view)
        written = Written(written.files)
        view._retry_at -= RETRY  # noqa: SLF001 - time that the test has no need to let pass
    assert all(token.place for token in kept)
    assert not readers_of(f"{path} (deleted)")


def readers_of(path: str) -> list[str]:
    """Return what of this file the process has in its memory to read, and not to write."""
    mapped = Path("/proc/self/maps").read_text(encoding="ascii").splitlines()
    return [one for one in mapped if one.endswith(path) and " r--s " in one]


def test_a_file_of_another_user_is_not_mapped(path: Path, written: Written) -> None:
    """Its owner could cut it off at any moment, and so end whoever has it in its memory."""
    seen = []

    def owner() -> int:
        seen.extend(readers_of(str(path)))
        return os.geteuid() + 1

    with pytest.raises(NotOurs, match="uid"):
        MappedTable(str(path), owner)
    assert not seen


def test_what_an_earlier_writer_left_is_dead_before_another_begins(
    path: Path, written: Written
) -> None:
    view = view_of(path)
    assert passes(view)
    os.close(written.files._lock)  # noqa: SLF001 - as the kernel does where a process is killed
    written.files._lock = -1  # noqa: SLF001 - likewise
    next_life = TableFiles(str(path))
    next_life.claim()
    assert not passes(view)
    assert not path.exists()
    next_life.release()


def test_two_writers_have_no_place_in_common(path: Path, written: Written) -> None:
    with pytest.raises(AddressInUse):
        TableFiles(str(path)).claim()


def test_a_group_that_is_not_there_is_named(tmp_path: Path) -> None:
    files = TableFiles(str(tmp_path / "table"), "no-such-group")
    with pytest.raises(UnusableGroup):
        files.make(8)
    assert not list(tmp_path.iterdir())


def test_the_listener_at_the_socket_is_whose_table_is_believed(tmp_path: Path) -> None:
    with daemon(tmp_path) as running:
        assert listener(str(running.path)) == os.geteuid()
        files = TableFiles(str(tmp_path / layout.FILE_NAME))
        files.claim()
        Written(files)
        assert passes(SharedView(socket=str(running.path)))
        files.release()
    assert not passes(SharedView(socket=str(tmp_path / "none.sock")))


def test_a_sidecar_that_writes_no_more_is_not_asked_who_it_is(tmp_path: Path) -> None:
    with daemon(tmp_path) as running:
        files = TableFiles(str(tmp_path / layout.FILE_NAME))
        files.claim()
        Written(files).table.die()
        view = SharedView(socket=str(running.path))
        assert not passes(view)
        assert running.do(lambda: running.sidecar.connections) == 0
        files.release()


class Asked(Calls):
    """A client that says how often it was asked."""

    def __init__(self) -> None:
        self.requests: list[Request[Any]] = []

    def ask(self, request: Request[Any]) -> Any:
        self.requests.append(request)
        return Decision("step_up", 401)


class AsyncAsked(AsyncCalls):
    """The same on an event loop."""

    def __init__(self) -> None:
        self.requests: list[Request[Any]] = []

    async def ask(self, request: Request[Any]) -> Any:
        self.requests.append(request)
        return Decision("step_up", 401)


async def test_what_the_table_does_not_say_is_asked(path: Path, written: Written) -> None:
    client, waiting = Asked(), AsyncAsked()
    checks, coming = SharedChecks(client, view_of(path)), AsyncSharedChecks(waiting, view_of(path))
    expected = Decision("allow", 200, session="s1", subject="ada")
    assert checks.check(SHOWN, context="c1", ip="192.0.2.1") == expected
    assert await coming.check(SHOWN, context="c1", ip="192.0.2.1") == expected
    assert not client.requests
    assert not waiting.requests
    for context in ("c2", iter(("c1", "c2"))):
        assert checks.check(SHOWN, context=context, ip="192.0.2.1").status == 401
    assert (await coming.check(SHOWN, context="c2")).status == 401
    sent = {"op": "check", "token": "a.b.c", "context": ["c1", "c2"], "ip": "192.0.2.1"}
    assert client.requests[-1].message == sent
    assert len(waiting.requests) == 1
