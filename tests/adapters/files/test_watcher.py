import io
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from sidecar.adapters.files.watcher import FileWatcher, Pace
from sidecar.adapters.telemetry.logs import LogLines
from sidecar.adapters.telemetry.telemetry import PrometheusTelemetry
from sidecar.wire.settings.settings import Settings

HURRIED = Pace(debounce=0.02, poll=300.0, poll_without_notices=300.0)


class Watched:
    """A running watcher whose calls are waited for."""

    def __init__(self, *paths: Path, **seconds: float) -> None:
        self._send, self._receive = trio.open_memory_channel[frozenset[Path]](100)
        self.log = io.BytesIO()
        self.telemetry = PrometheusTelemetry(Settings(), LogLines(self.log))
        self.fault: Exception | None = None
        pace = HURRIED._replace(**seconds)
        self.watcher = FileWatcher(paths, self._changed, self.telemetry, pace)

    async def _changed(self, paths: frozenset[Path]) -> None:
        self._send.send_nowait(paths)
        if self.fault:
            raise self.fault

    async def next(self) -> frozenset[Path]:
        with trio.fail_after(20):
            return await self._receive.receive()

    @property
    def calls_waiting(self) -> int:
        return self._receive.statistics().current_buffer_used


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, str], Path]:
    def write(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return write


class ConfigMap:
    """A volume as the kubelet makes it: files are links through `..data` to a dated directory."""

    def __init__(self, root: Path, **files: str) -> None:
        self.root = root
        self._versions = 0
        root.mkdir(parents=True)
        self.swap(**files)
        for name in files:
            (root / f"{name}.yaml").symlink_to(f"..data/{name}.yaml")

    def swap(self, **files: str) -> None:
        self._versions += 1
        old = os.path.realpath(self.root / "..data")
        version = self.root / f"..2026_11_24_10_00_{self._versions}"
        version.mkdir()
        for name, text in files.items():
            (version / f"{name}.yaml").write_text(text)
        link = self.root / "..data_tmp"
        link.symlink_to(version.name)
        link.rename(self.root / "..data")
        if self._versions > 1:
            shutil.rmtree(old)


async def test_a_rewritten_file_is_reported(
    tmp_path: Path, nursery: trio.Nursery, write: Any
) -> None:
    config = write("sidecar.yaml", "a: 1")
    watched = Watched(config)
    await nursery.start(watched.watcher.run)
    write("sidecar.yaml", "a: 22")
    assert await watched.next() == {config}
    nursery.cancel_scope.cancel()


async def test_a_file_replaced_by_renaming_is_reported(nursery: trio.Nursery, write: Any) -> None:
    keys = write("keys.json", "{}")
    watched = Watched(keys)
    await nursery.start(watched.watcher.run)
    for text in ("{1}", "{2}"):  # the second time the watched inode is another
        write("keys.json.new", text).rename(keys)
        assert await watched.next() == {keys}
    nursery.cancel_scope.cancel()


async def test_a_configmap_swap_is_reported_each_time(
    tmp_path: Path, nursery: trio.Nursery
) -> None:
    volume = ConfigMap(tmp_path / "volume", sidecar="a: 1", other="b: 1")
    watched = Watched(volume.root / "sidecar.yaml")
    await nursery.start(watched.watcher.run)
    for number in range(2, 5):
        volume.swap(sidecar=f"a: {number}", other="b: 1")
        assert await watched.next() == {volume.root / "sidecar.yaml"}
    nursery.cancel_scope.cancel()


async def test_a_directory_stands_for_the_policies_in_it(
    tmp_path: Path, nursery: trio.Nursery, write: Any
) -> None:
    directory = write("policies/a.yaml", "policies: []").parent
    watched = Watched(directory)
    await nursery.start(watched.watcher.run)
    write("policies/b.yml", "policies: []")
    assert await watched.next() == {directory}
    write("policies/a.yaml", "policies: [] # changed")
    assert await watched.next() == {directory}
    (directory / "b.yml").unlink()
    assert await watched.next() == {directory}
    nursery.cancel_scope.cancel()


async def test_a_policy_directory_that_is_a_configmap(
    tmp_path: Path, nursery: trio.Nursery
) -> None:
    volume = ConfigMap(tmp_path / "policies", payroll="policies: []")
    watched = Watched(volume.root)
    await nursery.start(watched.watcher.run)
    volume.swap(payroll="policies: [] # changed")
    assert await watched.next() == {volume.root}
    nursery.cancel_scope.cancel()


async def test_files_beside_the_watched_one_are_none_of_our_business(
    nursery: trio.Nursery, write: Any
) -> None:
    config = write("sidecar.yaml", "a: 1")
    watched = Watched(config)
    await nursery.start(watched.watcher.run)
    for number in range(5):
        write("noise.log", "x" * number)
        await trio.sleep(0.01)  # so that they come as notices of their own
    write("sidecar.yaml", "a: 22")
    assert await watched.next() == {config}
    assert watched.calls_waiting == 0
    nursery.cancel_scope.cancel()


async def test_a_directory_that_appears_later_is_watched_then(
    tmp_path: Path, nursery: trio.Nursery, write: Any
) -> None:
    late = tmp_path / "mount" / "policies" / "late.yaml"
    watched = Watched(late)
    await nursery.start(watched.watcher.run)
    write("mount/policies/late.yaml", "policies: []")
    assert await watched.next() == {late}
    write("mount/policies/late.yaml", "policies: [] # changed")
    assert await watched.next() == {late}
    nursery.cancel_scope.cancel()


async def test_a_directory_that_is_removed_and_made_anew_is_watched_again(
    tmp_path: Path, nursery: trio.Nursery, write: Any
) -> None:
    config = write("conf/sidecar.yaml", "a: 1")
    watched = Watched(config)
    await nursery.start(watched.watcher.run)
    shutil.rmtree(tmp_path / "conf")
    assert await watched.next() == {config}
    write("conf/sidecar.yaml", "a: 2")
    assert await watched.next() == {config}
    write("conf/sidecar.yaml", "a: 33")
    assert await watched.next() == {config}
    nursery.cancel_scope.cancel()


async def test_only_what_changed_is_reported(nursery: trio.Nursery, write: Any) -> None:
    one, other = write("one/a.yaml", "1"), write("other/b.mmdb", "1")
    watched = Watched(one, other)
    await nursery.start(watched.watcher.run)
    write("other/b.mmdb", "22")
    assert await watched.next() == {other}
    nursery.cancel_scope.cancel()


async def test_many_writes_at_once_are_one_call(nursery: trio.Nursery, write: Any) -> None:
    files = [write(f"f{number}.yaml", "1") for number in range(20)]
    watched = Watched(*files, debounce=0.5)
    await nursery.start(watched.watcher.run)
    for file in files:
        file.write_text("22")
    assert await watched.next() == set(files)
    nursery.cancel_scope.cancel()


async def test_a_change_during_a_reload_brings_another(nursery: trio.Nursery, write: Any) -> None:
    config = write("sidecar.yaml", "a: 1")
    calls: list[str] = []
    send, receive = trio.open_memory_channel[str](10)

    async def reload(paths: frozenset[Path]) -> None:
        calls.append(config.read_text())
        if len(calls) == 1:
            config.write_text("a: 333")
        send.send_nowait(calls[-1])

    watcher = FileWatcher([config], reload, Watched().telemetry, HURRIED)
    await nursery.start(watcher.run)
    config.write_text("a: 22")
    with trio.fail_after(20):
        assert [await receive.receive(), await receive.receive()] == ["a: 22", "a: 333"]
    nursery.cancel_scope.cancel()


async def test_a_reload_that_fails_is_counted_and_the_next_is_tried(
    nursery: trio.Nursery, write: Any
) -> None:
    config = write("sidecar.yaml", "a: 1")
    watched = Watched(config)
    watched.fault = ValueError("broken")
    await nursery.start(watched.watcher.run)
    for text in ("a: 22", "a: 333"):
        write("sidecar.yaml", text)
        assert await watched.next() == {config}
    errors = watched.telemetry.metrics.registry.get_sample_value(
        "sidecar_worker_errors_total", {"where": "files"}
    )
    assert errors is not None
    assert errors >= 1
    nursery.cancel_scope.cancel()


async def test_a_trigger_reports_every_path_though_none_changed(
    nursery: trio.Nursery, write: Any
) -> None:
    files = {write("a.yaml", "1"), write("b.yaml", "1")}
    watched = Watched(*files, debounce=60)
    await nursery.start(watched.watcher.run)
    watched.watcher.trigger()
    assert await watched.next() == files
    nursery.cancel_scope.cancel()


async def test_other_files_can_be_named_while_it_runs(nursery: trio.Nursery, write: Any) -> None:
    old, new = write("old/a.yaml", "1"), write("new/b.yaml", "1")
    watched = Watched(old)
    await nursery.start(watched.watcher.run)
    watched.watcher.watch([new])
    assert await watched.next() == {new}
    write("old/a.yaml", "22")
    write("new/b.yaml", "22")
    assert await watched.next() == {new}
    nursery.cancel_scope.cancel()


async def test_where_the_kernel_gives_no_notices_it_polls_and_says_so(
    nursery: trio.Nursery, write: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_notices(directories: list[str], *_: Any) -> Any:
        if directories:
            raise OSError(28, "inotify watch limit reached")

    monkeypatch.setattr("sidecar.adapters.files.watcher.RustNotify", no_notices)
    config = write("sidecar.yaml", "a: 1")
    watched = Watched(config, poll_without_notices=0.02)
    await nursery.start(watched.watcher.run)
    for text in ("a: 22", "a: 333"):
        write("sidecar.yaml", text)
        assert await watched.next() == {config}
    assert b'"polling-files"' in watched.log.getvalue()
    assert b"inotify watch limit reached" in watched.log.getvalue()
    nursery.cancel_scope.cancel()


async def test_it_ends_when_it_is_asked_to(write: Any) -> None:
    config = write("sidecar.yaml", "a: 1")
    watched = Watched(config)
    with trio.fail_after(4):  # watchfiles alone would wait out its five seconds
        async with trio.open_nursery() as nursery:
            await nursery.start(watched.watcher.run)
            write("sidecar.yaml", "a: 22")
            assert await watched.next() == {config}  # so it waits for the next change
            nursery.cancel_scope.cancel()
