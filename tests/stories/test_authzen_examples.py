"""The example requests of the AuthZEN specification (1.0, sections 6, 7 and 10), over real HTTP.

They say nothing of tokens, which are how a sidecar knows a user: the same requests are made
without one, and with one of the user that they name.
"""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from sidecar.domain.policy.conditional_access import Networks, Selection
from tests import plain_http
from tests.adapters.servers import Server
from tests.domain.scenes import policy
from tests.stories.running import Pods, running, token, unique

POLICIES = (
    policy(
        Networks(Selection(frozenset({"restricted"}))), name="segment", contexts=frozenset({"c1"})
    ),
)
ALICE = "alice@example.com"
USER: dict[str, Any] = {"type": "user", "id": ALICE}
TIME = {"time": "2024-05-31T15:22-07:00"}
READ = {"name": "can_read"}
FILES = ("boxcarring.md", "subject-search.md", "resource-search.md")


def document(name: str, **properties: str) -> dict[str, Any]:
    return {"type": "document", "id": name, **({"properties": properties} if properties else {})}


SINGLE: dict[str, Any] = {
    "subject": USER,
    "resource": {"type": "account", "id": "123"},
    "action": {"name": "can_read", "properties": {"method": "GET"}},
    "context": {"time": "1985-10-26T01:22-07:00"},
}
BATCHES: dict[str, dict[str, Any]] = {
    "each item whole": {
        "evaluations": [
            {"subject": USER, "action": READ, "resource": document(name), "context": TIME}
            for name in FILES
        ]
    },
    "subject and context from the top": {
        "subject": USER,
        "context": TIME,
        "evaluations": [{"action": READ, "resource": document(name)} for name in FILES],
    },
    "an action of its own": {
        "subject": USER,
        "context": TIME,
        "action": READ,
        "evaluations": [
            {"resource": document(FILES[0])},
            {"resource": document(FILES[1])},
            {"action": {"name": "can_edit"}, "resource": document(FILES[2])},
        ],
    },
}


@pytest.fixture(scope="module")
def pods(valkey_server: Server) -> Iterator[Pods]:
    with running(valkey_server.url, POLICIES, count=1) as pods:
        yield pods


def held(members: Any, held_token: str) -> Any:
    """The same request with the user's token beside the user."""
    if isinstance(members, list):
        return [held(one, held_token) for one in members]
    if not isinstance(members, dict):
        return members
    changed = {name: held(value, held_token) for name, value in members.items()}
    return {**changed, "properties": {"token": held_token}} if members == USER else changed


def post(pods: Pods, path: str, body: Any) -> httpx.Response:
    name = unique("request")
    answer = plain_http.post(
        f"{pods.addresses[0].http[0]}/access/v1/{path}", json=body, headers={"X-Request-ID": name}
    )
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["X-Request-ID"] == name
    return answer


def decisions(answer: httpx.Response) -> list[bool]:
    return [one["decision"] for one in answer.json()["evaluations"]]


def test_a_single_evaluation_is_permitted_to_who_holds_a_token(pods: Pods) -> None:
    answer = post(pods, "evaluation", held(SINGLE, token(ALICE, unique("session")))).json()
    assert answer["decision"] is True
    assert answer["context"]["subject"] == ALICE


def test_a_single_evaluation_of_somebody_unknown_is_a_denial_and_no_error(pods: Pods) -> None:
    answer = post(pods, "evaluation", SINGLE).json()
    assert answer["decision"] is False
    assert answer["context"]["error"]["status"] == 401


@pytest.mark.parametrize("name", BATCHES)
def test_a_batch_is_answered_in_order(pods: Pods, name: str) -> None:
    body = BATCHES[name]
    assert decisions(post(pods, "evaluations", held(body, token(ALICE, unique("s"))))) == [True] * 3
    assert decisions(post(pods, "evaluations", body)) == [False] * 3


@pytest.mark.parametrize(
    ("semantic", "wanted"),
    [
        ("execute_all", [True, False, True]),
        ("deny_on_first_deny", [True, False]),
        ("permit_on_first_permit", [True]),
    ],
)
def test_a_batch_stops_where_its_semantic_says(
    pods: Pods, semantic: str, wanted: list[bool]
) -> None:
    session = unique("session")
    weak = token(ALICE, session)
    client = pods.clients[0]
    assert client.check(weak)["decision"] == "allow"
    assert client.event("network-change", {"session": session}, data={"segment": "restricted"})[
        "ok"
    ]
    body = {
        "subject": USER,
        "action": {"name": "read"},
        "options": {"evaluations_semantic": semantic, "another_option": "value"},
        "evaluations": [
            {"resource": document("1")},
            {"resource": document("2", context="c1")},
            {"resource": document("3")},
        ],
    }
    answer = post(pods, "evaluations", held(body, weak))
    assert decisions(answer) == wanted
    if len(wanted) > 1:
        context = answer.json()["evaluations"][1]["context"]
        assert context["acr_values"] == "mfa"
        assert context["www_authenticate"].startswith(
            'Bearer error="insufficient_user_authentication"'
        )


def test_a_subject_that_is_no_user_is_judged_by_its_token_alone(pods: Pods) -> None:
    body = {
        "evaluations": [
            {"resource": {"type": "doc", "id": "1"}, "subject": {"type": "doc", "id": "2"}}
        ],
        "action": READ,
        "options": {"evaluations_semantic": "execute_all", "another_option": "value"},
    }
    assert decisions(post(pods, "evaluations", body)) == [False]
    body["evaluations"] = [
        {
            "resource": {"type": "doc", "id": "1"},
            "subject": {"type": "doc", "id": "2", "properties": {"token": token(ALICE, "s")}},
        }
    ]
    assert decisions(post(pods, "evaluations", body)) == [True]


def test_the_metadata_is_where_the_specification_has_it(pods: Pods) -> None:
    here = pods.addresses[0].http[0]
    answer = plain_http.get(f"{here}/.well-known/authzen-configuration")
    assert answer.headers["Content-Type"] == "application/json"
    found = answer.json()
    assert found["policy_decision_point"] == here
    assert found["access_evaluation_endpoint"] == f"{here}/access/v1/evaluation"
    assert found["access_evaluations_endpoint"] == f"{here}/access/v1/evaluations"
