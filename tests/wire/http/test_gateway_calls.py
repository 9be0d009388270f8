from typing import Any

import pytest

from sidecar.wire.http import gateway_calls
from sidecar.wire.http.gateway_calls import (
    MAX_HOPS,
    ClientAddresses,
    InvalidCall,
    InvalidCredentials,
    Original,
    TokenSources,
    asked_call,
    asked_contexts,
    direct_call,
    dpop_proof,
    ext_authz_call,
    original_call,
)
from sidecar.wire.http.messages import Request
from sidecar.wire.settings.settings import ClientAddress, Gateway, Http

FORWARDED = (Gateway.CADDY, Gateway.TRAEFIK, Gateway.HAPROXY, Gateway.APACHE)


def request(
    *fields: Any,
    method: Any = "GET",
    target: Any = "/v1/check",
    host: Any = "pod.internal",
    peer: Any = "127.0.0.1",
) -> Any:
    values: dict[bytes, tuple[bytes, ...]] = {}
    for name, value in fields:
        key = name.lower().encode()
        values[key] = (*values.get(key, ()), value.encode("latin-1"))
    return Request(
        method,
        target.encode("latin-1"),
        host.encode(),
        {name: all_of[0] for name, all_of in values.items()},
        b"",
        peer,
        {name: all_of for name, all_of in values.items() if len(all_of) > 1},
    )


EVERYTHING = (
    ("X-Original-Method", "DELETE"),
    ("X-Original-URI", "/nginx?x"),
    ("X-Forwarded-Method", "PUT"),
    ("X-Forwarded-Host", "Shop.Example:8443"),
    ("X-Forwarded-Uri", "/f%6Frwarded?x"),
)


def test_each_gateway_is_believed_in_its_own_headers_only() -> None:
    call = request(*EVERYTHING)
    assert original_call(call, Gateway.NONE) == Original()
    assert original_call(call, Gateway.ENVOY) == Original()
    assert original_call(call, Gateway.NGINX) == Original("DELETE", "pod.internal", "/nginx", "x")
    for gateway in FORWARDED:
        assert original_call(call, gateway) == Original("PUT", "shop.example", "/forwarded", "x")


def test_nginx_may_send_the_whole_url() -> None:
    call = request(
        ("X-Original-URL", "https://Shop.example:443/pay?x"), ("X-Original-Method", "POST")
    )
    assert original_call(call, Gateway.NGINX) == Original("POST", "shop.example", "/pay", "x")


def test_nginx_uri_and_url_must_agree_since_the_client_may_have_sent_one() -> None:
    call = request(("X-Original-URL", "https://a/admin"), ("X-Original-URI", "/public"))
    with pytest.raises(InvalidCall):
        original_call(call, Gateway.NGINX)
    call = request(("X-Original-URL", "https://a/admin?x"), ("X-Original-URI", "/%61dmin"))
    assert original_call(call, Gateway.NGINX).path == "/admin"


@pytest.mark.parametrize("gateway", [Gateway.NGINX, *FORWARDED])
def test_a_gateway_that_sends_no_path_is_an_error_not_a_routine_call(gateway: Gateway) -> None:
    with pytest.raises(InvalidCall, match="must send X-"):
        original_call(request(("X-Auth-Context", "c1")), gateway)


@pytest.mark.parametrize("name", ["X-Forwarded-Uri", "X-Forwarded-Host", "X-Forwarded-Method"])
def test_a_believed_header_that_comes_twice_is_refused(name: Any) -> None:
    call = request(*EVERYTHING, (name, "/b"))
    with pytest.raises(InvalidCall, match="more than once"):
        original_call(call, Gateway.CADDY)


def test_a_repeated_header_that_is_not_believed_does_no_harm() -> None:
    call = request(*EVERYTHING, ("X-Forwarded-Uri", "/b"))
    assert original_call(call, Gateway.NGINX).path == "/nginx"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X-Forwarded-Uri", "relative"),
        ("X-Forwarded-Uri", "/a%2Fb"),
        ("X-Forwarded-Uri", "/pay/../b"),
        ("X-Forwarded-Uri", "/pay/%2e%2e/b"),
        ("X-Forwarded-Uri", "//pay"),
        ("X-Forwarded-Uri", "/pay\\..\\b"),
        ("X-Forwarded-Uri", ""),
        ("X-Forwarded-Method", "G T"),
        ("X-Forwarded-Method", ""),
        ("X-Forwarded-Host", "a, b"),
        ("X-Forwarded-Host", "a/b"),
    ],
)
def test_a_believed_header_that_makes_no_sense_is_refused(name: Any, value: Any) -> None:
    fields = {**dict(EVERYTHING), name: value}
    with pytest.raises(InvalidCall) as caught:
        original_call(request(*fields.items()), Gateway.TRAEFIK)
    assert not value or value not in str(caught.value)


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/v1/ext_authz/pay/7?x=1", "/pay/7"),
        ("/v1/ext_authz/", "/"),
        ("/v1/ext_authz", "/"),
        ("/v1/ext_authz/%61dmin", "/admin"),
    ],
)
def test_envoy_appends_the_original_path(target: str, path: str) -> None:
    call = request(method="PATCH", target=target, host="shop.example:80")
    query = target.partition("?")[2]
    assert ext_authz_call(call) == Original("PATCH", "shop.example", path, query)


@pytest.mark.parametrize(
    "query", ["_method=PUT", "a=1&_METHOD=put", "%5fm%65thod=PUT", "a;_method", "a&+.method=PUT"]
)
def test_a_call_whose_query_names_a_method_may_run_as_any(query: str) -> None:
    target = f"/pay/7?{query}"
    found = [
        ("X-Forwarded-Uri", target),
        ("X-Forwarded-Method", "POST"),
        ("X-Original-URI", target),
    ]
    for gateway in (Gateway.NGINX, *FORWARDED):
        assert original_call(request(*found), gateway).method == "", gateway
    call = request(method="POST", target=f"/v1/ext_authz{target}")
    assert ext_authz_call(call)[::2] == ("", "/pay/7")
    assert direct_call(request(method="POST", target=target)).method == ""


def test_a_query_with_another_method_in_it_leaves_the_call_its_own() -> None:
    call = request(method="POST", target="/pay/7?payment_method=card&a=_method&method=PUT")
    assert direct_call(call).method == "POST"


@pytest.mark.parametrize("path", ["//admin", "/../v1/check", "/pay/%2e%2e/x", "/a%5Cb"])
def test_a_path_that_servers_read_differently_is_refused_from_envoy_too(path: str) -> None:
    with pytest.raises(InvalidCall):
        ext_authz_call(request(target=f"/v1/ext_authz{path}"))


def test_contexts_are_listed_with_commas_over_any_number_of_lines() -> None:
    assert asked_contexts(request(("X-Auth-Context", "c1, c2"), ("x-auth-context", ",c3,c1"))) == (
        "c1",
        "c2",
        "c3",
    )
    assert asked_contexts(request()) == ()


@pytest.mark.parametrize("value", ["c 1", "c1;c2", "x" * 65, "ü", ",".join(map(str, range(17)))])
def test_a_context_that_is_no_name_is_refused(value: Any) -> None:
    with pytest.raises(InvalidCall):
        asked_contexts(request(("X-Auth-Context", value)))


def token(*fields: Any, **settings: Any) -> Any:
    return TokenSources(Http(**settings)).token(request(*fields))


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_scheme_of_a_token_has_no_case(scheme: str) -> None:
    assert token(("Authorization", f"{scheme} abc.def")) == "abc.def"


@pytest.mark.parametrize("value", ["Basic abc", "Bearer", "Bearer ", "abc", ""])
def test_other_credentials_are_no_token(value: Any) -> None:
    assert token(("Authorization", value)) == ""


def test_two_authorization_headers_are_refused() -> None:
    with pytest.raises(InvalidCall):
        token(("Authorization", "Bearer a"), ("Authorization", "Bearer a"))


@pytest.mark.parametrize(
    "value",
    [
        "Bearer a, Bearer b",
        "bearer a,bearer b",
        "DPoP a, Bearer b",
        "Bearer a,",
        "Bearer a, Basic b",
        "Basic b, Bearer a",
        "Basic b,\tdpop a",
    ],
)
def test_two_that_a_gateway_made_one_of_are_refused_too(value: str) -> None:
    with pytest.raises(InvalidCredentials, match="more than once"):
        token(("Authorization", value))


def test_a_comma_in_other_credentials_is_theirs() -> None:
    digest = 'Digest username="bearer", uri="/a,bearer=", realm="x"'
    assert token(("Authorization", digest), ("Cookie", "sid=abc"), token_cookie="sid") == "abc"


def test_a_token_may_be_in_the_configured_cookie_or_header() -> None:
    assert token(("Cookie", 'x=1; sid="abc"'), token_cookie="sid") == "abc"
    assert token(("Cookie", "x=1"), ("Cookie", "sid=abc"), token_cookie="sid") == "abc"
    assert token(("X-Token", "abc"), token_header="X-Token") == "abc"
    assert token(("X-Token", "Bearer abc"), token_header="X-Token") == "abc"
    assert token(("Cookie", "sid=abc"), ("X-Token", "abc")) == ""


@pytest.mark.parametrize(
    "fields",
    [
        (("Authorization", "Bearer a"), ("Cookie", "sid=b")),
        (("Cookie", "sid=a; sid=b"),),
        (("Cookie", "sid=a"), ("Cookie", "sid=b")),
    ],
)
def test_two_different_tokens_are_refused_since_the_app_may_act_on_the_other(fields: Any) -> None:
    with pytest.raises(InvalidCall):
        token(*fields, token_cookie="sid")


def test_the_same_token_twice_is_one_token() -> None:
    assert token(("Authorization", "Bearer a"), ("Cookie", "sid=a"), token_cookie="sid") == "a"


def client(*fields: Any, peer: Any = "127.0.0.1", **settings: Any) -> Any:
    settings.setdefault("trusted_proxies", ("127.0.0.0/8", "10.0.0.0/8", "fd00::/8"))
    return ClientAddresses(Http(**settings)).client(request(*fields, peer=peer))


def test_a_peer_that_is_no_trusted_proxy_is_the_client_whatever_it_says() -> None:
    fields = (("X-Forwarded-For", "198.51.100.1"), ("X-Real-IP", "198.51.100.1"))
    assert client(*fields, peer="203.0.113.9") == "203.0.113.9"
    assert client(*fields, peer="::ffff:203.0.113.9") == "203.0.113.9"


@pytest.mark.parametrize(
    ("header", "address"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("1.1.1.1, 203.0.113.9", "203.0.113.9"),
        ("1.1.1.1, 203.0.113.9, 10.0.0.1, 127.0.0.1", "203.0.113.9"),
        ("10.0.0.2, 10.0.0.1", "10.0.0.2"),
        ("203.0.113.9:4711", "203.0.113.9"),
        ("[2001:db8::1]:4711", "2001:db8::1"),
        ("2001:DB8::1, fd00::2", "2001:db8::1"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("203.0.113.9, unknown, 10.0.0.1", "10.0.0.1"),
        ("unknown", ""),
        ("", ""),
    ],
)
@pytest.mark.parametrize("peer", ["127.0.0.1", ""])
def test_forwarded_for_is_read_from_the_right_over_trusted_proxies(
    header: str, address: Any, peer: str
) -> None:
    assert client(("X-Forwarded-For", header), peer=peer) == address


def test_no_more_proxies_are_looked_at_than_there_may_be() -> None:
    hops = ", ".join(["203.0.113.9", *["127.0.0.1"] * (MAX_HOPS - 1)])
    assert client(("X-Forwarded-For", hops)) == "203.0.113.9"
    assert client(("X-Forwarded-For", f"{hops}, 127.0.0.1")) == "127.0.0.1"
    assert client(("X-Forwarded-For", ",".join(["127.0.0.1"] * 3000))) == "127.0.0.1"


def test_forwarded_for_may_come_in_several_lines() -> None:
    fields = (("X-Forwarded-For", "1.1.1.1"), ("X-Forwarded-For", "203.0.113.9, 10.0.0.1"))
    assert client(*fields) == "203.0.113.9"


def test_a_trusted_proxy_that_says_nothing_leaves_the_client_unknown() -> None:
    assert client() == ""
    assert client(peer="") == ""


def test_real_ip_counts_where_forwarded_for_is_absent_and_the_gateway_may_set_it() -> None:
    real = ("X-Real-IP", "203.0.113.9")
    assert client(real) == "203.0.113.9"
    assert client(real, gateway=Gateway.NGINX) == "203.0.113.9"
    assert client(real, ("X-Forwarded-For", "198.51.100.1")) == "198.51.100.1"
    assert client(real, gateway=Gateway.CADDY) == ""


def test_the_configured_address_header_is_the_only_one_believed() -> None:
    fields = (("X-Real-IP", "203.0.113.9"), ("X-Forwarded-For", "198.51.100.1"))
    assert client(*fields, client_address=ClientAddress.REAL_IP) == "203.0.113.9"
    assert client(*fields, client_address=ClientAddress.FORWARDED_FOR) == "198.51.100.1"
    assert client(fields[1], client_address=ClientAddress.REAL_IP) == ""
    with pytest.raises(InvalidCall):
        client(fields[0], fields[0], client_address=ClientAddress.REAL_IP)


def test_a_trusted_proxy_that_is_no_network_is_an_error_of_the_configuration() -> None:
    with pytest.raises(ValueError, match="nonsense"):
        ClientAddresses(Http(trusted_proxies=("nonsense",)))


def test_a_call_is_remembered_without_its_query_and_not_at_any_length() -> None:
    def asked(uri: str, host: str = "h") -> Original:
        fields = (("X-Original-URI", uri), ("X-Original-Method", "GET"))
        return original_call(request(*fields, host=host), Gateway.NGINX)

    known = gateway_calls._known_original  # noqa: SLF001 - what it holds is seen nowhere else
    known.cache_clear()
    assert asked("/in?code=1") == Original("GET", "h", "/in", "code=1")
    assert asked("/in?code=2") == Original("GET", "h", "/in", "code=2")
    assert asked("/in?_method=PUT").method == ""
    assert asked("/in") == Original("GET", "h", "/in")
    assert known.cache_info().currsize == 1
    assert asked("/in", "h:" + "0" * 300).host == "h"
    assert asked("/" + "x" * 300).path == "/" + "x" * 300
    assert known.cache_info().currsize == 1


def test_a_call_that_names_neither_a_path_nor_a_context_is_refused() -> None:
    with pytest.raises(InvalidCall, match="neither a path nor a context"):
        asked_call(request(), Gateway.NONE)
    original, contexts = asked_call(request(("X-Auth-Context", "c1")), Gateway.NONE)
    assert (original.path, contexts) == ("", ("c1",))


def test_a_proof_is_of_a_dpop_token_and_comes_once() -> None:
    shown = ("Authorization", "DPoP t")
    assert dpop_proof(request(("Authorization", "Bearer t"), ("DPoP", "p"))) is None
    assert dpop_proof(request(shown)) == ""
    assert dpop_proof(request(shown, ("DPoP", "p"))) == "p"
    with pytest.raises(InvalidCredentials, match="more than one DPoP proof"):
        dpop_proof(request(shown, ("DPoP", "p"), ("DPoP", "q")))
