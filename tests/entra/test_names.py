"""The names file."""

import pytest

from sidecar.entra.names import ConfigError, read_names


def test_a_section_goes_before_what_stands_outside() -> None:
    names = read_names("A1: general\nusers: {a1: anna}", "n.yaml")
    assert names.of("users", "A1") == "anna"
    assert names.of("groups", "a1") == "general"
    assert names.of("groups", "b2") is None


def test_an_empty_file_names_nothing() -> None:
    assert read_names("# nothing yet\n", "n.yaml").of("users", "a") is None


@pytest.mark.parametrize(
    ("text", "problem_line"),
    [
        ("- a", "n.yaml:1: (file): must be a mapping of ids to names"),
        ("users: {a: [b]}", "n.yaml:1: users.a: must be text, not a list"),
        ("users:\n  a: all", "n.yaml:2: users.a: `all` is no name"),
        ("x: all", "n.yaml:1: x: `all` is no name"),
        (
            "locations: {a: our office}",
            "n.yaml:1: locations.a: must be 1 to 64 letters, digits, dots, dashes or underscores",
        ),
        ("a: 1", "n.yaml:1: a: must be text (put it in quotes), not a number"),
    ],
)
def test_what_is_wrong_is_reported_with_its_line(text: str, problem_line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_names(text, "n.yaml")
    assert [str(problem) for problem in caught.value.problems] == [problem_line]
