"""`sidecar doctor` at a real nginx before a real daemon: as shipped, and with its file broken."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

import pytest

from sidecar.adapters.probes.gateway import examine_gateway
from sidecar.domain.explanation.diagnosis import Diagnosis, Soundness
from sidecar.wire.diagnosis.gateway import diagnose_gateway
from sidecar.wire.settings.settings import Gateway
from tests.adapters.servers import Server, free_ports
from tests.stories.running import token, unique
from tests.system.gateways.programs import GATEWAYS, nginx, running
from tests.system.gateways.stack import Stack, serving, standing

pytestmark = pytest.mark.skipif(not GATEWAYS["nginx"].installed, reason="needs nginx")


class _Echo(BaseHTTPRequestHandler):
    """An app that answers with the header lines that it got."""

    def do_GET(self) -> None:
        body = self.headers.as_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Not on the test's terminal."""


@contextmanager
def echo(_: str) -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Echo)
    with serving(server):
        yield int(server.server_address[1])


@pytest.fixture(scope="module")
def stack(valkey_server: Server) -> Iterator[Stack]:
    with standing("nginx", valkey_server.url, echo) as found:
        yield found


async def examined(port: int, shown: str) -> list[Diagnosis]:
    replies = await examine_gateway(f"http://127.0.0.1:{port}/account", shown)
    return list(diagnose_gateway(replies, Gateway.NGINX))


async def test_nothing_is_wrong_with_a_gateway_as_it_is_shipped(stack: Stack) -> None:
    found = await examined(stack.ports.gateway, token(unique("user"), unique("session")))
    assert [one for one in found if one.state is not Soundness.RIGHT] == []
    names = ["question", "path", "dot segments", "forged identity", "token", "method override"]
    assert [one.name for one in found] == names


class Broken(NamedTuple):
    """A change of the shipped file, and what must come of it."""

    name: str
    change: Callable[[str], str]
    what: str
    cure: str


def less(*lines: str) -> Callable[[str], str]:
    return lambda text: "".join(
        line for line in text.splitlines(True) if not any(one in line for one in lines)
    )


def passing_headers(*without: str) -> Callable[[str], str]:
    def change(text: str) -> str:
        text = text.replace("proxy_pass_request_headers off;", "")
        return less(*without)(text)

    return change


BROKEN = [
    Broken(
        "no path", less("X-Original-URI $request_uri"), "is sent no path", "X-Original-URI $request"
    ),
    Broken(
        "client's path",
        passing_headers("X-Original-URI $request_uri"),
        "clients choose",
        "X-Original-URI $request_uri",
    ),
    Broken("client's URL", passing_headers(), "own X-Original-URL reaches", "set X-Original-URL"),
    Broken("unasked", less("auth_request /_sidecar"), "passes (200)", "ask before each call"),
    Broken("forged", less("X-Sidecar-Subject"), "from the client itself", "X-Sidecar-* anew"),
    Broken("override", less("-Override"), "reaches the app", "X-Method-Override taken away"),
    Broken("no sidecar", lambda text: text.replace("/v1/check;", "/v1/no;"), "ends with", "gate"),
]


@pytest.mark.parametrize("broken", BROKEN, ids=[one.name for one in BROKEN])
async def test_a_gateway_that_asks_wrongly_is_found_and_its_cure_named(
    stack: Stack, broken: Broken
) -> None:
    (port,) = free_ports(1)
    directory = stack.directory / broken.name.replace(" ", "-").replace("'", "")
    directory.mkdir()
    ports = stack.ports._replace(gateway=port)
    arguments = nginx(directory, ports)
    file = directory / "sidecar.conf"
    file.write_text(broken.change(file.read_text()))
    with running("nginx", directory, ports, arguments):
        found = await examined(port, token(unique("user"), unique("session")))
    wrong = [one for one in found if one.state is Soundness.WRONG]
    assert any(broken.what in one.what and broken.cure in one.cure for one in wrong), found


async def test_a_gateway_that_is_not_there_is_found() -> None:
    (port,) = free_ports(1)
    (found,) = await examined(port, "")
    assert (found.state, found.name) == (Soundness.WRONG, "answer")
    assert "refused" in found.what
