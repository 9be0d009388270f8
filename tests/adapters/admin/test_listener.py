import gzip
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import msgspec
import pytest
import trio

from sidecar.adapters.admin.credential import AdminCredentials, Credential, sole
from sidecar.adapters.admin.listener import AdminApp
from sidecar.adapters.events.guesses import ADDRESSES, AT_ONCE, GuessLimit
from sidecar.adapters.listening.asgi import CONNECTIONS, Listener
from sidecar.adapters.telemetry.logs import LogLines
from sidecar.adapters.telemetry.telemetry import PrometheusTelemetry
from sidecar.service.admin.health import CONDITIONS, Health
from sidecar.service.admin.inspection import ExplainQuery, InvalidQuery, SessionQuery
from sidecar.service.ports.calls import Unavailable
from sidecar.wire.settings.admin import Admin as AdminSettings
from sidecar.wire.settings.admin import OperatorSettings
from sidecar.wire.settings.settings import Settings
from tests import plain_http

TOKEN = "an-admin-token"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
PATHS = [
    "/metrics",
    "/livez",
    "/readyz",
    "/startupz",
    "/v1/sessions",
    "/v1/sessions/s",
    "/v1/rescore",
    "/nope",
]


class Sink:
    def write(self, data: bytes) -> int:
        self.data = getattr(self, "data", b"") + data
        return len(data)

    def flush(self) -> None:
        pass


class Book:
    """An inspection that remembers the queries, and fails as the test asks."""

    def __init__(self) -> None:
        self.queries: list[SessionQuery] = []
        self.asked: list[str] = []
        self.fault: Exception | None = None

    async def sessions(self, query: SessionQuery) -> object:
        self.queries.append(query)
        if self.fault:
            raise self.fault
        return {"sessions": [{"id": "s1", "user": "ada"}], "cursor": "next"}

    async def session(self, session: str, /) -> object | None:
        self.asked.append(session)
        return {"id": session} if session in ("s1", "a/b %") else None

    async def explain(self, session: str, query: ExplainQuery, /) -> object | None:
        if self.fault:
            raise self.fault
        self.asked.append(f"{session}: {query.explain} of {query.app}")
        return {"verdict": "step_up"} if session == "s1" else None

    async def policies(self) -> object:
        return {"policies": [{"id": "p1"}]}

    async def rescore(self) -> object:
        return {"state": "running", "done": 1500, "expected": 20000, "generation": "g"}


class Admin:
    def __init__(self, token: str = TOKEN, header_timeout: float = 0.2) -> None:
        self.health = Health()
        self.sink = Sink()
        self.telemetry = PrometheusTelemetry(Settings(), LogLines(self.sink))  # type: ignore[arg-type]
        self.book = Book()
        self.token = token
        self.seconds = 0.0
        guesses = GuessLimit(lambda: self.seconds)
        app = AdminApp(
            self.health, self.telemetry, self.book, lambda: sole(self.token), guesses=guesses
        )
        self.listener = Listener("127.0.0.1:0", app, header_timeout=header_timeout)
        self.url = ""

    def all_good(self) -> None:
        for name in CONDITIONS:
            self.health.good(name)

    async def ask(
        self, path: str, method: str = "GET", headers: dict[str, str] | None = None
    ) -> httpx.Response:
        async with httpx.AsyncClient(
            base_url=self.url, verify=plain_http.NO_CERTIFICATES
        ) as client:
            return await client.request(method, path, headers=headers)

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])


@pytest.fixture
async def admin(nursery: trio.Nursery) -> AsyncIterator[Admin]:
    admin = Admin()
    (admin.url,) = await nursery.start(admin.listener.run)
    yield admin
    admin.listener.stop()


def test_what_one_address_has_tried_is_not_held_against_another() -> None:
    guesses = GuessLimit(lambda: 0.0)
    for address in ["10.0.0.1"] * AT_ONCE + [f"2001:db8::{n}" for n in range(AT_ONCE)]:
        assert guesses.left(address)
        guesses.wrong(address)
    assert not guesses.left("10.0.0.1")
    assert not guesses.left("2001:db8::ffff"), "a host has its whole /64"
    assert guesses.left("10.0.0.2")
    assert guesses.left("2001:db8:0:1::1")
    for number in range(ADDRESSES):
        guesses.wrong(f"10.{1 + number // 65536}.{number // 256 % 256}.{number % 256}")
    assert guesses.left("10.0.0.1"), "it leaves first"


async def test_a_credential_that_cannot_be_read_lets_nobody_in_and_keeps_no_other_out(
    nursery: trio.Nursery,
) -> None:
    seconds = 0.0
    known = (Credential("admin", ""), Credential("ada", "of-ada"))
    telemetry = PrometheusTelemetry(Settings(), LogLines(Sink()))  # type: ignore[arg-type]
    guesses = GuessLimit(lambda: seconds)
    app = AdminApp(Health(), telemetry, Book(), lambda: known, guesses=guesses)
    listener = Listener("127.0.0.1:0", app)
    (url,) = await nursery.start(listener.run)
    async with httpx.AsyncClient(base_url=url, verify=plain_http.NO_CERTIFICATES) as client:

        async def status(credential: str) -> int:
            headers = {"Authorization": f"Bearer {credential}"}
            return (await client.get("/v1/policies", headers=headers)).status_code

        assert await status("of-ada") == 200
        found = [await status("perhaps-of-the-admin") for _ in range(AT_ONCE + 1)]
        assert set(found) == {503, 429}, "it may be right, and guesses are counted"
        assert (await client.get("/v1/policies")).status_code == 401
    listener.stop()


@pytest.mark.parametrize("order", [1, -1])
async def test_a_credential_that_two_have_come_to_share_only_looks_if_one_of_them_may(
    nursery: trio.Nursery, order: int
) -> None:
    both = AdminCredentials(
        lambda: AdminSettings(
            operators=(
                OperatorSettings(name="ada", token="one"),
                OperatorSettings(name="board", token=" one ", acts=False),
            )[::order]
        ),
        lambda _field, _reason: None,
    )
    telemetry = PrometheusTelemetry(Settings(), LogLines(Sink()))  # type: ignore[arg-type]
    listener = Listener("127.0.0.1:0", AdminApp(Health(), telemetry, Book(), both, Shelf()))
    (url,) = await nursery.start(listener.run)
    async with httpx.AsyncClient(
        base_url=url, headers={"Authorization": "Bearer one"}, verify=plain_http.NO_CERTIFICATES
    ) as client:
        assert (await client.get("/v1/dead-letters/1-0")).status_code == 200
        assert (await client.delete("/v1/dead-letters/1-0")).status_code == 403
    listener.stop()


async def test_metrics_are_plain_text_unless_openmetrics_is_accepted(admin: Admin) -> None:
    plain = await admin.ask("/metrics", headers={"Accept": "*/*"})
    assert plain.status_code == 200
    assert plain.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert "sidecar_build_info{" in plain.text
    assert "# EOF" not in plain.text
    accept = "application/openmetrics-text;version=1.0.0,text/plain;q=0.5"
    rich = await admin.ask("/metrics", headers={"Accept": accept})
    assert rich.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert rich.text.endswith("# EOF\n")


async def test_a_thousand_wrong_credentials_meet_a_limit_and_are_one_line_in_the_log(
    admin: Admin,
) -> None:
    statuses = []
    async with httpx.AsyncClient(base_url=admin.url, verify=plain_http.NO_CERTIFICATES) as client:
        for number in range(1000):
            wrong = {"Authorization": f"Bearer wrong{number}"}
            reply = await client.get("/v1/policies", headers=wrong)
            statuses.append(reply.status_code)
        assert set(statuses) == {401, 429}
        assert statuses[:AT_ONCE] == [401] * AT_ONCE
        assert reply.status_code == 429
        assert reply.headers["retry-after"] == "1"
        # Who cannot guess on cannot guess right, either.
        assert (await client.get("/v1/policies", headers=BEARER)).status_code == 429
        assert (await client.get("/v1/policies")).status_code == 401
        assert (await client.get("/metrics")).status_code == 200
    admin.seconds += 1.0
    assert (await admin.ask("/v1/policies", headers=BEARER)).status_code == 200
    (line,) = [
        one
        for one in map(msgspec.json.decode, admin.sink.data.splitlines())
        if one["event"] == "admin-credential-refused"
    ]
    assert line["level"] == "warning"
    assert line["address"] == "127.0.0.1"
    assert "wrong" not in str(line)


async def test_metrics_are_compressed_only_for_whom_accepts_gzip(admin: Admin) -> None:
    async with httpx.AsyncClient(base_url=admin.url, verify=plain_http.NO_CERTIFICATES) as client:
        async with client.stream("GET", "/metrics", headers={"Accept-Encoding": "gzip"}) as reply:
            assert reply.headers["content-encoding"] == "gzip"
            raw = b"".join([chunk async for chunk in reply.aiter_raw()])
        assert b"sidecar_build_info" in gzip.decompress(raw)
    for refused in ("identity", "gzip;q=0", "gzip;q=0.000"):
        reply = await admin.ask("/metrics", headers={"Accept-Encoding": refused})
        assert "content-encoding" not in reply.headers


async def test_a_request_is_counted_by_its_route_and_never_by_its_path(admin: Admin) -> None:
    await admin.ask("/v1/sessions/s1", headers=BEARER)
    await admin.ask("/some/secret/path")
    text = (await admin.ask("/metrics")).text
    assert 'sidecar_http_requests_total{route="admin /v1/sessions/{id}",status="200"} 1.0' in text
    assert 'sidecar_http_requests_total{route="admin nowhere",status="404"} 1.0' in text
    assert "secret" not in text


async def test_not_ready_until_every_condition_has_been_met(admin: Admin) -> None:
    admin.all_good()
    admin.health.bad("keys", "no keys of issuer 0 yet")
    reply = await admin.ask("/readyz")
    assert reply.status_code == 503
    checks = {check["name"]: check for check in reply.json()["checks"]}
    assert checks["keys"] == {"name": "keys", "state": "bad", "reason": "no keys of issuer 0 yet"}
    assert checks["store"]["state"] == "good"
    admin.health.good("keys")
    assert (await admin.ask("/readyz")).json()["status"] == "ok"


async def test_a_probe_may_tolerate_the_loss_of_conditions_by_their_names(admin: Admin) -> None:
    for name in CONDITIONS:
        admin.health.good(name)
    admin.health.bad("store", "gone")
    admin.health.bad("view", "gone")
    for query, status in [
        ("", 503),
        ("?verbose", 503),
        ("?tolerate=store", 503),
        ("?tolerate=store&tolerate=view", 200),
        ("?tolerate=stroe", 400),
        ("?" + "tolerate=store&" * 64, 400),
        ("?tolerate=%FF", 400),
    ]:
        assert (await admin.ask(f"/readyz{query}")).status_code == status, query


async def test_draining_is_not_ready_yet_alive_and_started(admin: Admin) -> None:
    admin.all_good()
    admin.health.drain()
    statuses = [(await admin.ask(path)).status_code for path in ("/readyz", "/livez", "/startupz")]
    assert statuses == [503, 200, 200]


async def test_head_says_what_get_says_without_the_body(admin: Admin) -> None:
    admin.all_good()
    for path in ("/readyz", "/nope"):
        get, head = await admin.ask(path), await admin.ask(path, "HEAD")
        assert head.status_code == get.status_code
        assert head.headers["content-length"] == str(len(get.content))
        assert head.content == b""


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
async def test_only_get_and_head_are_allowed(admin: Admin, method: str) -> None:
    reply = await admin.ask("/readyz", method)
    assert reply.status_code == 405
    assert reply.headers["allow"] == "GET, HEAD"
    assert reply.headers["content-type"] == "application/problem+json"


async def test_every_answer_carries_the_security_headers(admin: Admin) -> None:
    for path in PATHS:
        headers = (await admin.ask(path)).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "server" not in headers


async def test_without_a_configured_credential_there_is_nothing_to_ask_for(
    admin: Admin,
) -> None:
    admin.token = ""
    for headers in ({}, {"Authorization": "Bearer"}, BEARER):
        for path in ("/v1/sessions", "/v1/sessions/s1", "/v1/policies"):
            assert (await admin.ask(path, headers=headers)).status_code == 404
    assert admin.book.queries == []


@pytest.mark.parametrize(
    ("authorization", "challenge"),
    [
        (None, 'Bearer realm="sidecar admin"'),
        ("Basic YTpi", 'Bearer realm="sidecar admin"'),
        ("Bearer wrong", 'Bearer realm="sidecar admin", error="invalid_token"'),
        (f"Bearer {TOKEN}x", 'Bearer realm="sidecar admin", error="invalid_token"'),
        ("Bearer", 'Bearer realm="sidecar admin", error="invalid_token"'),
    ],
)
async def test_a_missing_or_wrong_credential_is_challenged(
    admin: Admin, authorization: str | None, challenge: str
) -> None:
    headers = {"Authorization": authorization} if authorization else {}
    reply = await admin.ask("/v1/sessions", headers=headers)
    assert reply.status_code == 401
    assert reply.headers["www-authenticate"] == challenge
    assert admin.book.queries == []


async def test_a_credential_may_hold_any_character(admin: Admin) -> None:
    admin.token = "schlüssel"
    raw = {b"authorization": "Bearer schlüssel".encode()}
    async with httpx.AsyncClient(base_url=admin.url, verify=plain_http.NO_CERTIFICATES) as client:
        assert (await client.get("/v1/policies", headers=raw)).status_code == 200


async def test_a_rotated_credential_counts_at_once(admin: Admin) -> None:
    admin.token = "the-new-one"
    assert (await admin.ask("/v1/policies", headers=BEARER)).status_code == 401
    new = {"Authorization": "bearer the-new-one"}
    assert (await admin.ask("/v1/policies", headers=new)).json() == {"policies": [{"id": "p1"}]}


async def test_a_query_reaches_the_inspection_as_a_value(admin: Admin) -> None:
    path = "/v1/sessions?user=ada%40x.org&device=d1&standing=step_up&limit=7&cursor=abc"
    reply = await admin.ask(path, headers=BEARER)
    assert reply.json() == {"sessions": [{"id": "s1", "user": "ada"}], "cursor": "next"}
    assert admin.book.queries == [SessionQuery("ada@x.org", "d1", "step_up", 7, "abc")]


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ("limit=many", "limit"),
        ("usr=ada", "usr"),
        ("user=a&user=b", "user"),
        ("&".join(f"f{i}=1" for i in range(65)), "too many"),
        ("user=%FF", "cannot be read"),
    ],
)
async def test_a_query_that_makes_no_sense_is_the_askers_error(
    admin: Admin, query: str, detail: str
) -> None:
    reply = await admin.ask(f"/v1/sessions?{query}", headers=BEARER)
    assert reply.status_code == 400
    assert detail in reply.json()["detail"]
    assert admin.book.queries == []


async def test_a_session_is_found_by_its_percent_encoded_id(admin: Admin) -> None:
    reply = await admin.ask("/v1/sessions/a%2Fb%20%25", headers=BEARER)
    assert reply.json() == {"id": "a/b %"}
    assert (await admin.ask("/v1/sessions/s2", headers=BEARER)).status_code == 404
    assert admin.book.asked == ["a/b %", "s2"]


async def test_a_call_of_a_session_is_explained_where_that_is_asked_for(admin: Admin) -> None:
    reply = await admin.ask("/v1/sessions/s1?explain=c1,c2&app=mail", headers=BEARER)
    assert reply.json() == {"verdict": "step_up"}
    assert (await admin.ask("/v1/sessions/s2?explain=", headers=BEARER)).status_code == 404
    assert admin.book.asked == ["s1: c1,c2 of mail", "s2:  of "]
    assert (await admin.ask("/v1/sessions/s1?explain=c1")).status_code == 401
    assert (await admin.ask("/v1/sessions/s1?why=c1", headers=BEARER)).status_code == 400
    admin.book.fault = InvalidQuery("explain", "is of c1")
    assert (await admin.ask("/v1/sessions/s1?explain=c9", headers=BEARER)).status_code == 400


@pytest.mark.parametrize(
    ("fault", "status", "detail"),
    [
        (InvalidQuery("cursor", "was never given"), 400, "cursor: was never given"),
        (Unavailable("the store is away"), 503, "the store is away"),
        (ZeroDivisionError("secret: division"), 500, "something broke in here; the log says what"),
    ],
)
async def test_a_fault_becomes_problem_details_without_its_innards(
    admin: Admin, fault: Exception, status: int, detail: str
) -> None:
    admin.book.fault = fault
    reply = await admin.ask("/v1/sessions", headers=BEARER)
    assert reply.status_code == status
    assert reply.json()["detail"] == detail
    assert reply.json()["status"] == status
    assert ("retry-after" in reply.headers) == (status == 503)


async def test_a_fault_of_ours_is_logged_by_where_it_happened_only(
    admin: Admin,
) -> None:
    admin.book.fault = ZeroDivisionError("a token perhaps")
    await admin.ask("/v1/sessions", headers=BEARER)
    line = msgspec.json.decode(admin.sink.data)
    assert (line["event"], line["error"], line["where"]) == (
        "worker-failed",
        "ZeroDivisionError",
        "admin",
    )
    assert any(Path(__file__).name in frame for frame in line["trace"])
    assert b"a token perhaps" not in admin.sink.data


async def test_a_client_that_dawdles_over_its_headers_is_dropped(admin: Admin) -> None:
    stream = await trio.open_tcp_stream("127.0.0.1", admin.port)
    async with stream:
        await stream.send_all(b"GET /readyz HTTP/1.1\r\nHost: x\r\n")
        with trio.fail_after(10):
            assert await stream.receive_some() == b""


async def test_a_body_that_never_ends_is_not_waited_for(admin: Admin) -> None:
    admin.all_good()
    stream = await trio.open_tcp_stream("127.0.0.1", admin.port)
    async with stream:
        head = b"GET /readyz HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n"
        await stream.send_all(head + b"x" * 1000)
        with trio.fail_after(10):
            reply = b""
            while chunk := await stream.receive_some():
                reply += chunk
    assert reply.startswith(b"HTTP/1.1 200 ")


async def test_a_websocket_is_refused(admin: Admin) -> None:
    headers = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    assert (await admin.ask("/readyz", headers=headers)).status_code == 403


async def test_stopping_ends_the_listener_and_leaves_nothing_open() -> None:
    admin = Admin()
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            (admin.url,) = await nursery.start(admin.listener.run)
            admin.listener.stop()
    with pytest.raises(httpx.ConnectError):
        await admin.ask("/livez")


async def test_a_port_in_use_is_reported_at_the_start(admin: Admin) -> None:
    second = Listener(
        f"127.0.0.1:{admin.port}", AdminApp(admin.health, admin.telemetry, admin.book)
    )
    with pytest.raises(OSError, match="in use"):
        await second.run()


async def test_the_progress_of_a_re_score_is_shown_to_whom_has_the_credential(admin: Admin) -> None:
    assert (await admin.ask("/v1/rescore")).status_code == 401
    shown = await admin.ask("/v1/rescore", headers=BEARER)
    assert (shown.status_code, shown.json()["done"]) == (200, 1500)


class Shelf:
    """Dead letters of which one is there."""

    async def page(self, limit: int, after: str = "") -> object:
        return {"letters": [], "limit": limit, "after": after}

    async def find(self, letter: str, /) -> object | None:
        return {"id": letter} if letter == "1-0" else None

    async def retry(self, letter: str, /) -> object | None:
        return {"id": letter, "outcome": "done"} if letter == "1-0" else None

    async def drop(self, letter: str, /) -> bool:
        return letter == "1-0"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/dead-letters?limit=5&cursor=3-1", 200),
        ("GET", "/v1/dead-letters?limit=0", 400),
        ("GET", "/v1/dead-letters?limit=5&limit=6", 400),
        ("GET", "/v1/dead-letters?cursor=(x", 400),
        ("GET", "/v1/dead-letters?who=me", 400),
        ("GET", "/v1/dead-letters/1-0", 200),
        ("GET", "/v1/dead-letters/2-0", 404),
        ("GET", "/v1/dead-letters/nonsense", 404),
        ("DELETE", "/v1/dead-letters/1-0", 200),
        ("DELETE", "/v1/dead-letters/2-0", 404),
        ("DELETE", "/v1/dead-letters", 405),
        ("POST", "/v1/dead-letters/1-0/retry", 200),
        ("POST", "/v1/dead-letters/2-0/retry", 404),
        ("GET", "/v1/dead-letters/1-0/retry", 405),
        ("POST", "/v1/dead-letters/1-0", 405),
    ],
)
async def test_dead_letters_are_looked_at_put_back_and_dropped_with_the_credential(
    nursery: trio.Nursery, method: str, path: str, status: int
) -> None:
    telemetry = PrometheusTelemetry(Settings(), LogLines(Sink()))  # type: ignore[arg-type]
    app = AdminApp(Health(), telemetry, Book(), lambda: sole(TOKEN), Shelf())
    listener = Listener("127.0.0.1:0", app)
    (url,) = await nursery.start(listener.run)
    async with httpx.AsyncClient(base_url=url, verify=plain_http.NO_CERTIFICATES) as client:
        bare = await client.request(method, path)
        assert bare.status_code == (401 if status not in (404, 405) else bare.status_code)
        reply = await client.request(method, path, headers=BEARER)
    assert reply.status_code == status
    listener.stop()


async def test_probes_are_answered_beside_more_connections_than_there_are_places(
    nursery: trio.Nursery,
) -> None:
    # They stay: a place is made for who asks, and does not come by the patience for them. There
    # are fewer than an address may replace of its own at once (`BY_ADDRESS_LONG`).
    admin = Admin(header_timeout=60)
    (admin.url,) = await nursery.start(admin.listener.run)
    admin.health.good("doors")
    async with AsyncExitStack() as stack:
        for _ in range(2 * CONNECTIONS):
            await stack.enter_async_context(await trio.open_tcp_stream("127.0.0.1", admin.port))
        with trio.fail_after(10):
            assert (await admin.ask("/startupz")).status_code == 200
    admin.listener.stop()
