from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from sidecar.adapters.grpc.listener import CHECK, HEALTH, GrpcListener
from sidecar.service.ports.calls import Overloaded, Unavailable
from sidecar.wire.grpc.messages import Code, unpacked
from sidecar.wire.settings.settings import Cors, Grpc, Http
from tests.adapters.doors import Incidents, Services, running
from tests.adapters.grpc.door import Door
from tests.adapters.http2 import talking


@asynccontextmanager
async def door(**http: Any) -> AsyncIterator[Door]:
    services, incidents = Services(), Incidents()
    listener = GrpcListener(
        Grpc(bind="127.0.0.1:0"), Http(**http), checks=services, on_incident=incidents
    )
    async with running(listener.run) as (address,), talking(address) as peer:
        yield Door(services, address, peer)
    assert incidents == []


BEARER = {"authorization": "Bearer s1"}


async def test_the_call_is_as_envoy_describes_it() -> None:
    async with door() as here:
        headers = {**BEARER, "x-auth-context": "c3", "user-agent": "browser"}
        status, _ = await here.check(headers, contexts="c2,c3")
        assert status == 200
        (call,) = here.services.calls
        assert (call.token, call.contexts) == ("s1", frozenset({"c3", "c2"}))
        assert (call.method, call.host, call.path) == ("POST", "shop.example", "/pay/7")
        assert (call.ip, call.user_agent) == ("203.0.113.9", "browser")


async def test_headers_of_other_gateways_mean_nothing() -> None:
    async with door() as here:
        forged = {"x-forwarded-uri": "/public", "x-original-uri": "/public", "x-real-ip": "::1"}
        await here.check({**BEARER, **forged, "x-forwarded-for": "198.51.100.1"})
        (call,) = here.services.calls
        assert (call.path, call.ip) == ("/pay/7", "203.0.113.9")


async def test_behind_a_trusted_proxy_the_client_is_who_it_forwarded_for() -> None:
    async with door(trusted_proxies=("10.0.0.0/8",)) as here:
        headers = {**BEARER, "x-forwarded-for": "192.0.2.66, 198.51.100.1"}
        await here.check(headers, source="10.1.2.3")
        assert here.services.calls[0].ip == "198.51.100.1"


async def test_a_context_is_challenged_with_status_headers_and_body() -> None:
    async with door() as here:
        status, denied = await here.check(BEARER, contexts="c1")
        assert status == 401
        fields = {one.message(1).text(1): one.message(1).text(2) for one in denied.messages(2)}
        challenge = b'Bearer error="insufficient_user_authentication", acr_values="phr"'
        assert fields[b"www-authenticate"] == challenge
        assert fields[b"content-type"] == b"application/problem+json"
        assert b"step-up-required" in denied.text(3)


async def test_a_context_that_is_not_configured_is_refused() -> None:
    async with door() as here:
        for asked in ({"contexts": "c99"}, {"contexts": "c2,c99"}):
            status, denied = await here.check(BEARER, **asked)
            assert status == 400
            assert b"unknown_context" in denied.text(3)
        assert (await here.check({**BEARER, "x-auth-context": "c99"}))[0] == 400


async def test_a_preflight_passes_unasked_and_takes_away_what_names_somebody() -> None:
    asks = {"origin": "https://a.example", "access-control-request-method": "POST"}
    async with door(preflight=True) as here:
        status, passed = await here.check({**asks, "x-sidecar-subject": "x"}, method="OPTIONS")
        fields = {one.message(1).text(1): one.message(1).text(2) for one in passed.messages(2)}
        assert (status, fields, here.services.calls) == (200, {b"x-sidecar-decision": b"allow"}, [])
        assert (await here.check(asks))[0] == 401


async def test_refusals_are_readable_for_pages_of_allowed_origins() -> None:
    async with door(cors=Cors(origins=("https://a.example",), credentials=True)) as here:
        for path, status in (("/pay", 401), ("/pay/../x", 400)):
            found, denied = await here.check({"origin": "https://a.example"}, path=path)
            fields = {one.message(1).text(1): one.message(1).text(2) for one in denied.messages(2)}
            assert (found, fields[b"vary"]) == (status, b"Origin")
            assert fields[b"access-control-allow-origin"] == b"https://a.example"
            assert fields[b"access-control-allow-credentials"] == b"true"


async def test_no_token_is_a_plain_challenge() -> None:
    async with door() as here:
        assert (await here.check({}))[0] == 401


@pytest.mark.parametrize(
    "more",
    [
        {"path": "/pay%2f7"},
        {"path": "/pay/../x"},
        {"path": "/pay/%2E%2E/x"},
        {"path": "//pay/7"},
        {"path": "*"},
        {"path": ""},
        {"method": "G T"},
        {"host": "a b"},
        {"contexts": "c 1"},
    ],
)
async def test_a_call_that_makes_no_sense_is_refused(more: Any) -> None:
    async with door() as here:
        assert (await here.check(BEARER, **more))[0] == 400
        assert here.services.calls == []


@pytest.mark.parametrize("trouble", [Overloaded(7), Unavailable("store gone")])
async def test_what_cannot_be_decided_is_closed(trouble: Exception) -> None:
    async with door() as here:
        here.services.trouble = trouble
        status, denied = await here.check(BEARER)
        assert status == 503
        assert b"retry-after" in [one.message(1).text(1) for one in denied.messages(2)]


async def test_bytes_that_are_no_request_have_a_status() -> None:
    async with door() as here:
        assert (await here.send(b"\x0b")).status == Code.INVALID_ARGUMENT
        assert (await here.send(b"", b"/envoy.service.auth.v2.Authorization/Check")).status == (
            Code.UNIMPLEMENTED
        )


async def test_its_health_can_be_asked() -> None:
    async with door() as here:
        outcome = await here.send(b"", HEALTH)
        assert (outcome.status, unpacked(outcome.data)) == (Code.OK, b"\x08\x01")


async def test_googles_own_client_is_answered() -> None:
    grpc: Any = pytest.importorskip("grpc")
    envoy: Any = pytest.importorskip("envoy.service.auth.v3.external_auth_pb2")
    async with door() as here:

        def ask() -> list[Any]:
            with grpc.insecure_channel(here.address) as channel:
                check = channel.unary_unary(
                    CHECK.decode(),
                    request_serializer=envoy.CheckRequest.SerializeToString,
                    response_deserializer=envoy.CheckResponse.FromString,
                )
                request = envoy.CheckRequest()
                http = request.attributes.request.http
                http.method, http.path, http.host = "GET", "/pay/7", "shop.example"
                http.headers["authorization"] = "Bearer s1"
                answers = [check.future(request, timeout=10) for _ in range(200)]
                request.attributes.context_extensions["auth-context"] = "c1"
                return [*(one.result() for one in answers), check(request, timeout=10)]

        *passed, refused = await trio.to_thread.run_sync(ask)
        assert {one.WhichOneof("http_response") for one in passed} == {"ok_response"}
        assert refused.denied_response.status.code == 401
