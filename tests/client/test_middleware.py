"""ASGI (asyncio and trio) and WSGI middleware before apps of their own, over real HTTP."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import anyio
import flask
import httpx
import pytest
from stepup_client import asgi, wsgi
from stepup_client.gate import Gate
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests import plain_http
from tests.client.daemon import Daemon, daemon
from tests.client.servers import on_trio, on_uvicorn, on_wsgiref
from tests.wire.spellings import CLEAR, UNCLEAR, UNSEEN

GOOD = {"Authorization": "Bearer good"}
KINDS = ("asyncio", "trio", "wsgi", "wsgi-generator")


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Daemon]:
    with daemon(tmp_path) as running:
        yield running


@pytest.fixture(params=KINDS)
def kind(request: Any) -> str:
    name: str = request.param
    return name


class AsgiApp:
    """Says who asked; `/events` streams until it is ended."""

    def __init__(self) -> None:
        self.decisions: list[Any] = []
        self.ended = threading.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        self.decisions.append(scope.get("sidecar"))
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            await receive()
            return
        streams = scope["path"] == "/events"
        media = b"text/event-stream" if streams else b"text/plain"
        headers = [(b"content-type", media)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"hello", "more_body": streams})
        if streams:
            try:
                await anyio.sleep_forever()
            finally:
                self.ended.set()


class WsgiApp:
    """The same for WSGI."""

    def __init__(self) -> None:
        self.decisions: list[Any] = []
        self.ended = threading.Event()

    def __call__(self, environ: Any, start_response: Any) -> Any:
        self.decisions.append(environ.get("sidecar"))
        if environ["PATH_INFO"] == "/events":
            start_response("200 OK", [("Content-Type", "text/event-stream")])
            return self.events()
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"hello"]

    def events(self) -> Iterator[bytes]:
        pause = threading.Event()
        try:
            while True:
                yield b"hello"
                pause.wait(0.02)
        finally:
            self.ended.set()


class GeneratorApp(WsgiApp):
    """An app that begins its response only with its first chunk."""

    def __call__(self, environ: Any, start_response: Any) -> Any:
        yield from super().__call__(environ, start_response)


def drain(chunks: Iterator[Any]) -> None:
    """Read a stream to its end; one that goes on and on fails."""
    for count, _ in enumerate(chunks):
        assert count < 1000


class Site:
    def __init__(self, app: Any, client: httpx.Client) -> None:
        self.app = app
        self.client = client


@contextmanager
def site(kind: str, socket: Path, contexts: Any = (), public: Any = (), **gate: Any) -> Any:
    options = Gate(socket=str(socket), **gate)
    app: Any
    if kind.startswith("wsgi"):
        app = WsgiApp() if kind == "wsgi" else GeneratorApp()
        middleware = wsgi.StepUpMiddleware(app, contexts, gate=options, public=public)
        serving = on_wsgiref(middleware)
    else:
        app = AsgiApp()
        protected = asgi.StepUpMiddleware(app, contexts, gate=options, public=public)
        serving = on_trio(protected) if kind == "trio" else on_uvicorn(protected)
    with (
        serving as url,
        httpx.Client(
            base_url=url, headers=GOOD, timeout=20, verify=plain_http.NO_CERTIFICATES
        ) as client,
    ):
        yield Site(app, client)
        if kind.startswith("wsgi"):
            middleware.door.close()


@pytest.mark.parametrize(
    "target", ["/pay/../x", "/pay/%2e%2e/x", "/pay/.%2E/x", "/pay//7", "/pay/%5c../x", "/pay\\x"]
)
def test_a_path_that_servers_read_differently_does_not_reach_the_app(
    kind: str, running: Daemon, target: str
) -> None:
    with site(kind, running.path) as here:
        connection = HTTPConnection(here.client.base_url.host, here.client.base_url.port)
        connection.request("GET", target, headers=GOOD)  # as it is: httpx would resolve it
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        assert (answer.status, b":invalid-request" in body) == (400, True)
        assert here.app.decisions == []
    assert running.sidecar.calls == []


def test_no_path_of_two_readings_passes_unasked(kind: str, tmp_path: Path) -> None:
    chosen: dict[str, Any] = {"unchecked": ("OPTIONS",), "preflight": True, "fail": "open"}
    with site(kind, tmp_path / "none.sock", public=("/static/*", "/*"), **chosen) as here:
        connection = HTTPConnection(here.client.base_url.host, here.client.base_url.port)
        refused = [
            (target, method)
            for target in UNCLEAR
            for method in ("GET", "OPTIONS")
            if raw_status(connection, method, target) != 400
        ]
        # This server gives no target, and an app cannot see of a path what decoding leaves.
        unseen = UNSEEN if kind.startswith("wsgi") else ()
        assert {target for target, _ in refused} == set(unseen)
        seen = len(here.app.decisions)
        assert [raw_status(connection, "GET", target) for target in CLEAR] == [200] * len(CLEAR)
        assert here.app.decisions[seen:] == [None] * len(CLEAR)
        connection.close()


def raw_status(connection: HTTPConnection, method: str, target: str) -> int:
    """Ask with the target as it is: httpx would resolve it."""
    connection.request(method, target, headers={"Connection": "close"})
    answer = connection.getresponse()
    answer.read()
    return answer.status


def test_of_a_call_that_overrides_its_method_the_sidecar_is_sent_none(
    kind: str, running: Daemon
) -> None:
    with site(kind, running.path, unchecked=("GET",)) as here:
        here.client.get("/a", headers={"X-HTTP-Method-Override": "PUT"})
        here.client.get("/b?_method=PUT")
        here.client.get("/c")
    assert [(call.method, call.path) for call in running.sidecar.calls] == [("", "/a"), ("", "/b")]


def test_an_encoded_slash_does_not_reach_an_app_whose_server_reports_the_target(
    running: Daemon,
) -> None:
    for kind in ("asyncio", "trio"):
        with site(kind, running.path) as here:
            assert here.client.get("/pay%2F7").status_code == 400
            assert here.app.decisions == []


def test_a_call_that_passes_reaches_the_app_with_its_decision(kind: str, running: Daemon) -> None:
    with site(kind, running.path) as here:
        answer = here.client.get("/a%20b/c?d=e", headers={"User-Agent": "curl"})
        assert (answer.status_code, answer.text) == (200, "hello")
        (decision,) = here.app.decisions
    assert (decision.subject, decision.session, decision.decided) == ("ada", "s1", True)
    (call,) = running.sidecar.calls
    assert (call.method, call.path, call.ip) == ("GET", "/a%20b/c", "127.0.0.1")
    assert call.user_agent == "curl"


def test_a_call_that_does_not_pass_never_reaches_the_app(kind: str, running: Daemon) -> None:
    with site(kind, running.path, ("c1",)) as here:
        answer = here.client.post("/pay")
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Bearer error=")
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["acr_values"] == "mfa"
        head = here.client.head("/pay")
        assert (head.status_code, head.content) == (401, b"")
        bad = here.client.get("/", headers={"Authorization": "Bearer bad"})
        assert (bad.status_code, bad.headers["www-authenticate"]) == (
            401,
            'Bearer error="invalid_token"',
        )
        assert here.app.decisions == []


def test_a_path_that_can_be_read_in_two_ways_is_a_400(kind: str, running: Daemon) -> None:
    with site(kind, running.path) as here:
        assert here.client.get("/pay;x").status_code == 400
        assert here.app.decisions == []


def test_public_paths_need_no_token(kind: str, running: Daemon) -> None:
    with site(kind, running.path, ("c1",), ("/health",)) as here:
        assert here.client.get("/health").text == "hello"
        assert here.client.get("/pay").status_code == 401
        assert here.app.decisions == [None]


def test_without_a_sidecar_calls_are_turned_away(kind: str, tmp_path: Path) -> None:
    with site(kind, tmp_path / "none.sock") as here:
        answer = here.client.get("/")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert answer.json()["type"].endswith(":unavailable")
        assert here.app.decisions == []


def test_without_a_sidecar_chosen_calls_pass_and_are_reported_so(kind: str, tmp_path: Path) -> None:
    with site(kind, tmp_path / "none.sock", ("c2",), fail=("c2",)) as here:
        assert here.client.get("/").text == "hello"
        assert here.client.get("/events-not").text == "hello"
        assert [one.decided for one in here.app.decisions] == [False, False]


def kept_for(request: Any) -> str | None:
    """The token that the app keeps in its own session, by a cookie's value."""
    if "headers" in request:  # an ASGI scope
        sid = dict(request["headers"]).get(b"cookie", b"").decode()
    else:
        sid = request.get("HTTP_COOKIE", "")
    return {"sid=1": "good", "sid=2": "bad"}.get(sid)


def test_a_token_that_the_app_keeps_in_its_own_session_is_checked(
    kind: str, running: Daemon
) -> None:
    with site(kind, running.path, token=kept_for) as here:
        del here.client.headers["Authorization"]
        assert here.client.get("/", headers={"Cookie": "sid=1"}).text == "hello"
        assert here.client.get("/", headers={"Cookie": "sid=2"}).status_code == 401
        # Two different tokens: the app might act on the one that was not checked.
        two = {"Cookie": "sid=1", "Authorization": "Bearer other"}
        assert here.client.get("/", headers=two).status_code == 400
        with here.client.stream("GET", "/events", headers={"Cookie": "sid=1"}) as stream:
            chunks = stream.iter_text()
            next(chunks)
            running.do(running.sidecar.until_watched)
            running.sidecar.revoked.add("good")
            running.say("s1", "revoked")
            drain(chunks)
    assert [one.subject for one in here.app.decisions] == ["ada", "ada"]


def test_a_preflight_is_asked_about_unless_it_was_chosen(kind: str, running: Daemon) -> None:
    headers = {"Origin": "https://a.example", "Access-Control-Request-Method": "POST"}
    with site(kind, running.path, ("c1",)) as here:
        assert here.client.options("/pay", headers=headers).status_code == 401
    with site(kind, running.path, ("c1",), preflight=True) as here:
        assert here.client.options("/pay", headers=headers).status_code == 200
        assert here.client.options("/pay").status_code == 401
        assert here.client.post("/pay", headers=headers).status_code == 401


def test_a_stream_ends_when_its_session_is_reported_to_have_lost_its_standing(
    kind: str, running: Daemon
) -> None:
    with site(kind, running.path, ("c2",)) as here:
        with here.client.stream("GET", "/events") as stream:
            chunks = stream.iter_text()
            assert next(chunks).startswith("hello")
            running.do(running.sidecar.until_watched)
            running.say("s1", "step_up")  # looked at again, it still passes
            running.sidecar.revoked.add("good")
            running.say("s2", "revoked")  # another session's
            running.say("s1", "revoked")
            drain(chunks)
        assert here.app.ended.wait(10)
    running.do(running.sidecar.until_watched, 0)


def test_many_streams_have_one_watcher(kind: str, running: Daemon) -> None:
    with site(kind, running.path) as here:
        opened = [here.client.send(r, stream=True) for r in [events(here)] * 3]
        running.do(running.sidecar.until_watched, 1)
        running.sidecar.revoked.add("good")
        running.say("s1", "revoked")
        for stream in opened:
            drain(stream.iter_bytes())
            stream.close()


def events(here: Site) -> httpx.Request:
    return here.client.build_request("GET", "/events")


def test_a_stream_is_looked_at_again_though_nothing_is_reported(kind: str, running: Daemon) -> None:
    with (
        site(kind, running.path, recheck=0.05) as here,
        here.client.stream("GET", "/events") as stream,
    ):
        chunks = stream.iter_text()
        next(chunks)
        running.sidecar.revoked.add("good")
        drain(chunks)


def test_a_stream_that_began_unasked_ends_when_it_can_be_asked_about(
    kind: str, running: Daemon
) -> None:
    running.stop()
    with (
        site(kind, running.path, fail="open", recheck=0.05) as here,
        here.client.stream("GET", "/events", headers={"Authorization": "Bearer bad"}) as stream,
    ):
        chunks = stream.iter_text()
        assert next(chunks).startswith("hello")
        running.start()
        drain(chunks)


def test_a_stream_ends_when_the_sidecar_stays_away(kind: str, running: Daemon) -> None:
    with (
        site(kind, running.path, patience=0.5, timeout=1) as here,
        here.client.stream("GET", "/events") as stream,
    ):
        chunks = stream.iter_text()
        next(chunks)
        running.do(running.sidecar.until_watched)
        running.stop()
        drain(chunks)
    running.start()


def test_a_stream_lives_on_through_a_restart_of_the_sidecar(kind: str, running: Daemon) -> None:
    with (
        site(kind, running.path, patience=20) as here,
        here.client.stream("GET", "/events") as stream,
    ):
        chunks = stream.iter_text()
        next(chunks)
        running.do(running.sidecar.until_watched)
        running.stop()
        running.start()
        running.do(running.sidecar.until_watched)
        assert not here.app.ended.is_set()
        running.sidecar.revoked.add("good")
        running.say("s1", "revoked")
        drain(chunks)


@pytest.mark.parametrize("kind", ["asyncio", "trio"], indirect=True)
def test_a_web_socket_is_turned_away_with_the_challenge(kind: str, running: Daemon) -> None:
    with site(kind, running.path, ("c1",)) as here:
        address = str(here.client.base_url).replace("http", "ws", 1)
        with pytest.raises(InvalidStatus) as raised:
            connect(address, additional_headers=GOOD)
        assert raised.value.response.status_code == 401
        assert raised.value.response.headers["www-authenticate"].startswith("Bearer error=")
        assert here.app.decisions == []


def test_a_decorator_without_its_parentheses_is_an_error_at_once() -> None:
    from stepup_client.flask import step_up  # noqa: PLC0415 - only here

    with pytest.raises(TypeError, match="step_up"):
        step_up(lambda: None)  # type: ignore[arg-type] # what is tested


@pytest.mark.parametrize("kind", ["app", "blueprint"])
def test_a_flask_decorator_above_its_routes_is_an_error_at_import(kind: str) -> None:
    from stepup_client.flask import StepUp  # noqa: PLC0415 - only here

    routes = flask.Flask("here") if kind == "app" else flask.Blueprint("here", "here")

    def pay() -> str:
        return "paid"

    # As written: @step_up("c1") in the first line, the route's decorator in the second.
    routed = routes.post("/pay")(pay)
    with pytest.raises(TypeError, match="below the route's decorator"):
        StepUp()("c1")(routed)


def test_a_flask_decorator_below_its_routes_may_stand_on_others() -> None:
    from stepup_client.flask import StepUp  # noqa: PLC0415 - only here

    app = flask.Flask("here")
    seen: dict[str, Any] = {}

    def remembered(view: Any) -> Any:
        seen[view.__name__] = view
        return view

    def pay() -> str:
        return "paid"

    remembered(pay)
    for path in ("/one", "/two"):
        app.post(path, endpoint=path)(StepUp()("c1")(pay))
    assert len(app.view_functions) == 3
