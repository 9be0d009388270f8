"""YAML with lines: the traps of YAML 1.1 are gone, and nothing is read in two ways."""

import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from sidecar.wire.yaml.tree import (
    MAX_PROBLEMS,
    AlreadyRefused,
    ConfigError,
    ConfigProblem,
    FilePosition,
    Listing,
    MappingEntry,
    Node,
    Problems,
    Scalar,
    Table,
    read_tree,
)

NO_ANCHOR = "refers to an anchor that is not there; put a text that begins with * in quotes"


def tree(text: str) -> Node:
    problems = Problems()
    found = read_tree(text, "f", problems)
    problems.check()
    assert found is not None
    return found


def plain(node: Node) -> object:
    match node:
        case Scalar():
            return node.value
        case Listing():
            return [plain(item) for item in node.items]
        case Table():
            return {key: plain(entry.node) for key, entry in node.entries.items()}
        case AlreadyRefused():
            return AlreadyRefused


def problems(text: str) -> list[str]:
    found = Problems()
    read_tree(text, "f", found)
    with pytest.raises(ConfigError) as caught:
        found.check()
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize(
    "text", ["NO", "no", "on", "Off", "yes", "y", "22:00", "1_000", "12:30:45"]
)
def test_what_yaml_1_1_turns_into_something_else_stays_text(text: str) -> None:
    assert tree(text) == Scalar(text, FilePosition("f", 1))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ("False", False),
        ("~", None),
        ("", None),
        ("null", None),
        ("0660", 660),
        ("0o660", 432),
        ("0x1F", 31),
        ("-12", -12),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("-.inf", float("-inf")),
        ('"1"', "1"),
        ("'true'", "true"),
        ("2001-01-01", "2001-01-01"),
        ("9" * 41, "9" * 41),
        ("=", "="),
    ],
)
def test_scalars_are_those_of_the_core_schema(text: str, value: object) -> None:
    found = tree(text)
    assert isinstance(found, Scalar)
    assert (type(found.value), found.value) == (type(value), value)


def test_every_node_and_key_knows_its_line() -> None:
    found = tree("a: 1\nb:\n  - x\n  - c: y\n")
    assert isinstance(found, Table)
    assert found.entries["a"] == MappingEntry(FilePosition("f", 1), Scalar(1, FilePosition("f", 1)))
    listing = found.entries["b"].node
    assert isinstance(listing, Listing)
    assert [item.place.line for item in listing.items] == [3, 4]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\nb: {a: 1, a: 2}\na: 3", ["2: b.a: is given twice; first in line 2",
                                         "3: a: is given twice; first in line 1"]),
        ("a: !!str 1\nb: [!x y]", ["1: a: has a tag; tags are not allowed",
                                   "2: b[0]: has a tag; tags are not allowed"]),
        ("--- 1\n--- 2", ["2: (file): has more than one document; only one is read"]),
        ("1: a", ["1: (file): has a key that is not text; put it in quotes"]),
        ("a: {[x]: 1, null: 2}", ["1: a: has a key that is not text; put it in quotes"]),
        ("a: &x [1]\nc: {<<: *x}",
         ["2: c.<<: must merge mappings: an alias of one, or a list of those"]),
        ("a: &x {b: 1}\nc: {<<: *x,\n <<: *x}", ["3: c.<<: is given twice; first in line 2"]),
        ("a: {<<: *x}", [f"1: a.<<: {NO_ANCHOR}"]),
        ("a: &x {<<: *x}", ["1: a.<<: holds itself, by the anchor 'x'"]),
        ("a: *x", [f"1: a: {NO_ANCHOR}"]),
        ("a: &x [*x]", ["1: a[0]: holds itself, by the anchor 'x'"]),
        (
            "a: b: c",
            [
                (
                    "1: a: is not valid YAML at column 5: mapping values are not allowed in this"
                    " context; put the text in quotes"
                )
            ],
        ),
        ("a\x00", ["1: (file): has the character U+0000, which YAML does not allow"]),
        ("a: \ud800", ["1: (file): has the character U+D800, which YAML does not allow"]),
        ('a: "\\0"', ["1: a: has a control character"]),
        ("a: " + "[" * 80, ["1: a" + "[0]" * 63 + ": is nested more than 64 levels deep"]),
        (
            f"a: &a {'[' * 40}x{']' * 40}\nb: &b [{'[' * 21}*a{']' * 21}, *a]\nc: [[*b]]",
            ["3: c[0][0]: is nested more than 64 levels deep"],
        ),
    ],
)  # fmt: skip
def test_what_could_be_read_in_two_ways_is_refused(text: str, expected: list[str]) -> None:
    assert problems(text) == [f"f:{line}" for line in expected]


def test_a_merge_key_brings_what_the_mapping_does_not_say_itself() -> None:
    text = "a: &x {k: 1, l: 2}\nb: &y {l: 3, m: 4}\nc: {l: 5, <<: *x}\nd: {<<: [*y, *x], n: 6}\n"
    found = plain(tree(text))
    assert isinstance(found, dict)
    assert found["c"] == {"k": 1, "l": 5}
    assert found["d"] == {"k": 1, "l": 3, "m": 4, "n": 6}


def test_what_is_merged_stands_where_it_was_written() -> None:
    table = tree("a: &x\n  k: 1\nb:\n  <<: *x\n")
    assert isinstance(table, Table)
    merged = table.entries["b"].node
    assert isinstance(merged, Table)
    assert merged.entries["k"].place.line == 2


def test_a_merge_key_in_quotes_is_a_key() -> None:
    assert plain(tree('a: {"<<": 1}')) == {"a": {"<<": 1}}


def test_merge_keys_that_double_what_they_merge_are_counted() -> None:
    lines = ["a0: &a0 {k: [1, 2, 3, 4, 5, 6, 7, 8]}"]
    lines += [f"a{n}: &a{n} {{x: *a{n - 1}, y: *a{n - 1}, <<: *a{n - 1}}}" for n in range(1, 30)]
    (said,) = problems("\n".join(lines))
    assert "holds more than 500000 values, aliases expanded" in said


def test_an_anchor_may_be_used_again() -> None:
    assert plain(tree("a: &x [1, 2]\nb: *x")) == {"a": [1, 2], "b": [1, 2]}


def test_anchors_cannot_make_a_tree_explode() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    (said,) = problems("\n".join(lines))
    assert "holds more than 500000 values, aliases expanded" in said


def test_a_text_that_is_too_long_is_refused_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sidecar.wire.yaml.tree.MAX_CHARACTERS", 10)
    assert problems("a: 12345678") == ["f:1: (file): has more than 10 characters"]


def test_problems_come_file_by_file_and_line_by_line_and_each_once() -> None:
    found = Problems()
    for file, line in (("b", 2), ("a", 9), ("b", 1), ("b", 2)):
        found.add(FilePosition(file, line), "x", "y")
    with pytest.raises(ConfigError) as caught:
        found.check()
    assert caught.value.problems == (
        ConfigProblem("b", 1, "x", "y"),
        ConfigProblem("b", 2, "x", "y"),
        ConfigProblem("a", 9, "x", "y"),
    )


def test_no_more_problems_are_kept_than_anybody_reads() -> None:
    assert len(problems("\n".join(f"a{n}: !t x" for n in range(2000)))) == MAX_PROBLEMS


def test_the_pure_parser_reads_as_the_fast_one(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "a: &x [1, NO, {b: 22:00}]\nc: *x\nd: |\n  text\n  more\n"
    fast = tree(text)
    monkeypatch.setattr("sidecar.wire.yaml.tree._LOADER", yaml.SafeLoader)
    assert tree(text) == fast


@given(st.text())
def test_no_text_makes_the_pure_parser_leak(text: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sidecar.wire.yaml.tree._LOADER", yaml.SafeLoader)
        found = Problems()
        assert read_tree(text, "f", found) is not None or len(found) == 1


WORDS = st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "Zs"]))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | WORDS,
    lambda inner: st.lists(inner) | st.dictionaries(WORDS, inner),
    max_leaves=8,
)


@given(VALUES)
def test_json_is_read_as_json(value: object) -> None:
    assert plain(tree(json.dumps(value, ensure_ascii=False))) == value


@pytest.mark.parametrize(
    ("text", "cure"),
    [
        ("description: Payroll: leaves the office", "put the text in quotes"),
        ("users: @finance", "put the text in quotes"),
        ("claims: *everybody here", ""),
        ("apps: [payroll", "close the bracket or brace"),
        ("users:\n\tgroups: [a]", "indent with spaces, not with tabs"),
        ("a: 1\nb\nc: 2", "a key ends with a colon and a blank"),
        ("a:\n  b: 1\n c: 2", "see how far this line and those before it are indented"),
    ],
)
def test_a_mistake_in_the_yaml_that_is_often_made_has_its_cure(text: str, cure: str) -> None:
    problems = Problems()
    read_tree(text, "f", problems)
    with pytest.raises(ConfigError) as caught:
        problems.check()
    assert cure in caught.value.problems[0].message
    assert "column" in caught.value.problems[0].message or not cure
