"""Ten floods by one peer, and what another one notices.

A real `sidecar run` on its embedded store, a peer that floods it, in a process and, where this runs
as root, of a uid of its own, and a peer that asks for checks all the while: over a connection that
it keeps and over new ones, on the local socket and over HTTP. In the midst of each flood it revokes
its session. For the waits another sidecar of the fleet is stopped, so that no event is known to be
everywhere.

Usage: python -m benchmarks.floods [SECONDS] [--only FLOOD] [--write]
"""

import base64
import encodings.idna  # noqa: F401 - who becomes nobody may not be able to import it later
import hashlib
import http.client
import itertools
import json
import multiprocessing
import os
import resource
import secrets
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple, Self

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from h2.config import H2Configuration
from h2.connection import H2Connection
from jwt.algorithms import ECAlgorithm

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "floods.md"
BEGIN, END = "<!-- benchmarks/floods.py -->", "<!-- end -->"

ISSUER, AUDIENCE = "https://id.example", "payroll"
HOST, PATH = "app.example", "/pay"
NOBODY = 65534
BOUND = 50.0
"""Milliseconds in which 99 of 100 checks of the other peer are to be answered."""

POLICY = """\
policies:
  - id: restricted-segment
    contexts: [c1]
    conditions: {networks: {include: [restricted]}}
    grant: mfa
  - id: risky
    contexts: [c1]
    conditions: {user_risk: high}
    grant: mfa
"""


class Target(NamedTuple):
    """Where a daemon listens, and the tokens of the peer that floods it."""

    socket: str
    http: tuple[str, int]
    grpc: tuple[str, int]
    tokens: tuple[str, ...]
    bound_token: str
    proofs: tuple[str, ...]
    many: tuple[str, ...]


class Signer:
    """An identity provider's key, and a client's."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.of_client = ec.generate_private_key(ec.SECP256R1())

    def key_set(self) -> str:
        """The JWK Set that the daemon believes."""
        return json.dumps({"keys": [{**_jwk(self.key), "kid": "bench"}]})

    def token(self, user: str, session: str, **more: Any) -> str:
        """An access token."""
        now = int(time.time())  # noqa: TID251 - a token's own time
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": user,
            "sid": session,
            "iat": now,
            "exp": now + 3600,
            "auth_time": now - 60,
            "acr": "single-factor",
            **more,
        }
        return jwt.encode(claims, self.key, "ES256", headers={"kid": "bench"})

    def bound_token(self, user: str, session: str) -> str:
        """One that is bound to the client's key."""
        return self.token(user, session, cnf={"jkt": self.thumbprint()})

    def thumbprint(self) -> str:
        """The client's key as tokens name it (RFC 7638)."""
        key = _jwk(self.of_client)
        named = {name: key[name] for name in ("crv", "kty", "x", "y")}
        return _digest(json.dumps(named, separators=(",", ":")))

    def proof(self, token: str) -> str:
        """A DPoP proof for a call with a token."""
        now = int(time.time())  # noqa: TID251 - a proof's own time
        claims = {
            "jti": secrets.token_hex(8),
            "iat": now,
            "htm": "GET",
            "htu": f"https://{HOST}{PATH}",
            "ath": _digest(token),
        }
        headers = {"typ": "dpop+jwt", "jwk": _jwk(self.of_client)}
        return jwt.encode(claims, self.of_client, "ES256", headers=headers)


def _jwk(key: ec.EllipticCurvePrivateKey) -> dict[str, Any]:
    return dict(json.loads(ECAlgorithm.to_jwk(key.public_key())))


def _digest(text: str) -> str:
    return _base64(hashlib.sha256(text.encode()).digest())


def _base64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


class Sizes(NamedTuple):
    """How many proofs a flood has, and sessions."""

    proofs: int = 3000
    sessions: int = 8000


def target_of(
    path: str, http: tuple[str, int], grpc: tuple[str, int], signer: Signer, sizes: Sizes
) -> Target:
    """What a peer needs to flood a daemon that believes this signer."""
    return Target(
        path,
        http,
        grpc,
        tuple(signer.token("mallory", f"flood-{n}") for n in range(8)),
        signer.bound_token("mallory", "bound"),
        (),
        tuple(signer.token("mallory", f"many-{n}") for n in range(sizes.sessions)),
    )


def with_proofs(target: Target, signer: Signer, count: int) -> Target:
    """The same with so many proofs, which count for `dpop_window` from now."""
    bound = target.bound_token
    return target._replace(proofs=tuple(signer.proof(bound) for _ in range(count)))


# The floods: each step is one burst.

Flood = Callable[[Target], Iterator[None]]
HELD = 1500
"""Connections that the flood keeps open: more than a listener has places."""


class Held:
    """Connections that are kept open and not read, the oldest closed for new ones."""

    def __init__(self) -> None:
        self._held: list[socket.socket] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for one in self._held:
            one.close()

    def add(self, one: socket.socket) -> socket.socket:
        """Keep one more."""
        self._held.append(one)
        if len(self._held) > HELD:
            self._held.pop(0).close()
        return one


def _unix(target: Target) -> socket.socket:
    one = socket.socket(socket.AF_UNIX)
    one.connect(target.socket)  # it waits where many are about to be accepted
    one.settimeout(2)
    return one


def _tcp(address: tuple[str, int]) -> socket.socket:
    return socket.create_connection(address, 2)


def _lines(*requests: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(one).encode() + b"\n" for one in requests)


def _talk(one: socket.socket, data: bytes) -> None:
    """Send all, read what comes meanwhile, and wait for the end of it."""
    with suppress(OSError), one:
        one.settimeout(2)
        view, sent = memoryview(data), 0
        while sent < len(data):
            sent += one.send(view[sent : sent + 65536])
            with suppress(BlockingIOError):
                one.recv(1 << 20, socket.MSG_DONTWAIT)
        one.shutdown(socket.SHUT_WR)
        while one.recv(1 << 20):
            pass


AT_ONCE, PAUSE = 16, 0.05
"""Connections that are opened together, and the seconds between: 320 a second at each door."""


def idle_connections(target: Target) -> Iterator[None]:
    """Opens connections at both doors, and says nothing; others for those that are closed."""
    with Held() as held:
        while True:
            for _ in range(AT_ONCE):
                with suppress(OSError):
                    held.add(_unix(target))
                with suppress(OSError):
                    held.add(_tcp(target.http))
            time.sleep(PAUSE)
            yield


def half_heads(target: Target) -> Iterator[None]:
    """Begins requests that it does not finish, over HTTP and on the socket."""
    with Held() as held:
        while True:
            time.sleep(PAUSE)
            for _ in range(AT_ONCE):
                with suppress(OSError):
                    held.add(_tcp(target.http)).sendall(b"GET /v1/check HTTP/1.1\r\nHost: a\r\nX: ")
                with suppress(OSError):
                    held.add(_unix(target)).sendall(b'{"op":"che')
            yield


def bad_lines(target: Target) -> Iterator[None]:
    """Sends a mebibyte of lines that are no events, and batches of lines that are no requests."""
    body = b"a\n" * 524_288
    event = _lines({"type": "session-presented", "subject": {"session": "flood-1"}, "data": {}})
    for most in itertools.cycle((body, event * 10_000, (event + b"a\n" * 2) * 300)):
        head = (
            "POST /v1/events HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
            f"Content-Type: application/x-ndjson\r\nContent-Length: {len(most)}\r\n\r\n"
        )
        with suppress(OSError):
            _talk(_tcp(target.http), head.encode() + most[:1_048_576])
        for _ in range(4):
            with suppress(OSError):
                _talk(_unix(target), (b"a\n" * 15 + b'{"op":"ping"}\n') * 200)
        yield


def resets(target: Target) -> Iterator[None]:
    """Begins calls over HTTP/2 and resets them at once, and sends settings to acknowledge."""
    client = H2Connection(H2Configuration(client_side=True, header_encoding=None))
    client.initiate_connection()
    fields = [
        (b":method", b"POST"),
        (b":path", b"/envoy.service.auth.v3.Authorization/Check"),
        (b":scheme", b"http"),
        (b":authority", b"sidecar"),
        (b"content-type", b"application/grpc"),
    ]
    hello = client.data_to_send()
    flood = b""
    for _ in range(3000):
        number = client.get_next_available_stream_id()
        client.send_headers(number, fields)
        client.reset_stream(number)
        flood += client.data_to_send()
    settings = b"\0\0\0\4\0\0\0\0\0" * 20_000
    while True:
        for batch in (flood, settings):
            with suppress(OSError):
                _talk(_tcp(target.grpc), hello + batch)
        yield


def watchers(target: Target) -> Iterator[None]:
    """Watches its sessions on many connections, reads none of them, and changes their standing."""
    with Held() as held:
        sessions = [f"flood-{n}" for n in range(8)]
        checks = [{"op": "check", "token": one, "context": "c1"} for one in target.tokens]
        for turn in itertools.count():
            with suppress(OSError):
                _talk(_unix(target), _lines(*checks))
            for _ in range(160 if not turn else 8):
                with suppress(OSError):
                    held.add(_unix(target)).sendall(_lines({"op": "watch", "sessions": sessions}))
            segment = "restricted" if turn % 2 else "office"
            changes = [
                {
                    "op": "event",
                    "type": "network-change",
                    "subject": {"session": session},
                    "data": {"segment": segment},
                }
                for session in sessions
            ]
            with suppress(OSError):
                _talk(_unix(target), _lines(*changes))
            yield


def settle_waits(target: Target) -> Iterator[None]:
    """Sends events that wait for all sidecars, of which one does not answer."""
    with Held() as held:
        numbers = itertools.count()
        while True:
            for _ in range(8):
                events = [
                    {
                        "op": "event",
                        "type": "session-presented",
                        "subject": {"session": f"wait-{number}"},
                        "data": {"ip": "192.0.2.7"},
                        "wait": "everywhere",
                        "timeout": 5,
                    }
                    for number in itertools.islice(numbers, 32)
                ]
                with suppress(OSError):
                    held.add(_unix(target)).sendall(_lines(*events))
            time.sleep(PAUSE)
            yield


def proofs(target: Target) -> Iterator[None]:
    """Shows DPoP proofs, each of which is to be verified and remembered."""
    call = {
        "op": "check",
        "token": target.bound_token,
        "context": "c1",
        "method": "GET",
        "host": HOST,
        "path": PATH,
    }
    several = itertools.cycle(target.proofs)
    while True:
        for _ in range(4):
            batch = [{**call, "dpop": proof} for proof in itertools.islice(several, 50)]
            with suppress(OSError):
                _talk(_unix(target), _lines(*batch))
        yield


def _forged(key: str, claims: dict[str, Any]) -> str:
    head = {"alg": "ES256", "kid": key, "typ": "JWT"}
    parts = [json.dumps(part).encode() for part in (head, claims)]
    return ".".join(map(_base64, (*parts, secrets.token_bytes(64))))


def unknown_keys(target: Target) -> Iterator[None]:
    """Shows tokens by keys that nobody has, each by another one."""
    while True:
        for _ in range(4):
            batch = [
                {"op": "check", "token": _forged(secrets.token_hex(8), {"iss": ISSUER})}
                for _ in range(200)
            ]
            with suppress(OSError):
                _talk(_unix(target), _lines(*batch))
        yield


def fat_tokens(target: Target) -> Iterator[None]:
    """Shows tokens of the greatest size with a signature that does not fit, and larger ones."""
    claims = {"iss": ISSUER, "groups": [f"group-{n}" for n in range(750)]}
    while True:
        for _ in range(4):
            batch = [
                {"op": "check", "token": _forged("bench", {**claims, "jti": secrets.token_hex(8)})}
                for _ in range(30)
            ]
            batch += [{"op": "check", "token": "x" * 60_000}] * 5
            with suppress(OSError):
                _talk(_unix(target), _lines(*batch))
        yield


def sessions_of_one_user(target: Target) -> Iterator[None]:
    """Has a user with thousands of sessions, and sends events that touch them all."""
    checks = [{"op": "check", "token": token, "context": "c1"} for token in target.many]
    for first in range(0, len(checks), 500):
        with suppress(OSError):
            _talk(_unix(target), _lines(*checks[first : first + 500]))
        yield
    for turn in itertools.count():
        event = {
            "op": "event",
            "type": "risk-level-change",
            "subject": {"user": "mallory"},
            "data": {"current_level": "LOW" if turn % 2 else "HIGH"},
        }
        with suppress(OSError):
            _talk(_unix(target), _lines(event))
        yield


FLOODS: dict[str, Flood] = {
    "idle connections": idle_connections,
    "half heads": half_heads,
    "bad lines": bad_lines,
    "resets": resets,
    "watchers that do not read": watchers,
    "settle waits": settle_waits,
    "proofs": proofs,
    "unknown keys": unknown_keys,
    "fat tokens": fat_tokens,
    "sessions of one user": sessions_of_one_user,
}


PREPARED = {"sessions of one user": 18}
"""Bursts after which a flood is what it says, where that takes more than one."""


# The daemon


def configuration(directory: Path, ports: dict[str, int], url: str = "") -> dict[str, Any]:
    """One that knows the two peers apart."""
    return {
        "app": {"id": AUDIENCE},
        "socket": {"path": str(directory / "s.sock"), "mode": "0666"},
        "http": {"bind": f"127.0.0.1:{ports['http']}", "events": "local"},
        "grpc": {"bind": f"127.0.0.1:{ports['grpc']}"},
        "admin": {"enabled": False},
        "log": {"level": "info"},
        "store": {"url": url, "embedded_dir": str(directory)},
        "contexts": {"c1": {"name": "Payments"}},
        "networks": [{"name": "restricted"}, {"name": "office"}],
        "sources": [{"name": "flood", "uids": [NOBODY]}],
        "tokens": {
            "binding": {"possession": "verify"},
            "issuers": [
                {
                    "issuer": ISSUER,
                    "audiences": [AUDIENCE],
                    "jwks_file": str(directory.parent / "jwks.json"),
                }
            ],
        },
        "policies": {"path": str(directory.parent / "policies")},
    }


@contextmanager
def daemon(directory: Path, settings: dict[str, Any]) -> Iterator[subprocess.Popen[bytes]]:
    """A daemon that is ready; its log goes into a file."""
    file = directory / "sidecar.yaml"
    file.write_text(json.dumps(settings))
    command = [sys.executable, "-m", "sidecar", "run", "--config", str(file)]
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(command, env={**os.environ}, stderr=log)
    try:
        while not Path(settings["socket"]["path"]).exists():
            if process.poll() is not None:
                raise SystemExit((directory / "log").read_text())
            time.sleep(0.05)
        yield process
    finally:
        process.send_signal(signal.SIGCONT)
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def free_ports(*names: str) -> dict[str, int]:
    with ExitStack() as stack:
        taken = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in names]
        return {name: one.getsockname()[1] for name, one in zip(names, taken, strict=True)}


def flood_apart(label: str, target: Target, stop: Connection) -> None:
    """Flood, of another uid where that may be, until killed or left alone; report each burst."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    parent = multiprocessing.parent_process()
    for _ in FLOODS[label](target):
        if parent is None or not parent.is_alive():
            return
        if not stop.closed:
            try:
                stop.send(None)
            except BrokenPipeError:
                stop.close()


@contextmanager
def flooding(label: str, target: Target, bursts: int = 1) -> Iterator[None]:
    """Have another process flood. So many bursts come before."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    stop, stops = context.Pipe(duplex=False)
    process = context.Process(target=flood_apart, args=(label, target, stops))
    process.start()
    stops.close()
    try:
        for _ in range(bursts):
            stop.recv()
        stop.close()
        yield
    finally:
        process.kill()
        process.join()


# The other peer


class Peer:
    """Asks for checks of one session, and notes how long each takes."""

    def __init__(self, target: Target, token: str, patience: float = 2) -> None:
        self._target = target
        self._patience = patience
        self._token = token
        self.took: list[float] = []
        self.refused = 0
        self._line: socket.socket | None = None
        self._http: http.client.HTTPConnection | None = None
        request = {"op": "check", "token": token, "context": "c1", "ip": "192.0.2.1"}
        self._check = _lines(request)

    def timed(self, ask: Callable[[], str]) -> str:
        """Ask, and note how long it took; empty: it was refused."""
        begun = time.perf_counter()
        try:
            found = ask()
        except (OSError, http.client.HTTPException, ValueError):
            self.refused += 1
            found = ""
        self.took.append((time.perf_counter() - begun) * 1000)
        return found

    def ask(self, turn: int) -> str:
        """One check; what it came to."""
        match turn % 8:
            case 3:
                return self.timed(self._over_new_line)
            case 5:
                return self.timed(self._over_http)
            case 7:
                return self.timed(self._over_new_http)
            case _:
                return self.timed(self._over_line)

    def close(self) -> None:
        """Leave."""
        if self._line is not None:
            self._line.close()
        if self._http is not None:
            self._http.close()

    def revoke(self, session: str) -> float:
        """Revoke the session; how many milliseconds that took."""
        event = {"op": "event", "type": "session-revoked", "subject": {"session": session}}
        begun = time.perf_counter()
        with self._new_line() if self._line is None else self._line as one:
            self._line = None
            one.settimeout(5 * self._patience)
            reply = _exchange(one, _lines(event))
        if not reply.get("ok"):
            raise SystemExit(f"the revocation is refused: {reply}")
        return (time.perf_counter() - begun) * 1000

    def revoke_over_http(self, session: str) -> None:
        """Revoke the session over the connection that is kept."""
        if self._http is None:
            self._http = http.client.HTTPConnection(*self._target.http, timeout=self._patience)
        event = {"type": "session-revoked", "subject": {"session": session}}
        headers = {"Content-Type": "application/json"}
        self._http.request("POST", "/v1/events", json.dumps(event), headers)
        response = self._http.getresponse()
        said = response.read()
        if response.status != http.client.OK:
            raise SystemExit(f"the revocation is refused: {said!r}")

    def _over_line(self) -> str:
        try:
            if self._line is None:
                self._line = self._new_line()
            return _decision(_exchange(self._line, self._check))
        except (OSError, ValueError):
            self.close()
            self._line = None
            raise

    def _over_new_line(self) -> str:
        with self._new_line() as one:
            return _decision(_exchange(one, self._check))

    def _new_line(self) -> socket.socket:
        one = _unix(self._target)
        one.settimeout(self._patience)
        return one

    def _over_http(self) -> str:
        try:
            if self._http is None:
                self._http = http.client.HTTPConnection(*self._target.http, timeout=self._patience)
            return self._get(self._http)
        except (OSError, http.client.HTTPException):
            self.close()
            self._http = None
            raise

    def _over_new_http(self) -> str:
        connection = http.client.HTTPConnection(*self._target.http, timeout=self._patience)
        try:
            return self._get(connection)
        finally:
            connection.close()

    def _get(self, connection: http.client.HTTPConnection) -> str:
        headers = {"X-Auth-Context": "c1", "Authorization": f"Bearer {self._token}"}
        connection.request("GET", "/v1/check", headers=headers)
        response = connection.getresponse()
        response.read()
        decision = response.getheader("X-Sidecar-Decision")
        if decision is None:
            raise ValueError(response.status)
        return decision


def _exchange(one: socket.socket, line: bytes) -> dict[str, Any]:
    one.sendall(line)
    reply = b""
    while not reply.endswith(b"\n"):
        more = one.recv(65536)
        if not more:
            raise ConnectionResetError
        reply += more
    return dict(json.loads(reply))


def _decision(reply: dict[str, Any]) -> str:
    if "decision" not in reply:
        raise ValueError(reply.get("error"))
    return str(reply["decision"])


class Row(NamedTuple):
    """What the other peer noticed; times in milliseconds."""

    flood: str
    checks: int
    middle: float
    tail: float
    worst: float
    refused: int
    revoked: float


def measured(label: str, target: Target, signer: Signer, seconds: float) -> Row:
    """Ask for so long; half-way the session is revoked, and that is to count at once."""
    session = f"s-{secrets.token_hex(4)}"
    peer = Peer(target, signer.token("alice", session))
    begun = time.perf_counter()
    revoked, turn = 0.0, 0
    while (past := time.perf_counter() - begun) < seconds:
        if not revoked and past > seconds / 2:
            revoked = peer.revoke(session)
        answer = peer.ask(turn)
        if answer not in {"", "deny" if revoked else "allow"}:
            raise SystemExit(f"{label}: the check came to {answer!r}")
        turn += 1
        time.sleep(0.002)
    cuts = statistics.quantiles(peer.took, n=100)
    return Row(label, len(peer.took), cuts[49], cuts[98], max(peer.took), peer.refused, revoked)


def rows(seconds: float, only: str = "") -> Iterator[Row]:
    with ExitStack() as stack:
        base = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="floods-")))
        base.chmod(0o755)
        signer = Signer()
        (base / "jwks.json").write_text(signer.key_set())
        (base / "policies").mkdir()
        (base / "policies" / "floods.yaml").write_text(POLICY)
        for name in ("a", "b"):
            (base / name).mkdir()
        ports = free_ports("http", "grpc", "other-http", "other-grpc")
        stack.enter_context(daemon(base / "a", configuration(base / "a", ports)))
        doors = [("127.0.0.1", ports[name]) for name in ("http", "grpc")]
        target = target_of(str(base / "a" / "s.sock"), doors[0], doors[1], signer, Sizes())
        yield measured("none", target, signer, seconds)
        for label, flood in FLOODS.items():
            if only and only != label:
                continue
            with ExitStack() as during:
                if flood is settle_waits:
                    url = f"unix://{next(base.glob('a/sidecar-store-*/valkey.sock'))}"
                    others = {"http": ports["other-http"], "grpc": ports["other-grpc"]}
                    settings = configuration(base / "b", others, url)
                    other = during.enter_context(daemon(base / "b", settings))
                    other.send_signal(signal.SIGSTOP)
                if flood is proofs:
                    target = with_proofs(target, signer, Sizes().proofs)
                during.enter_context(flooding(label, target, PREPARED.get(label, 1)))
                time.sleep(1)
                yield measured(label, target, signer, seconds)
            time.sleep(1)  # what the flood left behind is not the next one's


def table(found: list[Row]) -> str:
    lines = [
        "| flood | checks of another peer | p50 ms | p99 ms | worst ms | refused | revoked in ms |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {row.flood} | {row.checks:,} | {row.middle:.1f} | {row.tail:.1f} | {row.worst:.0f}"
        f" | {row.refused} | {row.revoked:.0f} |"
        for row in found
    ]
    return "\n".join(lines)


def main() -> None:
    arguments = [one for one in sys.argv[1:] if not one.startswith("--")]
    only = arguments.pop() if "--only" in sys.argv else ""
    seconds = float(arguments[0]) if arguments else 5.0
    found = []
    for row in rows(seconds, only):
        print(f"{row.flood:28} p99 {row.tail:7.1f} ms", file=sys.stderr, flush=True)
        found.append(row)
    print(table(found))
    if "--write" in sys.argv:
        page = PAGE.read_text()
        before, after = page.split(BEGIN)[0], page.split(END)[1]
        PAGE.write_text(f"{before}{BEGIN}\n{table(found)}\n{END}{after}")
    slow = [row.flood for row in found if row.tail > BOUND or row.refused]
    if slow:
        raise SystemExit(f"over {BOUND:g} ms, or refused, under: {', '.join(slow)}")


if __name__ == "__main__":
    main()
