"""The page on challenges names what we really send."""

from pathlib import Path

from sidecar.wire.http.problems import Problem

PAGE = (Path(__file__).parents[2] / "docs/challenges.md").read_text()


def test_every_problem_type_is_documented_with_its_status_and_title() -> None:
    for problem in Problem:
        kind = problem.value
        assert f"| `{kind.name}` | {kind.status} | {kind.title} |" in PAGE
