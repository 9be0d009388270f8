"""AuthZEN over real HTTP. Before a whole daemon: tests/stories/test_authzen.py."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sidecar.adapters.http.authzen import AuthzenDoor
from sidecar.adapters.http.data_listener import DataListener
from sidecar.service.ports.calls import Answer, Call, Overloaded, Unavailable
from sidecar.wire.http.messages import Request, Response, header_lines
from sidecar.wire.settings.settings import Http
from tests import plain_http
from tests.adapters.doors import (
    SHOWN,
    SKEW,
    Incidents,
    Numbers,
    Services,
    clock,
    credential,
    running,
)
from tests.adapters.http.authzen_bodies import ACTION, HOLDER, MANY, ONE
from tests.wire.http.authzen_requests import REQUESTS

CONFIGURATION = "/.well-known/authzen-configuration"
SESSION = {"type": "session", "id": "s1"}
ROUTINE = {"type": "account", "id": "123"}
MARKED = {"type": "context", "id": "c1"}


class Sessions(Services):
    """`Services` that know sessions whose name begins with s."""

    async def check_session(self, session: str, call: Call) -> Answer | None:
        if not session.startswith("s"):
            return None
        calls = list(self.calls)
        answer = await self.check(
            Call(session, call.contexts, call.method, call.host, call.path, call.ip)
        )
        self.calls = [*calls, call]
        return answer


class Pod:
    def __init__(self, services: Sessions, incidents: Incidents, client: httpx.AsyncClient) -> None:
        self.services = services
        self.incidents = incidents
        self.client = client

    async def ask(self, path: str = ONE, **members: Any) -> Any:
        return await self.client.post(path, json={"action": ACTION, **members})


@asynccontextmanager
async def pod(base: str = "") -> AsyncIterator[Pod]:
    services, incidents = Sessions(), Incidents()
    listening = Http(bind="127.0.0.1:0", authzen_url=base)
    with credential(may_ask_sessions=True) as known:
        door = AuthzenDoor(services, listening, known)
        listener = DataListener(
            listening,
            checks=services,
            events=services,
            speakers=known,
            clock=clock,
            skew=lambda: SKEW,
            new_id=Numbers(),
            others=door.handlers(),
            others_at_once=door.prepares(),
            on_incident=incidents,
        )
        async with (
            running(listener.run) as (address,),
            httpx.AsyncClient(
                base_url=f"http://{address}", headers=SHOWN, verify=plain_http.NO_CERTIFICATES
            ) as client,
        ):
            door.listens_at(address)
            yield Pod(services, incidents, client)


async def test_a_permitted_call_is_a_true_decision() -> None:
    async with pod() as here:
        answer = await here.ask(subject=HOLDER, resource=ROUTINE)
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.json() == {
            "decision": True,
            "context": {"session": "s1", "subject": "u1", "assurance": "mfa"},
        }


async def test_a_step_up_is_a_false_decision_with_the_challenge() -> None:
    async with pod() as here:
        answer = await here.ask(subject=HOLDER, resource=MARKED)
        assert answer.status_code == 200
        body = answer.json()
        assert body["decision"] is False
        assert body["context"]["acr_values"] == "phr"
        assert body["context"]["max_age"] == 0
        assert body["context"]["www_authenticate"].startswith("Bearer error=")
        assert "error" not in body["context"]


async def test_a_denied_call_is_a_false_decision_with_its_reasons() -> None:
    async with pod() as here:
        here.services.revoked.add("s1")
        body = (await here.ask(subject=SESSION, resource=ROUTINE)).json()
        assert body["decision"] is False
        assert body["context"]["reasons"][0]["signal"] == "session-revoked"


async def test_a_call_is_handed_on_as_it_is_described() -> None:
    async with pod() as here:
        resource = {"type": "route", "id": "x", "properties": {"uri": "https://a.example/p%61y"}}
        context = {"ip": "::FFFF:203.0.113.9", "user_agent": "curl"}
        await here.ask(subject=HOLDER, resource=resource, context=context)
        (call,) = here.services.calls
    assert (call.method, call.host, call.path) == ("POST", "a.example", "/pay")
    assert (call.token, call.ip, call.user_agent) == ("s1", "203.0.113.9", "curl")


async def test_a_large_batch_is_read_beside_the_event_loop() -> None:
    holder = {**HOLDER, "properties": {"token": "s1", "note": "x" * 200}}
    asked = [{"subject": holder, "resource": ROUTINE}] * 400
    async with pod() as here:
        answer = await here.ask(MANY, evaluations=asked)
        assert [one["decision"] for one in answer.json()["evaluations"]] == [True] * 400
        broken = b'{"evaluations": ' + b"[" * 100_000
        headers = {"Content-Type": "application/json"}
        answer = await here.client.post(MANY, content=broken, headers=headers)
        assert answer.status_code == 400


async def test_a_subject_without_a_token_is_unauthenticated() -> None:
    async with pod() as here:
        body = (await here.ask(subject={"type": "user", "id": "u1"}, resource=ROUTINE)).json()
    assert body["decision"] is False
    assert body["context"]["error"] == {"status": 401, "message": "no"}
    assert body["context"]["www_authenticate"] == "Bearer"


@pytest.mark.parametrize(
    ("subject", "status"),
    [
        ({"type": "session", "id": "unknown"}, 404),
        ({**HOLDER, "id": "mallory"}, 403),
        ({"type": "session", "id": "s2", "properties": {"token": "s1"}}, 403),
    ],
)
async def test_nobody_passes_by_another_ones_name(subject: Any, status: int) -> None:
    async with pod() as here:
        answer = await here.ask(subject=subject, resource=ROUTINE)
    assert answer.status_code == 200
    assert answer.json()["decision"] is False
    assert answer.json()["context"]["error"]["status"] == status


async def test_a_session_may_be_named_along_with_its_token() -> None:
    async with pod() as here:
        subject = {**SESSION, "properties": {"token": "s1"}}
        assert (await here.ask(subject=subject, resource=ROUTINE)).json()["decision"] is True


@pytest.mark.parametrize("path", [ONE, MANY])
@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"{", b'{"subject":"alice"}', b"\xff"])
async def test_a_malformed_request_is_a_400(path: str, body: bytes) -> None:
    async with pod() as here:
        answer = await here.client.post(path, content=body)
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "jsonish"])
async def test_a_page_cannot_post_without_asking(kind: str) -> None:
    async with pod() as here:
        body = json.dumps({"subject": HOLDER, "action": ACTION, "resource": ROUTINE})
        answer = await here.client.post(ONE, content=body, headers={"Content-Type": kind})
        assert answer.status_code == 400
        assert here.services.calls == []


@pytest.mark.parametrize(("path", "allowed"), [(ONE, "POST"), (MANY, "POST")])
async def test_evaluations_are_posted(path: str, allowed: str) -> None:
    async with pod() as here:
        answer = await here.client.get(path)
    assert (answer.status_code, answer.headers["allow"]) == (405, allowed)


@pytest.mark.parametrize("path", [ONE, MANY, CONFIGURATION])
async def test_the_requests_name_is_echoed_with_every_answer(path: str) -> None:
    async with pod() as here:
        for body in (b"nonsense", json.dumps({"subject": SESSION}).encode()):
            answer = await here.client.post(path, content=body, headers={"X-Request-ID": "r-7"})
            assert answer.headers["x-request-id"] == "r-7"
        assert "x-request-id" not in (await here.client.post(path)).headers


@pytest.mark.parametrize(("trouble", "after"), [(Overloaded(7), "7"), (Unavailable(), "1")])
async def test_a_single_call_that_cannot_be_judged_is_a_503(trouble: Exception, after: str) -> None:
    async with pod() as here:
        here.services.trouble = trouble
        answer = await here.ask(subject=HOLDER, resource=ROUTINE)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, after)
        items = await here.ask(MANY, subject=HOLDER, evaluations=[{"resource": ROUTINE}])
        assert items.status_code == 200
        assert items.json()["evaluations"][0]["context"]["error"]["status"] == 503


async def test_an_unforeseen_error_is_a_500() -> None:
    async with pod() as here:
        here.services.trouble = ZeroDivisionError("secret")
        answer = await here.ask(subject=HOLDER, resource=ROUTINE)
        assert answer.status_code == 500
        assert "secret" not in answer.text


@pytest.mark.parametrize(
    ("semantic", "resources", "decisions"),
    [
        ("execute_all", [ROUTINE, MARKED, ROUTINE], [True, False, True]),
        ("deny_on_first_deny", [ROUTINE, MARKED, ROUTINE], [True, False]),
        ("deny_on_first_deny", [ROUTINE, {}, ROUTINE], [True, False]),
        ("permit_on_first_permit", [MARKED, ROUTINE, MARKED], [False, True]),
        ("permit_on_first_permit", [MARKED, MARKED], [False, False]),
    ],
)
async def test_a_batch_goes_as_far_as_its_semantic_says(
    semantic: str, resources: Any, decisions: list[bool]
) -> None:
    async with pod() as here:
        answer = await here.ask(
            MANY,
            subject=SESSION,
            evaluations=[{"resource": resource} for resource in resources],
            options={"evaluations_semantic": semantic},
        )
        assert answer.status_code == 200
        found = [one["decision"] for one in answer.json()["evaluations"]]
        assert found == decisions


async def test_an_items_error_sits_in_its_context() -> None:
    async with pod() as here:
        items = [{"resource": ROUTINE}, {"resource": {"type": "x"}}]
        answer = await here.ask(MANY, subject=SESSION, evaluations=items)
    good, bad = answer.json()["evaluations"]
    assert good["decision"] is True
    assert bad["decision"] is False
    assert bad["context"]["error"]["status"] == 400
    assert "resource.id" in bad["context"]["error"]["message"]


async def test_a_batch_without_items_is_answered_as_a_single_one() -> None:
    async with pod() as here:
        answer = await here.ask(MANY, subject=SESSION, resource=ROUTINE)
    assert answer.json()["decision"] is True


async def test_the_metadata_names_what_was_asked_or_what_is_configured() -> None:
    async with pod() as here:
        document = (await here.client.get(CONFIGURATION)).json()
        assert document["policy_decision_point"] == str(here.client.base_url).rstrip("/")
        assert (await here.client.post(CONFIGURATION)).status_code == 405
    async with pod("https://pdp.example/") as here:
        document = (await here.client.get(CONFIGURATION)).json()
        assert document["access_evaluation_endpoint"] == f"https://pdp.example{ONE}"


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(REQUESTS)
async def test_no_request_makes_the_door_fail(request: Any) -> None:
    async with pod() as here:
        for path in (ONE, MANY):
            answer = await here.client.post(path, json=request)
            assert answer.status_code in {200, 400}
        assert here.incidents == []


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(
    REQUESTS,
    st.none() | st.sampled_from(["s1", "revoked", "slater"]),
    st.sampled_from([b"r1", b"\xe4", None]),
)
async def test_what_is_answered_at_once_is_what_the_handler_answers(
    members: Any, token: str | None, name: bytes | None
) -> None:
    services = Sessions()
    services.revoked.add("revoked")
    if token is not None:
        members = {**members, "context": {"token": token}}
    headers = {} if name is None else {b"x-request-id": name}
    request = Request("POST", ONE.encode(), b"localhost", headers, json.dumps(members).encode())
    with credential() as known:
        door = AuthzenDoor(services, Http(), known)
        at_once = door.prepares()[request.target](request)
        response = None if at_once is None else at_once()
        asked = services.calls[:]
        plain = await door.handlers()[request.target](request)
    if response is not None:
        assert (response.status, response.body) == (plain.status, plain.body)
        shown = response.fields if isinstance(response, Response) else response.lines
        fields = plain.fields if isinstance(response, Response) else header_lines(plain.fields)
        assert shown == fields
        assert services.calls == asked * 2
