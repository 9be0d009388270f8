"""What probes, log and signals say of a process while it starts, and while it ends."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from sidecar.adapters.process.held_signals import HARMLESS
from tests import plain_http
from tests.adapters.servers import Server, free_ports
from tests.stories.running import ISSUER, Client, token, unique
from tests.system.processes import Process, daemons
from tests.waiting import eventually

AWAY = "https://login.away.example"


@pytest.fixture
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory whose sockets' paths are not too long."""
    return tmp_path_factory.mktemp("l")


@contextmanager
def silent() -> Iterator[int]:
    """A port that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def probe(daemon: Process, path: str) -> tuple[int, dict[str, dict[str, str]]]:
    """What a probe is answered: the status, and the conditions by their names."""
    answer = plain_http.get(f"{daemon.admin}{path}")
    return answer.status_code, {one["name"]: one for one in answer.json()["checks"]}


def is_started(daemon: Process) -> bool:
    assert daemon.process.poll() is None, daemon.log.read_text()
    try:
        return plain_http.get(f"{daemon.admin}/startupz").status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory, valkey_server: Server) -> Iterator[Process]:
    """One with two issuers, of which one does not answer. The last test ends it."""
    directory = tmp_path_factory.mktemp("l")
    with silent() as port:
        ours = {
            "issuer": ISSUER,
            "audiences": ["payroll"],
            "jwks_file": str(directory / "jwks.json"),
        }
        away = {
            "issuer": AWAY,
            "audiences": ["payroll"],
            "jwks_uri": f"http://127.0.0.1:{port}/keys",
        }
        extra = {"tokens": {"issuers": [ours, away]}, "shutdown": {"lame_duck": "60s"}}
        with daemons(directory, valkey_server.url, "a", extra=extra) as (running,):
            yield running


def test_one_issuer_of_two_away_is_named_and_concerns_its_own_tokens_alone(
    daemon: Process,
) -> None:
    assert probe(daemon, "/startupz")[0] == 200
    status, conditions = probe(daemon, "/readyz")
    assert status == 200
    assert conditions["keys"]["state"] == "limping"
    assert AWAY in conditions["keys"]["reason"]
    user, session = unique("user"), unique("session")
    with Client(str(daemon.socket)) as client:
        assert client.check(token(user, session))["decision"] == "allow"
        theirs = client.check(token(user, session, issuer=AWAY))
        assert (theirs["ok"], theirs["error"]) == (False, "unavailable")
    (ready,) = eventually(lambda: daemon.lines("ready"), bool)
    assert AWAY in ready["keys"]


def test_the_log_says_ready_and_not_ready_as_the_probe_does(daemon: Process) -> None:
    before = daemon.config.read_text()
    daemon.config.write_text(before.replace("jwks.json", "none.json"))
    eventually(lambda: probe(daemon, "/readyz")[0], lambda status: status == 503)
    (line,) = eventually(lambda: daemon.lines("not-ready"), bool)
    assert line["level"] == "warning"
    assert ISSUER in line["keys"]
    assert probe(daemon, "/startupz")[0] == 200
    daemon.config.write_text(before)
    eventually(lambda: probe(daemon, "/readyz")[0], lambda status: status == 200)
    eventually(lambda: daemon.lines("ready"), lambda lines: len(lines) == 2)


def test_a_lame_duck_answers_calls_while_its_readiness_is_gone(daemon: Process) -> None:
    with Client(str(daemon.socket)) as client:
        daemon.process.send_signal(signal.SIGTERM)
        eventually(lambda: probe(daemon, "/readyz")[0], lambda status: status == 503)
        assert probe(daemon, "/readyz?tolerate=store")[0] == 503
        assert probe(daemon, "/startupz")[0] == probe(daemon, "/livez")[0] == 200
        weak = token(unique("user"), unique("session"))
        assert client.check(weak)["decision"] == "allow"
        with Client(str(daemon.socket)) as another:
            assert another.check(weak)["decision"] == "allow"
        daemon.process.send_signal(signal.SIGTERM)  # whoever cannot wait says so again
        assert daemon.process.wait(15) == 0


class Starting(Process):
    """A `sidecar run` that gets signals until it has started, ready or not."""

    def is_ready(self) -> bool:
        if all(holds(self.process.pid, one) for one in HARMLESS):
            for number in HARMLESS:
                self.process.send_signal(number)
        return is_started(self)


def test_with_everything_outside_away_it_starts_whatever_signals_come(short: Path) -> None:
    store, issuer = free_ports(2)
    away = {
        "issuer": AWAY,
        "audiences": ["payroll"],
        "jwks_uri": f"http://127.0.0.1:{issuer}/keys",
    }
    (short / "policies").mkdir()
    (short / "policies" / "none.yaml").write_text("policies: []\n")
    extra = {"tokens": {"issuers": [away]}}
    daemon = Starting(short, "a", f"redis://127.0.0.1:{store}/0", extra)
    try:
        status, conditions = probe(daemon, "/readyz")
        assert status == 503
        bad = {name: one["reason"] for name, one in conditions.items() if one["state"] == "bad"}
        assert bad.keys() == {"store", "view", "keys"}
        assert all(bad.values())
        assert probe(daemon, "/livez")[0] == 200
        with Client(str(daemon.socket)) as client:
            assert client.ask(op="ping") == {"ok": True}
        assert daemon.lines("started")
        assert not daemon.lines("ready")
        assert daemon.end() == 0
    finally:
        daemon.process.kill()
        daemon.process.wait()


def holds(process: int, number: signal.Signals) -> bool:
    """Whether a process blocks, ignores or catches a signal."""
    text = Path(f"/proc/{process}/status").read_text()
    masks = [line.split()[1] for line in text.splitlines() if line.startswith("Sig")]
    return any(int(mask, 16) >> (number - 1) & 1 for mask in masks if "/" not in mask)


def test_an_end_that_is_asked_for_while_it_starts_ends_the_start(short: Path) -> None:
    with silent() as port:
        (short / "policies").mkdir()
        (short / "policies" / "none.yaml").write_text("policies: []\n")
        config = short / "a.yaml"
        config.write_text(
            json.dumps(
                {
                    "socket": {"path": str(short / "a.sock")},
                    "http": {"enabled": False},
                    "admin": {"enabled": False},
                    "store": {"url": f"redis://127.0.0.1:{port}/0", "timeout": "60s"},
                }
            )
        )
        process = subprocess.Popen(
            [sys.executable, "-m", "sidecar", "run", "--config", str(config)],
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(Path.cwd())},
        )
        try:
            eventually(lambda: holds(process.pid, signal.SIGTERM), bool)
            process.send_signal(signal.SIGTERM)
            _, said = process.communicate(timeout=15)
        finally:
            process.kill()
            process.wait()
        assert process.returncode == 0, said
        assert "Traceback" not in said
