"""What listeners answer where something is away, too large or guessed at is what they document."""

import http.client
import socket
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx
import msgspec
import pytest

from docs.openapi import CLOSES
from docs.transmitter_api import AT
from sidecar.adapters.events.guesses import AT_ONCE
from sidecar.wire.settings.settings import Settings
from tests import plain_http
from tests.adapters.servers import Server, serving
from tests.adapters.transmission import BEARER
from tests.docs.contract import DOCUMENTS, hold
from tests.docs.listening import (
    BLOCKED,
    EVENT,
    OF_BUNDLES,
    OPERATOR,
    RISKY,
    SOURCE,
    WHY,
    bearer,
    changed,
)
from tests.stories import logging_out
from tests.stories.running import Pods, running, token
from tests.stories.transmission import AUTHORIZATION, EXAMPLES, push, signed, stamped

NAMES = {"sessions": "s-ada", "users": "ada", "devices": "d-17", "dead-letters": "1-1"}
BY_ITSELF = {*OF_BUNDLES, "/v1/policies", "/livez", "/startupz"}
"""What the admin listener says by itself, where policies are files."""
LARGE = b"[" + b" " * (8 << 20) + b"]"


def operations(listener: str, status: int) -> Iterator[tuple[str, str]]:
    """Yield the operations of a listener that say this status: method and path, with names."""
    for template, at in DOCUMENTS[listener]["paths"].items():
        kind = template.split("/")[2] if template.count("/") > 1 else ""
        path = template.replace("{id}", NAMES.get(kind, "")).replace("{path}", "pay")
        path = path.replace("{stream}", "x")
        for method, operation in at.items():
            if method != "parameters" and str(status) in operation["responses"]:
                yield method.upper(), path


@contextmanager
def calling(address: str = "127.0.0.1") -> Iterator[httpx.Client]:
    transport = httpx.HTTPTransport(
        local_address=address,
        verify=plain_http.NO_CERTIFICATES,
        limits=httpx.Limits(max_keepalive_connections=0),
    )
    with httpx.Client(transport=transport, timeout=30, trust_env=False) as client:
        yield client


@pytest.fixture(scope="module")
def pods(valkey_server: Server) -> Iterator[Pods]:
    with valkey_server.client() as client:
        client.flushall()
    with running(valkey_server.url, (RISKY,), 1, changed) as one:
        yield one


def guessed(client: httpx.Client, listener: str, *asked: Any, **more: Any) -> None:
    """Ask with a wrong credential until there were too many, which is as it is documented."""
    for _ in range(3 * AT_ONCE):
        answer = client.request(*asked, headers=bearer("wrong"), **more)
        hold(listener, answer)
        if answer.status_code == 429:
            return
        assert answer.status_code in {400, 401}
    raise AssertionError(f"{asked}: nobody was turned away")


def asked_at(pods: Pods, listener: str) -> str:
    name = "http" if listener == "data" else listener
    return str(getattr(pods.addresses[0], name)[0].rstrip("/"))


def test_too_many_wrong_credentials_are_turned_away_at_every_operation(pods: Pods) -> None:
    with calling("127.0.0.31") as client:
        for method, path in operations("admin", 401):
            body: dict[str, Any] = {"json": WHY} if method == "POST" else {}
            guessed(client, "admin", method, f"{asked_at(pods, 'admin')}{path}", **body)
    with calling("127.0.0.32") as client:
        url = f"{asked_at(pods, 'receiver')}/ssf/events"
        guessed(client, "receiver", "POST", url, content=b"no token")
    with calling("127.0.0.33") as client:
        url = f"{asked_at(pods, 'intake')}/v1/global-token-revocation"
        guessed(client, "intake", "POST", url, json={})
    with calling("127.0.0.34") as client:
        for method, path in operations("transmitter", 401):
            guessed(client, "transmitter", method, f"{asked_at(pods, 'transmitter')}{path}")
    for listener in DOCUMENTS:
        assert set(operations(listener, 429)) <= {
            *operations("admin", 401),
            *operations("transmitter", 401),
            ("POST", "/ssf/events"),
            ("POST", "/v1/global-token-revocation"),
        }


@pytest.mark.parametrize(
    ("listener", "headers"),
    [
        ("data", {**SOURCE, "Content-Type": "application/json"}),
        ("intake", {**SOURCE, "Content-Type": "application/json"}),
        ("receiver", {"Authorization": AUTHORIZATION, "Content-Type": "application/secevent+jwt"}),
        ("transmitter", BEARER),
    ],
)
def test_a_body_that_is_too_large_is_not_read(
    pods: Pods, listener: str, headers: dict[str, str]
) -> None:
    asked = list(operations(listener, 413))
    assert asked
    for method, path in asked:
        with calling() as client:
            url = f"{asked_at(pods, listener)}{path}"
            answer = client.request(method, url, content=LARGE, headers=headers)
        assert answer.status_code == 413, path
        hold(listener, answer)


AUTHORIZED: Mapping[str, Mapping[str, str]] = {
    "data": SOURCE,
    "admin": OPERATOR,
    "intake": SOURCE,
    "receiver": {"Authorization": AUTHORIZATION, "Content-Type": "application/secevent+jwt"},
    "transmitter": BEARER,
}
AT_ONCE_WITHOUT_BUNDLES = {("admin", "POST", path) for path in OF_BUNDLES}
"""They read no body where policies are files, as they are here."""


def all_operations() -> Iterator[tuple[str, str, str, bool]]:
    """Yield listener, method and path of every operation, and whether it documents 408."""
    for listener in DOCUMENTS:
        slow = set(operations(listener, 408))
        for status in range(200, 504):
            for method, path in operations(listener, status):
                if "{" not in path:
                    yield listener, method, path, (method, path) in slow


def impatient(settings: Settings, number: int) -> Settings:
    settings = changed(settings, number)
    replace = msgspec.structs.replace
    return replace(
        settings,
        http=replace(settings.http, header_timeout=0.5, body_timeout=0.5),
        intake=replace(settings.intake, request_timeout=0.5),
        receiver=replace(settings.receiver, request_timeout=0.5),
    )


@pytest.fixture(scope="module")
def hurried(valkey_server: Server) -> Iterator[Pods]:
    with running(valkey_server.url, (RISKY,), 1, impatient) as pods:
        yield pods


def begun(pods: Pods, listener: str, begin: bytes) -> socket.socket:
    """Send the beginning of a request, and nothing more."""
    at = urlsplit(asked_at(pods, listener))
    assert at.hostname is not None
    assert at.port is not None
    connection = socket.create_connection((at.hostname, at.port), timeout=30)
    connection.sendall(begin)
    return connection


def without_its_body(listener: str, method: str, path: str) -> bytes:
    """Return a request of whose body all but one byte is yet to come."""
    fields = {**AUTHORIZED[listener], "Host": "sidecar.example", "Content-Length": "9"}
    fields.setdefault("Content-Type", "application/json")
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"{method} {path} HTTP/1.1\r\n{head}\r\n{{".encode()


def test_a_body_that_does_not_come_in_time_is_answered_as_documented(hurried: Pods) -> None:
    waiting = [
        (one, begun(hurried, one[0], without_its_body(*one[:3])))
        for one in dict.fromkeys(all_operations())
    ]
    for (listener, method, path, documented), connection in waiting:
        with closing(connection):
            answer = http.client.HTTPResponse(connection, method=method)
            answer.begin()
            text = answer.read()
            assert (answer.status == 408) is (
                documented and (listener, method, path) not in AT_ONCE_WITHOUT_BUNDLES
            ), (listener, method, path, answer.status)
            request = httpx.Request(method, f"{asked_at(hurried, listener)}{path}")
            fields = list(answer.headers.items())
            whole = httpx.Response(answer.status, headers=fields, content=text, request=request)
            hold(listener, whole)
            assert answer.status != 408 or not connection.recv(1), "the connection goes on"


@pytest.mark.parametrize("listener", DOCUMENTS)
def test_a_head_that_does_not_come_in_time_ends_as_documented(hurried: Pods, listener: str) -> None:
    """Only the data listener answers: hypercorn, which serves the others, closes."""
    with closing(begun(hurried, listener, b"GET / HTTP/1.1\r\nHost: sidecar.example\r\n")) as one:
        answer = b"".join(iter(lambda: one.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 408 ") is (listener == "data")
    assert (CLOSES in DOCUMENTS[listener]["info"]["description"]) is (not answer)


@pytest.fixture(scope="module")
def stranded() -> Iterator[Pods]:
    """A daemon that knows a session, and whose store has gone."""
    with serving() as server, running(server.url, (RISKY, BLOCKED), 1, changed) as pods:
        assert pods.clients[0].check(token("ada", "s-ada"))["decision"] == "allow"
        server.stop()
        yield pods


@pytest.mark.parametrize(
    ("method", "path"),
    [(m, p) for m, p in operations("admin", 503) if p not in BY_ITSELF],
)
def test_without_the_store_operators_are_asked_to_come_again(
    stranded: Pods, method: str, path: str
) -> None:
    query = {"user": "ada"} if path == "/v1/history" else {}
    body: dict[str, Any] = (
        {"json": {**WHY, "unseen": True}} if method == "POST" and "retry" not in path else {}
    )
    with calling() as client:
        url = f"{asked_at(stranded, 'admin')}{path}"
        answer = client.request(method, url, params=query, headers=OPERATOR, **body)
    assert answer.status_code == 503, answer.text
    hold("admin", answer)


@pytest.mark.parametrize(("method", "path"), list(operations("data", 503)))
def test_without_the_store_a_new_session_cannot_be_decided(
    stranded: Pods, method: str, path: str
) -> None:
    shown = bearer(token("new", f"s-{method}-{len(path)}"), **{"X-Auth-Context": "c1"})
    body: dict[str, Any] = {}
    if path == "/v1/events":
        shown, body = SOURCE, {"json": EVENT}
    elif path.startswith("/access"):
        about = {"type": "user", "id": "new", "properties": {"token": token("new", "s-asked")}}
        resource = {"type": "context", "id": "c1"}
        body = {"json": {"subject": about, "action": {"name": "POST"}, "resource": resource}}
    with calling() as client:
        answer = client.request(
            method, f"{asked_at(stranded, 'data')}{path}", headers=shown, **body
        )
    assert answer.status_code == 503, answer.text
    hold("data", answer)


@pytest.mark.parametrize(("method", "path"), list(operations("transmitter", 503)))
def test_without_the_store_recipients_are_asked_to_come_again(
    stranded: Pods, method: str, path: str
) -> None:
    query = {"stream_id": "x"} if method == "DELETE" or path == AT.status else {}
    body = {"stream_id": "x", "status": "paused", "subject": {"format": "opaque", "id": "bob"}}
    with calling() as client:
        url = f"{asked_at(stranded, 'transmitter')}{path}"
        answer = client.request(method, url, params=query, json=body, headers=BEARER)
    assert answer.status_code == 503, answer.text
    hold("transmitter", answer)


def test_without_the_store_providers_are_asked_to_send_again(stranded: Pods) -> None:
    with calling() as client:
        url = f"{asked_at(stranded, 'intake')}/v1/events"
        event = client.post(url, json=EVENT, headers=SOURCE)
    url = stranded.addresses[0].receiver[0]
    for listener, answer in (
        ("intake", event),
        ("intake", logging_out.logout(stranded, logging_out.signed(sub="ada"))),
        ("intake", logging_out.revoke(stranded, {"sub_id": logging_out.iss_sub("ada")})),
        ("receiver", push(url, signed(stamped(EXAMPLES[0]["claims"])))),
    ):
        assert answer.status_code == 503, answer.text
        hold(listener, answer)
