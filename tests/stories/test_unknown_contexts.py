"""A context that is not configured, at every door: an error, or judged as of all; never routine."""

from collections.abc import Iterator
from typing import Any

import flask
import httpx
import jwt
import msgspec
import pytest
import trio
from stepup_client.flask import Gate, StepUp
from stepup_client.local import LocalClient, Refused

from sidecar.domain.policy.conditional_access import Networks, Selection
from sidecar.wire.settings.settings import Settings, UnknownContexts
from tests import plain_http
from tests.cli.command import Done, sidecar
from tests.domain.scenes import policy
from tests.stories.running import Pods, running, token, unique
from tests.waiting import eventually

POLICIES = (
    policy(
        Networks(Selection(frozenset({"restricted"}))), name="segment", contexts=frozenset({"c1"})
    ),
)
UNKNOWN = ("c11", "C1", "pay", "c3")


def strictest(settings: Settings, number: int) -> Settings:
    """The second pod judges such calls as of all contexts; the first has another name for c1."""
    if number == 0:
        c1 = msgspec.structs.replace(settings.contexts["c1"], alias="payments")
        return msgspec.structs.replace(settings, contexts={**settings.contexts, "c1": c1})
    return msgspec.structs.replace(settings, unknown_contexts=UnknownContexts.STRICTEST)


@pytest.fixture(scope="module")
def pods(valkey_server: Any) -> Iterator[Pods]:
    with running(valkey_server.url, POLICIES, change=strictest) as both:
        yield both


@pytest.fixture
def marked(pods: Pods) -> str:
    """A token of a session that is marked in c1, and in no other context."""
    session = unique("session")
    shown = token(unique("user"), session)
    for client in pods.clients:
        assert client.check(shown)["decision"] == "allow"
    data = {"segment": "restricted"}
    pods.clients[0].event("network-change", {"session": session}, data=data, wait="everywhere")
    eventually(
        lambda: [client.check(shown)["decision"] for client in pods.clients],
        lambda decisions: decisions == ["step_up", "step_up"],
    )
    return shown


def over_http(pods: Pods, pod: int, target: str, shown: str, context: str) -> httpx.Response:
    headers = {"Authorization": f"Bearer {shown}", "X-Auth-Context": context}
    return plain_http.get(pods.addresses[pod].http[0] + target, headers=headers)


def evaluate(pods: Pods, pod: int, shown: str, *contexts: str) -> httpx.Response:
    user = jwt.decode(shown, options={"verify_signature": False})["sub"]
    asked = [
        {
            "subject": {"type": "user", "id": user, "properties": {"token": shown}},
            "action": {"name": "POST"},
            "resource": {"type": "context", "id": context},
        }
        for context in contexts
    ]
    several = len(asked) > 1
    path = "/access/v1/evaluations" if several else "/access/v1/evaluation"
    body: Any = {"evaluations": asked} if several else asked[0]
    return plain_http.post(pods.addresses[pod].http[0] + path, json=body)


@pytest.mark.parametrize("context", UNKNOWN)
def test_on_the_socket_it_is_an_error_with_the_name_that_was_meant(
    pods: Pods, marked: str, context: str
) -> None:
    for asked in (context, ["c2", context]):
        answer = pods.clients[0].ask(op="check", token=marked, context=asked, ref=7)
        assert (answer["ok"], answer["error"], answer["field"]) == (
            False,
            "unknown_context",
            "context",
        )
        assert (answer["ref"], answer["status"]) == (7, 400)
        assert f"'{context}' is not in `contexts`" in answer["message"]
    assert pods.clients[0].check(marked, "c2")["decision"] == "allow"
    hint = pods.clients[0].check(marked, "c11")["message"]
    assert "did you mean 'c1'?" in hint


def test_an_alias_stands_for_its_context_at_every_door(pods: Pods, marked: str) -> None:
    client = pods.clients[0]
    for asked in ("payments", ["c2", "payments"]):
        assert client.ask(op="check", token=marked, context=asked)["decision"] == "step_up"
    assert client.check(marked, "paymnets")["message"].endswith("did you mean 'payments'?")
    challenged = over_http(pods, 0, "/v1/check", marked, "payments")
    assert challenged.status_code == 401
    assert "insufficient_user_authentication" in challenged.headers["www-authenticate"]
    assert evaluate(pods, 0, marked, "payments").json()["decision"] is False
    assert client.check(token(unique("user"), unique("s")), "payments")["decision"] == "allow"


@pytest.mark.parametrize("context", UNKNOWN)
@pytest.mark.parametrize("target", ["/v1/check", "/v1/ext_authz/public"])
def test_over_http_it_is_a_problem_of_its_own(
    pods: Pods, marked: str, target: str, context: str
) -> None:
    answer = over_http(pods, 0, target, marked, context)
    assert answer.status_code == 400
    problem = answer.json()
    assert problem["type"] == "urn:stepup-sidecar:problem:unknown-context"
    assert (problem["error"], problem["field"]) == ("unknown_context", "context")
    assert context in problem["detail"]
    assert over_http(pods, 0, target, "no token", context).status_code == 400


def test_authzen_answers_400_and_in_a_batch_that_item_alone_is_refused(
    pods: Pods, marked: str
) -> None:
    for context in UNKNOWN:
        answer = evaluate(pods, 0, marked, context)
        assert (answer.status_code, answer.json()["error"]) == (400, "unknown_context")
    first, second = evaluate(pods, 0, marked, "c2", "c11").json()["evaluations"]
    assert (first["decision"], second["decision"]) == (True, False)
    assert second["context"]["error"]["status"] == 400
    assert "c11" in second["context"]["error"]["message"]


@pytest.mark.parametrize("fail", ["closed", "open"])
def test_a_decorator_that_names_it_refuses_every_call(pods: Pods, marked: str, fail: Any) -> None:
    app = flask.Flask("unknown")
    step_up = StepUp(Gate(socket=pods.addresses[0].socket, fail=fail))

    @app.post("/pay")
    @step_up("c11")
    def pay() -> str:
        return "paid"

    answer = app.test_client().post("/pay", headers={"Authorization": f"Bearer {marked}"})
    assert answer.status_code == 400
    assert answer.get_json()["type"].endswith(":unknown-context")
    step_up.doors.sync.close()


def test_a_client_raises_and_the_command_line_stops(pods: Pods, marked: str) -> None:
    path = pods.addresses[0].socket
    with LocalClient(path) as client, pytest.raises(Refused) as caught:
        client.check(marked, context="pay")
    assert (caught.value.error, caught.value.status) == ("unknown_context", 400)
    done = command("check", "--socket", path, "--context", "c11", SIDECAR_TOKEN=marked)
    assert (done.status, done.out) == (2, "")
    assert "'c11' is not in `contexts`; did you mean 'c1'?" in done.err


def command(*words: str, **environ: str) -> Done:
    return trio.run(lambda: sidecar(*words, **environ))


@pytest.mark.parametrize("context", UNKNOWN)
def test_as_the_strictest_it_is_judged_as_of_all_contexts(
    pods: Pods, marked: str, context: str
) -> None:
    assert pods.clients[1].check(marked, context)["decision"] == "step_up"
    assert over_http(pods, 1, "/v1/check", marked, context).status_code == 401
    assert over_http(pods, 1, "/v1/ext_authz/public", marked, context).status_code == 401
    answer = evaluate(pods, 1, marked, context)
    assert (answer.status_code, answer.json()["decision"]) == (200, False)
    assert pods.clients[1].check(marked, "c2")["decision"] == "allow"
    clear = token(unique("user"), unique("session"))
    assert pods.clients[1].check(clear, context)["decision"] == "allow"
