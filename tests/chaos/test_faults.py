"""Each outside part slow, gone, refusing, full and lying: a real daemon does what `faults` says."""

import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from sidecar.adapters.clock import now
from sidecar.adapters.redis.links import call
from sidecar.demo.geography import Databases, build
from tests import plain_http
from tests.adapters.identity import key_set
from tests.adapters.recipients import key_file
from tests.adapters.servers import PASSWORD, USER, Server, free_ports, serving
from tests.chaos import faults
from tests.chaos.faults import (
    GEOGRAPHY,
    KEYS,
    POLICIES,
    POLLED,
    PUSHED,
    SPOOL,
    STORE,
    TRANSMITTER,
    Cell,
    cells,
)
from tests.chaos.faulty import Answer, Faulty, too_large
from tests.stories.running import ISSUER, SIGNER, Client, token, unique
from tests.stories.transmission import push, signed
from tests.system.processes import POLICY, Process, level
from tests.waiting import eventually

LATE = "https://late.example"
RISK = "https://schemas.openid.net/secevent/caep/event-type/risk-level-change"
WAITING = 20
QUICK = {"timeout": 0.3, "connect_timeout": 0.3, "retries": 0, "retry_base": 0.01}


class Daemon(Process):
    """One `sidecar run` whose log is read as it comes: its files may not be writable."""

    def start(self) -> None:
        self.heard: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "sidecar", "run", "--config", str(self.config)],
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(Path.cwd())},
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        eventually(self.is_up, bool, within=20)

    def _read(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as lines:
            for line in lines:
                self.heard.append(line.decode())

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join()

    def is_up(self) -> bool:
        assert self.process.poll() is None, self.heard
        try:
            return plain_http.get(f"{self.admin}/readyz").status_code == 200
        except httpx.TransportError:
            return False

    def lines(self, event: str) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in tuple(self.heard) if line.startswith("{")]
        return [line for line in lines if line["event"] == event]


class World:
    """A daemon, and all that is outside of it."""

    def __init__(self, directory: Path, server: Server) -> None:
        self.directory, self.server = directory, server
        self.geography: Databases = build(directory)
        self.policy = directory / "policies" / "one.yaml"
        self.policy.parent.mkdir()
        self.policy.write_text(POLICY.format(state="enabled"))
        self.spool = directory / "spool"
        keys, large = Answer(200, key_set(SIGNER)), too_large(2**20)
        self.keys = {
            name: Faulty("jwks", keys, full=large) for name in ("held", "late", "idp", "late-idp")
        }
        self.polled = Faulty("poll", Answer(200, b'{"sets":{}}'), full=too_large(2**24))
        self.pushed_to = Faulty(
            "push",
            Answer(202),
            full=Answer(429),
            lying=Answer(302, location=self.polled.url),
        )
        for late in ("late", "late-idp"):
            self.keys[late].suffer("refusing")
        (port,) = free_ports(1)
        self.receiver = f"http://127.0.0.1:{port}"
        self.daemon = Daemon(directory, "a", server.url, self._settings(port))
        self.client = Client(str(self.daemon.socket))
        self.user = unique("user")

    def _settings(self, port: int) -> dict[str, Any]:
        return {
            "store": {"url": self.server.url, "username": USER, "password": PASSWORD, **QUICK},
            "sessions": {"max_staleness": 2},
            "spool": {"dir": str(self.spool), "max_events": WAITING},
            "limits": {"share": 1},
            "tokens": {
                "jwks_refresh": 0.25,
                "jwks_min_interval": 0.1,
                "jwks_timeout": 0.2,
                "issuers": [
                    {"issuer": issuer, "audiences": ["payroll"], "jwks_uri": self.keys[name].url}
                    for issuer, name in ((ISSUER, "held"), (LATE, "late"))
                ],
            },
            "networks": [{"name": "restricted", "cidrs": ["198.51.100.0/24"]}],
            "geography": {"city": str(self.geography.city), "asn": str(self.geography.asn)},
            "receiver": {
                "bind": f"127.0.0.1:{port}",
                "transmitters": [
                    {
                        "name": name,
                        "issuer": issuer,
                        "audiences": ["us"],
                        "jwks_uri": self.keys[keys].url,
                        "events": ["risk-level-change"],
                    }
                    for name, issuer, keys in (
                        ("idp", ISSUER, "idp"),
                        ("late", LATE, "late-idp"),
                    )
                ]
                + [
                    {
                        "name": "hub",
                        "issuer": "https://hub.example",
                        "audiences": ["us"],
                        "jwks_file": self._key_file(),
                        "events": ["risk-level-change"],
                        "poll_url": self.polled.url,
                        "poll_timeout": 1.0,
                        "poll_interval": 0.1,
                    }
                ],
            },
            "sources": [{"name": "of-hub", "transmitter": "hub", "issuers": [ISSUER]}],
            "transmitter": {
                "issuer": "https://t.example",
                "key_files": [key_file(self.directory)],
                "push": {"timeout": 0.3, "retry_base": 0.05, "retry_cap": 0.2},
                "recipients": [
                    {
                        "name": "iga",
                        "audience": ["https://r.example"],
                        "stream": {"push_to": self.pushed_to.url},
                    }
                ],
            },
        }

    def _key_file(self) -> str:
        file = self.directory / "hub.json"
        file.write_bytes(key_set(SIGNER))
        return str(file)

    @property
    def outside(self) -> list[Faulty]:
        """Return all servers that it asks or informs."""
        return [*self.keys.values(), self.polled, self.pushed_to]

    def close(self) -> None:
        self.client.close()
        self.daemon.kill()
        for one in self.outside:
            one.close()

    # What is seen of it

    def check(self, context: str, issuer: str = ISSUER, ip: str = "192.0.2.1") -> str:
        """The status of a call, by a token that was never shown before."""
        shown = token(self.user, "session", age=0, issuer=issuer, jti=unique("jti"))
        return str(self.client.check(shown, context, ip)["status"])

    def event(self) -> str:
        """What becomes of an event."""
        subject = {"device": unique("device"), "issuer": ISSUER}
        heard = {"current_status": "not-compliant"}
        reply = self.client.event("device-compliance-change", subject, data=heard)
        return f"ok{', spooled' * reply.get('spooled', False)}" if reply["ok"] else reply["error"]

    def says(self) -> None:
        """Have something to report to the recipient."""
        session = unique("session")
        shown = token(unique("user"), session, age=0)
        assert self.client.check(shown)["decision"] == "allow"
        assert self.client.event("session-revoked", {"session": session, "issuer": ISSUER})["ok"]

    def pushed(self, issuer: str) -> int:
        """What a transmitter's token is answered with."""
        subject = {"format": "iss_sub", "iss": issuer, "sub": unique("user")}
        events = {RISK: {"principal": "USER", "current_level": "LOW"}}
        heard = {"jti": unique("jti"), "iat": int(now()), "aud": "us", "sub_id": subject}
        return push(
            self.receiver, signed({"iss": issuer, **heard, "events": events}, SIGNER)
        ).status_code

    def probe(self) -> tuple[int, dict[str, str]]:
        """What `/readyz` answers, and the reasons of what is not well, without ports."""
        answer = plain_http.get(f"{self.daemon.admin}/readyz")
        reasons = {one["name"]: one["reason"] for one in answer.json()["checks"] if one["reason"]}
        return answer.status_code, {
            name: re.sub(r"\('(127\.0\.0\.1)', \d+\)|(127\.0\.0\.1):\d+", r"\1\2", why)
            for name, why in reasons.items()
        }

    def has_keys(self) -> bool:
        """Whether all keys came that will come."""
        heard = str(self.probe()[1])
        return ISSUER not in heard and "transmitter idp" not in heard

    def is_whole(self) -> bool:
        """Whether keys are renewed, events fetched and recipients notified of all there is."""
        heard = str(self.probe()[1])
        waiting = level(self.daemon, "sidecar_transmitter_backlog_events")
        return "renewed" not in heard and "fetched" not in heard and not waiting

    def is_well(self) -> bool:
        """Whether nothing is wrong but what was so from the start."""
        status, reasons = self.probe()
        return status == 200 and set(reasons) <= {"keys", "transmitters"}

    # What is held against the matrix

    def before(self, *held: Cell) -> dict[Cell, tuple[float, int]]:
        """What metric and log of each cell say before its fault."""
        return {
            cell: (level(self.daemon, cell.metric), len(self.daemon.lines(cell.log)))
            for cell in held
        }

    def holds(self, before: dict[Cell, tuple[float, int]]) -> None:
        for cell, (value, lines) in before.items():
            self._says(cell, value, lines)
        for cell in before:
            self._answers(cell)

    def _says(self, cell: Cell, value: float, lines: int) -> None:
        eventually(
            lambda: level(self.daemon, cell.metric),
            lambda found: found > value if cell.value == "+" else found == float(cell.value),
        )
        eventually(
            lambda: self.daemon.lines(cell.log)[lines:],
            lambda found: any(cell.logged in line.get("detail", "") for line in found),
        )
        eventually(
            self.probe,
            lambda found: found[0] == cell.ready and cell.words in found[1].get(cell.condition, ""),
        )
        if cell.condition:
            assert self.probe()[1][cell.condition]

    def _answers(self, cell: Cell) -> None:
        if cell.part == TRANSMITTER:
            assert (
                cell.event
                == f"{self.pushed(ISSUER)}; {self.pushed(LATE)} where keys were never had"
            )
        else:
            assert self.event() == cell.event
        issuer = LATE if "never had" in cell.how else ISSUER
        assert self.check("", issuer) == cell.routine
        sensitive, _, restricted = cell.sensitive.partition("; ")
        eventually(lambda: self.check("c1", issuer), lambda found: found == sensitive)
        if restricted:
            assert self.check("c1", issuer, "198.51.100.7") == restricted.partition(" ")[0]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with serving("--appendonly", "yes", "--appendfsync", "always") as server:
        world = World(tmp_path_factory.mktemp("w"), server)
        try:
            eventually(world.has_keys, bool)
            eventually(lambda: world.check("c1"), lambda status: status == "200")
            yield world
        finally:
            world.close()


@pytest.mark.parametrize("fault", faults.FAULTS)
def test_keys_and_a_transmitter_and_a_recipient(world: World, fault: str) -> None:
    before = world.before(*cells(fault, KEYS, TRANSMITTER, POLLED, PUSHED))
    for one in world.outside:
        one.suffer(fault)
    world.says()
    world.holds(before)
    for one in (world.keys["held"], world.keys["idp"], world.polled, world.pushed_to):
        one.suffer()
    eventually(world.is_whole, bool, within=20)


@pytest.mark.parametrize("fault", ["gone", "refusing", "lying"])
def test_a_database_and_a_policy_file(world: World, fault: str) -> None:
    before = world.before(*cells(fault, GEOGRAPHY, POLICIES))
    files = [world.geography.city, world.policy]
    contents = [file.read_bytes() for file in files]
    for file in files:
        file.unlink()
        if fault == "lying":
            file.write_bytes(b"policies: [{id: x, conditions: {moon: full}}]")
    if fault == "refusing":
        world.geography.city.mkdir()
        world.policy.symlink_to("nowhere")
    world.holds(before)
    for file, content in zip(files, contents, strict=True):
        remove(file)
        file.write_bytes(content)
    eventually(world.is_well, bool)


def remove(file: Path) -> None:
    if file.is_dir():
        file.rmdir()
    else:
        file.unlink(missing_ok=True)


def pause(server: Server) -> Callable[[], None]:
    server.process.send_signal(signal.SIGSTOP)
    return lambda: server.process.send_signal(signal.SIGCONT)


def kill(server: Server) -> Callable[[], None]:
    server.stop()
    return server.start


def revoke(server: Server) -> Callable[[], None]:
    say(server, "ACL", "SETUSER", USER, "resetchannels")
    return lambda: say(server, "ACL", "SETUSER", USER, "&su:*")


def fill(server: Server) -> Callable[[], None]:
    say(server, "CONFIG", "SET", "maxmemory", "1")
    return lambda: say(server, "CONFIG", "SET", "maxmemory", "0")


def forget(server: Server) -> Callable[[], None]:
    say(server, "FLUSHALL")
    return lambda: None


def say(server: Server, *command: str) -> None:
    with server.client() as client:
        call(client, *command)


OF_STORE = {"slow": pause, "gone": kill, "refusing": revoke, "full": fill, "lying": forget}


@pytest.mark.parametrize("fault", faults.FAULTS)
def test_a_store(world: World, fault: str) -> None:
    before = world.before(*cells(fault, STORE))
    undo = OF_STORE[fault](world.server)
    try:
        world.holds(before)
    finally:
        undo()
    eventually(world.is_well, bool, within=20)
    eventually(lambda: level(world.daemon, "sidecar_spool_events"), lambda left: left == 0)
    assert world.check("c1") == "200"


def test_a_spool(world: World) -> None:
    world.server.stop()
    eventually(world.event, lambda found: found == "ok, spooled")

    before = world.before(*cells("refusing", SPOOL))
    limit_files(world.daemon, 0)
    assert world.event() == "unavailable"
    world.holds(before)
    limit_files(world.daemon, resource.RLIM_INFINITY)
    eventually(world.event, lambda found: found == "ok, spooled")

    before = world.before(*cells("gone", SPOOL))
    shutil.rmtree(world.spool)
    assert world.event() == "unavailable"
    world.holds(before)
    world.spool.mkdir()
    eventually(world.event, lambda found: found == "ok, spooled")

    before = world.before(*cells("full", SPOOL))
    eventually(world.event, lambda found: found == "overloaded")
    world.holds(before)

    before = world.before(*cells("lying", SPOOL))
    for segment in world.spool.glob("*.spool"):
        content = segment.read_bytes()
        segment.write_bytes(content[:100] + bytes(20) + content[120:])
    world.server.start()
    eventually(lambda: world.probe()[0], lambda status: status == 200, within=20)
    world.holds(before)
    assert list(world.spool.glob("*.damaged"))


def limit_files(daemon: Daemon, most: int) -> None:
    """Let no file of the daemon's grow beyond so many bytes."""
    hard = resource.RLIM_INFINITY
    resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE, (most, hard))


def test_the_documents_table_is_this_matrix() -> None:
    assert faults.PAGE.read_text() == faults.page(), "run `python -m tests.chaos.faults`"
