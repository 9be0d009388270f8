import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import httpx
import msgspec
import pytest
import trio
import trustme
from hypothesis import given
from hypothesis import strategies as st

from sidecar.adapters.http.data_listener import DataListener
from sidecar.adapters.http.handlers import HttpIncident
from sidecar.service.ports.calls import Overloaded, Unavailable
from sidecar.wire.http.messages import PreparedResponse, Request, Response, header_lines
from sidecar.wire.settings.settings import Cors, Gateway, Http, HttpEvents
from sidecar.wire.settings.tokens import Binding, CertificateForm, Possession
from sidecar.wire.tokens.certificates import thumbprint
from tests import plain_http
from tests.adapters.doors import SKEW, Incidents, Numbers, Services, clock, running, speakers

EVENT = {"type": "session-revoked", "subject": {"session": "s1"}}
BEARER = {"Authorization": "Bearer s1"}


class Pod:
    """A running data listener, what stands behind it, and a real client of it."""

    def __init__(self, services: Any, incidents: Any, client: Any, listener: Any) -> None:
        self.listener = listener
        self.services = services
        self.incidents = incidents
        self.client = client

    async def check(
        self, path: str = "/v1/check", method: Any = "GET", headers: Any = BEARER, **more: Any
    ) -> Any:
        return await self.client.request(method, path, headers=headers, **more)

    async def events(self, content: Any, kind: Any = "application/json") -> Any:
        if not isinstance(content, bytes):
            content = json.dumps(content).encode()
        return await self.client.post("/v1/events", content=content, headers={"Content-Type": kind})


@asynccontextmanager
async def pod(
    others: Any = None, binding: Binding | None = None, **settings: Any
) -> AsyncIterator[Any]:
    services, incidents = Services(), Incidents()
    settings.setdefault("events", HttpEvents.LOCAL)
    described = {} if "gateway" in settings else {"X-Forwarded-Uri": "/routine"}
    settings.setdefault("gateway", Gateway.CADDY)
    listener = DataListener(
        Http(bind="127.0.0.1:0", **settings),
        checks=services,
        events=services,
        speakers=speakers(),
        acknowledger=services,
        clock=clock,
        skew=lambda: SKEW,
        new_id=Numbers(),
        others=others,
        binding=binding or Binding(),
        on_incident=incidents,
    )
    async with (
        running(listener.run) as (address,),
        httpx.AsyncClient(
            base_url=f"http://{address}", headers=described, verify=plain_http.NO_CERTIFICATES
        ) as client,
    ):
        yield Pod(services, incidents, client, listener)


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND"])
async def test_a_check_of_any_method_is_answered_with_the_decision(method: str) -> None:
    async with pod() as here:
        answer = await here.check(method=method, content=b"a body nobody wants")
        assert answer.status_code == 200
        assert answer.headers["x-sidecar-decision"] == "allow"
        assert answer.headers["x-sidecar-session"] == "s1"
        assert answer.headers["x-sidecar-subject"] == "u1"
        assert answer.headers["x-sidecar-assurance"] == "mfa"
        assert answer.headers["cache-control"] == "no-store"
        assert "x-sidecar-step-up" not in answer.headers
        assert answer.content == b""


async def test_what_pipelined_checks_wait_for_is_gathered_and_each_is_answered_in_turn() -> None:
    asked = [
        b"GET /v1/check HTTP/1.1\r\nHost: a\r\nX-Forwarded-Uri: /x\r\n"
        b"Authorization: Bearer s%dlater\r\n\r\n" % number
        for number in range(3)
    ]
    between = b"GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n"
    async with pod() as here:
        address = here.client.base_url
        stream = await trio.open_tcp_stream(address.host, address.port)
        await stream.send_all(asked[0] + between + asked[1] + asked[2])
        data = b""
        while data.count(b"HTTP/1.1 ") < 4:
            data += await stream.receive_some()
        await stream.aclose()
        assert here.services.gathered == [3]
    statuses = [int(part[:3]) for part in data.split(b"HTTP/1.1 ")[1:]]
    assert statuses == [200, 404, 200, 200]
    assert [call.token for call in here.services.calls] == ["s0later", "s1later", "s2later"]


fields = st.fixed_dictionaries(
    {},
    optional={
        b"x-auth-context": st.sampled_from([b"", b"c1", b"c2,c1", b"c99", b"\xff"]),
        b"authorization": st.sampled_from([b"Bearer s1", b"DPoP s1", b"Bearer a,b", b"Basic eA=="]),
        b"dpop": st.just(b"proof"),
        b"cookie": st.sampled_from([b"at=s2", b"at=s1; b=c"]),
        b"x-forwarded-uri": st.sampled_from([b"/a?b=c", b"/a?_method=PUT", b"/%2e%2e/x", b"x"]),
        b"x-forwarded-method": st.sampled_from([b"GET", b"OPTIONS", b"\xe4"]),
        b"x-forwarded-for": st.sampled_from([b"198.51.100.1", b"x"]),
        b"user-agent": st.just(b"curl"),
        b"origin": st.sampled_from([b"https://a.example", b"null"]),
        b"access-control-request-method": st.just(b"GET"),
        b"x-client-cert": st.sampled_from([b"", b"no certificate"]),
    },
)


@given(
    st.sampled_from([b"/v1/check", b"/v1/check?x", b"/v1/ext_authz/a", b"/v1/ext_authz", b"/v2"]),
    fields,
    st.dictionaries(st.sampled_from([b"authorization", b"dpop", b"cookie"]), st.just((b"a", b"b"))),
    st.sampled_from(Gateway),
)
async def test_what_is_answered_at_once_is_what_the_handler_answers(
    target: bytes, headers: dict[bytes, bytes], repeated: Any, gateway: Gateway
) -> None:
    services = Services()
    listener = DataListener(
        Http(
            gateway=gateway,
            token_cookie="at",
            trusted_proxies=("127.0.0.1/32",),
            preflight=True,
            cors=Cors(origins=("https://a.example",)),
        ),
        checks=services,
        events=services,
        speakers=speakers(),
        clock=clock,
        skew=lambda: SKEW,
        new_id=Numbers(),
        binding=Binding(possession=Possession.VERIFY, certificate_header="X-Client-Cert"),
    )
    request = Request("GET", target, b"a.example", headers, b"", "127.0.0.1", repeated)
    at_once = listener.prepare(request)
    response = None if at_once is None else at_once()
    asked = services.calls[:]
    plain = await listener.handle(request)
    if response is not None:
        assert isinstance(response, PreparedResponse)
        assert (response.status, response.body) == (plain.status, plain.body)
        assert response.lines == header_lines(plain.fields)
        assert asked == services.calls[1:]


@pytest.mark.parametrize("text", ['\\"', '"\\', ";Hash=", '";', "; "])
async def test_no_certificate_header_holds_the_others_up(text: str) -> None:
    binding = Binding(
        possession=Possession.VERIFY,
        certificate_header="X-Forwarded-Client-Cert",
        certificate_form=CertificateForm.XFCC,
    )
    # As much as a head may have; a reader that goes back takes seconds for each.
    hostile = {**BEARER, "X-Forwarded-Client-Cert": f'Subject="{text * (30_000 // len(text))}x'}
    async with pod(binding=binding, trusted_proxies=("127.0.0.0/8",)) as here:
        for _ in range(5):
            assert (await here.check(headers=hostile)).status_code == 400
        assert (await here.check()).status_code == 200


async def test_of_a_chain_in_the_certificate_header_the_clients_own_counts() -> None:
    leaf, issuer = (trustme.CA().cert_pem.bytes().decode() for _ in range(2))
    binding = Binding(
        possession=Possession.VERIFY,
        certificate_header="X-Amzn-Mtls-Clientcert",
        certificate_form=CertificateForm.PEM,
    )
    async with pod(binding=binding) as here:
        for pem in (leaf, leaf + issuer):
            described = {**BEARER, "X-Amzn-Mtls-Clientcert": quote(pem, safe="+=/")}
            assert (await here.check(headers=described)).status_code == 200
        one, chain = (call.shown.certificate for call in here.services.calls)
        assert one == chain == thumbprint(leaf, CertificateForm.PEM)
        described["X-Amzn-Mtls-Clientcert"] = quote(leaf + "x" + issuer)
        assert (await here.check(headers=described)).status_code == 400


async def test_a_head_check_is_answered_without_a_body() -> None:
    async with pod() as here:
        answer = await here.check(method="HEAD", headers={})
        assert (answer.status_code, answer.content) == (401, b"")


async def test_a_routine_call_is_answered_that_a_step_up_is_pending() -> None:
    async with pod() as here:
        answer = await here.check(headers={"Authorization": "Bearer s-pending"})
        assert answer.headers["x-sidecar-step-up"] == "pending"


async def test_a_call_in_a_marked_context_is_challenged() -> None:
    async with pod() as here:
        answer = await here.check(headers={**BEARER, "X-Auth-Context": "c1"})
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Bearer error=")
        assert answer.headers["x-sidecar-decision"] == "step_up"
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json() == {
            "type": "urn:stepup-sidecar:problem:step-up-required",
            "title": "A stronger or fresher sign-in is required",
            "status": 401,
            "acr_values": "phr",
            "max_age": 0,
        }


async def test_a_missing_token_is_challenged_without_an_error() -> None:
    async with pod() as here:
        answer = await here.check(headers={})
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
        assert answer.json()["type"].endswith(":invalid-token")


async def test_a_denied_call_is_answered_why() -> None:
    async with pod() as here:
        await here.events(EVENT)
        answer = await here.check()
        assert answer.status_code == 403
        assert answer.json()["reasons"] == [
            {"policy": "p1", "signal": "session-revoked", "text": "it was revoked"}
        ]


@pytest.mark.parametrize(
    ("trouble", "retry_after"), [(Overloaded(7), "7"), (Unavailable("store gone"), "1")]
)
async def test_what_cannot_be_decided_is_a_503_with_retry_after(
    trouble: Exception, retry_after: Any
) -> None:
    async with pod() as here:
        here.services.trouble = trouble
        for answer in (await here.check(), await here.events(EVENT)):
            assert answer.status_code == 503
            assert answer.headers["retry-after"] == retry_after
            assert answer.headers["content-type"] == "application/problem+json"


async def test_an_unforeseen_error_is_a_500_that_says_nothing() -> None:
    async with pod() as here:
        here.services.trouble = ZeroDivisionError("secret")
        for answer in (await here.check(), await here.events(EVENT)):
            assert answer.status_code == 500
            assert "secret" not in answer.text
        assert [incident for incident, _ in here.incidents] == [HttpIncident.CRASHED] * 2


async def test_a_check_hands_on_the_call_as_the_gateway_describes_it() -> None:
    async with pod(gateway=Gateway.TRAEFIK) as here:
        await here.check(
            headers={
                **BEARER,
                "X-Forwarded-Method": "POST",
                "X-Forwarded-Host": "shop.example",
                "X-Forwarded-Uri": "/p%61y?y",
                "X-Forwarded-For": "1.1.1.1, 203.0.113.9",
                "X-Auth-Context": "c2,c3",
                "User-Agent": "Firefox",
            }
        )
        (call,) = here.services.calls
    assert (call.token, call.contexts) == ("s1", {"c2", "c3"})
    assert (call.method, call.host, call.path) == ("POST", "shop.example", "/pay")
    assert (call.ip, call.user_agent) == ("203.0.113.9", "Firefox")


async def test_headers_of_another_gateway_change_nothing() -> None:
    async with pod(gateway=Gateway.NGINX) as here:
        headers = {**BEARER, "X-Original-URI": "/pay", "X-Forwarded-Uri": "/public"}
        await here.check(headers=headers)
        assert here.services.calls[0].path == "/pay"


@pytest.mark.parametrize(
    ("gateway", "headers"),
    [
        (Gateway.NGINX, {}),
        (Gateway.NGINX, {"X-Original-URI": "/a%2Fb"}),
        (Gateway.NONE, {"X-Auth-Context": "c 1"}),
        (Gateway.NONE, {}),
        (Gateway.NONE, {"X-Auth-Context": ","}),
        (Gateway.NONE, {"X-Original-URI": "/pay", "X-Forwarded-Uri": "/pay"}),
        (Gateway.ENVOY, {}),
        (Gateway.ENVOY, {"X-Forwarded-Uri": "/pay"}),
    ],
)
async def test_a_call_that_is_not_described_is_refused(gateway: Gateway, headers: Any) -> None:
    async with pod(gateway=gateway) as here:
        answer = await here.check(headers={**BEARER, **headers})
        assert answer.status_code == 400
        assert answer.json()["type"].endswith(":invalid-request")
        assert here.services.calls == []


@pytest.mark.parametrize("gateway", [Gateway.ENVOY, Gateway.NONE])
async def test_where_no_gateway_describes_calls_the_context_must_be_named(gateway: Gateway) -> None:
    async with pod(gateway=gateway) as here:
        answer = await here.check(headers={**BEARER, "X-Auth-Context": "c2"})
        assert answer.status_code == 200
        (call,) = here.services.calls
        assert (call.contexts, call.path) == ({"c2"}, "")


async def test_what_is_configured_passes_unasked_and_names_nobody() -> None:
    asks = {"Origin": "https://a.example", "Access-Control-Request-Method": "POST"}
    options = {**BEARER, "X-Forwarded-Method": "OPTIONS", "X-Forwarded-Uri": "/pay"}
    async with pod(preflight=True, public=("/open/*",), unchecked=("PROPFIND",)) as here:
        for headers in (
            {**options, **asks},
            {**BEARER, "X-Forwarded-Uri": "/open/a"},
            {**options, "X-Forwarded-Method": "PROPFIND"},
        ):
            answer = await here.check(headers=headers)
            assert (answer.status_code, answer.headers["x-sidecar-decision"]) == (200, "allow")
            assert answer.headers["x-sidecar-subject"] == answer.headers["x-sidecar-session"] == ""
        assert here.services.calls == []
        for headers in (options, {**options, **asks, "X-Forwarded-Method": "POST"}):
            await here.check(headers=headers)
        assert [call.method for call in here.services.calls] == ["OPTIONS", "POST"]
    async with pod(preflight=True, gateway=Gateway.NONE) as here:  # no method is named
        headers = {**asks, "X-Auth-Context": "c1"}
        assert (await here.check(method="OPTIONS", headers=headers)).status_code == 401
    async with pod(preflight=True, gateway=Gateway.ENVOY) as here:
        answer = await here.check("/v1/ext_authz/pay", "OPTIONS", asks)
        assert (answer.status_code, here.services.calls) == (200, [])


async def test_refusals_are_readable_for_pages_of_allowed_origins() -> None:
    page = {"Origin": "https://a.example"}
    async with pod(cors=Cors(origins=("https://a.example",))) as here:
        for headers, status in (
            ({}, 401),
            ({**BEARER, "X-Auth-Context": "c1"}, 401),
            ({**BEARER, "X-Auth-Context": "c 1"}, 400),
        ):
            answer = await here.check(headers={**headers, **page})
            assert (answer.status_code, answer.headers["vary"]) == (status, "Origin")
            assert answer.headers["access-control-allow-origin"] == page["Origin"]
        answer = await here.check(headers={**BEARER, **page})
        assert "access-control-allow-origin" not in answer.headers, "what passes is the app's"
        here.services.trouble = Overloaded(7)
        answer = await here.check(headers={**BEARER, **page})
        assert answer.headers["access-control-allow-origin"] == page["Origin"]
        assert "Retry-After" in answer.headers["access-control-expose-headers"]


async def test_two_tokens_are_refused() -> None:
    async with pod() as here:
        headers = [("Authorization", "Bearer a"), ("Authorization", "Bearer b")]
        assert (await here.check(headers=headers)).status_code == 400


@pytest.mark.parametrize("gateway", [Gateway.ENVOY, Gateway.NONE])
async def test_envoys_service_takes_the_path_from_the_target(gateway: Gateway) -> None:
    async with pod(gateway=gateway) as here:
        headers = {**BEARER, "Host": "shop.example"}
        answer = await here.check("/v1/ext_authz/pay/7?x=1", "PUT", headers)
        assert answer.status_code == 200
        (call,) = here.services.calls
        assert (call.method, call.host, call.path) == ("PUT", "shop.example", "/pay/7")


async def test_envoys_service_is_not_there_for_another_gateway() -> None:
    async with pod(gateway=Gateway.CADDY) as here:
        assert (await here.check("/v1/ext_authz/public")).status_code == 404
        assert here.services.calls == []


async def test_an_event_is_accepted_once_it_is_durable() -> None:
    async with pod() as here:
        answer = await here.events({**EVENT, "id": "x1"})
        assert (answer.status_code, answer.json()) == (202, {"ok": True, "id": "x1"})
        again = await here.events({**EVENT, "id": "x1"})
        assert (again.status_code, again.json()["duplicate"]) == (202, True)
        assert (await here.events(EVENT)).json()["id"] == "e1"


async def test_an_event_over_several_lines_is_one_event() -> None:
    async with pod() as here:
        answer = await here.events(json.dumps(EVENT, indent=2).encode())
        assert (answer.status_code, answer.json()["id"]) == (202, "e1")


async def test_an_event_may_wait_until_every_sidecar_has_it() -> None:
    async with pod() as here:
        assert (await here.events({**EVENT, "wait": "everywhere"})).json()["settled"] is True


@pytest.mark.parametrize(
    ("event", "field"),
    [
        ({**EVENT, "type": "x"}, "type"),
        ({"type": "risk-level-change", "subject": {"user": "u"}}, "data.current_level"),
        ({**EVENT, "wait": "x"}, "wait"),
        ([], None),
        (b"", None),
        (b"\xff", None),
        (b"{}{}", None),
    ],
)
async def test_an_invalid_event_is_refused_by_its_field(event: Any, field: str | None) -> None:
    async with pod() as here:
        answer = await here.events(event)
        assert answer.status_code == 400
        assert answer.json()["type"].endswith(":invalid-event")
        assert answer.json().get("field") == field


@pytest.mark.parametrize("kind", ["application/x-ndjson", "application/json"])
async def test_ndjson_gets_a_result_for_each_line_in_order(kind: str) -> None:
    lines = [json.dumps({**EVENT, "id": f"x{n}", "ref": n}).encode() for n in range(300)]
    lines[7] = b'{"type":"x","ref":7}'
    lines[9] = b"nonsense"
    async with pod() as here:
        answer = await here.events(b"\n".join(lines) + b"\n\r\n\n", kind)
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/x-ndjson"
        results = [json.loads(line) for line in answer.text.splitlines()]
        assert 1 < here.services.most_at_once <= 64
    assert len(results) == 300
    assert results[8] == {"ok": True, "id": "x8", "ref": 8}
    assert (results[7]["error"], results[7]["field"]) == ("invalid_event", "type")
    assert results[9]["error"] == "invalid_json"


async def test_ndjson_ends_after_some_lines_that_are_no_events_and_says_what_was_taken() -> None:
    good = [json.dumps({**EVENT, "id": f"x{n}"}).encode() for n in range(3)]
    lines = [good[0], *[b"a"] * 15, good[1], b"a", *[b"a"] * 500, good[2]]
    async with pod() as here:
        answer = await here.events(b"\n".join(lines), "application/x-ndjson")
        results = [json.loads(line) for line in answer.text.splitlines()]
        assert answer.status_code == 400
        assert [one["id"] for one in results if one["ok"]] == ["x0", "x1"]
        assert here.services.ids == {"x0", "x1"}
        assert (len(results), results[-1]["error"]) == (19, "too_many_refusals")
        assert "18 lines were looked at, and the 501 after them were not" in results[-1]["message"]
        here.services.trouble = Overloaded()
        answer = await here.events(b"\n".join(lines), "application/x-ndjson")
        assert answer.status_code == 503


@pytest.mark.parametrize("kind", ["application/x-ndjson", "application/json"])
async def test_a_request_has_so_many_lines_and_an_event_so_many_bytes(kind: str) -> None:
    event = json.dumps(EVENT).encode()
    large = json.dumps({**EVENT, "data": {"x": "x" * 70_000}}).encode()
    async with pod() as here:
        assert (await here.events(b"%b\n" % event * 1000, kind)).status_code == 200
        taken = len(here.services.signals)
        for body in (b"%b\n" % event * 1001, b"%b\n" % event * 2 + b"\n" * 1001):
            assert (await here.events(body, kind)).status_code == 413
        answer = await here.events(event + b"\n" + large, kind)
        assert [json.loads(line).get("error") for line in answer.text.splitlines()] == [
            None,
            "too_large",
        ]
        assert (await here.events(large, "application/json")).status_code == 413
        assert len(here.services.signals) == taken + 1


@pytest.mark.parametrize("trouble", [Overloaded(), Unavailable(), ZeroDivisionError()])
async def test_ndjson_that_should_be_sent_again_is_a_503(trouble: Exception) -> None:
    async with pod() as here:
        here.services.trouble = trouble
        answer = await here.events(b"%b\n" % json.dumps(EVENT).encode() * 2, "application/x-ndjson")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert [json.loads(line)["ok"] for line in answer.text.splitlines()] == [False, False]


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
async def test_events_are_posted(method: str) -> None:
    async with pod() as here:
        answer = await here.client.request(method, "/v1/events")
        assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/check/", "/v1/checks", "/v1/ext_authzx", "/x"])
async def test_anything_else_is_not_there(path: str) -> None:
    async with pod() as here:
        answer = await here.check(path)
        assert (answer.status_code, answer.json()["status"]) == (404, 404)


async def test_other_handlers_may_be_added_but_not_over_ours() -> None:
    async def teapot(request: Any) -> Any:
        return Response(418, (), request.body)

    async with pod({b"/tea": teapot, b"/v1/check": teapot}) as here:
        assert (await here.client.post("/tea?x", content=b"pot")).text == "pot"
        assert (await here.check()).status_code == 200


async def test_two_tokens_are_an_invalid_request_with_a_challenge_that_says_so() -> None:
    async with pod(token_header="X-Token") as sidecar:
        answer = await sidecar.check(headers={**BEARER, "X-Token": "other"})
    assert answer.status_code == 400
    assert answer.headers["www-authenticate"] == (
        'Bearer error="invalid_request", error_description="the request has more than one token"'
    )


async def test_what_it_believes_and_takes_is_as_it_is_configured_now() -> None:
    """On one connection: a reload closes none."""
    async with pod(public=("/routine",)) as here:
        assert (await here.check(headers={})).status_code == 200
        http = Http(bind="127.0.0.1:0", gateway=Gateway.CADDY, token_header="X-Token")
        here.listener.replace(http, Binding())
        assert (await here.check(headers={})).status_code == 401
        assert (await here.check(headers={"X-Token": "s1"})).status_code == 200
        assert (await here.events(EVENT)).status_code == 404  # `events` is off by default
        here.listener.replace(msgspec.structs.replace(http, gateway=Gateway.ENVOY), Binding())
        answer = await here.check("/v1/ext_authz/routine", headers={"X-Token": "s1"})
        assert answer.status_code == 200
