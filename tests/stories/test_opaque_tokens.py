"""Opaque tokens before a whole daemon: an issuer that answers, revokes, and goes away."""

import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qs

import msgspec
import pytest

from sidecar.adapters.clock import now
from sidecar.domain.policy.conditional_access import Networks, Selection
from sidecar.wire.settings.settings import Context, Introspection, Issuer, Resilience, Settings
from tests import plain_http
from tests.adapters.servers import Server
from tests.domain.scenes import policy
from tests.stories.running import Pods, running, unique
from tests.waiting import eventually

POLICIES = (policy(Networks(Selection(frozenset({"restricted"}))), name="segment", contexts=None),)


class Provider(ThreadingHTTPServer):
    """Answers questions about tokens; `away`: with 503."""

    daemon_threads = True

    def __init__(self) -> None:
        self.tokens: dict[str, dict[str, Any]] = {}
        self.asked: list[str] = []
        self.away = False
        super().__init__(("127.0.0.1", 0), _Handler)

    def issue(self, user: str, session: str, age: float = 60, acr: str = "single-factor") -> str:
        name = unique("tok")
        self.tokens[name] = {
            "active": True,
            "sub": user,
            "sid": session,
            "acr": acr,
            "auth_time": int(now() - age),
            "exp": int(now()) + 3600,
        }
        return name


class _Handler(BaseHTTPRequestHandler):
    server: Provider

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        (token,) = form["token"]
        self.server.asked.append(token)
        answer = json.dumps(self.server.tokens.get(token, {"active": False})).encode()
        self.send_response(503 if self.server.away else 200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Not on the test's terminal."""


class World(NamedTuple):
    pods: Pods
    provider: Provider

    def check(self, token: str, context: str = "c1") -> Any:
        return self.pods.clients[0].check(token, context)

    def event(self, kind: str, session: str, **data: str) -> None:
        assert self.pods.clients[0].event(kind, {"session": session}, data=data)["ok"]


@contextmanager
def serving(server: socketserver.BaseServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def standing(valkey_server: Server, cache_for: float = 60.0) -> Iterator[World]:
    provider = Provider()

    def opaque(settings: Settings, _: int) -> Settings:
        issuer = Issuer(
            issuer="https://id.example",
            audiences=("payroll",),
            introspection=Introspection(
                endpoint=f"http://127.0.0.1:{provider.server_address[1]}/introspect",
                only=True,
                bearer_token="sidecar",
                cache_for=cache_for,
            ),
        )
        contexts = {
            f"c{number}": Context(name=option.value, when_unknown=option)
            for number, option in enumerate(Resilience, 1)
        }
        tokens = msgspec.structs.replace(settings.tokens, issuers=(issuer,))
        return msgspec.structs.replace(settings, tokens=tokens, contexts=contexts)

    with serving(provider), running(valkey_server.url, POLICIES, 1, opaque) as pods:
        yield World(pods, provider)


@pytest.fixture(scope="module")
def world(valkey_server: Server) -> Iterator[World]:
    with standing(valkey_server) as one:
        yield one


def test_an_opaque_token_is_challenged_and_a_stronger_one_is_a_proof(world: World) -> None:
    user, session = unique("user"), unique("session")
    weak = world.provider.issue(user, session)
    assert world.check(weak)["decision"] == "allow"
    assert world.check(weak)["subject"] == user
    assert world.provider.asked.count(weak) == 1
    world.event("network-change", session, segment="restricted")
    marked = now()
    challenged = world.check(weak)
    assert (challenged["decision"], challenged["acr_values"]) == ("step_up", "mfa")
    eventually(now, lambda at: int(at) > int(marked))
    strong = world.provider.issue(user, session, age=0, acr="mfa")
    assert world.check(strong)["decision"] == "allow"
    assert world.check(weak)["decision"] == "step_up", "it shows no more than it did"


def test_a_token_that_its_issuer_does_not_know_is_invalid(world: World) -> None:
    answer = world.check("nothing")
    assert (answer["ok"], answer["error"], answer["status"]) == (False, "invalid_token", 401)
    assert "not active" in answer["message"]


def test_after_a_revocation_the_issuer_is_asked_again(world: World) -> None:
    user, session = unique("user"), unique("session")
    token = world.provider.issue(user, session)
    assert world.check(token)["decision"] == "allow"
    del world.provider.tokens[token]
    assert world.check(token)["decision"] == "allow", "as it was reported a moment ago"
    world.event("session-revoked", session)
    assert world.check(token)["error"] == "invalid_token"
    assert world.provider.asked.count(token) == 2


def test_with_the_issuer_away_each_context_gets_what_it_is_to_get(valkey_server: Server) -> None:
    with standing(valkey_server, cache_for=0.05) as world:
        user, session = unique("user"), unique("session")
        token = world.provider.issue(user, session)
        assert world.check(token, "")["decision"] == "allow"
        world.provider.away = True
        known = {"c1": 503, "c2": 403, "c3": 401, "c4": 200}
        for context, status in known.items():
            eventually(
                lambda context=context: world.check(token, context)["status"],
                lambda found, status=status: found == status,
            )
        assert world.check(token, "")["decision"] == "allow", "a routine call, by what is known"
        for context in ("", *known):
            assert world.check("unknown", context)["status"] == 503, "nothing is known of it"
        world.event("network-change", session, segment="restricted")
        assert world.check(token, "c4")["decision"] == "step_up", "what is known still binds"


def test_it_is_counted_by_issuer_and_outcome_and_no_token_is_shown(world: World) -> None:
    token = world.provider.issue(unique("user"), unique("session"))
    world.check(token)
    world.check("not-one-of-ours")
    text = plain_http.get(f"{world.pods.addresses[0].admin[0]}/metrics").text
    assert 'sidecar_introspections_total{issuer="0",outcome="active"}' in text
    assert 'sidecar_introspections_total{issuer="0",outcome="refused"}' in text
    assert 'sidecar_invalid_tokens_total{reason="not-active"}' in text
    assert token not in text
    assert "not-one-of-ours" not in text
