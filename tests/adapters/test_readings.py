"""Each door refuses a path of two readings before anything is decided by it."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from sidecar.adapters.grpc.listener import GrpcListener
from sidecar.adapters.http.authzen import AuthzenDoor
from sidecar.adapters.http.data_listener import DataListener
from sidecar.adapters.socket.server import LocalSocket
from sidecar.wire.settings.settings import Gateway, Grpc, Http, Socket
from tests import plain_http
from tests.adapters.doors import (
    SHOWN,
    SKEW,
    Incidents,
    Numbers,
    Services,
    clock,
    connect,
    credential,
    running,
    speakers,
)
from tests.adapters.grpc.door import Door
from tests.adapters.http.authzen_bodies import ACTION, HOLDER, ONE
from tests.adapters.http2 import talking
from tests.wire.spellings import CLEAR, RAW, UNCLEAR

PASSING: Any = {
    "public": ("/static/*", "/*"),
    "unchecked": ("OPTIONS",),
    "preflight": True,
}
ORIGIN = {"Origin": "https://a.example", "Access-Control-Request-Method": "POST"}
METHODS = ("GET", "OPTIONS")


Ask = Callable[[str, str], Awaitable[int]]


@asynccontextmanager
async def http(gateway: Gateway, services: Services, **more: Any) -> AsyncIterator[Any]:
    settings = Http(bind="127.0.0.1:0", gateway=gateway, **PASSING)
    listener = DataListener(
        settings,
        checks=services,
        events=services,
        speakers=more.pop("speakers", speakers()),
        clock=clock,
        skew=lambda: SKEW,
        new_id=Numbers(),
        on_incident=Incidents(),
        **more,
    )
    async with (
        running(listener.run) as (address,),
        httpx.AsyncClient(
            base_url=f"http://{address}", verify=plain_http.NO_CERTIFICATES
        ) as client,
    ):
        yield client


HeadersOf = Callable[[str, str], dict[str, str]]
FORWARDED: HeadersOf = lambda method, target: {  # noqa: E731 - as the others of the table
    "X-Forwarded-Method": method,
    "X-Forwarded-Uri": target,
}
GATEWAYS: dict[str, tuple[Gateway, HeadersOf]] = {
    **{
        one.value: (one, FORWARDED)
        for one in (Gateway.CADDY, Gateway.TRAEFIK, Gateway.HAPROXY, Gateway.APACHE)
    },
    "nginx": (
        Gateway.NGINX,
        lambda method, target: {"X-Original-Method": method, "X-Original-URI": target},
    ),
    "nginx by URL": (
        Gateway.NGINX,
        lambda method, target: {
            "X-Original-Method": method,
            "X-Original-URL": f"https://shop.example{target}",
        },
    ),
}


@asynccontextmanager
async def described(name: str, services: Services) -> AsyncIterator[Ask]:
    gateway, headers = GATEWAYS[name]
    async with http(gateway, services) as client:

        async def ask(method: str, target: str) -> int:
            sent = {**ORIGIN, **headers(method, target)}
            return int((await client.get("/v1/check", headers=sent)).status_code)

        yield ask


@asynccontextmanager
async def envoy(_: str, services: Services) -> AsyncIterator[Ask]:
    async with http(Gateway.ENVOY, services) as client:

        async def ask(method: str, target: str) -> int:
            raw = {"target": f"/v1/ext_authz{target}".encode()}
            sent = client.build_request(method, "/", headers=ORIGIN, extensions=raw)
            return int((await client.send(sent)).status_code)

        yield ask


@asynccontextmanager
async def grpc(_: str, services: Services) -> AsyncIterator[Ask]:
    settings = Grpc(bind="127.0.0.1:0"), Http(**PASSING)
    listener = GrpcListener(*settings, checks=services, on_incident=Incidents())
    async with running(listener.run) as (address,), talking(address) as peer:
        door = Door(services, address, peer)
        headers = {name.lower(): value for name, value in ORIGIN.items()}

        async def ask(method: str, target: str) -> int:
            status, _ = await door.check(headers, method=method, path=target)
            return status

        yield ask


@asynccontextmanager
async def authzen(_: str, services: Services) -> AsyncIterator[Ask]:
    with credential(may_ask_sessions=True) as known:
        door = AuthzenDoor(services, Http(), known)  # type: ignore[arg-type] # no session is asked for
        async with http(Gateway.NONE, services, speakers=known, others=door.handlers()) as client:

            async def ask(method: str, target: str) -> int:
                resource = {"type": "route", "id": "x", "properties": {"path": target}}
                action = {**ACTION, "name": method}
                body = {"subject": HOLDER, "action": action, "resource": resource}
                return int((await client.post(ONE, json=body, headers=SHOWN)).status_code)

            yield ask


@asynccontextmanager
async def socket(directory: str, services: Services) -> AsyncIterator[Ask]:
    door = LocalSocket(
        Socket(path=f"{directory}/s.sock"),
        checks=services,
        events=services,
        watches=services.watches,
        acknowledger=services,
        speakers=speakers(),
        clock=clock,
        skew=lambda: SKEW,
        new_id=Numbers(),
        on_incident=Incidents(),
    )
    async with running(door.run) as path:
        wire = await connect(path)

        async def ask(method: str, target: str) -> int:
            request = {"op": "check", "token": "s1", "method": method, "path": target}
            await wire.send(json.dumps(request).encode() + b"\n")
            reply = json.loads(await wire.line())
            return 200 if reply["ok"] else 400 if reply["field"] == "path" else 500

        async with wire.stream:
            yield ask


DOORS = {**dict.fromkeys(GATEWAYS, described), "envoy": envoy, "grpc": grpc}
UNASKING = tuple(DOORS)
DOORS |= {"authzen": authzen, "socket": socket}


@pytest.mark.parametrize("name", DOORS)
async def test_no_path_of_two_readings_is_asked_about_or_passes_unasked(
    name: str, tmp_path: Any
) -> None:
    services = Services()
    async with DOORS[name](name if name in GATEWAYS else str(tmp_path), services) as ask:
        # No header has these but for the tab.
        raw = RAW if name in ("grpc", "authzen", "socket") else RAW[:1] if name in GATEWAYS else ()
        for target in (*UNCLEAR, *raw):
            for method in METHODS:
                assert await ask(method, target) == 400, (method, target)
        assert services.calls == []
        for target in CLEAR:
            assert await ask("GET", target) == 200, target
        # These doors have paths that pass unasked; the others ask about each.
        assert len(services.calls) == (0 if name in UNASKING else len(CLEAR))
