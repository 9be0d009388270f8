"""Paths to claims, and the texts that claims' values are."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.wire.tokens.claim_paths import InvalidPath, find, parts_of
from sidecar.wire.tokens.claim_values import claim_text, number_text


@pytest.mark.parametrize(
    ("path", "claims", "value"),
    [
        ("a", {"a": 1}, 1),
        ("a.b", {"a": {"b": 1}}, 1),
        ("a.b", {"a.b": 2, "a": {"b": 1}}, 2),
        ("a.b.c", {"a": {"b.c": 3, "b": {"c": 1}}}, 3),
        ("a.b.c", {"a": {"b.c": {}}, "a.b": {"c": 4}}, 4),
        ("a.x.y.z", {"a": {"x.y": {"z": 5}}}, 5),
        ("a.x\\.y.z", {"a": {"x.y": {"z": 6}, "x": {"y": {"z": 1}}}}, 6),
        ("a\\\\b", {"a\\b": 7}, 7),
        ("https://example.com/groups", {"https://example.com/groups": 8}, 8),
        ("a.b", {"a": [{"b": 1}]}, None),
        ("a.b", {"a": {"b": None}}, None),
        ("a", {}, None),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_path_leads_to_the_member_that_bears_most_of_it(
    path: str, claims: Any, value: Any
) -> None:
    assert find(claims, path) == value


@pytest.mark.parametrize("path", ["", ".", "a.", ".a", "a..b", "a\\b", "a\\"])
def test_what_leads_nowhere_is_no_path(path: str) -> None:
    with pytest.raises(InvalidPath):
        parts_of(path)


@given(st.lists(st.text("ab.\\", min_size=1, max_size=4), min_size=1, max_size=4))
def test_every_member_can_be_reached_by_escapes(members: list[str]) -> None:
    path = ".".join(one.replace("\\", "\\\\").replace(".", "\\.") for one in members)
    assert parts_of(path) == tuple(members)
    claims: Any = "here"
    for one in reversed(members):
        claims = {one: claims}
    if len(members) > 1 or path not in claims:
        assert find(claims, path) == "here"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"),
        (3, "3"),
        (3.0, "3"),
        (1e3, "1000"),
        (-0.0, "0"),
        (0.5, "0.5"),
        (1e400, None),
        ("3.0", "3.0"),
        ("", ""),
        ("Jose\u0301", "Jos\u00e9"),
        ("a\x80", None),
        ("x" * 513, None),
        (None, None),
        ([], None),
        ({}, None),
    ],
    ids=repr,
)
def test_a_value_is_one_text(value: object, text: str | None) -> None:
    assert claim_text(value) == text


@given(st.floats(allow_nan=False, allow_infinity=False) | st.integers())
def test_equal_numbers_are_one_text(number: float) -> None:
    text = number_text(number)
    assert text is not None
    assert float(text) == float(number)
    if float(number).is_integer() and number == float(number):
        assert text == number_text(float(number))
