import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stepup_client.connection.protocol import Decision, Reason, Refused, Unreachable
from stepup_client.gate import (
    Gate,
    Incoming,
    Public,
    Reply,
    before_asking,
    client_address,
    is_event_stream,
    is_overriding,
    outcome,
    passes_unasked,
    question,
    refused,
    unreached,
)

from sidecar.wire.http.problems import Problem

CALL = Incoming("POST", "/pay/7", "203.0.113.9", ("Bearer abc",))
STEP_UP = Decision(
    "step_up",
    401,
    "s1",
    "ada",
    'Bearer error="insufficient_user_authentication"',
    "mfa",
    0,
    (Reason("p1", "network-change", "moved"),),
    message="more is needed",
)


def asked(call: Incoming = CALL, gate: Gate | None = None, contexts: tuple[str, ...] = ()) -> Any:
    return question(gate or Gate(), call, contexts)


def fields(reply: Any) -> dict[str, str]:
    assert isinstance(reply, Reply)
    return dict(reply.headers)


def test_a_call_is_described_by_token_address_method_and_path() -> None:
    assert asked(CALL._replace(user_agent="curl"), contexts=("c1",)) == {
        "token": "abc",
        "context": ("c1",),
        "ip": "203.0.113.9",
        "user_agent": "curl",
        "method": "POST",
        "path": "/pay/7",
    }
    assert "path" not in asked(gate=Gate(routes=False))


@pytest.mark.parametrize(
    ("authorization", "token"),
    [("Bearer abc", "abc"), ("bearer  abc ", "abc"), ("Basic abc", ""), ("Bearer", ""), ("", "")],
)
def test_the_token_is_that_of_the_bearer_scheme(authorization: str, token: str) -> None:
    assert asked(CALL._replace(authorization=(authorization,)))["token"] == token


def test_a_cookie_counts_only_if_it_is_configured() -> None:
    call = CALL._replace(authorization=(), cookies=("a=1; token=xyz; b=2",))
    assert asked(call)["token"] == ""
    assert asked(call, Gate(cookie="token"))["token"] == "xyz"


@pytest.mark.parametrize(
    "call",
    [
        CALL._replace(authorization=("Bearer a", "Bearer b")),
        CALL._replace(authorization=("Bearer a,Bearer b",)),  # as servers make one of two
        CALL._replace(authorization=("Basic a, Bearer b",)),
        CALL._replace(cookies=("token=other",)),
        CALL._replace(authorization=(), cookies=("token=a", "token=b")),
    ],
)
def test_two_tokens_are_refused(call: Incoming) -> None:
    reply = asked(call, Gate(cookie="token"))
    assert isinstance(reply, Reply)
    assert (reply.kind, reply.status) == ("invalid-request", 400)


def test_the_same_token_twice_is_one() -> None:
    assert asked(CALL._replace(cookies=("token=abc",)), Gate(cookie="token"))["token"] == "abc"


@pytest.mark.parametrize(
    ("proxies", "forwarded", "address"),
    [
        (0, ("198.51.100.1",), "203.0.113.9"),
        (1, ("6.6.6.6, 198.51.100.1",), "198.51.100.1"),
        (1, ("6.6.6.6", "198.51.100.1"), "198.51.100.1"),
        (2, ("6.6.6.6, 198.51.100.1, 10.0.0.1",), "198.51.100.1"),
        (2, ("198.51.100.1",), "203.0.113.9"),
        (1, (), "203.0.113.9"),
        (1, ("198.51.100.1:4711",), "198.51.100.1"),
        (1, ('"[2001:db8::1]:4711"',), "2001:db8::1"),
        (1, ("unknown",), ""),
    ],
)
def test_the_address_is_read_from_the_right_over_trusted_proxies(
    proxies: int, forwarded: tuple[str, ...], address: str
) -> None:
    call = CALL._replace(forwarded_for=forwarded)
    assert client_address(Gate(trusted_proxies=proxies), call) == address


@given(st.lists(st.text(max_size=20), max_size=3))
def test_what_a_client_writes_never_moves_its_address(written: list[str]) -> None:
    line = ", ".join([*written, "198.51.100.1"])
    call = CALL._replace(forwarded_for=(line,))
    assert client_address(Gate(trusted_proxies=1), call) == "198.51.100.1"
    assert client_address(Gate(), call) == "203.0.113.9"


@given(st.text(), st.text(), st.text(), st.text())
def test_any_request_can_be_asked_about_or_is_answered(
    path: str, peer: str, authorization: str, agent: str
) -> None:
    found = asked(Incoming("GET", "/" + path, peer, (authorization,), (), (), agent))
    if isinstance(found, Reply):
        assert found.status == 400
        return
    line = json.dumps(found)
    assert found["path"].isascii()
    assert "\n" not in line


UNCLEAR = [
    ("/pay/../x", ""),
    ("/pay/..", ""),
    ("/./pay/7", ""),
    ("//pay/7", ""),
    ("/pay//7", ""),
    ("/pay\\7", ""),
    ("/pay/../x", "/pay/%2e%2e/x"),
    ("/pay/7", "/pay%2F7"),
    ("/pay/7", "/pay%2f7?x=1"),
    ("/pay7", "/pay%5C7"),
]


@pytest.mark.parametrize(("path", "target"), UNCLEAR)
@pytest.mark.parametrize("fail", ["closed", "open"])
def test_a_path_that_servers_read_differently_is_refused_and_nobody_is_asked(
    path: str, target: str, fail: Any
) -> None:
    call = CALL._replace(path=path, target=target, method="OPTIONS", is_preflight=True)
    gate = Gate(fail=fail, unchecked=("OPTIONS",), preflight=True)
    found = before_asking(gate, call)
    assert isinstance(found, Reply)
    assert Public(("/*",)).judge(call) == found
    assert Public(()).judge(call) is False
    assert (found.status, found.kind) == (400, "invalid-request")


@pytest.mark.parametrize(
    ("path", "target"),
    [("/pay/7", "/pay/7?next=%2Fx/../y//z"), ("/a...b/.well-known", ""), ("/pay/", "/%70ay/")],
)
def test_a_path_that_all_servers_read_alike_is_asked_about(path: str, target: str) -> None:
    call = CALL._replace(path=path, target=target)
    assert before_asking(Gate(), call) is None
    assert asked(call)["path"] == path


@pytest.mark.parametrize(
    ("names", "query", "overriding"),
    [
        (["X-HTTP-Method-Override"], "", True),
        (["x-http-method"], "", True),
        (["X_METHOD_OVERRIDE"], "", True),
        (["Accept", "X.Http-Method"], "", True),
        ([], "a=1&_method=PUT", True),
        ([], "%5Fmethod=PUT", True),
        ([], "a=1;_meth%6fd=PUT", True),
        ([], "a&+%2emethod=PUT", True),
        ([], "payment_method=card&a=_method", False),
        (["X-Methodist", "X-Forwarded-Method"], "method=card", False),
    ],
)
def test_what_makes_an_app_run_another_method_is_seen(
    names: Any, query: str, overriding: bool
) -> None:
    assert is_overriding(names, query) is overriding


def test_of_a_call_that_may_run_as_another_method_no_method_is_sent_and_none_passes_unasked() -> (
    None
):
    call = CALL._replace(method="OPTIONS", is_preflight=True, overrides=True)
    assert asked(call)["method"] == ""
    assert not passes_unasked(Gate(unchecked=("OPTIONS",), preflight=True), call)


def test_a_handler_that_names_its_contexts_itself_needs_no_reading_of_the_path() -> None:
    call = CALL._replace(path="/pay/../x")
    assert before_asking(Gate(routes=False), call) is None
    assert "path" not in asked(call, Gate(routes=False))


def test_a_step_up_is_answered_with_the_challenge_and_its_reasons() -> None:
    reply = outcome(STEP_UP)
    assert isinstance(reply, Reply)
    assert fields(reply)["WWW-Authenticate"] == STEP_UP.www_authenticate
    assert fields(reply)["Cache-Control"] == "no-store"
    assert fields(reply)["Content-Length"] == str(len(reply.body))
    assert json.loads(reply.body) == {
        "type": "urn:stepup-sidecar:problem:step-up-required",
        "title": "A stronger or fresher sign-in is required",
        "status": 401,
        "detail": "more is needed",
        "acr_values": "mfa",
        "max_age": 0,
        "reasons": [{"policy": "p1", "signal": "network-change", "text": "moved"}],
    }


@pytest.mark.parametrize(
    ("kind", "reply"),
    [
        (Problem.STEP_UP, outcome(STEP_UP)),
        (
            Problem.UNKNOWN_CONTEXT,
            refused(Gate(fail="open"), ("c11",), Refused({"error": "unknown_context"})),
        ),
        (Problem.DENIED, outcome(Decision("deny", 403))),
        (Problem.INVALID_TOKEN, refused(Gate(), (), Refused({"error": "invalid_token"}))),
        (Problem.UNAVAILABLE, unreached(Gate(), (), Unreachable("gone"))),
        (Problem.INVALID_REQUEST, refused(Gate(), (), Refused({"error": "invalid_event"}))),
    ],
)
def test_problems_are_those_of_the_data_listener(kind: Problem, reply: Reply) -> None:
    body = json.loads(reply.body)
    assert body["type"] == f"urn:stepup-sidecar:problem:{kind.value.name}"
    assert body["title"] == kind.value.title
    assert fields(reply)["Content-Type"] == "application/problem+json"


def test_a_denied_call_is_a_403_without_a_challenge() -> None:
    reply = outcome(Decision("deny", 403))
    assert isinstance(reply, Reply)
    assert reply.status == 403
    assert "WWW-Authenticate" not in fields(reply)


def test_what_is_no_clear_permission_is_none() -> None:
    assert isinstance(outcome(Decision("maybe", 200)), Reply)


def test_a_challenge_cannot_inject_a_header() -> None:
    challenge = 'Bearer error="x"\r\nSet-Cookie: a=b'
    reply = outcome(Decision("step_up", 401, www_authenticate=challenge))
    assert "\n" not in fields(reply)["WWW-Authenticate"]


@pytest.mark.parametrize(
    ("fail", "contexts", "passes"),
    [
        ("closed", (), False),
        ("closed", ("c1",), False),
        ("open", ("c1",), True),
        (("c1",), ("c1",), True),
        (("c1",), ("c1", "c2"), False),
        (("c1",), (), False),
    ],
)
def test_without_a_sidecar_a_call_passes_only_where_it_was_chosen(
    fail: Any, contexts: tuple[str, ...], passes: bool
) -> None:
    for error in (Unreachable("gone"), Refused({"error": "overloaded", "retry_after": 7})):
        gate = Gate(fail=fail)
        found = (
            unreached(gate, contexts, error)
            if isinstance(error, Unreachable)
            else refused(gate, contexts, error)
        )
        if passes:
            assert isinstance(found, Decision)
            assert (found.allowed, found.decided) == (True, False)
        else:
            after = "1" if isinstance(error, Unreachable) else "7"
            assert fields(found)["Retry-After"] == after


@pytest.mark.parametrize("error", ["unavailable", "invalid_token", "invalid_event", "too_large"])
def test_what_the_sidecar_itself_refuses_never_passes(error: str) -> None:
    found = refused(Gate(fail="open"), ("c1",), Refused({"error": error, "status": 401}))
    assert isinstance(found, Reply)
    assert found.status >= 400


def test_a_misspelt_failure_is_an_error_at_once() -> None:
    with pytest.raises(ValueError, match="fail"):
        Gate(fail="opened")
    with pytest.raises(ValueError, match="unchecked"):
        Gate(unchecked="OPTIONS")


def test_no_method_passes_unasked_unless_it_was_chosen() -> None:
    options = CALL._replace(method="OPTIONS", is_preflight=True)
    assert not passes_unasked(Gate(), options)
    assert passes_unasked(Gate(preflight=True), options)
    assert passes_unasked(Gate(unchecked=("OPTIONS",)), options)
    assert not passes_unasked(Gate(preflight=True), options._replace(is_preflight=False))


@pytest.mark.parametrize(
    ("path", "covered"),
    [
        ("/health", True),
        ("/health/", False),
        ("/static/a/b.css", True),
        ("/static/", True),
        ("/static", False),
        ("/static/100%", False),
        ("/staticx", False),
    ],
)
def test_public_paths_are_those_and_what_is_plainly_below(path: str, covered: bool) -> None:
    assert Public(("/health", "/static/*")).covers(path) is covered


@pytest.mark.parametrize("paths", ["/health", ("/a*",), ("/*/b",)])
def test_a_pattern_that_is_none_is_an_error(paths: Any) -> None:
    with pytest.raises(ValueError, match="public"):
        Public(paths)


def test_event_streams_are_known_by_their_type() -> None:
    assert is_event_stream("text/event-stream; charset=utf-8")
    assert not is_event_stream("text/event-streams")
