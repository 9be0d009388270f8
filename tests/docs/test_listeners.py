"""What the documents say of HTTP and of the local socket is what a running daemon answers."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import jsonschema  # type: ignore[import-untyped] # it ships no types
import pytest

from docs import listeners, openapi, socket_protocol
from sidecar.adapters.admin.listener import AdminApp
from sidecar.adapters.intake.listener import EVENTS, LOGOUT, REVOCATION
from sidecar.adapters.telemetry.telemetry import PrometheusTelemetry
from sidecar.service.admin.health import Health
from sidecar.shared_signals.adapters.receiver_listener import PATH
from sidecar.wire.settings.settings import Log, Settings
from tests.adapters.servers import Server
from tests.docs.contract import DOCUMENTS, hold, missing
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
from tests.stories.running import CREDENTIAL, Client, Pods, running, token
from tests.stories.transmission import EXAMPLES, push, signed, stamped

ROOT = Path(__file__).parents[2]
VIEWER = {"Authorization": "Bearer of-a-viewer"}
NDJSON = "application/x-ndjson"
VERBS = frozenset(openapi.METHODS)
NOT_REACHED = {
    # Something has to be away, full, slow or guessed at: test_listeners_in_trouble.py has most so.
    *((listener, status) for listener in DOCUMENTS for status in (408, 413, 429, 503)),
    ("data", 303),
    ("data", 404),
    ("intake", 403),
    ("intake", 422),
    ("receiver", 403),
}
WITHOUT_A_CREDENTIAL = {f"/v1/{name}" for name in ("history", "policies", "rescore", "sessions")}
"""Their 404 is that of a daemon at which no operator has one."""
WITH_BUNDLES = {200, 400, 409, 415}
"""Their statuses where policies come by bundles, as they do not here."""
OF_LETTERS = "/v1/dead-letters/"
"""Its answers are held to the document where there is a letter: tests/stories/test_dead_letters."""


@pytest.fixture(scope="module")
def pods(valkey_server: Server) -> Iterator[Pods]:
    with valkey_server.client() as client:
        client.flushall()
    with running(valkey_server.url, (RISKY, BLOCKED), 1, changed) as one:
        yield one


class Caller:
    """Calls listeners, and keeps which operations answered with which status."""

    def __init__(self, pods: Pods, client: httpx.Client) -> None:
        self._client = client
        self._at = pods.addresses[0]
        self.seen: set[tuple[str, str, str, int]] = set()

    def __call__(
        self, listener: str, method: str, path: str, status: int, **more: Any
    ) -> httpx.Response:
        name = "http" if listener == "data" else listener
        base = getattr(self._at, name)[0].rstrip("/")
        answer = self._client.request(method, f"{base}{path}", **more)
        assert answer.status_code == status, f"{method} {path}: {answer.text}"
        return self.holds(listener, answer)

    def holds(self, listener: str, answer: httpx.Response) -> httpx.Response:
        self.seen.add((listener, *hold(listener, answer)))
        return answer


def ask_data(call: Caller) -> None:
    method = "GET"
    ada = token("ada", "s-ada")
    bob = bearer(token("bob", "s-bob"), **{"X-Auth-Context": "c1"})
    for path in ("/v1/check", "/v1/ext_authz/pay/7"):
        call("data", method, path, 200, headers=bob)
        call("data", method, path, 401, headers=bearer(ada, **{"X-Auth-Context": "c1"}))
        call("data", method, path, 401, headers={"X-Auth-Context": "c1"})
        call("data", method, path, 403, headers=bearer(ada, **{"X-Auth-Context": "c2"}))
        call("data", method, path, 400, headers=bearer(ada, **{"X-Auth-Context": "c99"}))


def ask_authzen(call: Caller) -> None:
    where = "/access/v1/evaluation"
    about = {"type": "user", "id": "ada", "properties": {"token": token("ada", "s-ada")}}
    question = {
        "subject": about,
        "action": {"name": "POST"},
        "resource": {"type": "context", "id": "c1"},
    }
    session = {**question, "subject": {"type": "session", "id": "s-ada"}}
    for path, body in ((where, question), (f"{where}s", {"evaluations": [question, {}]})):
        call("data", "POST", path, 200, json=body)
        call("data", "POST", path, 400, content=b"no")
        call("data", "POST", path, 403, json=body, headers={"Sec-Fetch-Site": "cross-site"})
    for path in (where, f"{where}s"):
        call("data", "POST", path, 401, json=session, headers=bearer("a stranger"))
        call("data", "POST", path, 200, json=session, headers=SOURCE)
    call("data", "GET", "/.well-known/authzen-configuration", 200)


def ask_events(call: Caller, listener: str) -> None:
    post = ("POST", "/v1/events")
    call(listener, *post, 202, json=EVENT, headers=SOURCE)
    lines = "\n".join(json.dumps(one) for one in (EVENT, {"type": "no"}))
    call(listener, *post, 200, content=lines, headers={**SOURCE, "Content-Type": NDJSON})
    call(listener, *post, 400, json={"type": "no-such"}, headers=SOURCE)
    call(listener, *post, 401, json=EVENT, headers=bearer("wrong"))
    call(listener, *post, 415, content="<x/>", headers={**SOURCE, "Content-Type": "text/xml"})
    call(listener, *post, 403, json=EVENT, headers={**SOURCE, "Sec-Fetch-Site": "cross-site"})


def ask_admin(call: Caller) -> None:
    for path in ("/metrics", "/livez", "/startupz", "/readyz"):
        call("admin", "GET", path, 200)
    call("admin", "GET", "/readyz", 400, params={"tolerate": "nothing"})
    for path in ("policies", "rescore", "sessions", "history?user=ada", "dead-letters"):
        call("admin", "GET", f"/v1/{path}", 200, headers=OPERATOR)
        call("admin", "GET", f"/v1/{path}", 401)
    for path in (
        "sessions?limit=0",
        "history",
        "dead-letters?limit=0",
        "sessions/s-ada?explain=c9",
    ):
        call("admin", "GET", f"/v1/{path}", 400, headers=OPERATOR)
    call("admin", "GET", "/v1/sessions/s-ada", 401)
    call("admin", "GET", "/v1/sessions/s-ada", 200, headers=OPERATOR)
    call("admin", "GET", "/v1/sessions/s-ada?explain=c1", 200, headers=OPERATOR)
    call("admin", "GET", "/v1/sessions/nobody", 404, headers=OPERATOR)
    letter = f"{OF_LETTERS}1-1"
    for method, path in (("GET", letter), ("DELETE", letter), ("POST", f"{letter}/retry")):
        call("admin", method, path, 401)
        call("admin", method, path, 404, headers=OPERATOR)
        if method != "GET":
            call("admin", method, path, 403, headers=VIEWER)


def ask_bundles(call: Caller) -> None:
    """Ask a daemon whose policies are files."""
    call("admin", "GET", OF_BUNDLES[0], 401)
    call("admin", "GET", OF_BUNDLES[0], 404, headers=OPERATOR)
    for path in OF_BUNDLES[1:]:
        call("admin", "POST", path, 401, json=WHY)
        call("admin", "POST", path, 403, json=WHY, headers=VIEWER)
        call("admin", "POST", path, 404, json=WHY, headers=OPERATOR)


def ask_acts(call: Caller) -> None:
    names = {"sessions": "s-ada", "users": "ada", "devices": "d-17"}
    for act in ("mark", "clear", "revoke"):
        for plural, name in names.items():
            path, order = (
                f"/v1/{plural}/{name}/{act}",
                {**WHY, "unseen": True, "id": f"{act}-{plural}"},
            )
            post = ("admin", "POST", path)
            call(*post, 200, json={**order, "wait": "everywhere"}, headers=OPERATOR)
            call(*post, 409, json={**order, "reason": "another"}, headers=OPERATOR)
            call(*post, 400, json={}, headers=OPERATOR)
            call(*post, 401, json=WHY)
            call(*post, 403, json=WHY, headers=VIEWER)
            call(*post, 415, content="x", headers=OPERATOR)
            nobody = f"/v1/{plural}/nobody/{act}"
            call("admin", "POST", nobody, 404, json=WHY, headers=OPERATOR)


def ask_providers(call: Caller, pods: Pods) -> None:
    for answer, status in (
        (logging_out.logout(pods, logging_out.signed(sub="ada")), 200),
        (logging_out.logout(pods, "no token"), 400),
        (logging_out.revoke(pods, {"sub_id": logging_out.iss_sub("ada")}), 204),
        (logging_out.revoke(pods, {"sub_id": {}}), 400),
        (logging_out.revoke(pods, {}, bearer="no token"), 401),
        (logging_out.revoke(pods, {"sub_id": logging_out.iss_sub("nobody")}), 404),
    ):
        assert answer.status_code == status, answer.text
        call.holds("intake", answer)
    example = stamped(EXAMPLES[0]["claims"])
    url = pods.addresses[0].receiver[0]
    for answer, status in (
        (push(url, signed(example)), 202),
        (push(url, "no token"), 400),
        (push(url, signed(example), Authorization="Bearer wrong"), 401),
    ):
        assert answer.status_code == status, answer.text
        call.holds("receiver", answer)


@pytest.fixture
def call(pods: Pods) -> Iterator[Caller]:
    # A refusal may end its connection: the next request has another.
    afresh = httpx.Limits(max_keepalive_connections=0)
    with httpx.Client(trust_env=False, timeout=20, limits=afresh) as client:
        yield Caller(pods, client)


def test_every_operation_answers_as_its_document_says(pods: Pods, call: Caller) -> None:
    pods.clients[0].check(token("bob", "s-bob"))
    pods.clients[0].check(token("ada", "s-ada"))
    pods.clients[0].trusted("risk-level-change", EVENT["subject"], data=EVENT["data"])
    ask_data(call)
    for method in openapi.METHODS[1:]:
        for path in ("/v1/check", "/v1/ext_authz/x"):
            call("data", method.upper(), path, 401, headers={"X-Auth-Context": "c1"})
    ask_authzen(call)
    ask_events(call, "data")
    ask_events(call, "intake")
    ask_admin(call)
    ask_acts(call)
    ask_bundles(call)
    ask_providers(call, pods)
    assert not left_out(call.seen)


def left_out(seen: set[tuple[str, str, str, int]]) -> set[tuple[str, str, str, int]]:
    """Return what the documents say, and no call has met though this daemon can answer so."""
    return {
        one
        for one in missing(seen, DOCUMENTS.keys() - {"transmitter"})
        if (one[0], one[3]) not in NOT_REACHED
        and not (one[1] in WITHOUT_A_CREDENTIAL and one[3] == 404)
        and not (one[1] in OF_BUNDLES and one[3] in WITH_BUNDLES)
        and not (one[1].startswith(OF_LETTERS) and one[3] == 200)
    }


@pytest.mark.parametrize("name", listeners.LISTENERS)
def test_the_file_of_a_listener_is_current(name: str) -> None:
    file = listeners.DIRECTORY / f"{name}.json"
    assert file.read_text() == openapi.text_of(DOCUMENTS[name]), "run `python -m docs.listeners`"


def test_the_page_of_the_listeners_is_current() -> None:
    assert listeners.PAGE.read_text() == listeners.page(), "run `python -m docs.listeners`"


@pytest.mark.parametrize("name", listeners.LISTENERS)
def test_a_document_is_whole(name: str) -> None:
    document = DOCUMENTS[name]
    for one in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(one)
    for found in re.findall(r'"\$ref": "#/components/schemas/(\w+)"', json.dumps(document)):
        assert found in document["components"]["schemas"]
    operations = [one for at in document["paths"].values() for m, one in at.items() if m in VERBS]
    ids = [one["operationId"] for one in operations]
    assert len(ids) == len(set(ids))
    for path, at in document["paths"].items():
        named = [one["name"] for one in at.get("parameters", ())]
        assert re.findall(r"\{(\w+)\}", path) == named


def test_the_admin_listener_has_the_paths_of_its_document() -> None:
    telemetry = PrometheusTelemetry(Settings(log=Log(level="error")))
    app = AdminApp(Health(), telemetry, None)
    paths = {route.path.replace(":letter", "") for route in app.routes}
    console = {path for path in paths if path.startswith("/console")}  # pages for people
    assert paths - console == DOCUMENTS["admin"]["paths"].keys()


def test_the_other_listeners_have_the_paths_of_their_documents() -> None:
    assert DOCUMENTS["intake"]["paths"].keys() == {EVENTS, LOGOUT, REVOCATION}
    assert DOCUMENTS["receiver"]["paths"].keys() == {PATH}


LINES = {
    name: jsonschema.Draft202012Validator(one) for name, one in socket_protocol.requests().items()
}
REPLIES = {
    name: jsonschema.Draft202012Validator(one) for name, one in socket_protocol.replies().items()
}


def asked(pods: Pods, request: Any, kind: str) -> Any:
    """Send a line that the schema allows, and hold its reply to this kind."""
    assert LINES[request["op"]].is_valid(request), request
    reply = pods.clients[0].ask(**request)
    wrong = [error.message for error in REPLIES[kind].iter_errors(reply)]
    assert not wrong, f"{request}: {reply}: {wrong}"
    return reply


def test_every_line_of_the_socket_is_answered_as_its_schema_says(pods: Pods) -> None:
    eve = token("eve", "s-eve")
    event = {**EVENT, "op": "event", "subject": {"user": "eve"}, "credential": CREDENTIAL}
    for request, kind in (
        ({"op": "ping", "ref": "r-1"}, "ping"),
        ({"op": "watch", "sessions": ["s-other"], "ref": 7}, "watch"),
        ({"op": "check", "token": eve, "context": "c1", "ip": "192.0.2.1", "ref": None}, "check"),
        ({"op": "check", "token": eve, "method": "GET", "path": "/pay/7"}, "check"),
        ({**event, "id": "of-eve", "wait": "everywhere", "timeout": 5, "ref": True}, "event"),
        ({**event, "id": "of-eve"}, "event"),
        ({"op": "check", "token": eve, "context": "c1"}, "check"),
        ({"op": "check", "token": eve, "context": ["c1", "c2"]}, "check"),
        ({"op": "check", "token": eve}, "check"),
        ({"op": "check", "token": "no token", "context": "c1"}, "refused"),
        ({"op": "check", "token": eve, "context": "c99"}, "refused"),
        ({**event, "id": "of-eve", "data": {"current_level": "LOW"}}, "refused"),
        ({**event, "credential": "nobody's"}, "refused"),
    ):
        asked(pods, request, kind)


def test_a_watcher_gets_lines_as_the_schema_says(pods: Pods) -> None:
    shown = token("fay", "s-fay")
    asked(pods, {"op": "check", "token": shown}, "check")
    with Client(pods.addresses[0].socket) as watcher:
        assert watcher.ask(op="watch", sessions=["s-fay"]) == {"ok": True}
        pods.clients[0].trusted("session-revoked", {"session": "s-fay"})
        assert not list(REPLIES["standing"].iter_errors(watcher.read()))


@pytest.mark.parametrize(
    "line",
    [
        {"op": "no-such"},
        {"op": "ping", "x": 1},
        {"op": "check", "ip": 7},
        {"op": "watch", "sessions": 1},
    ],
)
def test_a_line_that_its_schema_refuses_is_refused(pods: Pods, line: Any) -> None:
    assert line["op"] not in LINES or not LINES[line["op"]].is_valid(line)
    assert not list(REPLIES["refused"].iter_errors(pods.clients[0].ask(**line)))


def test_the_schema_and_the_page_of_the_socket_are_current() -> None:
    text = json.dumps(socket_protocol.schema(), indent=1) + "\n"
    assert socket_protocol.FILE.read_text() == text, "run `python -m docs.socket_protocol`"
    assert socket_protocol.PAGE.read_text() == socket_protocol.page()
    jsonschema.Draft202012Validator.check_schema(socket_protocol.schema())
