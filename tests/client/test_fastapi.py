"""FastAPI operations that are protected by a dependency, over real HTTP, on asyncio and trio."""

import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import anyio
import httpx
import pytest
from fastapi import APIRouter, Depends, FastAPI, WebSocket
from fastapi.responses import StreamingResponse
from pydantic import BaseModel
from stepup_client.connection.protocol import Decision
from stepup_client.fastapi import Gate, Requirement, StepUp
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from tests import plain_http
from tests.client.daemon import Daemon, daemon
from tests.client.servers import on_trio, on_uvicorn

GOOD = {"Authorization": "Bearer good"}


class Order(BaseModel):
    amount: int


class App:
    """`/pay` takes an order in c1, `/order` in c2; `ran` says which dependencies have run."""

    def __init__(self, step_up: StepUp) -> None:
        self.ran: list[str] = []
        self.app = FastAPI()
        requires = step_up.requires

        def other() -> None:
            self.ran.append("other")

        @self.app.post("/pay", dependencies=[Depends(other), Depends(requires("c1"))])
        async def pay(order: Order) -> int:
            return order.amount

        @self.app.post("/old", dependencies=[Depends(other), Depends(step_up("c1"))])
        async def old(order: Order) -> int:
            return order.amount

        @self.app.post("/order", dependencies=[Depends(requires("c2"))])
        def place(order: Order) -> int:
            return order.amount

        @self.app.get("/me")
        async def me(decision: Annotated[Decision, Depends(requires())]) -> str:
            return decision.subject

        @self.app.get("/open")
        async def everybody() -> str:
            return "hello"

        self._add_streams(requires)
        router = APIRouter(dependencies=[Depends(requires("c1"))])

        @router.post("/sell", dependencies=[Depends(requires("c2"))])
        async def sell(order: Order) -> int:
            return order.amount

        self.app.include_router(router, prefix="/shop")

    def _add_streams(self, requires: Callable[..., Requirement]) -> None:
        @self.app.get("/events", dependencies=[Depends(requires("c2"))])
        async def events() -> StreamingResponse:
            async def chunks() -> AsyncIterator[str]:
                yield "data: 1\n\n"
                await anyio.sleep_forever()

            return StreamingResponse(chunks(), media_type="text/event-stream")

        @self.app.websocket("/desk", dependencies=[Depends(requires("c2"))])
        async def desk(socket: WebSocket) -> None:
            await socket.accept()
            while True:
                await socket.send_text(await socket.receive_text())

        @self.app.websocket("/vault", dependencies=[Depends(requires("c1"))])
        async def vault(socket: WebSocket) -> None:
            await socket.accept()


class Site:
    def __init__(self, app: App, client: httpx.Client) -> None:
        self.app = app
        self.client = client


@contextmanager
def site(loop: str, running: Daemon, **options: Any) -> Iterator[Site]:
    step_up = StepUp(Gate(socket=str(running.path), **options))
    app = App(step_up)
    serving = on_trio(app.app) if loop == "trio" else on_uvicorn(app.app)
    with (
        serving as url,
        httpx.Client(
            base_url=url, headers=GOOD, timeout=20, verify=plain_http.NO_CERTIFICATES
        ) as client,
    ):
        yield Site(app, client)
        step_up.doors.close()


@pytest.fixture(params=["asyncio", "trio"])
def loop(request: Any) -> str:
    name: str = request.param
    return name


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Daemon]:
    with daemon(tmp_path) as running:
        yield running


@pytest.mark.parametrize("path", ["/pay", "/old", "/shop/sell"])
@pytest.mark.parametrize("body", [b"{", b"{}", b""])
def test_a_call_is_checked_before_its_body_and_other_dependencies(
    loop: str, running: Daemon, path: str, body: bytes
) -> None:
    with site(loop, running) as here:
        headers = {"Content-Type": "application/json"}
        answer = here.client.post(path, content=body, headers=headers)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Bearer error=")
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["acr_values"] == "mfa"
        assert here.app.ran == []


def test_a_call_that_passes_reaches_its_operation_after_one_check(
    loop: str, running: Daemon
) -> None:
    with site(loop, running) as here:
        assert here.client.post("/order", json={"amount": 7}).json() == 7
        assert here.client.post("/order", json={}).status_code == 422
        assert here.client.get("/me").json() == "ada"
        assert here.client.get("/open").json() == "hello"
    assert [call.contexts for call in running.sidecar.calls] == [{"c2"}, {"c2"}, set()]


def test_what_a_router_requires_adds_up_with_what_its_route_does(
    loop: str, running: Daemon
) -> None:
    with site(loop, running) as here:
        assert here.client.post("/shop/sell", json={"amount": 7}).status_code == 401
    (call,) = running.sidecar.calls
    assert set(call.contexts) == {"c1", "c2"}


def test_an_event_stream_ends_when_its_session_is_revoked(loop: str, running: Daemon) -> None:
    with site(loop, running) as here, here.client.stream("GET", "/events") as stream:
        chunks = stream.iter_text()
        next(chunks)
        running.do(running.sidecar.until_watched)
        running.sidecar.revoked.add("good")
        running.say("s1", "revoked")
        assert list(chunks) == []


def test_a_web_socket_is_turned_away_or_ended_when_its_session_is_revoked(
    loop: str, running: Daemon
) -> None:
    with site(loop, running) as here:
        address = str(here.client.base_url).replace("http", "ws", 1)
        with pytest.raises(InvalidStatus):
            connect(f"{address}/vault", additional_headers=GOOD)
        with connect(f"{address}/desk", additional_headers=GOOD) as desk:
            desk.send("hello")
            assert desk.recv(10) == "hello"
            running.do(running.sidecar.until_watched)
            running.sidecar.revoked.add("good")
            running.say("s1", "revoked")
            with pytest.raises(ConnectionClosed) as closed:
                desk.recv(20)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1008


def test_a_token_that_the_app_keeps_in_its_own_session_is_checked(
    loop: str, running: Daemon
) -> None:
    sessions = {"1": "good"}
    with site(
        loop, running, token=lambda request: sessions.get(request.cookies.get("sid"))
    ) as here:
        del here.client.headers["Authorization"]
        assert here.client.get("/me", headers={"Cookie": "sid=1"}).json() == "ada"
        here.client.get("/me", headers={"Cookie": "sid=9"})
    assert [call.token for call in running.sidecar.calls] == ["good", ""]


def test_the_document_says_how_to_be_let_in_and_what_is_answered() -> None:
    app = App(StepUp(Gate(cookie="token"))).app
    heard = app.openapi()
    for path in ("/pay", "/old", "/shop/sell"):
        operation = heard["paths"][path]["post"]
        assert {"bearer": []} in operation["security"]
        assert {"cookie": []} in operation["security"]
        assert {"200", "400", "401", "403", "422", "503"} == set(operation["responses"])
        assert "WWW-Authenticate" in operation["responses"]["401"]["headers"]
        assert "parameters" not in operation
    schemes = heard["components"]["securitySchemes"]
    assert (schemes["bearer"]["type"], schemes["bearer"]["scheme"]) == ("http", "bearer")
    assert (schemes["cookie"]["in"], schemes["cookie"]["name"]) == ("cookie", "token")
    assert "401" not in heard["paths"]["/open"]["get"]["responses"]


def test_a_response_that_the_app_describes_itself_stays() -> None:
    app = FastAPI()
    required = [Depends(StepUp().requires("c1"))]
    app.get("/", dependencies=required, responses={401: {"description": "Ours"}})(lambda: None)
    assert app.openapi()["paths"]["/"]["get"]["responses"]["401"] == {"description": "Ours"}


def test_a_requirement_can_be_replaced_in_an_apps_own_tests(loop: str, running: Daemon) -> None:
    with site(loop, running) as here:
        (required,) = (
            one.dependency
            for one in next(r for r in here.app.app.routes if r.path == "/order").dependencies  # type: ignore[attr-defined] # APIRoute
        )
        here.app.app.dependency_overrides[required] = lambda: None
        assert here.client.post("/order", json={"amount": 7}, headers={}).json() == 7
    assert running.sidecar.calls == []


@pytest.mark.parametrize("kind", ["app", "router", "socket"])
def test_a_decorator_above_its_routes_is_an_error_at_import(kind: str) -> None:
    app, step_up = FastAPI(), StepUp()
    route: Any = {
        "app": app.post("/pay"),
        "router": APIRouter().post("/pay"),
        "socket": app.websocket("/pay"),
    }[kind]

    async def pay() -> None: ...

    # As written: @step_up("c1") in the first line, the route's decorator in the second.
    routed = route(pay)
    with pytest.raises(TypeError, match="below the route's decorator"):
        step_up("c1")(routed)


def test_a_decorator_below_its_routes_is_none_and_shows_the_operations_own_parameters() -> None:
    step_up = StepUp()

    @FastAPI().post("/pay")
    @step_up("c1")
    async def pay(order: Order) -> None: ...

    assert "order" in inspect.signature(pay).parameters


def test_a_requirement_is_no_decorator() -> None:
    with pytest.raises(TypeError):
        StepUp().requires("c1")(lambda: None)  # type: ignore[call-arg] # what is tested
