"""A daemon whose socket nothing names, run by a user who cannot write to `/run/sidecar`."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from stepup_client.connection.protocol import DEFAULT_PATH

from tests.adapters.servers import Server
from tests.stories.running import token, unique
from tests.system.peers.programs import PEERS
from tests.system.processes import Process, daemons
from tests.waiting import eventually

pytestmark = pytest.mark.skipif(
    Path(DEFAULT_PATH).parent.exists(), reason="this machine has a directory for sidecars"
)
PYTHON = """
from stepup_client.local import LocalClient
from stepup_client.pool import PooledClient
for client in (LocalClient(), PooledClient()):
    client.ping()
    print(client.path)
"""
NODE = """
import { SidecarClient } from "stepup-sidecar";
const client = new SidecarClient();
await client.ping();
console.log(client.path);
client.close();
"""


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("x")


@pytest.fixture(scope="module")
def daemon(
    own: Path, tmp_path_factory: pytest.TempPathFactory, valkey_server: Server
) -> Iterator[Process]:
    within = ("env", "-u", "SIDECAR_SOCKET", f"XDG_RUNTIME_DIR={own}")
    named = {"socket": {"mode": "0600"}}
    directory = tmp_path_factory.mktemp("c")
    with daemons(directory, valkey_server.url, "a", extra=named, within=within) as (running,):
        yield running
        running.end()


def run(own: Path, *words: str, given: str = "") -> str:
    environ = {name: value for name, value in os.environ.items() if name != "SIDECAR_SOCKET"}
    done = subprocess.run(
        words,
        input=given,
        env={**environ, "XDG_RUNTIME_DIR": str(own)},
        cwd=PEERS / "typescript" if words[0] == "node" else None,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_listens_in_its_users_own_directory_and_says_so(daemon: Process, own: Path) -> None:
    (line,) = eventually(lambda: daemon.lines("started"), bool)
    assert line["socket"] == str(own / "sidecar.sock")
    assert DEFAULT_PATH in line["detail"]
    assert (own / "sidecar.sock").stat().st_mode & 0o777 == 0o600


def test_commands_and_clients_find_it(daemon: Process, own: Path) -> None:
    path = str(own / "sidecar.sock")
    allowed = token(unique("user"), unique("session"))
    heard = run(own, sys.executable, "-m", "sidecar", "check", "--token-file", "-", given=allowed)
    assert heard.startswith("allow")
    assert run(own, sys.executable, "-c", PYTHON).split() == [path, path]


with_node = pytest.mark.skipif(
    shutil.which("node") is None or not (PEERS / "typescript" / "dist").exists(),
    reason="the client for Node.js is not built",
)


@with_node
def test_the_client_for_node_finds_it(daemon: Process, own: Path) -> None:
    path = str(own / "sidecar.sock")
    assert run(own, "node", "--input-type=module", "-e", NODE).split() == [path]


@with_node
def test_the_client_for_node_looks_for_none_where_others_may_write(tmp_path: Path) -> None:
    script = 'import { SidecarClient } from "stepup-sidecar"; console.log(new SidecarClient().path)'
    for mode, expected in ((0o700, str(tmp_path / "sidecar.sock")), (0o1777, DEFAULT_PATH)):
        tmp_path.chmod(mode)
        assert run(tmp_path, "node", "--input-type=module", "-e", script).strip() == expected
