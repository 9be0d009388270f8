"""The example apps, over real HTTP, before a whole daemon: one line protects an endpoint.

`STEPUP_CLIENT_PYTHON` names a Python to run the apps in: `tools/check-wheel` has one with the
client's wheel. Without it they run in this process.
"""

import os
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import stepup_client.django
import stepup_client.fastapi
import stepup_client.flask
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from sidecar.domain.policy.conditional_access import Networks, Selection
from tests import plain_http
from tests.adapters.servers import Server
from tests.client.servers import example, in_another_python, on_threads, on_trio, on_uvicorn
from tests.domain.scenes import policy
from tests.stories.running import Pods, running, token, unique
from tests.waiting import eventually, into_next_second

POLICIES = (policy(Networks(Selection(frozenset({"restricted"}))), name="segment"),)
APPS = ("fastapi", "fastapi-trio", "flask", "django-wsgi", "django-asgi")


@pytest.fixture(scope="module")
def pods(valkey_server: Server) -> Iterator[Pods]:
    with running(valkey_server.url, POLICIES, count=1) as pods:
        before = os.environ.get("SIDECAR_SOCKET")
        os.environ["SIDECAR_SOCKET"] = pods.addresses[0].socket
        try:
            yield pods
        finally:
            for module in (stepup_client.fastapi, stepup_client.flask, stepup_client.django):
                module.step_up.doors.close()
            if before is None:
                del os.environ["SIDECAR_SOCKET"]
            else:
                os.environ["SIDECAR_SOCKET"] = before


class App:
    """A running app, and a user of it."""

    def __init__(self, url: str, pods: Pods) -> None:
        self.url = url
        self.pod = pods.clients[0]
        self.user, self.session = unique("user"), unique("session")
        self.weak = token(self.user, self.session)

    def get(self, path: str, with_token: str = "") -> httpx.Response:
        return plain_http.get(self.url + path, headers=self.headers(with_token), timeout=20)

    def post(self, path: str, with_token: str = "") -> httpx.Response:
        return plain_http.post(self.url + path, headers=self.headers(with_token), timeout=20)

    def headers(self, with_token: str = "") -> dict[str, str]:
        return {"Authorization": f"Bearer {with_token or self.weak}"}

    def mark(self) -> None:
        data = {"segment": "restricted"}
        assert self.pod.event("network-change", {"session": self.session}, data=data)["ok"]

    def revoke(self) -> None:
        assert self.pod.event("session-revoked", {"session": self.session})["ok"]


@pytest.fixture(scope="module", params=APPS)
def url(request: Any, pods: Pods) -> Iterator[str]:
    name = request.param
    python = os.environ.get("STEPUP_CLIENT_PYTHON", "")
    if python:
        serving = in_another_python(python, name)
    elif name == "flask":
        serving = on_threads(example("flask_app").app)
    elif name == "django-wsgi":
        serving = on_threads(example("django_app").wsgi)
    elif name == "django-asgi":
        serving = on_uvicorn(example("django_app").asgi)
    elif name == "fastapi":
        serving = on_uvicorn(example("fastapi_app").app)
    else:
        serving = on_trio(example("fastapi_app").app)
    with serving as url:
        yield url


@pytest.fixture
def app(url: str, pods: Pods) -> App:
    return App(url, pods)


def test_the_whole_story_sign_in_signal_challenge_step_up(app: App) -> None:
    routine = app.get("/accounts")
    assert routine.status_code == 200
    assert routine.json() == {"subject": app.user, "step_up_pending": False}
    assert app.post("/payments/7").json() == {"paid": 7}
    app.mark()
    challenged = app.post("/payments/7")
    assert challenged.status_code == 401
    challenge = challenged.headers["www-authenticate"]
    assert challenge.startswith('Bearer error="insufficient_user_authentication"')
    assert 'acr_values="mfa"' in challenge
    assert challenged.headers["content-type"] == "application/problem+json"
    assert challenged.headers["cache-control"] == "no-store"
    body = challenged.json()
    assert body["type"] == "urn:stepup-sidecar:problem:step-up-required"
    assert (body["status"], body["acr_values"]) == (401, "mfa")
    assert [why["policy"] for why in body["reasons"]] == ["segment"]
    assert app.get("/accounts").json() == {"subject": app.user, "step_up_pending": True}
    into_next_second()
    strong = token(app.user, app.session, age=0, acr="mfa")
    assert app.post("/payments/7", strong).json() == {"paid": 7}
    assert app.post("/payments/7").status_code == 401, "each call is judged by its own token"


def test_without_a_token_there_is_a_challenge_without_an_error(app: App) -> None:
    answer = plain_http.post(app.url + "/payments/7")
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert answer.json()["type"] == "urn:stepup-sidecar:problem:invalid-token"


def test_a_token_that_is_not_believed_is_reported_so(app: App) -> None:
    answer = app.post("/payments/7", app.weak[:-4] + "AAAA")
    assert answer.status_code == 401
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]


def test_a_revoked_session_is_turned_away_from_routine_calls_too(app: App) -> None:
    assert app.get("/accounts").status_code == 200
    app.revoke()
    answer = app.get("/accounts")
    assert answer.status_code == 401
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]


def test_an_event_stream_ends_when_its_session_is_marked(app: App, request: Any) -> None:
    path = "/quotes" if "django-asgi" in request.node.name else "/rates"
    with httpx.stream("GET", app.url + path, headers=app.headers(), timeout=20) as stream:
        chunks = stream.iter_text()
        assert next(chunks).startswith("data:")
        app.mark()
        for _ in chunks:
            pass  # a stream that did not end would time out
    assert app.get(path).status_code == 401


@pytest.mark.parametrize("url", ["fastapi", "fastapi-trio"], indirect=True)
def test_a_web_socket_is_closed_when_its_session_is_marked(app: App) -> None:
    address = app.url.replace("http", "ws") + "/desk"
    with connect(address, additional_headers=app.headers()) as desk:
        desk.send("hello")
        assert desk.recv(10) == "hello"
        app.mark()
        with pytest.raises(ConnectionClosed) as closed:
            desk.recv(20)
    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1008, "step-up-required")


@pytest.mark.parametrize("url", ["django-asgi", "fastapi"], indirect=True)
def test_a_coroutine_view_is_protected_like_any_other(app: App) -> None:
    assert app.post("/transfers/7").json() == {"transferred": 7}
    app.mark()
    assert eventually(
        lambda: app.post("/transfers/7"), lambda answer: answer.status_code == 401
    ).headers["www-authenticate"]
