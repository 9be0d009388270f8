import json

import pytest

from sidecar.wire.http.problems import Problem, details, problem


@pytest.mark.parametrize("kind", list(Problem))
def test_a_problem_has_a_type_that_is_its_own_and_the_status_that_goes_with_it(
    kind: Problem,
) -> None:
    response = problem(kind)
    body = json.loads(response.body)
    assert body == {
        "type": f"urn:stepup-sidecar:problem:{kind.value.name}",
        "title": kind.value.title,
        "status": kind.status,
    }
    assert response.status == kind.status
    assert ("Content-Type", "application/problem+json") in response.fields
    assert len({one.value.name for one in Problem}) == len(Problem)


def test_a_problem_says_what_is_special_this_time() -> None:
    fields = (("Retry-After", "1"),)
    response = problem(Problem.DENIED, "no", status=200, members={"policy": "p"}, fields=fields)
    body = json.loads(response.body)
    assert (response.status, body["status"]) == (200, 200)
    assert (body["detail"], body["policy"]) == ("no", "p")
    assert response.fields[-1] == ("Retry-After", "1")


def test_what_its_status_alone_says_has_no_type() -> None:
    assert json.loads(details("about:blank", "Gone", 410, ""))["type"] == "about:blank"
