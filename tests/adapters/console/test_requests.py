"""Which requests are taken for those of the console's own pages, and what their cookies are."""

import pytest
from starlette.requests import Request

from sidecar.adapters.console import requests
from sidecar.adapters.listening.application import RequestRefused


def request(scheme: str = "http", **headers: str) -> Request:
    raw = [(name.replace("_", "-").encode(), text.encode()) for name, text in headers.items()]
    scope = {"type": "http", "scheme": scheme, "path": "/", "query_string": b"", "headers": raw}
    return Request({**scope, "server": ("sidecar", 9090), "method": "POST"})


@pytest.mark.parametrize(
    ("headers", "own"),
    [
        ({"sec_fetch_site": "same-origin", "host": "a"}, True),
        ({"sec_fetch_site": "same-origin", "host": "a", "origin": "https://proxy"}, True),
        ({"host": "a:9090", "origin": "http://a:9090"}, True),
        ({"host": "A:9090", "origin": "https://a:9090"}, True),
        ({"host": "a:9090", "origin": "http://a"}, False),
        ({"host": "a:9090", "origin": "http://a:9090.evil.example"}, False),
        ({"host": "a:9090", "origin": "http://evil.example/a:9090"}, False),
        ({"host": "a:9090", "origin": "null"}, False),
        ({"host": "a:9090"}, False),
        ({"origin": "http://"}, False),
        ({}, False),
        ({"sec_fetch_site": "same-site", "host": "a", "origin": "http://a"}, False),
        ({"sec_fetch_site": "cross-site", "host": "a", "origin": "http://a"}, False),
        ({"sec_fetch_site": "none", "host": "a", "origin": "http://a"}, False),
        ({"sec_fetch_site": "", "host": "a", "origin": "http://a"}, False),
    ],
    ids=repr,
)
def test_a_form_is_taken_from_a_page_of_the_same_origin_alone(
    headers: dict[str, str], own: bool
) -> None:
    if own:
        requests.check_own(request(**headers))
        return
    with pytest.raises(RequestRefused) as refused:
        requests.check_own(request(**headers))
    assert refused.value.status_code == 403


def test_over_tls_a_cookie_is_of_this_host_alone() -> None:
    name = requests.PLAIN_COOKIE
    assert requests.cookie_name(request("https", host="a"), name) == f"__Host-{name}"
    assert requests.cookie_name(request("http", host="a"), name) == name


def test_the_token_to_sign_in_is_of_one_browser_and_one_process() -> None:
    tokens = {
        requests.token_before(key, cookie) for key in (b"a" * 32, b"b" * 32) for cookie in ("", "x")
    }
    assert len(tokens) == 4
