"""The client for Node.js, and an Express app that it protects, before a whole daemon."""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import httpx
import pytest

from sidecar.domain.policy.conditional_access import Networks, Selection
from tests import plain_http
from tests.adapters.servers import Server
from tests.domain.scenes import policy
from tests.stories.running import Pods, running, token, unique
from tests.system.peers.programs import PEERS, node
from tests.waiting import eventually
from tests.wire.http.unasked_calls import TABLE
from tests.wire.spellings import CLEAR, UNCLEAR

BUILT = PEERS / "typescript"
APP = BUILT / "dist-examples" / "app.js"
pytestmark = pytest.mark.skipif(
    shutil.which("node") is None or not APP.exists(), reason="the client for Node.js is not built"
)
POLICIES = (
    policy(
        Networks(Selection(frozenset({"restricted"}))), name="segment", contexts=frozenset({"c1"})
    ),
)


@pytest.fixture(scope="module")
def pods(valkey_server: Server) -> Iterator[Pods]:
    with running(valkey_server.url, POLICIES, count=2) as pods:
        yield pods


@pytest.fixture(scope="module")
def url(pods: Pods) -> Iterator[str]:
    heard = (("PORT", "0"), ("SIDECAR_SOCKET", pods.addresses[0].socket))
    with node(APP, more=heard) as url:
        yield url


class Person:
    """Somebody who uses the app."""

    def __init__(self, pods: Pods, url: str) -> None:
        self.pods, self.url = pods, url
        self.user, self.session = unique("user"), unique("session")
        self.token = token(self.user, self.session)

    def get(self, path: str) -> httpx.Response:
        return plain_http.get(self.url + path, headers=self.headers())

    def pay(self) -> httpx.Response:
        return plain_http.post(f"{self.url}/payments/7", headers=self.headers())

    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    def mark(self) -> None:
        data = {"segment": "restricted"}
        assert self.pods.clients[0].event("network-change", {"session": self.session}, data=data)[
            "ok"
        ]


@pytest.fixture
def person(pods: Pods, url: str) -> Person:
    return Person(pods, url)


def test_the_client_keeps_its_promises(pods: Pods) -> None:
    promises(pods, "client.mjs", 16)


def test_in_express_the_same_calls_pass_unasked_as_everywhere(pods: Pods) -> None:
    # Node.js' client sends methods in capitals. For the other one see `Public` in `readings.ts`.
    table = [
        case._asdict() for case in TABLE if case.method.isupper() and case.target != "/%68ealth"
    ]
    promises(pods, "unasked.mjs", 8, unasked=table, unclear=UNCLEAR, clear=CLEAR)


def promises(pods: Pods, file: str, count: int, **tables: Any) -> None:
    """Run a file of tests under Node.js, as somebody with a session."""
    user, session = unique("user"), unique("session")
    with tempfile.TemporaryDirectory(prefix="peer-") as short:
        done = subprocess.run(
            ["node", "--test", "--test-reporter=spec", str(BUILT / "test" / file)],
            env={
                **os.environ,
                "SIDECAR_SOCKET": pods.addresses[0].socket,
                "TOKEN": token(user, session),
                "SESSION": session,
                "SHORT": short,
                "TABLES": json.dumps(tables),
            },
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"pass {count}" in done.stdout


def test_a_handler_is_protected_in_one_line(person: Person) -> None:
    paid = person.pay()
    assert (paid.status_code, paid.json()) == (200, {"paid": "7", "by": person.user})
    person.mark()
    answer = person.pay()
    assert answer.status_code == 401
    assert 'error="insufficient_user_authentication"' in answer.headers["WWW-Authenticate"]
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["Cache-Control"] == "no-store"
    problem = answer.json()
    assert problem["type"] == "urn:stepup-sidecar:problem:step-up-required"
    assert (problem["acr_values"], problem["reasons"][0]["policy"]) == ("mfa", "segment")
    assert person.get("/news").json() == {"reader": person.user, "pending": True}
    person.token = eventually(
        lambda: token(person.user, person.session, age=-1, acr="mfa"),
        lambda stronger: person.pods.clients[0].check(stronger)["decision"] == "allow",
    )
    assert person.pay().status_code == 200


def test_without_a_token_with_a_bad_one_or_with_two_nothing_passes(person: Person) -> None:
    assert plain_http.get(f"{person.url}/news").headers["WWW-Authenticate"] == "Bearer"
    person.token += "x"
    answer = person.get("/news")
    assert answer.status_code == 401
    assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]
    twice = [("Authorization", f"Bearer {token('a', 'b')}"), ("Authorization", "Bearer x")]
    assert plain_http.get(f"{person.url}/news", headers=twice).status_code == 400
    joined = {"Authorization": ", ".join(value for _, value in twice)}
    assert plain_http.get(f"{person.url}/news", headers=joined).status_code == 400


@pytest.mark.parametrize(
    "target", ["/payments/..", "/payments/%2E%2e", "/payments/7%2f8", "/payments/7%5C8"]
)
def test_a_path_that_servers_read_differently_is_refused(person: Person, target: str) -> None:
    address = httpx.URL(person.url)
    connection = HTTPConnection(address.host, address.port)
    # As it is: httpx would resolve it. Express takes each of these for a payment's number.
    connection.request("POST", target, headers=person.headers())
    answer = connection.getresponse()
    answer.read()
    connection.close()
    assert answer.status == 400


def test_a_stream_ends_when_its_session_loses_its_standing(person: Person) -> None:
    with httpx.stream("GET", f"{person.url}/prices", headers=person.headers()) as stream:
        lines = stream.iter_lines()
        assert next(lines) == "data: 1"
        person.mark()
        assert [line for line in lines if line] == []
    assert person.get("/prices").status_code == 401


def test_with_its_sidecar_gone_it_is_closed_and_then_open_again(
    valkey_server: Server, tmp_path: Path
) -> None:
    with tempfile.TemporaryDirectory(prefix="peer-") as short:
        socket = Path(short) / "sidecar.sock"
        with node(APP, more=(("PORT", "0"), ("SIDECAR_SOCKET", str(socket)))) as url:
            with running(valkey_server.url, POLICIES, count=1) as pods:
                socket.symlink_to(pods.addresses[0].socket)
                assert Person(pods, url).pay().status_code == 200
            socket.unlink()
            answer = plain_http.get(f"{url}/news", headers={"Authorization": "Bearer x"})
            assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
            with running(valkey_server.url, POLICIES, count=1) as pods:
                socket.symlink_to(pods.addresses[0].socket)
                assert Person(pods, url).pay().status_code == 200
