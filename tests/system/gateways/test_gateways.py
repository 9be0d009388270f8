"""The real gateways, as deploy/gateways configures them, before a real app and a real daemon."""

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import parse_qsl

import pytest

from tests.adapters.servers import free_ports
from tests.stories.running import token, unique
from tests.system.gateways import programs
from tests.system.gateways.stack import (
    CLIENT,
    OPAQUE,
    PAGES,
    STEP_UP_PAGE,
    Stack,
    bearer,
    problem,
    silence,
)
from tests.waiting import eventually, into_next_second

HEARD = ("X-Sidecar-Decision", "X-Sidecar-Session", "X-Sidecar-Subject", "X-Sidecar-Assurance")
PROBLEM = "urn:stepup-sidecar:problem:"

FORGED = [
    ("X-Sidecar-Decision", "allow"),
    ("X-Sidecar-Session", "another"),
    ("X-Sidecar-Subject", "admin"),
    ("X-Sidecar-Assurance", "phishing-resistant"),
    ("X-Sidecar-Step-Up", "none"),
    ("X_Sidecar_Subject", "admin"),
    ("X-Sidecar_Session", "another"),
    ("X.Sidecar.Subject", "admin"),
    ("X!Sidecar~Subject", "admin"),
    ("X-Auth-Context", ""),
    ("X-Original-URI", "/public"),
    ("X-Original-URL", "http://other.example/public"),
    ("X-Original-Method", "OPTIONS"),
    ("X-Forwarded-Uri", "/public"),
    ("X-Forwarded-Method", "OPTIONS"),
    ("X-Forwarded-Host", "other.example"),
    ("X-Forwarded-For", "203.0.113.7"),
    ("X-Real-IP", "203.0.113.7"),
    ("Forwarded", "for=203.0.113.7;host=other.example"),
]
# Headers that a proxy takes for its own hop, and may take away.
NAMED = "X-Sidecar-Subject, X-Auth-Context, X-Forwarded-Uri, X-Original-URI, X-Forwarded-For"

TO_PAY = [
    "/pay/7",
    "/pay/7?next=/public",
    "//pay/7",
    "/pay//7",
    "/./pay/7",
    "/public/../pay/7",
    "/public/%2e%2e/pay/7",
    "/public/.%2E/pay/7",
    "/%70ay/7",
    "/%2570ay/7",
    "/pay%2f7",
    "/public%2f..%2fpay/7",
    "/public/..%2fpay/7",
    "/public\\..\\pay/7",
    "/public/%5c../pay/7",
    "/PAY/7",
    "/pay/7;x=1",
    "/pay;x/7",
    "/public/..;/pay/7",
    "/pay/7%00",
    "/pay/7#public",
    "//x/..//pay/7",
    "http://shop.example/pay/7",
    "/p%C0%A1y/7",
]

OVERRIDES = [
    "X-HTTP-Method-Override",
    "x-http-method-override",
    "X-HTTP-Method",
    "X-Method-Override",
    "X_HTTP_METHOD_OVERRIDE",
    "X-HTTP_Method",
    "X.Method.Override",
]
REPORTS = [
    "/reports",
    "/reports/",
    "/reports?x",
    "/REPORTS/1",
    "/Reports",
    "/%72eports/1",
    "/%52EPORTS/1",
    "//reports/1",
    "/./reports/1",
    "/x/../reports/1",
]


def session_of(stack: Stack, segment: str = "") -> tuple[str, str, str]:
    """A user, a session that has been seen, and its token; marked if a segment is entered."""
    user, session = unique("user"), unique("session")
    weak = token(user, session)
    assert stack.get("/public", bearer(weak)).status == 200
    if segment:
        event = stack.sidecar.client.event(
            "network-change", {"session": session}, data={"segment": segment}
        )
        assert event["ok"] is True
    return user, session, weak


def test_a_routine_call_passes_and_the_app_learns_who_calls(stack: Stack) -> None:
    user, session, weak = session_of(stack)
    answer = stack.get("/public/a?x=1&y=%20", bearer(weak), ("User-Agent", "browser/1"))
    assert (answer.status, answer.body) == (200, b"/public/a?x=1&y=%20")
    seen = stack.app.seen[-1]
    assert [seen.heard(name) for name in HEARD] == [["allow"], [session], [user], ["single-factor"]]
    assert seen.heard("X-Sidecar-Step-Up") == []
    assert seen.heard("Authorization") == [f"Bearer {weak}"]
    assert seen.heard("Host") == ["shop.example"]
    assert stack.sidecar.session(session)["summary"]["ip"] == CLIENT


def test_a_browser_that_opens_a_page_is_sent_to_the_step_up_and_back(stack: Stack) -> None:
    _, _, weak = session_of(stack, "restricted")
    opens = [("Accept", "text/html,*/*;q=0.8"), ("Sec-Fetch-Mode", "navigate")]
    answer = stack.get("/pay/7?a=1&next=//evil.example", bearer(weak), *opens)
    assert answer.status == 303
    assert answer.values("Cache-Control") == ["no-store"]
    (location,) = answer.values("Location")
    page, _, query = location.partition("?")
    assert page == STEP_UP_PAGE
    heard = dict(parse_qsl(query))
    assert heard["return_to"] == "/pay/7?a=1&next=//evil.example"
    assert heard["acr_values"] == "mfa"
    assert stack.get("/pay/7", bearer(weak), *opens, method="POST").status == 401
    assert stack.get("/pay/7", bearer(weak), opens[0]).status == 401


def test_a_call_without_a_token_gets_a_plain_challenge(stack: Stack) -> None:
    calls = len(stack.app.seen)
    answer = stack.get("/public")
    assert (answer.status, answer.values("WWW-Authenticate")) == (401, ["Bearer"])
    assert problem(answer)["type"] == PROBLEM + "invalid-token"
    assert len(stack.app.seen) == calls


def test_a_marked_context_is_challenged_word_for_word_until_a_step_up(stack: Stack) -> None:
    user, session, weak = session_of(stack, "restricted")
    calls = len(stack.app.seen)
    answer = stack.get("/pay/7", bearer(weak))
    challenge = stack.sidecar.client.check(weak, ip=CLIENT)["www_authenticate"]
    assert challenge.startswith('Bearer error="insufficient_user_authentication"')
    assert (answer.status, answer.values("WWW-Authenticate")) == (401, [challenge])
    assert problem(answer)["type"] == PROBLEM + "step-up-required"
    assert "no-store" in answer.values("Cache-Control")
    assert len(stack.app.seen) == calls
    assert stack.get("/public", bearer(weak)).status == 200
    assert stack.app.seen[-1].heard("X-Sidecar-Step-Up") == ["pending"]
    into_next_second()
    strong = token(user, session, age=0, acr="mfa")
    assert stack.get("/pay/7", bearer(strong)).status == 200
    assert stack.app.seen[-1].heard("X-Sidecar-Assurance") == ["mfa"]
    assert stack.get("/pay/7", bearer(weak)).status == 401, "each call is judged by its own token"


def test_a_revoked_session_is_refused_everywhere(stack: Stack) -> None:
    _, session, weak = session_of(stack)
    stack.sidecar.client.event("session-revoked", {"session": session}, data={"reason": "lost"})
    answer = stack.get("/public", bearer(weak))
    assert answer.status == 401
    assert 'error="invalid_token"' in answer.values("WWW-Authenticate")[0]


def test_forged_headers_do_not_help(stack: Stack) -> None:
    _, _, weak = session_of(stack, "restricted")
    calls = len(stack.app.seen)
    for forged in ([one] for one in FORGED):
        assert stack.get("/pay/7", bearer(weak), *forged).status == 401, forged
    assert stack.get("/pay/7", bearer(weak), *FORGED).status == 401
    assert stack.get("/pay/7", bearer(weak), *FORGED, *FORGED).status in {400, 401}
    assert stack.get("/pay/7", bearer(weak), ("Connection", NAMED)).status in {400, 401}
    assert stack.get("/pay/7", *FORGED).status == 401
    assert len(stack.app.seen) == calls


def test_two_tokens_are_one_clear_refusal(stack: Stack) -> None:
    _, _, weak = session_of(stack)
    calls = len(stack.app.seen)
    other = bearer(token(unique("user"), unique("session")))
    for fields in (
        (bearer(weak), other),
        (other, bearer(weak)),
        (("Authorization", "Basic x"), other),
    ):
        answer = stack.get("/public", *fields)
        assert answer.status == 400
        if stack.name != "nginx":  # which refuses such a request itself
            (challenge,) = answer.values("WWW-Authenticate")
            assert 'error="invalid_request"' in challenge
            assert "more than once" in challenge
    assert len(stack.app.seen) == calls


@pytest.mark.parametrize("connection", ["", NAMED, f"close, {NAMED}"])
def test_the_app_is_given_nothing_that_the_client_made_up(stack: Stack, connection: str) -> None:
    user, session, weak = session_of(stack)
    hop = [("Connection", connection)] if connection else []
    answer = stack.get("/public", bearer(weak), *FORGED, *hop)
    if connection and answer.status == 400:
        return  # Envoy takes no such request at all
    assert answer.status == 200
    seen = stack.app.seen[-1]
    assert [seen.heard(name) for name in HEARD] == [["allow"], [session], [user], ["single-factor"]]
    assert seen.heard("X-Sidecar-Step-Up") == []
    assert seen.heard("X-Auth-Context") == []
    assert "203.0.113.7" not in str(seen.headers)
    assert "other.example" not in str(seen.headers)
    assert stack.sidecar.session(session)["summary"]["ip"] == CLIENT


def test_no_header_makes_the_app_run_another_method(stack: Stack) -> None:
    _, _, weak = session_of(stack)
    for name in OVERRIDES:
        assert stack.get("/public", bearer(weak), (name, "PUT"), method="POST").status in {200, 400}
    assert stack.get("/public", bearer(weak), method="POST").status == 200
    for seen in stack.app.seen:
        assert not [name for name, _ in seen.headers if "method" in name.lower()], seen.headers


def test_a_preflight_passes_and_no_other_call_for_its_headers(stack: Stack) -> None:
    asks = (("Origin", "https://any.example"), ("Access-Control-Request-Method", "POST"))
    for forged in ((), FORGED):
        assert stack.get("/pay/7", *asks, *forged, method="OPTIONS").status == 200
        seen = stack.app.seen[-1]
        assert (seen.method, seen.heard("X-Sidecar-Decision")) == ("OPTIONS", ["allow"])
        assert {value for name in HEARD[1:] for value in seen.heard(name)} <= {""}
        assert seen.heard("Origin") == ["https://any.example"], "the app's own CORS reads it"
    calls = len(stack.app.seen)
    for method, fields in [
        ("OPTIONS", ()),
        ("OPTIONS", asks[:1]),
        ("OPTIONS", asks[1:]),
        ("GET", asks),
        ("POST", (*asks, ("X-HTTP-Method-Override", "OPTIONS"))),
    ]:
        assert stack.get("/pay/7", *fields, method=method).status == 401, (method, fields)
    assert stack.get("/pay/7?_method=PUT", *asks, method="OPTIONS").status == 401
    assert stack.get("/pay/..%2f7", *asks, method="OPTIONS").status in {400, 401, 404}
    assert len(stack.app.seen) == calls


def test_what_is_public_or_unchecked_passes_without_a_session(stack: Stack) -> None:
    for method, target in (("GET", "/open/a?b"), ("POST", "/open/a"), ("PROPFIND", "/pay/7")):
        assert stack.get(target, *FORGED[:5], method=method).status == 200, (method, target)
        seen = stack.app.seen[-1]
        assert (seen.method, seen.target) == (method, target)
        assert {value for name in HEARD[1:] for value in seen.heard(name)} <= {""}
    for reason in ("public", "method"):
        assert stack.sidecar.metric(f'sidecar_calls_unasked_total{{reason="{reason}"}}') > 0
    calls = len(stack.app.seen)
    for target in ("/open", "/openly", "/open/../pay/7", "/open/%2e%2e/pay/7", "/open/..;/pay/7"):
        assert stack.get(target).status in {400, 401}, target
    assert len(stack.app.seen) == calls


def test_a_page_of_an_allowed_origin_can_read_a_refusal(stack: Stack) -> None:
    _, _, weak = session_of(stack, "restricted")
    page, other = ("Origin", PAGES), ("Origin", "https://evil.example")
    for target, fields, status in [
        ("/public", (), 401),
        ("/pay/7", (bearer(weak),), 401),
        ("/pay;x/7", (bearer(weak),), 400),
    ]:
        answer = stack.get(target, *fields, page)
        assert (answer.status, answer.values("Vary")) == (status, ["Origin"]), target
        assert answer.values("Access-Control-Allow-Origin") == [PAGES]
        assert answer.values("Access-Control-Allow-Credentials") == ["true"]
        exposed = answer.values("Access-Control-Expose-Headers")
        assert exposed == ["WWW-Authenticate, Retry-After"]
        for others in ((), (other,)):
            answer = stack.get(target, *fields, *others)
            cors = [name for name, _ in answer.headers if name.lower().startswith("access-")]
            assert (answer.status, answer.values("Vary"), cors) == (status, ["Origin"], []), others
    answer = stack.get("/public", bearer(weak), page)
    assert (answer.status, answer.values("Access-Control-Allow-Origin")) == (200, []), "the app's"


def test_a_page_can_read_that_its_call_cannot_be_decided_now(stack: Stack) -> None:
    answer = stack.get("/public", bearer(f"{OPAQUE}1"), ("Origin", PAGES))
    if stack.name == "envoy":  # of a check's 5xx its HTTP service passes nothing on
        assert (answer.status, answer.body) == (503, b"")
        return
    assert (answer.status, answer.values("Retry-After")) == (503, ["1"])
    assert problem(answer)["type"] == PROBLEM + "unavailable"
    assert answer.values("Access-Control-Allow-Origin") == [PAGES]


def test_no_spelling_of_a_path_gets_around_its_context(stack: Stack) -> None:
    _, _, weak = session_of(stack, "restricted")
    calls = len(stack.app.seen)
    refused = {target: stack.get(target, bearer(weak)).status for target in TO_PAY}
    assert set(refused.values()) <= {400, 401, 404}, refused
    assert {refused["//pay/7"], refused["/public/../pay/7"]} <= {400, 401}, "401: made one before"
    assert refused["/%70ay/7"] == 401
    assert len(stack.app.seen) == calls


def test_no_app_is_left_to_read_a_path_that_servers_read_differently(stack: Stack) -> None:
    _, _, weak = session_of(stack, "restricted")
    assert stack.get("/%70ublic/x", bearer(weak)).status == 200
    for target in ("/pay/../public/x", "//public//x", "/public/.", "/pay/%2e%2e/public/x"):
        calls = len(stack.app.seen)
        status = stack.get(target, bearer(weak)).status
        if status == 200:  # the gateway has made one reading of it, and passes that on
            assert stack.app.seen[-1].target in {"/public/x", "/public/", "/public"}
        else:
            assert (status, len(stack.app.seen)) == (400, calls), target


def test_no_app_is_left_to_choose_among_several_hosts(stack: Stack) -> None:
    _, _, weak = session_of(stack)
    calls = len(stack.app.seen)
    hosts: list[list[tuple[str, str]]] = [
        [("Host", "pay.example, shop.example")],
        [("Host", "shop.example,pay.example")],
        [("Host", "shop.example"), ("Host", "pay.example")],
    ]
    for host in hosts:
        assert stack.get("/public", bearer(weak), *host).status == 400, host
    assert len(stack.app.seen) == calls


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_the_body_goes_to_the_app_and_not_to_the_check(stack: Stack, method: str) -> None:
    _, _, weak = session_of(stack, "restricted")
    body = os.urandom(100_000)  # far more than this daemon's door would take
    assert stack.get("/public", bearer(weak), method=method, body=body).status == 200
    assert stack.app.seen[-1][:2] == (method, "/public")
    assert stack.app.seen[-1].body == body
    calls = len(stack.app.seen)
    assert stack.get("/pay/7", bearer(weak), method=method, body=body).status == 401
    assert len(stack.app.seen) == calls


def test_head_is_challenged_as_get_is(stack: Stack) -> None:
    _, _, weak = session_of(stack, "restricted")
    answer = stack.get("/pay/7", bearer(weak), method="HEAD")
    assert (answer.status, answer.body) == (401, b"")
    assert 'acr_values="mfa"' in answer.values("WWW-Authenticate")[0]
    assert stack.get("/public", bearer(weak), method="HEAD").status == 200


def test_a_context_that_the_gateway_asks_for_cannot_be_taken_away(stack: Stack) -> None:
    _, _, weak = session_of(stack, "lab")
    calls = len(stack.app.seen)
    attempts: list[list[tuple[str, str]]] = [
        [],
        [("X-Auth-Context", "")],
        [("X-Auth-Context", "c3")],
        [("Connection", "X-Auth-Context")],
        FORGED,
    ]
    for fields in attempts:
        assert stack.get("/reports/2026", bearer(weak), *fields).status == 401, fields
    for target in REPORTS:
        assert stack.get(target, bearer(weak)).status in {400, 401}, target
    assert stack.get("/%72eports/1", bearer(weak)).status == 401
    assert len(stack.app.seen) == calls
    assert stack.get("/pay/7", bearer(weak)).status == 200


def test_many_calls_at_a_time_each_get_their_own_answer(stack: Stack) -> None:
    _, _, marked = session_of(stack, "restricted")
    _, _, clear = session_of(stack)
    calls = [(clear, 200), (marked, 401)] * 60
    with ThreadPoolExecutor(8) as threads:
        statuses = list(threads.map(lambda one: stack.get("/pay/7", bearer(one[0])).status, calls))
    assert statuses == [wanted for _, wanted in calls]


AWAY = {"traefik": (502, 504)}


def test_without_its_sidecar_it_is_closed_and_then_open_again(stack: Stack) -> None:
    _, _, weak = session_of(stack)
    calls = len(stack.app.seen)
    stack.sidecar.stop()
    try:
        gone, hangs = AWAY.get(stack.name, (503, 503))
        assert stack.get("/public", bearer(weak)).status == gone
        assert stack.get("/public", bearer(weak), *FORGED).status == gone
        with silence(stack.ports.http, stack.ports.grpc):
            # Whoever waits for ever fails by the client's own patience.
            assert stack.get("/public", bearer(weak)).status == hangs
    finally:
        stack.sidecar.start()
    assert len(stack.app.seen) == calls
    eventually(lambda: stack.get("/public", bearer(weak)).status, lambda status: status == 200)


OWN_HOSTS: dict[str, tuple[str, list[tuple[str, str]]]] = {
    "nginx": (
        "sidecar.conf",
        [
            (
                "server {\n    listen",
                "server { listen 127.0.0.1:%d default_server; return 421; }\nserver {\n    listen",
            ),
            ("server_name _;", "server_name shop.example;"),
        ],
    ),
    "caddy": (
        "Caddyfile",
        [
            (
                "http://:%d {",
                "http://:%d {\n\tbind 127.0.0.1\n\trespond 421\n}\nhttp://shop.example:%d {",
            ),
        ],
    ),
    "traefik": (
        "dynamic.yml",
        [
            ("        HostRegexp(`.`)", "        Host(`shop.example`)"),
            ("HostRegexp(`.`) && PathRegexp", "Host(`shop.example`) && PathRegexp"),
            ("rule: HostRegexp(`.`) && PathPrefix", "rule: Host(`shop.example`) && PathPrefix"),
        ],
    ),
    "haproxy": (
        "haproxy.cfg",
        [
            (
                "    bind 127.0.0.1:%d\n",
                (
                    "    bind 127.0.0.1:%d\n    http-request deny deny_status 421 unless"
                    " { req.hdr(host),host_only -i shop.example }\n"
                ),
            ),
        ],
    ),
    "apache": (
        "sidecar.conf",
        [
            (
                "<VirtualHost 127.0.0.1:%d>\n",
                (
                    '<VirtualHost 127.0.0.1:%d>\n<Location "/">\nRequire all denied\n</Location>\n'
                    "</VirtualHost>\n<VirtualHost 127.0.0.1:%d>\nServerName shop.example\n"
                ),
            ),
        ],
    ),
    "envoy": (
        "envoy.yaml",
        [
            ('domains: ["*"]', 'domains: [shop.example, "shop.example:*"]'),
        ],
    ),
    "envoy-grpc": (
        "envoy.yaml",
        [
            ('domains: ["*"]', 'domains: [shop.example, "shop.example:*"]'),
        ],
    ),
}


def test_with_the_documents_cure_no_other_host_is_let_in(stack: Stack) -> None:
    _, _, weak = session_of(stack)
    assert stack.get("/public", ("Host", "other.example"), bearer(weak)).status == 200, "as shipped"
    (port,) = free_ports(1)
    ports = stack.ports._replace(gateway=port)
    here = stack.directory / "hosts"
    here.mkdir()
    arguments = programs.GATEWAYS[stack.name].arguments(here, ports)
    name, edits = OWN_HOSTS[stack.name]
    text = (here / name).read_text()
    for old, new in edits:
        assert text.count(old.replace("%d", str(port))) == 1
        text = text.replace(old.replace("%d", str(port)), new.replace("%d", str(port)))
    (here / name).write_text(text)
    with programs.running(stack.name, here, ports, arguments):
        other = stack._replace(ports=ports)
        for host in ("shop.example", "SHOP.example", f"shop.example:{port}"):
            assert other.get("/public", ("Host", host), bearer(weak)).status == 200, host
        calls = len(stack.app.seen)
        for host in ("other.example", "shop.example.evil.example", "127.0.0.1", ""):
            answer = other.get("/public", ("Host", host), bearer(weak))
            assert answer.status in {400, 403, 404, 421}, host
        assert len(stack.app.seen) == calls


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run workers as another user")
@pytest.mark.parametrize("stack", ["nginx"], indirect=True)
def test_nginx_may_ask_at_the_unix_socket_of_its_group_only(stack: Stack) -> None:
    _, _, weak = session_of(stack)
    (gateway,) = free_ports(1)
    ports = stack.ports._replace(gateway=gateway)
    here = stack.directory / "unix"
    here.mkdir()
    arguments = programs.nginx(here, ports, user="www-data")
    file = here / "sidecar.conf"
    server = f"server 127.0.0.1:{ports.http} max_fails=0;"
    text = file.read_text()
    assert server in text
    file.write_text(text.replace(server, f"server unix:{stack.sidecar.unix} max_fails=0;"))
    with programs.running("nginx", here, ports, arguments):
        other = stack._replace(ports=ports)
        os.chown(stack.sidecar.unix, 0, 0)
        assert other.get("/public", bearer(weak)).status == 503
        shutil.chown(stack.sidecar.unix, group="www-data")
        assert other.get("/public", bearer(weak)).status == 200
