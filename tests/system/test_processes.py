"""The daemon as a process: started, reloaded, and ended as Kubernetes would."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests import plain_http
from tests.adapters.servers import Server
from tests.stories.running import Client, token, unique
from tests.system.processes import POLICY, daemons
from tests.waiting import eventually


@pytest.fixture
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory whose sockets' paths are not too long."""
    return tmp_path_factory.mktemp("p")


def test_two_processes_share_a_mark_and_end_cleanly(short: Path, valkey_server: Server) -> None:
    with daemons(short, valkey_server.url, "a", "b") as (a, b):
        user, session = unique("user"), unique("session")
        weak = token(user, session)
        with Client(str(a.socket)) as at_a, Client(str(b.socket)) as at_b:
            assert at_b.check(weak)["decision"] == "allow"
            at_a.event("network-change", {"session": session}, data={"segment": "restricted"})
            eventually(lambda: at_b.check(weak)["decision"], lambda one: one == "step_up")
        assert [one.end() for one in (a, b)] == [0, 0]
        assert not a.socket.exists()
        marked = [
            line["policy"]
            for one in (a, b)
            for line in one.lines("session-marked")
            if line["session"] == session
        ]
        assert marked == ["restricted-segment"]
        everything = a.log.read_text() + b.log.read_text()
        assert weak not in everything
        assert weak.split(".")[2] not in everything


def test_a_killed_daemon_leaves_a_socket_that_the_next_one_replaces(
    short: Path, valkey_server: Server
) -> None:
    with daemons(short, valkey_server.url, "a") as (a,):
        a.process.kill()
        a.process.wait()
        assert a.socket.exists()
        a.start()
        with Client(str(a.socket)) as client:
            assert client.ask(op="ping") == {"ok": True}


def test_a_second_daemon_on_the_socket_of_a_live_one_is_an_error(
    short: Path, valkey_server: Server
) -> None:
    with daemons(short, valkey_server.url, "a") as (a,):
        second = subprocess.run(
            [sys.executable, "-m", "sidecar", "run", "--config", str(a.config)],
            env={**os.environ, "SIDECAR_ADMIN__BIND": "127.0.0.1:0"},
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
        assert second.returncode == 2
        assert "Traceback" not in second.stderr
        assert str(a.socket.with_suffix("")) in second.stderr
        with Client(str(a.socket)) as client:
            assert client.ask(op="ping") == {"ok": True}


def test_a_changed_policy_is_taken_up_and_a_broken_one_refused(
    short: Path, valkey_server: Server
) -> None:
    with daemons(short, valkey_server.url, "a") as (a,), Client(str(a.socket)) as client:
        file = short / "policies" / "one.yaml"
        user, session = unique("user"), unique("session")
        weak = token(user, session)
        client.check(weak)
        client.event("network-change", {"session": session}, data={"segment": "restricted"})
        assert client.check(weak)["decision"] == "step_up"
        file.write_text(POLICY.format(state="nonsense"))
        eventually(lambda: a.lines("reload-refused"), bool)
        assert client.check(weak)["decision"] == "step_up"
        file.write_text(POLICY.format(state="report-only"))
        eventually(lambda: client.check(weak)["decision"], lambda one: one == "allow")
        file.write_text(POLICY.format(state="enabled"))
        a.process.send_signal(signal.SIGHUP)
        eventually(lambda: client.check(weak)["decision"], lambda one: one == "step_up")
        metrics = plain_http.get(f"{a.admin}/metrics").text
        assert 'sidecar_reloads_total{outcome="refused",what="config"}' in metrics


def test_readiness_goes_before_the_doors_do(short: Path, valkey_server: Server) -> None:
    with daemons(short, valkey_server.url, "a") as (a,), Client(str(a.socket)) as client:
        client.send(*({"op": "ping", "ref": number} for number in range(1000)))
        a.process.send_signal(signal.SIGTERM)
        assert [client.read()["ref"] for _ in range(1000)] == list(range(1000))
        assert a.process.wait(15) == 0


def test_checks_in_flight_are_answered_when_a_daemon_is_asked_to_end(
    short: Path, valkey_server: Server
) -> None:
    with daemons(short, valkey_server.url, "a") as (a,), Client(str(a.socket)) as client:
        asked = [
            {
                "op": "check",
                "token": token(unique("user"), unique("session")),  # each must be read
                "context": "c1",
                "ip": "192.0.2.1",
                "ref": number,
            }
            for number in range(40)
        ]
        client.send(*asked)
        replies = [client.read()]
        a.process.send_signal(signal.SIGTERM)
        replies += [client.read() for _ in asked[1:]]
        assert [(reply["ref"], reply["decision"]) for reply in replies] == [
            (number, "allow") for number in range(40)
        ]
        assert a.process.wait(15) == 0
        assert not a.socket.exists()


def test_a_wrong_configuration_is_reported_with_file_line_and_field(tmp_path: Path) -> None:
    config = tmp_path / "sidecar.yaml"
    config.write_text("contexts:\n  c1: {name: Payments}\nsokcet:\n  path: /x\n")
    done = subprocess.run(
        [sys.executable, "-m", "sidecar", "run", "--config", str(config)],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == 2
    assert f"{config}:3: sokcet:" in done.stderr
    assert "socket" in done.stderr


def test_an_embedded_store_ends_with_its_daemon_even_if_that_is_killed(short: Path) -> None:
    def servers() -> set[int]:
        listed = subprocess.run(
            ["pgrep", "-f", "sidecar-store-"], capture_output=True, text=True, check=False
        )
        return {int(pid) for pid in listed.stdout.split()}

    before = servers()
    with daemons(short, "", "a") as (a,):
        started = servers() - before
        assert started
        a.process.kill()
        a.process.wait()
        eventually(lambda: servers() & started, lambda left: not left)
