"""A daemon that may have few descriptors: what it says of that, and what it does without any."""

import resource
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from time import monotonic

import pytest

from sidecar.adapters.listening.acceptor import CAPACITY_PAUSE
from tests.adapters.servers import Server
from tests.stories.running import Client, token, unique
from tests.system.processes import Process, daemons, level
from tests.waiting import eventually

FEW = 160
MADE_ROOM = 'sidecar_door_incidents_total{door="http",incident="made-room"}'
SHORT = 'sidecar_door_incidents_total{door="http",incident="no-descriptor"}'


def ulimit(words: str) -> tuple[str, ...]:
    """A shell that runs a program with this limit."""
    return ("sh", "-c", f'ulimit {words} && exec "$0" "$@"')


def flood(stack: ExitStack, daemon: Process, count: int) -> None:
    for _ in range(count):
        one = stack.enter_context(socket.socket(socket.AF_UNIX))
        one.settimeout(20)
        one.connect(str(daemon.socket.with_suffix(".http")))


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory, valkey_server: Server) -> Iterator[Process]:
    """One with a low soft limit. The last test takes its descriptors away."""
    directory = tmp_path_factory.mktemp("d")
    with daemons(directory, valkey_server.url, "a", within=ulimit(f"-Sn {FEW}")) as (running,):
        yield running
        running.end()


def test_a_soft_limit_is_raised_to_what_the_listeners_need(daemon: Process) -> None:
    soft, _ = resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE)
    assert soft > 1344
    assert warnings(daemon) == []


def warnings(daemon: Process) -> list[dict[str, str]]:
    heard = daemon.lines("configuration-warning")
    return [one for one in heard if one["code"] == "descriptors-short"]


def test_a_hard_limit_is_warned_of_and_all_listeners_give_way(
    tmp_path_factory: pytest.TempPathFactory, valkey_server: Server
) -> None:
    directory = tmp_path_factory.mktemp("d")
    with (
        daemons(directory, valkey_server.url, "a", within=ulimit(f"-n {FEW}")) as (daemon,),
        ExitStack() as stack,
    ):
        (warning,) = warnings(daemon)
        assert f"this process may have {FEW};" in warning["message"]
        flood(stack, daemon, 2 * FEW)
        allowed = token(unique("user"), unique("session"))
        for _ in range(3):
            with Client(str(daemon.socket)) as client:
                assert client.check(allowed)["decision"] == "allow"
        assert level(daemon, MADE_ROOM) > 0
        assert level(daemon, SHORT) == 0
        validate = [sys.executable, "-m", "sidecar", "validate", "--config", str(daemon.config)]
        done = subprocess.run(
            [*ulimit(f"-n {FEW}"), *validate],
            capture_output=True,
            text=True,
            check=True,
        )
        assert "http.max_connections: warning:" in done.stderr
        assert "(descriptors-short)" in done.stderr
        daemon.end()


def test_without_descriptors_connections_wait_and_the_log_says_so(daemon: Process) -> None:
    with ExitStack() as stack:
        client = stack.enter_context(Client(str(daemon.socket)))
        allowed = token(unique("user"), unique("session"))
        assert client.check(allowed)["decision"] == "allow"
        open_now = len(list(Path(f"/proc/{daemon.process.pid}/fd").iterdir()))
        few = (open_now + 8, open_now + 8)
        resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE, few)
        began = monotonic()
        flood(stack, daemon, 64)

        lines = eventually(lambda: daemon.lines("descriptors-exhausted"), bool)
        assert [(line["door"], line["level"]) for line in lines] == [("http", "warning")]
        for _ in range(20):
            assert client.check(allowed)["decision"] == "allow"
    with Client(str(daemon.socket)) as another:
        assert another.check(allowed)["decision"] == "allow"
    eventually(daemon.is_ready, bool)
    # One attempt in each pause at most, however long this machine took for it.
    assert 1 <= level(daemon, SHORT) <= (monotonic() - began) / CAPACITY_PAUSE + 1
