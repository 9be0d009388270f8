"""Requests as in the examples of the specification, and everything else."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.wire.http.authzen import (
    MAX_EVALUATIONS,
    BySession,
    ByToken,
    Evaluation,
    EvaluationBatch,
    InvalidEvaluation,
    Result,
    Semantic,
    decode_evaluation,
    decode_evaluations,
    encode_result,
    encode_results,
    failure,
    metadata,
)
from tests.wire.http.authzen_requests import NAMES, REQUESTS, VALUES, evaluations

ALICE = {"type": "user", "id": "alice@acmecorp.com"}
READ = {"name": "can_read", "properties": {"method": "GET"}}
RECORD = {"type": "account", "id": "123"}
EXAMPLE = {
    "subject": ALICE,
    "resource": RECORD,
    "action": READ,
    "context": {"time": "1985-10-26T01:22-07:00"},
}


def decoded(**changes: Any) -> Evaluation:
    return decode_evaluation(json.dumps({**EXAMPLE, **changes}).encode())


def batch(**members: Any) -> EvaluationBatch:
    found = evaluations(**members)
    assert isinstance(found, EvaluationBatch)
    return found


def test_the_specifications_example_is_a_routine_call_of_somebody_without_a_token() -> None:
    assert decoded() == Evaluation(ByToken("", "alice@acmecorp.com"))


def test_a_token_comes_with_the_subject_or_the_context() -> None:
    holder = {**ALICE, "properties": {"token": "abc"}}
    wanted = ByToken("abc", "alice@acmecorp.com")
    assert decoded(subject=holder).who == wanted
    assert decoded(context={"token": "abc"}).who == wanted
    assert decoded(subject=holder, context={"token": "abc"}).who == wanted


def test_two_different_tokens_are_refused() -> None:
    with pytest.raises(InvalidEvaluation, match=r"context\.token"):
        decoded(subject={**ALICE, "properties": {"token": "a"}}, context={"token": "b"})


def test_a_subject_that_is_no_user_may_hold_anybodys_token() -> None:
    holder = {"type": "bearer", "id": "whoever", "properties": {"token": "abc"}}
    assert decoded(subject=holder).who == ByToken("abc")


def test_a_session_is_known_by_its_name_with_or_without_a_token() -> None:
    assert decoded(subject={"type": "session", "id": "s1"}).who == BySession("s1")
    subject = {"type": "session", "id": "s1", "properties": {"token": "abc"}}
    assert decoded(subject=subject).who == BySession("s1", "abc")


@pytest.mark.parametrize(
    ("resource", "contexts"),
    [
        ({"type": "context", "id": "c1"}, ("c1",)),
        ({"type": "account", "id": "1", "properties": {"context": "c2"}}, ("c2",)),
        ({"type": "account", "id": "1", "properties": {"context": ["c2", "c3"]}}, ("c2", "c3")),
        ({"type": "context", "id": "c1", "properties": {"context": "c2"}}, ("c1", "c2")),
    ],
)
def test_a_resource_names_contexts(resource: Any, contexts: tuple[str, ...]) -> None:
    assert decoded(resource=resource).contexts == contexts


@pytest.mark.parametrize(
    ("resource", "host", "path"),
    [
        ({"type": "x", "id": "1", "properties": {"path": "/p%61y"}}, "", "/pay"),
        (
            {"type": "x", "id": "1", "properties": {"uri": "https://Shop.example:8443/pay?x"}},
            "shop.example",
            "/pay",
        ),
        ({"type": "route", "id": "/pay/{id}"}, "", "/pay/%7Bid%7D"),
        ({"type": "uri", "id": "https://shop.example"}, "shop.example", "/"),
        ({"type": "uri", "id": "https://a.example@b.example/x"}, "b.example", "/x"),
        ({"type": "account", "id": "/pay"}, "", ""),
        (
            {
                "type": "route",
                "id": "/pay/{id}",
                "properties": {
                    "uri": "https://shop.example/pay/7",
                    "path": "/pay/7",
                    "hostname": "shop.example",
                },
            },
            "shop.example",
            "/pay/7",
        ),
    ],
)
def test_a_resource_names_a_call(resource: Any, host: str, path: str) -> None:
    found = decoded(resource=resource)
    assert (found.host, found.path) == (host, path)


@pytest.mark.parametrize("uri", ["a://{}#", "{}://a#", "a://a/{}#", "a:{}"])
def test_an_address_as_long_as_a_body_may_be_is_read_character_by_character(uri: str) -> None:
    # A reader that goes back would need hours for this.
    with pytest.raises(InvalidEvaluation):
        decoded(
            resource={"type": "uri", "id": "1", "properties": {"uri": uri.format("x" * 1_000_000)}}
        )


@pytest.mark.parametrize(
    "properties",
    [
        {"path": "/public", "uri": "https://a.example/pay"},
        {"uri": "https://a.example/pay", "host": "b.example"},
        {"path": "/a%2fb"},
        {"path": "/a/../pay"},
        {"path": "//pay"},
        {"path": "pay"},
        {"uri": "https://a b/"},
        {"uri": 7},
        {"context": "c 1"},
        {"context": [1]},
        {"context": {}},
    ],
)
def test_a_resource_that_could_be_read_in_two_ways_is_refused(properties: Any) -> None:
    with pytest.raises(InvalidEvaluation, match="resource"):
        decoded(resource={"type": "x", "id": "1", "properties": properties})


@pytest.mark.parametrize(
    ("name", "method"), [("GET", "GET"), ("delete", "DELETE"), ("can_read", ""), ("approve", "")]
)
def test_an_action_is_a_method_if_http_knows_it_and_else_any(name: str, method: str) -> None:
    assert decoded(action={"name": name}).method == method


@pytest.mark.parametrize(
    "changes",
    [
        {"context": {"ip": "203.0.113.9"}},
        {"context": {"ip_address": "203.0.113.9"}},
        {"subject": {**ALICE, "properties": {"ip_address": "203.0.113.9"}}},
    ],
)
def test_the_clients_address_may_be_given_in_three_places(changes: Any) -> None:
    assert decoded(**changes).ip == "203.0.113.9"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"subject": None}, "subject"),
        ({"subject": "alice"}, "subject"),
        ({"subject": {"type": "user"}}, "subject.id"),
        ({"subject": {"type": "", "id": "x"}}, "subject.type"),
        ({"subject": {**ALICE, "properties": []}}, "subject.properties"),
        ({"subject": {"type": "session", "id": "x" * 5000}}, "subject.id"),
        ({"subject": {**ALICE, "properties": {"token": 7}}}, "subject.properties.token"),
        ({"action": {}}, "action.name"),
        ({"action": {"name": "GET", "properties": 1}}, "action.properties"),
        ({"resource": {"type": "x"}}, "resource.id"),
        ({"resource": {"type": "x", "id": 7}}, "resource.id"),
        ({"context": []}, "context"),
        ({"context": {"ip": "here"}}, "context.ip"),
        ({"context": {"user_agent": "a\nb"}}, "context.user_agent"),
    ],
)
def test_a_malformed_request_is_refused_by_its_field(changes: Any, field: str) -> None:
    with pytest.raises(InvalidEvaluation) as raised:
        decoded(**changes)
    assert raised.value.field == field


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"subject":1,"subject":2}', b"\xff"])
def test_a_body_that_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidEvaluation):
        decode_evaluation(body)
    with pytest.raises(InvalidEvaluation):
        decode_evaluations(body)


def test_a_batch_takes_what_its_items_lack_from_the_top() -> None:
    found = batch(
        subject={"type": "session", "id": "s1"},
        action={"name": "GET"},
        evaluations=[
            {"resource": {"type": "context", "id": "c1"}},
            {"resource": {"type": "context", "id": "c2"}, "action": {"name": "POST"}},
        ],
    )
    assert found.semantic is Semantic.EXECUTE_ALL
    assert found.items == (
        Evaluation(BySession("s1"), ("c1",), "GET"),
        Evaluation(BySession("s1"), ("c2",), "POST"),
    )


def test_an_items_member_replaces_the_default_as_a_whole() -> None:
    found = batch(
        **{**EXAMPLE, "context": {"ip": "203.0.113.9", "user_agent": "x"}},
        evaluations=[{"context": {"ip": "203.0.113.7"}}],
    )
    (item,) = found.items
    assert isinstance(item, Evaluation)
    assert (item.ip, item.user_agent) == ("203.0.113.7", "")


def test_one_malformed_item_fails_for_itself_alone() -> None:
    good = {"resource": RECORD}
    found = batch(subject=ALICE, action=READ, evaluations=[good, {}, 7, good])
    kinds = [type(item) for item in found.items]
    assert kinds == [Evaluation, InvalidEvaluation, InvalidEvaluation, Evaluation]


@pytest.mark.parametrize("more", [{}, {"evaluations": []}, {"evaluations": None}])
def test_a_batch_without_items_is_a_single_evaluation(more: Any) -> None:
    assert evaluations(**EXAMPLE, **more) == decoded()


@pytest.mark.parametrize("semantic", list(Semantic))
def test_the_three_semantics_are_known(semantic: Semantic) -> None:
    options = {"evaluations_semantic": semantic.value, "another": "option"}
    assert batch(**EXAMPLE, evaluations=[{}], options=options).semantic is semantic


@pytest.mark.parametrize(
    "members",
    [
        {"options": {"evaluations_semantic": "first"}},
        {"options": {"evaluations_semantic": 1}},
        {"options": {"evaluations_semantic": []}},
        {"options": []},
        {"evaluations": {}},
        {"evaluations": [{}] * (MAX_EVALUATIONS + 1)},
    ],
)
def test_a_batch_that_cannot_be_read_is_refused_as_a_whole(members: Any) -> None:
    with pytest.raises(InvalidEvaluation):
        evaluations(**{**EXAMPLE, "evaluations": [{}], **members})


def test_answers_are_the_specifications() -> None:
    assert json.loads(encode_result(Result(decision=True))) == {"decision": True}
    step_up = Result(decision=False, context={"acr_values": "urn:com:example:loa:3"})
    assert json.loads(encode_results([Result(decision=True), step_up])) == {
        "evaluations": [
            {"decision": True},
            {"decision": False, "context": {"acr_values": "urn:com:example:loa:3"}},
        ]
    }
    assert json.loads(encode_result(failure(404, "Resource not found"))) == {
        "decision": False,
        "context": {"error": {"status": 404, "message": "Resource not found"}},
    }


def test_the_metadata_names_both_endpoints() -> None:
    document = json.loads(metadata("https://pdp.example.com"))
    assert document["policy_decision_point"] == "https://pdp.example.com"
    assert document["access_evaluation_endpoint"] == "https://pdp.example.com/access/v1/evaluation"
    assert document["access_evaluations_endpoint"].endswith("/access/v1/evaluations")


@given(REQUESTS | st.dictionaries(NAMES, VALUES))
def test_no_object_makes_the_decoders_raise_anything_but_their_own(values: Any) -> None:
    body = json.dumps(values).encode()
    for decode in (decode_evaluation, decode_evaluations):
        with suppress(InvalidEvaluation):
            decode(body)


@given(st.binary(max_size=60))
def test_no_bytes_make_the_decoders_raise_anything_but_their_own(body: bytes) -> None:
    for decode in (decode_evaluation, decode_evaluations):
        with suppress(InvalidEvaluation):
            decode(body)
