"""What listeners answer where something is away, too large or guessed at is what they document."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from sidecar.adapters.events.guesses import AT_ONCE
from tests import plain_http
from tests.adapters.servers import Server, serving
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
    for listener in DOCUMENTS:
        assert set(operations(listener, 429)) <= {
            *operations("admin", 401),
            ("POST", "/ssf/events"),
            ("POST", "/v1/global-token-revocation"),
        }


@pytest.mark.parametrize(
    ("listener", "headers"),
    [
        ("data", {**SOURCE, "Content-Type": "application/json"}),
        ("intake", {**SOURCE, "Content-Type": "application/json"}),
        ("receiver", {"Authorization": AUTHORIZATION, "Content-Type": "application/secevent+jwt"}),
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
