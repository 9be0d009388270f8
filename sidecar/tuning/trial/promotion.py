"""A policy's state changed in the text of its file, and nothing else: comments and layout stay.

The place comes from YAML's own parser, whose nodes know where they begin and end. Whether the new
text means what it should is for whoever calls: read it again and compare.
"""

import difflib
from typing import NamedTuple

import yaml

from sidecar.domain.policy.conditional_access import PolicyState


class NotPromoted(Exception):  # noqa: N818 - named by who must act: the policies' author
    """The policy cannot be promoted here, and why."""


class Promoted(NamedTuple):
    """The text after the change, and the line (from 1) that was changed."""

    text: str
    line: int


def promoted(text: str, policy: str) -> Promoted | None:
    """Return the text of a policy file with this policy enabled; None where it is not in this file.

    Raises `NotPromoted` unless the policy is `report-only` in so many words: a plain or quoted
    scalar of its own, not an alias.
    """
    document = yaml.compose(text, Loader=yaml.SafeLoader)  # pure Python: its marks count characters
    found = _find(document, policy)
    if found is None:
        return None
    state = _value(found, "state")
    if state is None or state.value == PolicyState.ENABLED:
        raise NotPromoted("it is enabled already")
    if state.value != PolicyState.REPORT_ONLY:
        raise NotPromoted(f"it is {state.value}: try it as report-only first")
    start, end = state.start_mark, state.end_mark
    if not found.start_mark.index <= start.index < found.end_mark.index:
        raise NotPromoted("its state is an alias of a value elsewhere: write it out")
    written = text[start.index : end.index]
    if written.strip("'\"") != PolicyState.REPORT_ONLY:
        raise NotPromoted("its state carries an anchor or a tag: write it out")
    changed = written.replace(PolicyState.REPORT_ONLY, PolicyState.ENABLED)
    return Promoted(text[: start.index] + changed + text[end.index :], start.line + 1)


def difference(before: str, after: str, name: str) -> str:
    """Return what changed, as a unified diff."""
    return "".join(
        difflib.unified_diff(
            before.splitlines(keepends=True), after.splitlines(keepends=True), name, name, n=2
        )
    )


def _find(document: yaml.Node | None, policy: str) -> yaml.MappingNode | None:
    policies = _value(document, "policies", yaml.SequenceNode)
    for node in policies.value if policies is not None else ():
        name = _value(node, "id")
        if name is not None and name.value == policy:
            mapping: yaml.MappingNode = node
            return mapping
    return None


def _value(
    node: yaml.Node | None, key: str, kind: type[yaml.Node] = yaml.ScalarNode
) -> yaml.Node | None:
    if isinstance(node, yaml.MappingNode):
        for name, value in node.value:
            if name.value == key and isinstance(value, kind):
                return value
    return None
