"""What stands around a gateway: the app behind it, the daemon beside it, a client before it."""

import http.client
import json
import os
import re
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import trio
from anyio.from_thread import BlockingPortal, start_blocking_portal
from msgspec.structs import replace

from sidecar.daemon.lifecycle import Addresses, Daemon
from sidecar.demo.geography import Databases, build
from sidecar.domain.policy.conditional_access import Networks, Selection
from sidecar.wire.settings.settings import App as Protected
from sidecar.wire.settings.settings import Cors, Gateway, Grpc, Http, Introspection, Redirect, Route
from tests import plain_http
from tests.adapters.identity import key_set
from tests.adapters.servers import free_ports
from tests.domain.scenes import policy
from tests.stories.running import SIGNER, Client, configuration, settings_for, unique
from tests.system.gateways import tunnels
from tests.system.gateways.programs import GATEWAYS, Ports, running
from tests.system.gateways.questions import Asked, Recorder, reading_of

CLIENT = "127.0.0.9"
"""Where the client calls from: no proxy that the daemon trusts, which is 127.0.0.1 only."""

STEP_UP_PAGE = "https://shop.example/step-up"

PAGES = "https://pages.example"
"""The other origin whose pages may read refusals."""

OPAQUE = "opaque-"
"""What the tokens begin with that the issuer would have to be asked about."""

POLICIES = tuple(
    policy(Networks(Selection(frozenset({segment}))), name=segment, contexts=frozenset({context}))
    for segment, context in (("restricted", "c1"), ("lab", "c2"))
)


PLAIN = "/public/plain"
"""Below this the app takes no upgrade, and answers as if it had not been asked for one."""

EVENTS = "/public/events"
"""Here the app sends one event, and the next when it is let."""


class Seen(NamedTuple):
    """A request as the app got it."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes

    def heard(self, name: str) -> list[str]:
        """All values of a header and of what CGI would take for it."""
        return [
            value
            for key, value in self.headers
            if re.sub("[^a-z0-9]", "-", key.lower()) == name.lower()
        ]


class App(ThreadingHTTPServer):
    """The app: answers every request with its target, takes every upgrade, keeps what it got."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.goes_on = threading.Event()
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def handle_error(self, *_: object) -> None:
        """A gateway that is killed resets its connections."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: App

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):
            return self._answer
        raise AttributeError(name)

    def _answer(self) -> None:
        target = self.requestline.split(" ")[1]
        body = self._body()
        self.server.seen.append(Seen(self.command, target, self.headers.items(), body))
        if not target.startswith(PLAIN) and (
            self.command == "CONNECT" or "Upgrade" in self.headers
        ):
            self._tunnel()
            return
        if target == EVENTS:
            self._events()
            return
        answer = target.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer)

    def _events(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.write(b"8\r\ndata: 1\n\r\n")
        self.server.goes_on.wait(15)
        self.server.goes_on.clear()
        self.wfile.write(b"8\r\ndata: 2\n\r\n0\r\n\r\n")

    def _tunnel(self) -> None:
        """Take any upgrade, and answer every request in the tunnel: what no gateway may rely on."""
        upgrade = self.headers.get("Upgrade", "").lower()
        self.send_response(200 if self.command == "CONNECT" else 101)
        if self.command != "CONNECT":
            for name, value in tunnels.accepted(self.headers):
                self.send_header(name, value)
        self.end_headers()
        if upgrade == "websocket":
            tunnels.serve_websocket(self.rfile, self.wfile.write)
        elif upgrade == "h2c":
            settings = self.headers.get("HTTP2-Settings", tunnels.SETTINGS)
            tunnels.serve_h2(self.rfile, self.wfile.write, self._record, settings)
        else:  # HTTP/1.1 goes on in the tunnel
            return
        self.close_connection = True

    def _record(self, method: str, target: str, fields: list[tuple[str, str]]) -> None:
        self.server.seen.append(Seen(method, target, fields, b""))

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", "0")))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def log_message(self, *_: object) -> None:
        """Not on the test's terminal."""


class Answer(NamedTuple):
    """What the client got."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def values(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]


def send(
    port: int,
    target: str,
    fields: Sequence[tuple[str, str]] = (),
    method: str = "GET",
    body: bytes | None = None,
) -> Answer:
    """One request, its target and header lines as they are here, from the client's own address."""
    connection = http.client.HTTPConnection(
        "127.0.0.1", port, timeout=15, source_address=(CLIENT, 0)
    )
    try:
        connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
        if not any(name.lower() == "host" for name, _ in fields):
            connection.putheader("Host", "shop.example")
        for name, value in fields:
            connection.putheader(name, value)
        if body is not None:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        answer = connection.getresponse()
        return Answer(answer.status, answer.getheaders(), answer.read())
    finally:
        connection.close()


def bearer(token: str) -> tuple[str, str]:
    return ("Authorization", f"Bearer {token}")


class Sidecar:
    """A daemon on the ports that a gateway asks at; it can go and come again."""

    def __init__(
        self, portal: BlockingPortal, directory: Path, store: str, ports: Ports, gateway: str
    ) -> None:
        self._portal = portal
        self._directory = directory
        (directory / "jwks.json").write_bytes(key_set(SIGNER))
        geography: Databases = build(directory)
        usual = settings_for(directory, store, geography, unique("sidecar"))
        transfers = Route(path="/transfers/**", contexts=("c1",), methods=("PUT",))
        # Nobody answers there: what is asked of such a token cannot be decided.
        asked = Introspection(
            endpoint="http://127.0.0.1:9/introspect",
            prefix=OPAQUE,
            client_id="sidecar",
            client_secret="not looked at",
        )
        issuers = (replace(usual.tokens.issuers[0], introspection=asked),)
        self._settings = replace(
            usual,
            tokens=replace(usual.tokens, issuers=issuers),
            routes=(*usual.routes, transfers),
            http=Http(
                bind=f"127.0.0.1:{ports.http}",
                gateway=Gateway(gateway),
                trusted_proxies=("127.0.0.1/32",),
                max_body_bytes=1024,  # a gateway that sent bodies on would fail
                public=("/open/*",),
                unchecked=("PROPFIND",),
                preflight=True,
                cors=Cors(origins=(PAGES,), credentials=True),
                unix=str(directory / "http.sock"),
                unix_group="www-data" if os.geteuid() == 0 else "",
            ),
            app=Protected(id="payroll", redirect=Redirect(start=STEP_UP_PAGE)),
            grpc=Grpc(bind=f"127.0.0.1:{ports.grpc}"),
        )
        self.unix = self._settings.http.unix
        self.socket = self._settings.socket.path
        self.start()

    def start(self) -> None:
        daemon = Daemon(configuration(self._settings, POLICIES, self._directory), {})
        self._draining = self._portal.call(trio.Event)
        addresses: Addresses
        self._ended, addresses = self._portal.start_task(_run, daemon, self._draining)
        self.admin = addresses.admin[0]
        self.client = Client(addresses.socket)

    def stop(self) -> None:
        self.client.close()
        self._portal.call(self._draining.set)
        self._ended.result(20)

    def metric(self, name: str) -> float:
        """A series of the daemon's metrics."""
        lines = plain_http.get(f"{self.admin}/metrics").text.splitlines()
        return float(next(line.rpartition(" ")[2] for line in lines if line.startswith(name)))

    def session(self, name: str) -> Any:
        """What the daemon knows of a session."""
        credential = {"Authorization": "Bearer operator"}
        return plain_http.get(f"{self.admin}/v1/sessions/{name}", headers=credential).json()


async def _run(
    daemon: Daemon,
    draining: trio.Event,
    *,
    task_status: trio.TaskStatus[Addresses] = trio.TASK_STATUS_IGNORED,
) -> None:
    await daemon.run(draining, task_status=task_status)


class Stack(NamedTuple):
    """A gateway with all that stands around it."""

    name: str
    ports: Ports
    app: App
    sidecar: Sidecar
    directory: Path
    asked: list[Asked]

    def get(self, target: str, *fields: tuple[str, str], **more: Any) -> Answer:
        """A call through the gateway."""
        return send(self.ports.gateway, target, fields, **more)


Behind = Callable[[str], AbstractContextManager[int]]


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


@contextmanager
def standing(
    name: str, store: str, behind: Behind | None = None, *, recorded: bool = False
) -> Iterator[Stack]:
    """A whole stack. `behind` serves another app, that knows the sidecar's socket, at its port.

    `recorded`: what the gateway asks is kept in `asked`.
    """
    with ExitStack() as stack:
        directory = Path(stack.enter_context(TemporaryDirectory(prefix="gateway-")))
        directory.chmod(0o755)  # the workers of some are www-data
        app = App()
        stack.enter_context(serving(app))
        gateway, http_port, grpc_port = free_ports(3)
        ports = Ports(gateway, app.port, http_port, grpc_port)
        portal = stack.enter_context(start_blocking_portal("trio"))
        sidecar = Sidecar(portal, directory, store, ports, GATEWAYS[name].setting)
        stack.callback(sidecar.stop)
        if behind is not None:
            ports = ports._replace(app=stack.enter_context(behind(sidecar.socket)))
        setting = GATEWAYS[name].setting
        asks_at = grpc_port if setting == "none" else http_port
        asked: list[Asked] = []
        if recorded:
            recorder = Recorder(asks_at, reading_of(setting), asked)
            stack.enter_context(serving(recorder))
            ports = ports._replace(http=recorder.address, grpc=recorder.address)
        here = directory / "gateway"
        here.mkdir()
        stack.enter_context(running(name, here, ports))
        yield Stack(name, ports, app, sidecar, here, asked)


@contextmanager
def silence(*ports: int) -> Iterator[None]:
    """Listeners that let one connect and never say a word."""
    with ExitStack() as stack:
        for port in ports:
            stack.enter_context(socket.create_server(("127.0.0.1", port)))
        yield


def problem(answer: Answer) -> Mapping[str, Any]:
    """The problem details of an answer."""
    assert answer.values("Content-Type") == ["application/problem+json"], answer
    content: dict[str, Any] = json.loads(answer.body)
    return content
