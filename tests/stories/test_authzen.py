"""An AuthZEN enforcement point before a whole daemon."""

from collections.abc import Iterator
from typing import Any

import pytest

from sidecar.domain.policy.conditional_access import Networks, Selection
from tests import plain_http
from tests.adapters.servers import Server
from tests.domain.scenes import policy
from tests.stories.running import CREDENTIAL, Pods, running, token, unique
from tests.waiting import eventually

POLICIES = (policy(Networks(Selection(frozenset({"restricted"}))), name="segment"),)


@pytest.fixture(scope="module")
def pods(valkey_server: Server) -> Iterator[Pods]:
    with running(valkey_server.url, POLICIES) as both:
        yield both


def evaluate(pods: Pods, index: int = 1, **members: Any) -> Any:
    url = pods.addresses[index].http[0] + "/access/v1/evaluation"
    shown = {"Authorization": f"Bearer {CREDENTIAL}"}
    return plain_http.post(url, json={"action": {"name": "POST"}, **members}, headers=shown).json()


PAY = {"type": "route", "id": "/pay/{id}", "properties": {"path": "/pay/7"}}
SEE = {"type": "route", "id": "/accounts"}


def test_a_signal_makes_the_next_sensitive_evaluation_a_step_up(pods: Pods) -> None:
    user, session = unique("user"), unique("session")
    subject = {"type": "user", "id": user, "properties": {"token": token(user, session)}}
    assert evaluate(pods, subject=subject, resource=PAY)["decision"] is True
    pods.clients[0].event("network-change", {"session": session}, data={"segment": "restricted"})
    refused = eventually(
        lambda: evaluate(pods, subject=subject, resource=PAY), lambda answer: not answer["decision"]
    )
    assert refused["context"]["acr_values"] == "mfa"
    assert "insufficient_user_authentication" in refused["context"]["www_authenticate"]
    assert refused["context"]["reasons"][0]["policy"] == "segment"
    routine = evaluate(pods, subject=subject, resource=SEE)
    assert routine["decision"] is True
    assert routine["context"]["step_up_pending"] is True


def test_a_known_session_is_judged_without_a_token_wherever_it_was_seen(pods: Pods) -> None:
    user, session = unique("user"), unique("session")
    subject = {"type": "session", "id": session}
    unknown = evaluate(pods, subject=subject, resource=PAY)
    assert (unknown["decision"], unknown["context"]["error"]["status"]) == (False, 404)
    pods.clients[0].check(token(user, session))
    known = eventually(
        lambda: evaluate(pods, subject=subject, resource=PAY), lambda answer: answer["decision"]
    )
    assert known["context"]["subject"] == user
    pods.clients[0].event("network-change", {"session": session}, data={"segment": "restricted"})
    eventually(
        lambda: evaluate(pods, subject=subject, resource=PAY), lambda answer: not answer["decision"]
    )
    pods.clients[0].event("session-revoked", {"session": session})
    eventually(
        lambda: evaluate(pods, subject=subject, resource=SEE), lambda answer: not answer["decision"]
    )


def test_a_token_of_somebody_else_is_no_permission(pods: Pods) -> None:
    user, session = unique("user"), unique("session")
    subject = {"type": "user", "id": "mallory", "properties": {"token": token(user, session)}}
    answer = evaluate(pods, subject=subject, resource=SEE)
    assert answer["decision"] is False
