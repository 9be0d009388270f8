from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.adapters.http.authzen import evaluated, split_result
from sidecar.adapters.http.check_responses import (
    RepeatedResponses,
    field_value,
    response_of,
    split_problem,
)
from sidecar.domain.evaluation.decision import Verdict
from sidecar.service.checks.kept_answers import RepeatedAnswer
from sidecar.service.ports.calls import UNKNOWN_CONTEXT, Answer, Reason
from sidecar.wire.http.messages import PreparedResponse, Response, header_lines, header_pairs


def lines(response: Response) -> list[str]:
    return header_lines(response.fields).decode("ascii").split("\r\n")[:-1]


names = st.text(max_size=40) | st.text(alphabet="a\r\n: %é")


answers = st.builds(
    Answer,
    st.sampled_from(Verdict),
    st.sampled_from([200, 401, 403, 503]),
    session=names,
    subject=names,
    assurance=names,
    challenge=names,
    message=names,
)


@given(answers)
def test_nothing_in_an_answer_can_add_a_header_line(answer: Answer) -> None:
    for line in lines(response_of(answer)):
        name, _, value = line.partition(": ")
        assert name in {
            "X-Sidecar-Decision",
            "X-Sidecar-Session",
            "X-Sidecar-Subject",
            "X-Sidecar-Assurance",
            "Cache-Control",
            "Content-Type",
            "WWW-Authenticate",
            "Retry-After",
        }
        assert value.isascii()
        assert value.isprintable()
    pairs = header_pairs(response_of(answer).fields)
    assert lines(response_of(answer)) == [
        f"{name}: {value.decode()}"
        for (name, _), (_, value) in zip(response_of(answer).fields, pairs, strict=True)
    ]


ids = st.sampled_from(["", "8f14e45fceea-1a", "-", "instance"])
reasons = st.lists(st.builds(Reason, names, names, names), max_size=2).map(tuple)


@pytest.mark.parametrize(
    ("respond", "split"), [(response_of, split_problem), (evaluated, split_result)]
)
@given(
    st.lists(
        st.builds(
            Answer,
            st.sampled_from(Verdict),
            st.sampled_from([200, 400, 401, 403, 503]),
            names,
            names,
            names,
            st.booleans(),
            names,
            names,
            st.none() | st.integers(0, 99),
            reasons,
            st.sampled_from(["", "invalid_token", "unavailable", UNKNOWN_CONTEXT]),
            names | st.sampled_from([',"instance":"-"}', "X-Sidecar-Decision-Id: -"]),
            st.integers(0, 9),
        ),
        min_size=1,
        max_size=3,
    ),
    st.lists(st.tuples(st.integers(0, 2), ids), max_size=6),
)
def test_an_answer_that_is_repeated_gets_the_response_that_it_got(
    respond: Any, split: Any, several: list[Answer], calls: list[tuple[int, str]]
) -> None:
    responses = RepeatedResponses(respond, split)
    for number, decision in calls:
        repeated = RepeatedAnswer(several[number % len(several)], decision)
        plain = respond(repeated.whole)
        assert responses.response(repeated) == PreparedResponse(
            plain.status, header_lines(plain.fields), plain.body
        )


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=40))
def test_a_name_in_a_header_can_be_read_back(name: Any) -> None:
    assert unquote(field_value(name)) == name
    assert field_value(name).strip() == field_value(name)


@pytest.mark.parametrize("name", ["alice@example.com", "auth0|5f7c", "a b", "sid-1_2.3~4"])
def test_an_ordinary_name_stands_as_it_is(name: Any) -> None:
    assert field_value(name) == name


def test_a_401_always_has_a_challenge_and_a_503_a_time_to_retry() -> None:
    assert "WWW-Authenticate: Bearer" in lines(response_of(Answer(Verdict.DENY, 401)))
    undecided = Answer(Verdict.DENY, 503, error="unavailable")
    assert "Retry-After: 1" in lines(response_of(undecided))
    assert "Retry-After: 9" in lines(response_of(Answer(Verdict.DENY, 503, retry_after=9)))
    assert b":unavailable" in response_of(undecided).body


def test_a_refusal_never_names_session_or_subject() -> None:
    response = response_of(Answer(Verdict.DENY, 403, "sess", "subj"))
    shown = header_lines(response.fields) + response.body
    assert b"sess" not in shown
    assert b"subj" not in shown
