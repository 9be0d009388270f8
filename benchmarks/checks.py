"""The whole daemon's check path, and beside it what an app would do without one.

A real `sidecar run` on its embedded store answers for one session: one call after the other over
the local socket, pipelined, and over HTTP on one kept-alive connection. The peer, in the same run:
PyJWT verifies the token and redis-py asks the store for the session, each time, as a middleware in
the app would.

Usage: python -m benchmarks.checks [SECONDS]
"""

import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jwt
import redis
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

ISSUER, AUDIENCE = "https://id.example", "payroll"
POLICY = """\
policies:
  - id: restricted-segment
    contexts: [c1]
    conditions: {networks: {include: [restricted]}}
    grant: mfa
  - id: another-country
    contexts: [c1]
    conditions: {changed: [country]}
    grant: phishing-resistant
"""
BATCH = 100


def key_and_token(directory: Path) -> tuple[ec.EllipticCurvePublicKey, str]:
    key = ec.generate_private_key(ec.SECP256R1())
    jwk = {**json.loads(ECAlgorithm.to_jwk(key.public_key())), "kid": "bench"}
    (directory / "jwks.json").write_text(json.dumps({"keys": [jwk]}))
    now = int(time.time())  # noqa: TID251 - a token's own time
    claims = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "alice",
        "sid": "s-1",
        "iat": now,
        "exp": now + 3600,
        "auth_time": now - 60,
        "acr": "single-factor",
    }
    return key.public_key(), jwt.encode(claims, key, "ES256", headers={"kid": "bench"})


@contextmanager
def daemon(directory: Path) -> Iterator[tuple[str, str]]:
    """The daemon's socket and its HTTP socket."""
    path, http = str(directory / "s.sock"), str(directory / "h.sock")
    (directory / "policies").mkdir()
    (directory / "policies" / "bench.yaml").write_text(POLICY)
    (directory / "sidecar.yaml").write_text(
        json.dumps(
            {
                "app": {"id": AUDIENCE},
                "socket": {"path": path},
                "http": {"bind": "127.0.0.1:0", "unix": http},
                "admin": {"enabled": False},
                "log": {"level": "error"},
                "store": {"embedded_dir": str(directory)},
                "contexts": {"c1": {"name": "Payments"}},
                "tokens": {
                    "issuers": [
                        {
                            "issuer": ISSUER,
                            "audiences": [AUDIENCE],
                            "jwks_file": str(directory / "jwks.json"),
                        }
                    ]
                },
                "policies": {"path": str(directory / "policies")},
            }
        )
    )
    command = [sys.executable, "-m", "sidecar", "run", "--config", str(directory / "sidecar.yaml")]
    process = subprocess.Popen(command, env={**os.environ})
    try:
        while not (Path(path).exists() and Path(http).exists()):
            if process.poll() is not None:
                raise SystemExit("the daemon does not start")
            time.sleep(0.05)
        yield path, http
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


def timed(one: Callable[[], None], seconds: float, count: int = 1) -> tuple[float, float, float]:
    """Answers a second, and the 50th and 99th percentile of a round in microseconds."""
    for _ in range(20):
        one()
    rounds: list[float] = []
    end = time.perf_counter() + seconds
    while (begun := time.perf_counter()) < end:
        one()
        rounds.append(time.perf_counter() - begun)
    cuts = statistics.quantiles(rounds, n=100)
    return count * len(rounds) / sum(rounds), cuts[49] * 1e6, cuts[98] * 1e6


class Connection:
    """A unix stream that is read up to an ending."""

    def __init__(self, path: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)

    def ask(self, request: bytes, ending: bytes, count: int = 1) -> bytes:
        """Send a request, and read until `count` answers have ended."""
        self.socket.sendall(request)
        answer = b""
        while answer.count(ending) < count:
            answer += self.socket.recv(1 << 20)
        return answer


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 3.0
    rows: list[tuple[str, tuple[float, float, float]]] = []
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        directory = Path(name)
        key, token = key_and_token(directory)
        with daemon(directory) as (path, http):
            line = {"op": "check", "token": token, "context": "c1", "ip": "192.0.2.1"}
            request = json.dumps(line).encode() + b"\n"
            lines = Connection(path)
            assert b'"allow"' in lines.ask(request, b"\n")
            rows.append(("socket, one by one", timed(lambda: ask(lines, request, 1), seconds)))
            many = request * BATCH
            rows.append(
                (
                    f"socket, {BATCH} at a time",
                    timed(lambda: ask(lines, many, BATCH), seconds, BATCH),
                )
            )
            call = (
                "GET /v1/check HTTP/1.1\r\nHost: app.example\r\nX-Auth-Context: c1\r\n"
                f"Authorization: Bearer {token}\r\n\r\n"
            ).encode()
            over_http = Connection(http)
            assert over_http.ask(call, b"\r\n\r\n").startswith(b"HTTP/1.1 200")
            rows.append(
                ("HTTP, one by one", timed(lambda: ask(over_http, call, 1, b"\r\n\r\n"), seconds))
            )
            store = next(directory.glob("sidecar-store-*/valkey.sock"))
            client = redis.Redis(unix_socket_path=str(store))
            rows.append(("peer: PyJWT and redis-py", timed(peer(client, key, token), seconds)))
            client.close()
            lines.socket.close()
            over_http.socket.close()
    print(f"{'':28}{'answers/s':>12}{'p50 us':>10}{'p99 us':>10}")
    for label, (rate, middle, tail) in rows:
        print(f"{label:28}{rate:12,.0f}{middle:10,.0f}{tail:10,.0f}")


def ask(connection: Connection, request: bytes, count: int, ending: bytes = b"\n") -> None:
    connection.ask(request, ending, count)


def peer(client: Any, key: ec.EllipticCurvePublicKey, token: str) -> Callable[[], None]:
    """Verify, then ask the store, as a middleware without a cache or a view would."""

    def one() -> None:
        claims = jwt.decode(token, key, ["ES256"], audience=AUDIENCE, issuer=ISSUER)
        client.hgetall(f"bench:{claims['sid']}")

    return one


if __name__ == "__main__":
    main()
