"""The sample app of deploy/k8s passes on what the sidecar says, and fails closed."""

import http.client
import importlib.util
import json
import socket
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.adapters.servers import free_ports
from tests.waiting import eventually

PATH = Path(__file__).parents[2] / "deploy" / "k8s" / "base" / "app.py"


def load(at: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("sample_app", PATH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.SOCKET = str(at)  # type: ignore[attr-defined] # the pod gives it by the environment
    return module


@contextmanager
def serving(server: socketserver.BaseServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Scripted(socketserver.ThreadingUnixStreamServer):
    """A socket that answers every line with the same reply and keeps what it was asked."""

    def __init__(self, path: Path, reply: bytes) -> None:
        self.asked: list[dict[str, Any]] = []
        server = self

        class Line(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                server.asked.append(json.loads(self.rfile.readline()))
                self.wfile.write(reply)

        super().__init__(str(path), Line)


def call(
    app: ThreadingHTTPServer, method: str, path: str, headers: dict[str, str]
) -> tuple[int, dict[str, str]]:
    host, port = app.server_address[:2]
    connection = http.client.HTTPConnection(str(host), port, timeout=5)
    try:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        answer.read()
        return answer.status, dict(answer.getheaders())
    finally:
        connection.close()


def ask(
    directory: Path, reply: bytes | None, path: str = "/pay/7", **headers: str
) -> tuple[int, dict[str, str], list[dict[str, Any]]]:
    """One POST to the app, beside a sidecar that replies so (None: there is no sidecar)."""
    at = directory / "s.sock"
    module = load(at)
    app = ThreadingHTTPServer(("127.0.0.1", 0), module.App)
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    with serving(app):
        if reply is None:
            return (*call(app, "POST", path, names), [])
        daemon = Scripted(at, reply)
        with serving(daemon):
            return (*call(app, "POST", path, names), daemon.asked)


def line(**reply: object) -> bytes:
    return json.dumps(reply).encode() + b"\n"


def test_a_call_that_may_pass_is_answered(tmp_path: Path) -> None:
    status, _, asked = ask(
        tmp_path,
        line(ok=True, decision="allow", status=200, session="s1"),
        Authorization="Bearer abc",
        X_Forwarded_For="198.51.100.1, 203.0.113.9",
    )
    assert status == 200
    assert len(asked) == 1
    said = {name: asked[0][name] for name in ("op", "token", "method", "path", "ip")}
    assert said == {
        "op": "check",
        "token": "abc",
        "method": "POST",
        "path": "/pay/7",
        "ip": "203.0.113.9",
    }


def test_a_challenge_reaches_the_caller_as_it_is(tmp_path: Path) -> None:
    challenge = 'Bearer error="insufficient_user_authentication", acr_values="phr", max_age=300'
    reply = line(ok=True, decision="step_up", status=401, www_authenticate=challenge)
    status, headers, _ = ask(tmp_path, reply)
    assert (status, headers["WWW-Authenticate"]) == (401, challenge)


def test_a_refusal_reaches_the_caller(tmp_path: Path) -> None:
    assert ask(tmp_path, line(ok=True, decision="deny", status=403))[0] == 403


def test_a_bad_token_is_refused_with_a_challenge(tmp_path: Path) -> None:
    status, headers, _ = ask(tmp_path, line(ok=False, error="invalid_token", message="no"))
    assert status == 401
    assert 'error="invalid_token"' in headers["WWW-Authenticate"]


@pytest.mark.parametrize(
    "reply",
    [None, b"", b"not json\n", b"[1]\n", line(ok=False, error="overloaded", message="full")],
    ids=["away", "closed", "garbage", "no-object", "overloaded"],
)
def test_a_call_that_cannot_be_judged_does_not_pass(tmp_path: Path, reply: bytes | None) -> None:
    assert ask(tmp_path, reply)[0] == 503


def test_it_ends_when_it_is_asked_to_with_the_calls_that_it_has(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    path = tmp_path / "s.sock"
    release = threading.Event()

    class Line(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.rfile.readline()
            process.terminate()
            assert release.wait(20)
            self.wfile.write(line(ok=True, decision="allow", status=200, session="s1"))

    with socketserver.ThreadingUnixStreamServer(str(path), Line) as daemon, serving(daemon):
        process = subprocess.Popen(
            [sys.executable, "-B", str(PATH)],
            env={"SIDECAR_SOCKET": str(path), "PORT": str(port)},
            stderr=subprocess.DEVNULL,
        )
        try:
            eventually(lambda: is_open(port), bool)
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
            connection.request("GET", "/pay/7")
            release.set()
            assert connection.getresponse().status == 200
            assert process.wait(20) == 0
        finally:
            process.kill()
            process.wait()


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_its_health_does_not_depend_on_the_sidecar(tmp_path: Path) -> None:
    assert ask(tmp_path, None, path="/healthz")[0] == 200
