"""What rows share: a directory, keys, tokens, stores and daemons as whole processes."""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import jwt
import redis
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from sidecar.adapters import clock

ROOT = Path(__file__).resolve().parents[2]
ISSUER, AUDIENCE = "https://id.example", "payroll"
TICK = os.sysconf("SC_CLK_TCK")
NOTHING: Mapping[str, Any] = {}
PING = b'{"op": "ping"}\n'
POLICIES = """\
policies:
  - id: places
    contexts: [c1]
    conditions: {any: [{networks: {include: [restricted]}}, {device: {compliant: false}}]}
    grant: mfa
  - id: risk
    contexts: [c1]
    conditions: {user_risk: {at_least: medium}}
    grant: mfa
  - id: large-payments
    contexts: [c2]
    grant: phishing-resistant
"""


class Unmeasured(Exception):  # noqa: N818 - what it says
    """Something that a row needs is not here, or does not come about; says what."""


class Sizes(NamedTuple):
    """How much is measured."""

    rounds: int
    seconds: float
    sessions: int
    events: int

    @classmethod
    def of(cls, *, quick: bool) -> "Sizes":
        """Return enough to count, or just enough to see that it runs."""
        return cls(1, 0.2, 300, 200) if quick else cls(5, 2.0, 20_000, 10_000)


class Daemon(NamedTuple):
    """A `sidecar run` that answers, and where."""

    socket: str
    http: str
    http_port: int
    admin_port: int
    process: "subprocess.Popen[bytes]"
    ready_after: float

    @property
    def pid(self) -> int:
        """The process."""
        return self.process.pid

    def link(self) -> "Link":
        """Open a connection to its socket."""
        return Link(self.socket)


class Link:
    """A connection that asks lines and reads as many answers."""

    def __init__(self, path: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(120)
        self.socket.connect(path)

    def ask(self, *lines: bytes) -> list[bytes]:
        """Send lines at once, and return their answers."""
        self.socket.sendall(b"".join(lines))
        data = b""
        while data.count(b"\n") < len(lines):
            more = self.socket.recv(1 << 18)
            if not more:
                raise SystemExit(f"the daemon hung up after {data[-300:]!r}")
            data += more
        return data.splitlines()

    def sure(self, *lines: bytes) -> list[bytes]:
        """Ask, and see to it that all went well."""
        answers = self.ask(*lines)
        for answer in answers:
            if not answer.startswith(b'{"ok":true'):
                raise SystemExit(f"not answered: {answer!r}")
        return answers

    def close(self) -> None:
        """Hang up."""
        self.socket.close()


class Stage:
    """Runs what rows ask for, and ends it. `directory` is theirs for as long as they last."""

    def __init__(self, directory: Path, sizes: Sizes, *, quick: bool) -> None:
        self.directory = directory
        self.sizes = sizes
        self.quick = quick
        self.key = ec.generate_private_key(ec.SECP256R1())
        self._made = 0
        # Compiled once, as in an image; what this environment says of it is of no matter.
        self.environ = {**os.environ, "PYTHONPYCACHEPREFIX": str(directory / "compiled")}
        self.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        jwk = {**json.loads(ECAlgorithm.to_jwk(self.key.public_key())), "kid": "bench"}
        (directory / "jwks.json").write_text(json.dumps({"keys": [jwk]}))

    def say(self, text: str) -> None:
        """Show what is being done: a run takes a while."""
        print(f"bench: {text}", file=sys.stderr, flush=True)

    def home(self) -> Path:
        """Return a directory of its own."""
        self._made += 1
        made = self.directory / str(self._made)
        made.mkdir()
        return made

    def token(self, n: int, **more: Any) -> str:
        """Return a token of the n-th user's session."""
        now = int(clock.now())
        claims = {
            "iss": ISSUER, "aud": AUDIENCE, "azp": AUDIENCE, "sub": f"user-{n}",
            "sid": f"session-{n}", "deviceid": f"device-{n}", "iat": now, "exp": now + 3600,
            "auth_time": now - 60, "acr": "single-factor", **more,
        }  # fmt: skip
        return jwt.encode(claims, self.key, "ES256", headers={"kid": "bench"})

    def check(self, n: int, token: str = "", **more: Any) -> bytes:
        """Return the line of a check of the n-th session."""
        asked = {"op": "check", "token": token or self.token(n), "context": "c1", "ip": "192.0.2.1"}
        return json.dumps({**asked, **more}).encode() + b"\n"

    @contextmanager
    def store(self) -> Iterator[str]:
        """Run a store of its own; gives its URL."""
        home = self.home()
        program = (
            "import sys, trio\n"
            "from sidecar.adapters.redis_server.embedded import EmbeddedStore\n"
            "async def main():\n"
            "    async with trio.open_nursery() as nursery:\n"
            "        print(await nursery.start(EmbeddedStore().run), flush=True)\n"
            "trio.run(main)\n"
        )
        environ = {**os.environ, "TMPDIR": str(home)}
        command = [sys.executable, "-c", program]
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=environ, cwd=ROOT) as process:
            try:
                assert process.stdout is not None
                yield process.stdout.readline().decode().strip()
            finally:
                _end(process)

    def configuration(self, home: Path, url: str, more: Mapping[str, Any]) -> dict[str, Any]:
        """Return what a daemon is configured with."""
        policies = home / "policies"
        policies.mkdir()
        (policies / "bench.yaml").write_text(POLICIES)
        issuer = {
            "issuer": ISSUER,
            "audiences": [AUDIENCE],
            "jwks_file": str(self.directory / "jwks.json"),
        }
        return {
            "app": {"id": AUDIENCE},
            "socket": {"path": str(home / "s.sock")},
            "http": {"enabled": False},
            "admin": {"enabled": False},
            "log": {"level": "error"},
            "store": {"url": url},
            "contexts": {"c1": {"name": "Payments"}, "c2": {"name": "Large payments"}},
            "networks": [{"name": "restricted"}, {"name": "lab"}],
            "tokens": {"issuers": [issuer]},
            "policies": {"path": str(policies)},
            **more,
        }

    @contextmanager
    def daemon(
        self, url: str, more: Mapping[str, Any] = NOTHING, tree: Path = ROOT
    ) -> Iterator[Daemon]:
        """Run a daemon on a store until its socket answers; that of another work `tree`, if so."""
        home = self.home()
        file = home / "sidecar.yaml"
        configuration = self.configuration(home, url, more)
        file.write_text(json.dumps(configuration))
        begun = time.perf_counter()
        python = sys.executable if tree == ROOT else str(tree / ".venv" / "bin" / "python")
        command = [python, "-m", "sidecar", "run", "--config", str(file)]
        process = subprocess.Popen(command, cwd=tree, env=self.environ)
        path = configuration["socket"]["path"]
        http, admin = configuration["http"], configuration["admin"]
        try:
            while not _answers(path):
                if process.poll() is not None:
                    raise SystemExit("a daemon does not start")
                time.sleep(0.002)
            ready = time.perf_counter() - begun
            yield Daemon(path, http.get("unix", ""), _port(http), _port(admin), process, ready)
        finally:
            _end(process)

    @contextmanager
    def daemons(
        self, count: int, more: Mapping[str, Any] = NOTHING
    ) -> Iterator[tuple[redis.Redis, list[Daemon]]]:
        """Run so many daemons on one store; gives a client of the store, too."""
        with ExitStack() as stack:
            url = stack.enter_context(self.store())
            client = redis.Redis.from_url(url, protocol=2)
            stack.callback(client.close)
            yield client, [stack.enter_context(self.daemon(url, more)) for _ in range(count)]

    def bring(self, daemon: Daemon, sessions: Sequence[int]) -> list[bytes]:
        """Bring sessions into a daemon's view; returns the lines that check them."""
        link = daemon.link()
        lines = [self.check(n) for n in sessions]
        for first in range(0, len(lines), 100):
            link.sure(*lines[first : first + 100])
        link.close()
        return lines


def in_turn(rounds: int, each: Mapping[str, Callable[[], float]]) -> dict[str, list[float]]:
    """Measure several things, one after the other in each round, in another order each time."""
    found: dict[str, list[float]] = {name: [] for name in each}
    order = list(each)
    for _ in range(rounds):
        random.shuffle(order)
        for name in order:
            found[name].append(each[name]())
    return found


def processor_time(pid: int) -> float:
    """Return the seconds of processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def switches(pid: int) -> int:
    """Return how often a process has gone to sleep: each is a wake-up to come."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(OSError):
            lines = (task / "status").read_text().splitlines()
            total += sum(int(one.split()[1]) for one in lines if one.startswith("voluntary_ctxt"))
    return total


def free_port() -> int:
    """Return a port that nobody listens at now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _port(listener: Mapping[str, Any]) -> int:
    return int(str(listener.get("bind", ":0")).rpartition(":")[2])


def _answers(path: str) -> bool:
    with suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(120)
        probe.connect(path)
        # That it can be connected to says only that the kernel would keep what is asked.
        probe.sendall(PING)
        return probe.recv(1 << 10) != b""
    return False


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
