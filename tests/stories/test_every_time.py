"""One proof buys one call, of two whole daemons on one real store."""

from collections.abc import Iterator

import pytest

from sidecar.domain.policy.conditional_access import (
    EveryTime,
    Grant,
    Policy,
    Selection,
    SessionControls,
)
from tests.adapters.servers import Server
from tests.stories.running import Pods, running, token, unique
from tests.waiting import eventually

EACH = Policy(
    "each",
    Grant((frozenset({"mfa"}),)),
    contexts=Selection(frozenset({"c1"})),
    session=SessionControls(every_time=EveryTime()),
)
GRACED = Policy(
    "graced",
    Grant((frozenset({"mfa"}),)),
    contexts=Selection(frozenset({"c2"})),
    session=SessionControls(every_time=EveryTime(grace=3600)),
)


@pytest.fixture(scope="module")
def pods(valkey_server: Server) -> Iterator[Pods]:
    with valkey_server.client() as client:
        client.flushall()
    with running(valkey_server.url, (EACH, GRACED)) as both:
        yield both


def test_of_fifty_calls_at_once_into_both_just_one_passes(pods: Pods) -> None:
    a, b = pods.clients
    for _ in range(5):
        fresh = token(unique("user"), unique("session"), age=1, acr="mfa")
        calls = [{"op": "check", "token": fresh, "context": "c1"}] * 25
        a.send(*calls)
        b.send(*calls)
        answers = [pod.read() for pod in (a, b) for _ in calls]
        decisions = sorted(answer["decision"] for answer in answers)
        assert decisions == ["allow"] + ["step_up"] * 49
        refused = next(answer for answer in answers if answer["decision"] == "step_up")
        assert (refused["acr_values"], refused["max_age"]) == ("mfa", 0)


def test_within_the_grace_the_same_token_passes_at_both_and_a_refreshed_one_does_not(
    pods: Pods,
) -> None:
    a, b = pods.clients
    user, session = unique("user"), unique("session")
    first = token(user, session, age=5, acr="mfa", jti="one")
    refreshed = token(user, session, age=5, acr="mfa", jti="two")
    assert [pod.check(first, "c2")["decision"] for pod in (a, b, a)] == ["allow"] * 3
    assert [pod.check(refreshed, "c2")["decision"] for pod in (a, b)] == ["step_up"] * 2


def test_a_spent_proof_is_known_to_a_session_that_is_read_again(pods: Pods) -> None:
    a, b = pods.clients
    user, session = unique("user"), unique("session")
    spent = token(user, session, age=5, acr="mfa")
    assert a.check(spent)["decision"] == "allow"
    answer = eventually(lambda: b.check(spent), lambda one: one["decision"] == "step_up")
    assert [reason["policy"] for reason in answer["reasons"]] == ["each"]
