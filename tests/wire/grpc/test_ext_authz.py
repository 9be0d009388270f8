"""The codec of ext_authz, also against the classes that Google's compiler makes of Envoy's."""

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.wire.grpc.ext_authz import PASSED_ON, decode_request, encode_response
from sidecar.wire.grpc.protobuf import MessageInvalid, bytes_field
from sidecar.wire.http.messages import Request, Response

PASSED = (
    ("X-Sidecar-Decision", "allow"),
    ("X-Sidecar-Session", "s1"),
    ("X-Sidecar-Subject", ""),
    ("Cache-Control", "no-store"),
)
CHALLENGE = 'Bearer error="insufficient_user_authentication", acr_values="a: b", max_age="0"'


@pytest.fixture(scope="module")
def envoy() -> Any:
    return pytest.importorskip("envoy.service.auth.v3.external_auth_pb2")


@given(st.binary(max_size=300))
def test_no_bytes_make_the_decoder_raise_anything_but_its_own_error(data: bytes) -> None:
    for nested in (data, bytes_field(1, bytes_field(4, bytes_field(2, data)))):
        with contextlib.suppress(MessageInvalid):
            decode_request(nested)


def test_a_request_that_says_nothing_is_empty() -> None:
    assert decode_request(b"") == (Request("", b""), "")


def test_a_request_of_envoy_is_read(envoy: Any) -> None:
    message = envoy.CheckRequest()
    http = message.attributes.request.http
    http.id, http.method, http.path, http.host = "7", "POST", "/pay/7?x=1", "shop.example:443"
    http.scheme, http.size, http.protocol, http.body = "https", 5, "HTTP/2", "hello"
    http.headers.update({":path": "/pay/7", "authorization": "Bearer a", "x-auth-context": "c1"})
    message.attributes.request.time.GetCurrentTime()
    address = message.attributes.source.address.socket_address
    address.address, address.port_value = "203.0.113.9", 4711
    message.attributes.destination.address.socket_address.address = "10.0.0.1"
    message.attributes.context_extensions.update({"auth-context": "c2,c3", "other": "x"})
    request, contexts = decode_request(message.SerializeToString())
    headers = {b":path": b"/pay/7", b"authorization": b"Bearer a", b"x-auth-context": b"c1"}
    expected = Request("POST", b"/pay/7?x=1", b"shop.example:443", headers, b"", "203.0.113.9")
    assert (request, contexts) == (expected, "c2,c3")


def test_raw_headers_keep_what_comes_more_than_once(envoy: Any) -> None:
    message = envoy.CheckRequest()
    fields = message.attributes.request.http.header_map.headers
    for name, value in (("Authorization", b"Bearer a"), ("authorization", b"Bearer \xff")):
        fields.add(key=name, raw_value=value)
    fields.add(key="user-agent", value="x")
    request, _ = decode_request(message.SerializeToString())
    assert request.headers == {b"authorization": b"Bearer a", b"user-agent": b"x"}
    assert request.repeated == {b"authorization": (b"Bearer a", b"Bearer \xff")}


def test_a_passed_call_gets_each_of_our_headers_or_loses_it(envoy: Any) -> None:
    answer = envoy.CheckResponse.FromString(encode_response(Response(200, PASSED)))
    assert answer.WhichOneof("http_response") == "ok_response"
    assert (answer.HasField("status"), answer.status.code) == (True, 0)
    ok = answer.ok_response
    found = {one.header.key: (one.header.value, one.append_action) for one in ok.headers}
    assert found == {"x-sidecar-decision": ("allow", 2), "x-sidecar-session": ("s1", 2)}
    ours = {name.decode() for name in PASSED_ON}
    assert set(found) | set(ok.headers_to_remove) >= ours
    alike = {name.replace("_", "-") for name in ok.headers_to_remove}
    assert alike == ours | {"x-http-method-override", "x-http-method", "x-method-override"}
    assert {"x_sidecar_subject", "x-sidecar_step_up"} <= set(ok.headers_to_remove)
    assert not set(found) & set(ok.headers_to_remove)
    assert not ok.response_headers_to_add


def test_what_an_app_might_take_for_ours_is_taken_away_where_it_is_seen(envoy: Any) -> None:
    seen = [b"x.sidecar.subject", b"x!sidecar~foo", b"x-sidecar-session", b"x-sidecars", b"cookie"]
    seen += [b"x.http.method.override", b"x!method~override", b"x-http-methods", b"x-method"]
    answer = envoy.CheckResponse.FromString(encode_response(Response(200, PASSED), seen))
    removed = set(answer.ok_response.headers_to_remove)
    assert {"x.sidecar.subject", "x!sidecar~foo"} <= removed
    assert {"x.http.method.override", "x!method~override"} <= removed
    assert not removed & {"x-sidecar-session", "x-sidecars", "cookie", "x-http-methods"}


@pytest.mark.parametrize(("status", "code"), [(400, 3), (401, 16), (403, 7), (503, 14)])
def test_a_refused_call_keeps_status_headers_and_body(envoy: Any, status: int, code: int) -> None:
    fields = (("WWW-Authenticate", CHALLENGE), ("Retry-After", "1"))
    response = Response(status, fields, b'{"x":"\xc3\xa4"}')
    answer = envoy.CheckResponse.FromString(encode_response(response))
    assert answer.WhichOneof("http_response") == "denied_response"
    assert answer.status.code == code
    denied = answer.denied_response
    found = [(one.header.key, one.header.value, one.append_action) for one in denied.headers]
    assert found == [("www-authenticate", CHALLENGE, 2), ("retry-after", "1", 2)]
    assert (denied.status.code, denied.body) == (status, '{"x":"ä"}')


def test_an_answer_that_is_not_allow_is_never_an_ok() -> None:
    for status in range(100, 600):
        encoded = encode_response(Response(status))
        assert (encoded[:2] == b"\x0a\x00") is (status == 200)
