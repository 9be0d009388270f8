import msgspec
import pytest

from sidecar.adapters.events.replies import check_reply
from sidecar.adapters.http.authzen import result_of
from sidecar.adapters.http.check_responses import redirected, response_of
from sidecar.domain.evaluation.decision import Verdict
from sidecar.service.checks.decision_ids import DecisionIds
from sidecar.service.ports.calls import UNKNOWN_CONTEXT, Answer

ANSWERS = (
    Answer(Verdict.ALLOW, 200, id="d-1"),
    Answer(Verdict.STEP_UP, 401, challenge="Bearer", id="d-1"),
    Answer(Verdict.DENY, 403, id="d-1"),
    Answer(Verdict.DENY, 401, error="invalid_token", id="d-1"),
    Answer(Verdict.DENY, 503, error="unavailable", retry_after=1, id="d-1"),
    Answer(Verdict.DENY, 400, error=UNKNOWN_CONTEXT, id="d-1"),
)


def test_no_two_decisions_have_one_id_also_not_those_of_two_processes() -> None:
    first, second = DecisionIds("0" * 32), DecisionIds("1" * 32)
    ids = [one.next() for _ in range(1000) for one in (first, second)]
    assert len(set(ids)) == len(ids)
    assert all(len(one) <= 20 and one.isascii() for one in ids)


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: str(answer.status))
def test_every_answer_says_its_decision_id_at_every_door(answer: Answer) -> None:
    response = response_of(answer)
    assert dict(response.fields)["X-Sidecar-Decision-Id"] == "d-1"
    if response.body:
        assert msgspec.json.decode(response.body)["instance"] == "d-1"
    assert msgspec.json.decode(check_reply(answer, msgspec.UNSET))["id"] == "d-1"
    assert result_of(answer).context["id"] == "d-1"


def test_a_browser_that_is_redirected_is_given_the_decision_id() -> None:
    response = redirected(ANSWERS[1], "https://id.example/step-up")
    assert dict(response.fields)["X-Sidecar-Decision-Id"] == "d-1"
