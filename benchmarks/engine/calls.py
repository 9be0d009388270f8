"""Rows of calls: checks over the socket, HTTP and AuthZEN, beside bare servers and peers."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.engine import peers
from benchmarks.engine.figures import Figure, Goal
from benchmarks.engine.stage import (
    ROOT,
    Stage,
    Unmeasured,
    free_port,
    in_turn,
    processor_time,
)

CLIENTS = 16
IN_FLIGHT = 100
OK = "HTTP/1.1 200"


class Door(NamedTuple):
    """What is asked there, and how. `answers`: what an answer must have in its first line."""

    name: str
    address: str
    pid: int
    request: Path
    answers: str
    http: bool = False


class Generator:
    """The load generator in C: `socket_load.c`."""

    def __init__(self, stage: Stage) -> None:
        compiler = shutil.which("cc")
        if compiler is None:
            raise Unmeasured("there is no C compiler (`cc`) for the load generator")
        self._program = stage.directory / "socket_load"
        self._seconds = stage.sizes.seconds
        self.busiest = 0.0
        source = ROOT / "benchmarks" / "socket_load.c"
        if not self._program.exists():
            command = [compiler, "-O2", "-o", str(self._program), str(source), "-lm"]
            subprocess.run(command, check=True)

    def ask(self, door: Door, clients: int, in_flight: int) -> dict[str, Any]:
        """Ask at a door for a while; returns what was found."""
        command = [str(self._program), door.address, str(clients), str(in_flight)]
        command += [str(self._seconds), str(door.request), *(["http"] if door.http else [])]
        used = processor_time(door.pid)
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        found: dict[str, Any] = json.loads(done.stdout)
        if door.answers not in found["sample"]:
            raise SystemExit(f"{door.name} answers {found['sample']}")
        found["cpu_us"] = (processor_time(door.pid) - used) / max(1, found["count"]) * 1e6
        self.busiest = max(self.busiest, found["busy"])
        return found

    @property
    def note(self) -> str:
        """How much of a core the generator used at most: it is no bottleneck well below 1."""
        return f"generator busy {self.busiest:.2f} at most"


def lines_of(stage: Stage, name: str, asked: dict[str, Any]) -> Path:
    """Write lines that are alike but for what the client wants back."""
    file = stage.directory / f"{name}.lines"
    file.write_text("".join(json.dumps({**asked, "ref": ref}) + "\n" for ref in range(64)))
    return file


def over_socket(stage: Stage) -> Iterator[Figure]:
    """Measure checks over the unix socket."""
    generator = Generator(stage)
    token = stage.token(1)
    asked = {"op": "check", "token": token, "context": "c1", "ip": "192.0.2.1"}
    allowed = lines_of(stage, "allowed", asked)
    challenged = lines_of(stage, "challenged", {**asked, "context": "c2"})
    with ExitStack() as stack:
        _, (daemon,) = stack.enter_context(stage.daemons(1))
        path = str(stage.directory / "echo.sock")
        process = stack.enter_context(peers.echo(path))
        ours = Door("ours", daemon.socket, daemon.pid, allowed, "'decision':'allow'")
        echo = Door("echo", path, process.pid, allowed, "'ok':true")
        stepped = ours._replace(request=challenged, answers="'decision':'step_up'")
        for name, clients, in_flight, least, goal in (
            ("16 clients", CLIENTS, 1, 0.45, "rate"),
            ("100 in flight on one connection", 1, IN_FLIGHT, 0.2, "rate"),
            ("one client", 1, 1, 0.75, "rate"),
        ):
            found = _compared(stage, generator, {"ours": ours, "bare": echo}, clients, in_flight)
            yield Figure(
                f"check, unix socket, {name}",
                "1/s",
                found["ours"][goal],
                {"bare": found["bare"][goal]},
                (Goal(least, "bare", at_least=True),),
                _costs(found, generator),
            )
        found = _compared(stage, generator, {"ours": stepped, "allowed": ours}, CLIENTS, 1)
        yield Figure(
            "challenged check (step_up), 16 clients",
            "1/s",
            found["ours"]["rate"],
            {"allowed": found["allowed"]["rate"]},
            (Goal(0.8, "allowed", at_least=True),),
            _costs(found, generator),
        )


def over_http(stage: Stage) -> Iterator[Figure]:
    """Measure `/v1/check` and AuthZEN over TCP and over a unix socket."""
    generator = Generator(stage)
    token = stage.token(1)
    for kind in ("TCP", "unix"):
        with ExitStack() as stack:
            home = stage.home()

            def at(name: str, kind: str = kind, home: Path = home) -> str:
                return f"127.0.0.1:{free_port()}" if kind == "TCP" else str(home / f"{name}.sock")

            port, unix = free_port(), str(home / "h.sock")
            http = {"bind": f"127.0.0.1:{port}", "unix": unix}
            _, (daemon,) = stack.enter_context(stage.daemons(1, {"http": http}))
            ours = f"127.0.0.1:{port}" if kind == "TCP" else unix
            check = _request(stage, "check", _check(token))
            access = _request(stage, "access", _access(token))
            plain = _request(stage, "plain", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            foreign = _request(stage, "foreign", _post("/access/v1/evaluation", peers.ACCESS, ""))
            doors = {"ours": Door("ours", ours, daemon.pid, check, OK, http=True)}
            where = at("bare")
            bare = stack.enter_context(peers.bare(where))
            doors["bare"] = Door("bare", where, bare.pid, check, OK, http=True)
            where = at("nginx")
            if (process := stack.enter_context(peers.nginx(home, where))) is not None:
                doors["nginx 204"] = Door(
                    "nginx", where, process.pid, plain, "HTTP/1.1 204", http=True
                )
            where = at("cerbos")
            if (process := stack.enter_context(peers.cerbos(home, where))) is not None:
                doors["Cerbos"] = Door("cerbos", where, process.pid, foreign, OK, http=True)
            found = _compared(stage, generator, doors, CLIENTS, 1)
            yield Figure(
                f"/v1/check, {kind}, 16 clients",
                "1/s",
                found["ours"]["rate"],
                {name: one["rate"] for name, one in found.items() if name != "ours"},
                (Goal(0.5, "bare", at_least=True), Goal(6, "Cerbos", at_least=True)),
                _costs(found, generator),
            )
            if kind == "TCP":
                continue
            doors = {**doors, "ours": doors["ours"]._replace(request=access)}
            kept = {name: door for name, door in doors.items() if name in ("ours", "Cerbos")}
            found = _compared(stage, generator, kept, CLIENTS, 1)
            yield Figure(
                "AuthZEN, unix, 16 clients",
                "1/s",
                found["ours"]["rate"],
                {name: one["rate"] for name, one in found.items() if name != "ours"},
                (Goal(4, "Cerbos", at_least=True),),
                _costs(found, generator),
            )


def _compared(
    stage: Stage, generator: Generator, doors: dict[str, Door], clients: int, in_flight: int
) -> dict[str, dict[str, list[float]]]:
    """Ask at several doors in turn; returns rates, latencies and processor time of each."""
    found: dict[str, dict[str, list[float]]] = {
        name: {"rate": [], "p50_us": [], "p99_us": [], "cpu_us": []} for name in doors
    }

    def once(name: str) -> float:
        one = generator.ask(doors[name], clients, in_flight)
        for key, values in found[name].items():
            values.append(one[key])
        return float(one["rate"])

    in_turn(stage.sizes.rounds, {name: partial(once, name) for name in doors})
    return found


def _costs(found: dict[str, dict[str, list[float]]], generator: Generator) -> str:
    """Say what the rates leave out: latency and processor time of each."""
    parts = [
        f"{name}: p50 {sorted(one['p50_us'])[len(one['p50_us']) // 2]:.0f} us,"
        f" p99 {sorted(one['p99_us'])[len(one['p99_us']) // 2]:.0f} us,"
        f" {sorted(one['cpu_us'])[len(one['cpu_us']) // 2]:.1f} us of CPU each"
        for name, one in found.items()
    ]
    return "; ".join([*parts, generator.note])


def _request(stage: Stage, name: str, request: bytes) -> Path:
    file = stage.directory / f"{name}.request"
    file.write_bytes(request)
    return file


def _check(token: str) -> bytes:
    return (
        "GET /v1/check HTTP/1.1\r\nHost: app.example\r\nX-Auth-Context: c1\r\n"
        f"Authorization: Bearer {token}\r\n\r\n"
    ).encode()


def _post(path: str, body: bytes, more: str) -> bytes:
    head = (
        f"POST {path} HTTP/1.1\r\nHost: app.example\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n{more}\r\n"
    )
    return head.encode() + body


def _access(token: str) -> bytes:
    asked = {
        "subject": {"type": "user", "id": "user-1"},
        "action": {"name": "GET"},
        "resource": {"type": "context", "id": "c1"},
        "context": {"token": token},
    }
    return _post("/access/v1/evaluation", json.dumps(asked).encode(), "")
