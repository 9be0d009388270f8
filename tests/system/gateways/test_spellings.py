"""Nothing reaches the app that was not asked about as itself: spellings, upgrades, overrides."""

import itertools
import re
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple
from urllib.parse import unquote

import pytest

from tests.adapters.servers import Server
from tests.stories.running import token, unique
from tests.system.gateways.programs import GATEWAYS
from tests.system.gateways.questions import Asked, number_of
from tests.system.gateways.readings import READINGS, methods, path_of, runs_sensitive
from tests.system.gateways.stack import Seen, Stack, bearer, standing
from tests.system.gateways.tunnels import H2C, HANDSHAKE, Fields, Link, head

HOST = ("Host", "shop.example")
FORGED: Fields = (("X-Sidecar-Subject", "admin"), ("X-Sidecar-Decision", "allow"))
SPELLINGS = (
    "/transfers/7",
    "/transfers/7/",
    "//transfers/7",
    "/transfers//7",
    "/./transfers/7",
    "/transfers/./7",
    "/transfers/../public/x",
    "/transfers/%2e%2e/public/x",
    "/public/../transfers/7",
    "/public/%2e%2e/transfers/7",
    "/public/.%2E/transfers/7",
    "//x/..//transfers/7",
    "/%74ransfers/7",
    "/%2574ransfers/7",
    "/TRANSFERS/7",
    "/%54RANSFERS/7",
    "/transfers%2f7",
    "/transfers%2F..%2Fpublic/x",
    "/public%2f..%2ftransfers/7",
    "/public/..%2ftransfers/7",
    "/transfers;v=1/7",
    "/transfers/7;v=1",
    "/public/..;/transfers/7",
    "/transfers%3bv=1/7",
    "/transfers\\7",
    "/public\\..\\transfers/7",
    "/public/%5c../transfers/7",
    "/transfers/7%00",
    "/tr%C1%A1nsfers/7",
    "http://shop.example/transfers/7",
)
UPGRADES: dict[str, Fields] = {
    "h2c": H2C,
    "h2c, not named in Connection": H2C[1:],
    "websocket": HANDSHAKE,
    "websocket and h2c": (*HANDSHAKE, *H2C),
    "a list": (("Connection", "Upgrade"), ("Upgrade", "websocket, h2c"), *HANDSHAKE[2:]),
    "TLS": (("Connection", "Upgrade"), ("Upgrade", "TLS/1.2")),
}
OVERRIDES: dict[str, tuple[Fields, str]] = {
    "a header": ((("X-HTTP-Method-Override", "PUT"),), ""),
    "a header that an app takes for it": ((("X_Http.Method_Override", "PUT"),), ""),
    "the query": ((), "_method=PUT&"),
}
WORKERS = 6


class Attempt(NamedTuple):
    """One call, by the number that it carries in its query."""

    number: int
    spelling: str
    upgrade: str
    override: str

    def head(self, weak: str) -> bytes:
        fields, query = OVERRIDES[self.override]
        target = f"{self.spelling}?{query}n={self.number}"
        return head("POST", target, [HOST, bearer(weak), *UPGRADES[self.upgrade], *fields])


ATTEMPTS = [
    Attempt(number, *names)
    for number, names in enumerate(itertools.product(SPELLINGS, UPGRADES, OVERRIDES), 1)
]
IN_TUNNEL = 100_000
"""What is added to a call's number for the one that follows it in a tunnel."""
AGAIN = 2 * IN_TUNNEL
"""What is added to a call's number where it is made once more."""


@pytest.fixture(scope="module", params=GATEWAYS)
def stack(request: Any, valkey_server: Server) -> Iterator[Stack]:
    if not GATEWAYS[request.param].installed:
        pytest.skip(f"{request.param} is not installed")
    with standing(request.param, valkey_server.url, recorded=True) as one:
        yield one


def run(stack: Stack, weak: str, attempt: Attempt) -> tuple[int, int]:
    """Make the call, and return its number and status.

    On a busy machine a check may come too late for its gateway, which then lets nothing pass: so it
    is made once more, under a number of its own.
    """
    status = call(stack, weak, attempt)
    if status == 503:
        attempt = attempt._replace(number=attempt.number + AGAIN)
        status = call(stack, weak, attempt)
    return attempt.number, status


def call(stack: Stack, weak: str, attempt: Attempt) -> int:
    """Make the call, and where it opens a tunnel another one in there."""
    with Link(stack.ports.gateway) as link:
        link.send(attempt.head(weak))
        answer = link.response()
        if answer.status == 101:
            target = f"/transfers/7?n={attempt.number + IN_TUNNEL}"
            link.smuggle(answer.fields["upgrade"].lower(), "PUT", target, FORGED)
        return answer.status


def is_asked(seen: Seen, asked: Asked) -> bool:
    """Whether a request, as anybody may read it, is the call that was asked about."""
    heard = unquote(path_of(asked.target)).rstrip("/").lower()
    read = {read(path_of(seen.target)).rstrip("/").lower() for read in READINGS.values()}
    run_as = methods(seen.method, seen.target, seen.headers)
    return read == {heard} and run_as <= methods(asked.method, asked.target, ())


HOSTS = (
    ("/public", ("SHOP.example:8000",)),
    ("/public", ("shop.example.",)),
    ("http://pay.example/public", ("shop.example",)),
    ("http://pay.example/public", ("pay.example",)),
    ("http://shop.example@pay.example/public", ("shop.example",)),
    ("//pay.example/public", ("shop.example",)),
    ("/public", ("shop.example/pay.example",)),
    ("/public", ("shop.example@pay.example",)),
    ("/public", ("shop.example#.pay.example",)),
    ("/public", ("",)),
    ("/public", ("shop.example", "shop.example")),
    ("/public", ("shop.example", "pay.example")),
    ("/public", ("shop.example,pay.example",)),
)


def test_the_host_that_the_app_reads_is_the_one_that_was_asked_about(stack: Stack) -> None:
    weak = token(unique("user"), unique("session"))
    for target, hosts in HOSTS:
        stack.app.seen.clear()
        stack.asked.clear()
        with Link(stack.ports.gateway) as link:
            link.send(head("GET", target, [*(("Host", host) for host in hosts), bearer(weak)]))
            status = link.response().status
        assert (status == 200) is (len(stack.app.seen) == 1), (target, hosts, status)
        for seen in stack.app.seen:
            # RFC 9112, section 3.2.2: of an absolute target the host counts, and not the header's.
            absolute = re.match(r"http://([^/]*)", seen.target)
            read = [absolute[1]] if absolute else seen.heard("Host")
            # The last one: what a gateway gave up to ask, on a busy machine, may be asked late.
            question = stack.asked[-1]  # one without a host is judged as of any
            assert read == [question.host or read[0]], (target, hosts, seen.headers)


OVER_H2: tuple[Fields, ...] = (
    ((":authority", "pay.example"), ("host", "shop.example")),
    ((":authority", "shop.example"), ("host", "pay.example"), ("host", "shop.example")),
    ((":authority", "pay.example,shop.example"),),
    (("host", "pay.example"),),
)


def test_the_host_is_the_one_that_was_asked_about_over_http2_too(stack: Stack) -> None:
    allowed = ("authorization", f"Bearer {token(unique('user'), unique('session'))}")
    for fields in OVER_H2:
        stack.app.seen.clear()
        stack.asked.clear()
        call = ((":method", "GET"), (":scheme", "http"), (":path", "/public"), *fields, allowed)
        with Link(stack.ports.gateway) as link:
            statuses = link.over_h2([call])
        assert (statuses.get(0) == 200) is (len(stack.app.seen) == 1), (fields, statuses)
        for seen in stack.app.seen:
            assert seen.heard("Host") == [one.host for one in stack.asked], (fields, seen.headers)


def test_nothing_reaches_the_app_that_was_not_asked_about_as_itself(stack: Stack) -> None:
    assert len(ATTEMPTS) == 30 * 6 * 3
    session = unique("session")
    weak = token(unique("user"), session)
    assert stack.get("/public", bearer(weak)).status == 200
    entered = {"segment": "restricted"}
    stack.sidecar.client.event("network-change", {"session": session}, data=entered)
    assert stack.get("/transfers/7", bearer(weak), method="PUT").status == 401
    assert stack.get("/transfers/7", bearer(weak), method="POST").status == 200
    stack.app.seen.clear()
    stack.asked.clear()
    with ThreadPoolExecutor(WORKERS) as threads:
        made = list(threads.map(lambda one: run(stack, weak, one), ATTEMPTS))
    statuses = [status for _, status in made]
    asked = defaultdict(list)
    for question in stack.asked:
        asked[number_of(question.target)].append(question)
    for seen in stack.app.seen:
        number = number_of(seen.target)
        attempt = ATTEMPTS[(number % IN_TUNNEL) - 1]
        assert len(asked[number]) == 1, ("not asked about", attempt, seen)
        (question,) = asked[number]
        assert is_asked(seen, question), (attempt, seen, question)
        assert seen.heard("Host") == [question.host], (attempt, seen, question)
        if "PUT" in methods(seen.method, seen.target, seen.headers):
            assert not runs_sensitive(seen.target), (attempt, seen)
    assert set(statuses) <= {101, 200, 400, 401, 403, 404}
    reached = {number_of(seen.target) for seen in stack.app.seen}
    passed = {number for number, status in made if status < 300}
    assert reached == passed
    assert len(reached) >= 2 * 4 * len(("/transfers/7", "/transfers/7/", "/TRANSFERS/7"))
