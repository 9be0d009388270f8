"""Old and new tokens of one session, at the doors of two daemons, with real tokens."""

from collections.abc import Iterator
from typing import Any

import httpx
import msgspec
import pytest

from sidecar.adapters.clock import now
from sidecar.domain.policy.conditional_access import Changed, Circumstance, RiskLevel, UserRisk
from sidecar.wire.policies.context_policies import context_policies
from sidecar.wire.settings.settings import Context, Requires, Settings
from tests import plain_http
from tests.adapters.servers import Server
from tests.domain.scenes import policy
from tests.stories.running import Pods, running, token, unique
from tests.waiting import eventually

POLICIES = (
    policy(UserRisk(RiskLevel.MEDIUM), name="risk"),
    policy(Changed((Circumstance.COUNTRY,)), name="moved"),
)
STRONG = Context(name="Wire transfers", requires=Requires(assurance="phishing-resistant"))
BERLIN, LISBON = "192.0.2.1", "198.51.100.1"


def with_a_strong_context(settings: Settings, _: int) -> Settings:
    return msgspec.structs.replace(settings, contexts={**settings.contexts, "c4": STRONG})


@pytest.fixture(scope="module")
def pods(valkey_server: Server) -> Iterator[Pods]:
    strong = context_policies(Settings(contexts={"c4": STRONG}))
    with running(valkey_server.url, (*POLICIES, *strong), change=with_a_strong_context) as both:
        yield both


def over_http(pods: Pods, pod: int, shown: str, context: str) -> httpx.Response:
    url = pods.addresses[pod].http[0] + "/v1/check"
    headers = {"Authorization": f"Bearer {shown}", "X-Auth-Context": context}
    return plain_http.get(url, headers=headers)


def wait_a_second() -> None:
    """A proof counts from the next second on."""
    begun = int(now())
    eventually(now, lambda at: int(at) > begun)


def challenged(answer: Any) -> bool:
    return bool(answer["decision"] == "step_up")


def test_a_thiefs_old_token_gains_nothing_by_its_owners_step_up(pods: Pods) -> None:
    a, b = pods.clients
    user, session = unique("user"), unique("session")
    old = token(user, session, age=600)
    for client in (a, b):
        assert client.check(old)["decision"] == "allow"
        assert challenged(client.check(old, "c4"))
    a.event("risk-level-change", {"user": user}, data={"current_level": "HIGH"}, wait="everywhere")
    wait_a_second()
    new = token(user, session, age=0, acr="phr")
    for client in (a, b):
        for context in ("c1", "c4"):
            assert client.check(new, context)["decision"] == "allow"
    for client in (a, b):
        for context in ("c1", "c4"):
            answer = client.check(old, context)
            assert challenged(answer)
            assert answer["assurance"] == "single-factor"
    for pod in (0, 1):
        refused = over_http(pods, pod, old, "c1")
        assert refused.status_code == 401
        assert "insufficient_user_authentication" in refused.headers["WWW-Authenticate"]
        routine = plain_http.get(
            pods.addresses[pod].http[0] + "/v1/ext_authz/routine",
            headers={"Authorization": f"Bearer {old}"},
        )
        assert routine.status_code == 200
        assert routine.headers["X-Sidecar-Assurance"] == "single-factor"
        assert routine.headers["X-Sidecar-Step-Up"] == "pending"
        assert over_http(pods, pod, new, "c1").headers["X-Sidecar-Assurance"] == (
            "phishing-resistant"
        )


def test_nor_by_a_place_that_the_step_up_proved(pods: Pods) -> None:
    a, b = pods.clients
    user, session = unique("user"), unique("session")
    old = token(user, session, age=600)
    assert a.check(old, ip=BERLIN)["decision"] == "allow"
    assert challenged(a.check(old, ip=LISBON))
    wait_a_second()
    new = token(user, session, age=0, acr="mfa")
    assert a.check(new, ip=LISBON)["decision"] == "allow"
    for client in (a, b):
        eventually(lambda c=client: c.check(new, ip=LISBON)["decision"], lambda one: one == "allow")
        assert challenged(client.check(old, ip=LISBON))
    assert a.check(old, ip=BERLIN)["decision"] == "allow", "it was there before"


@pytest.mark.parametrize("of", ["session", "user"])
def test_a_revoked_token_is_not_brought_back_by_a_newer_one(pods: Pods, of: str) -> None:
    a, b = pods.clients
    named = {"user": unique("user"), "session": unique("session")}
    old = token(named["user"], named["session"])
    assert a.check(old)["decision"] == "allow"
    assert b.check(old)["decision"] == "allow"
    b.event("session-revoked", {of: named[of]}, wait="everywhere")
    wait_a_second()
    new = token(named["user"], named["session"], age=0)
    assert a.check(new)["decision"] == "allow"
    eventually(lambda: b.check(new)["decision"], lambda one: one == "allow")
    for client in (a, b):
        for context in ("", "c1"):
            assert client.check(old, context)["decision"] == "deny"
    assert over_http(pods, 0, old, "c1").status_code == 401


@pytest.mark.parametrize("of", ["session", "user"])
def test_a_sign_in_that_is_dated_ahead_voids_no_revocation(pods: Pods, of: str) -> None:
    a, b = pods.clients
    named = {"user": unique("user"), "session": unique("session")}
    ahead = token(named["user"], named["session"], age=-3, acr="phr")
    for client in (a, b):
        assert client.check(ahead)["decision"] == "allow"
    a.event("session-revoked", {of: named[of]}, wait="everywhere")
    for client in (a, b):
        assert client.check(ahead)["decision"] == "deny"
    end = int(now()) + 5
    eventually(now, lambda at: int(at) >= end)
    for client in (a, b):
        assert client.check(ahead)["decision"] == "deny", "also once its time has come"
