"""Writing YAML: whatever is written reads back as the same."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sidecar.wire.yaml.tree import Listing, Node, Problems, Scalar, Table, read_tree
from sidecar.wire.yaml.writer import block, comment, scalar

TEXTS = st.text(
    st.characters(exclude_categories=["Cc", "Cs"], include_characters="\n\t"), max_size=30
) | st.sampled_from(["no", "NULL", "1e3", "0x1f", "~", "- a", "a: b", "a #b", " a", "a ", "22:00"])
TREES = st.recursive(
    TEXTS | st.booleans() | st.integers(-(10**9), 10**9),
    lambda inner: (
        st.lists(inner, min_size=1, max_size=4)
        | st.dictionaries(TEXTS, inner, min_size=1, max_size=4)
    ),
    max_leaves=12,
)
MAPPINGS = st.dictionaries(TEXTS, TREES, min_size=1, max_size=4)


def plain(node: Node) -> Any:
    match node:
        case Scalar():
            return node.value
        case Listing():
            return [plain(item) for item in node.items]
        case Table():
            return {key: plain(entry.node) for key, entry in node.entries.items()}
        case _:
            raise AssertionError(node)


def read(text: str) -> Any:
    problems = Problems()
    tree = read_tree(text, "t.yaml", problems)
    problems.check()
    assert tree is not None
    return plain(tree)


@given(MAPPINGS, st.dictionaries(TEXTS, TEXTS, max_size=3))
def test_what_is_written_reads_back_as_the_same(tree: Any, labels: dict[str, str]) -> None:
    assert read("\n".join(block(tree, labels=labels))) == tree


@given(MAPPINGS, st.text())
def test_no_comment_changes_what_is_read(tree: Any, remark: str) -> None:
    assert read("\n".join([f"# {comment(remark)}", *block(tree)])) == tree


def test_what_older_readers_take_for_a_truth_is_quoted() -> None:
    assert [scalar(word) for word in ("NO", "on", "y", "DE")] == ['"NO"', '"on"', '"y"', "DE"]


def test_values_that_have_a_label_get_it_as_a_comment() -> None:
    lines = block({"roles": ["62ef", "abcd"]}, labels={"62ef": "Global Administrator"})
    assert lines == ["roles:", "  - 62ef  # Global Administrator", "  - abcd"]


def test_short_mappings_stand_in_one_line() -> None:
    assert block({"users": {"exclude": {"groups": ["a", "b"]}}}) == [
        "users: {exclude: {groups: [a, b]}}"
    ]
