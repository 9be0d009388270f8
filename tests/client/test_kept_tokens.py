"""`Gate(token=...)` in Flask and Django: the token is in the app's own session."""

from collections.abc import Iterator
from pathlib import Path

import django
import flask
import httpx
import pytest
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory
from stepup_client.django import StepUp as DjangoStepUp
from stepup_client.flask import StepUp as FlaskStepUp
from stepup_client.gate import Gate

from tests import plain_http
from tests.client.daemon import Daemon, daemon
from tests.client.servers import example, on_threads


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Daemon]:
    with daemon(tmp_path) as running:
        yield running


def test_flask_gives_its_request_and_its_session(running: Daemon) -> None:
    app = flask.Flask(__name__)
    app.secret_key = "for this test"
    gate = Gate(socket=str(running.path), token=lambda _: flask.session.get("token"))
    step_up = FlaskStepUp(gate)

    @app.get("/sign-in")
    def sign_in() -> str:
        flask.session["token"] = "good"
        return "hello"

    @app.get("/")
    @step_up("c2")
    def here() -> str:
        subject: str = flask.g.sidecar.subject
        return subject

    with (
        on_threads(app) as url,
        httpx.Client(base_url=url, verify=plain_http.NO_CERTIFICATES) as client,
    ):
        client.get("/")
        client.get("/sign-in")
        assert client.get("/").text == "ada"
    step_up.doors.close()
    assert [call.token for call in running.sidecar.calls] == ["", "good"]


def test_django_gives_its_request(running: Daemon) -> None:
    example("django_app")
    assert django.VERSION
    gate = Gate(socket=str(running.path), token=lambda request: request.COOKIES.get("kept"))
    step_up = DjangoStepUp(gate)

    @step_up("c2")
    def here(request: HttpRequest) -> HttpResponse:
        return HttpResponse(request.sidecar.subject)

    request = RequestFactory().get("/")
    request.COOKIES["kept"] = "good"
    assert here(request).content == b"ada"
    step_up.doors.close()


def test_a_token_is_a_function() -> None:
    with pytest.raises(TypeError, match="function"):
        Gate(token="abc")  # type: ignore[arg-type] # what is tested
