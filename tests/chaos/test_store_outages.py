"""The store stops, dies, or hands over while sidecars serve: marks that were acknowledged stay."""

from collections.abc import Iterator

import msgspec
import pytest

from sidecar.domain.policy.conditional_access import (
    Assignment,
    Networks,
    Principals,
    RiskLevel,
    Selection,
    UserRisk,
)
from sidecar.wire.policies.context_policies import context_policies
from sidecar.wire.settings.settings import Context, Requires, Resilience, Settings
from tests import plain_http
from tests.adapters.servers import Server, serving
from tests.domain.scenes import policy
from tests.stories.running import Pods, running, token, unique
from tests.waiting import eventually

POLICIES = (
    policy(Networks(Selection(frozenset({"restricted"}))), name="segment"),
    policy(UserRisk(RiskLevel.MEDIUM), name="risk"),
)


def mark(pods: Pods, pod: int, session: str) -> dict[str, object]:
    reply: dict[str, object] = pods.clients[pod].event(
        "network-change",
        {"session": session},
        id=f"mark-{session}",
        data={"segment": "restricted"},
    )
    return reply


def marked_everywhere(pods: Pods, weak: str) -> None:
    for client in pods.clients:
        eventually(
            lambda client=client: client.check(weak).get("decision"),
            lambda found: found == "step_up",
            within=20,
        )


def store_up(pods: Pods, pod: int) -> float:
    text = plain_http.get(pods.addresses[pod].admin[0] + "/metrics").text
    lines = [line for line in text.splitlines() if line.startswith("sidecar_store_up ")]
    return float(lines[0].split()[1])


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as one:
        yield one


def test_a_store_that_hangs_is_reported_checks_go_on_and_recovery_is_automatic(
    server: Server,
) -> None:
    with running(server.url, POLICIES) as pods:
        a, b = pods.clients
        before, weak_before = unique("session"), ""
        weak_before = token(unique("user"), before)
        calm = token(unique("user"), unique("session"))
        assert a.check(weak_before)["decision"] == "allow"
        assert b.check(calm)["decision"] == "allow"
        assert mark(pods, 0, before)["ok"] is True
        marked_everywhere(pods, weak_before)
        with server.paused():
            # What is in the view is judged by the view, new sessions get routine calls only.
            assert a.check(weak_before)["decision"] == "step_up"
            assert a.check(weak_before, context="")["decision"] == "allow"
            stranger = token(unique("user"), unique("session"))
            assert a.check(stranger, context="")["decision"] == "allow"
            assert a.check(stranger).get("decision") != "allow"
            refused = mark(pods, 0, unique("session"))
            assert refused["ok"] is False or refused.get("spooled") is True
            eventually(lambda: store_up(pods, 0), lambda up: up == 0)
        eventually(lambda: store_up(pods, 0), lambda up: up == 1, within=20)
        after = unique("session")
        weak = token(unique("user"), after)
        assert eventually(lambda: a.check(weak), lambda one: one.get("decision") == "allow")
        eventually(lambda: mark(pods, 1, after), lambda reply: reply["ok"], within=20)
        marked_everywhere(pods, weak)
        marked_everywhere(pods, weak_before)


def test_a_store_that_comes_back_empty_gets_back_what_the_sidecars_know(server: Server) -> None:
    with running(server.url, POLICIES) as pods:
        a, b = pods.clients
        known, stranger = unique("session"), unique("session")
        weak = token(unique("user"), known)
        assert a.check(weak)["decision"] == "allow"
        assert mark(pods, 0, known)["ok"] is True
        assert a.check(weak)["decision"] == "step_up"
        server.stop()
        server.path.unlink(missing_ok=True)
        server.start()
        eventually(lambda: store_up(pods, 1), lambda up: up == 1, within=20)
        marked_everywhere(pods, weak)
        # Nobody remembers this one: it signed in before, and must show itself anew.
        forgotten = token(unique("user"), stranger)
        eventually(
            lambda: [one["policy"] for one in b.check(forgotten).get("reasons", [])],
            lambda found: found == ["store-lost"],
            within=20,
        )
        assert b.check(forgotten, context="")["decision"] == "allow"


BLOCKED = policy(None, name="blocked", block=True, contexts=frozenset({"c3"}))
CONTRACTORS = Assignment(include=Principals(groups=frozenset({"contractors"})))
STRONG = Context(
    name="Administration",
    when_unknown=Resilience.STEP_UP,
    requires=Requires(assurance="phishing-resistant"),
)


def with_a_strong_context(settings: Settings, _: int) -> Settings:
    return msgspec.structs.replace(settings, contexts={**settings.contexts, "c3": STRONG})


def test_without_a_store_a_call_is_judged_by_its_own_token(server: Server) -> None:
    blocked = msgspec.structs.replace(BLOCKED, users=CONTRACTORS)
    policies = (*POLICIES, blocked, *context_policies(Settings(contexts={"c3": STRONG})))
    with running(server.url, policies, 1, with_a_strong_context) as pods:
        (pod,) = pods.clients
        gone, revoked = unique("user"), unique("session")
        known = token(gone, revoked)
        assert pod.check(known, "")["decision"] == "allow"
        assert pod.event("session-revoked", {"user": gone})["ok"] is True
        server.stop()
        eventually(lambda: store_up(pods, 0), lambda up: up == 0)

        weak = pod.check(token(unique("user"), unique("session"), age=2, groups=[]), "c3")
        assert (weak["decision"], weak["status"]) == ("step_up", 401)
        assert weak["acr_values"].split()[0] == "phr"
        old = pod.check(
            token(unique("user"), unique("session"), age=120, acr="phr", groups=[]), "c3"
        )
        assert (old["decision"], old["max_age"]) == ("step_up", 60)
        assert old["acr_values"].split()[0] == "phr"
        strong = token(unique("user"), unique("session"), age=2, acr="phr", groups=[])
        assert pod.check(strong, "c3")["decision"] == "allow"
        contractor = token(
            unique("user"), unique("session"), age=2, acr="phr", groups=["contractors"]
        )
        assert pod.check(contractor, "c3")["decision"] == "deny"
        before = token(gone, unique("session"), age=30, acr="phr", groups=[])
        assert pod.check(before, "c3")["decision"] == "deny", "the user was revoked since"
        assert pod.check(before, "")["decision"] == "deny"
