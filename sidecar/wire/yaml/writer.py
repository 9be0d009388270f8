"""Trees of plain values to YAML that people can read and `tree` reads back as the same.

Short lists and mappings stand in one line; values that `labels` knows get a comment behind them.
"""

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TypeAlias

from sidecar.wire.yaml.tree import resolve

Tree: TypeAlias = "str | int | bool | Sequence[Tree] | Mapping[str, Tree]"

_WIDTH = 100
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/@+-]*(?: [A-Za-z0-9._/@+-]+)*")
_WORDS = frozenset({"y", "n", "yes", "no", "on", "off"})
"""Truths to readers of YAML 1.1."""

_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t"}
NO_LABELS: Mapping[str, str] = MappingProxyType({})


def block(tree: Tree, indent: int = 0, labels: Mapping[str, str] = NO_LABELS) -> list[str]:
    """Return the lines of a mapping or a list, `indent` spaces in; both must not be empty."""
    pad = " " * indent
    if isinstance(tree, Mapping):
        lines = []
        for key, value in tree.items():
            lines += _member(f"{pad}{scalar(key)}:", value, indent + 2, labels)
        return lines
    if isinstance(tree, Sequence) and not isinstance(tree, str):
        return [line for item in tree for line in _item(item, indent, labels)]
    return [f"{pad}{scalar(tree)}"]


def _member(head: str, value: Tree, indent: int, labels: Mapping[str, str]) -> list[str]:
    if _is_leaf(value):
        return [f"{head} {flow(value)}"]
    line = _in_one_line(head, value, labels)
    return [line] if line else [head, *block(value, indent, labels)]


def _item(item: Tree, indent: int, labels: Mapping[str, str]) -> list[str]:
    head = f"{' ' * indent}-"
    if _is_leaf(item):
        label = labels.get(item) if isinstance(item, str) else None
        return [f"{head} {flow(item)}  # {comment(label)}" if label else f"{head} {flow(item)}"]
    if line := _in_one_line(head, item, labels):
        return [line]
    first, *rest = block(item, indent + 2, labels)
    return [f"{head} {first[indent + 2 :]}", *rest]


def _in_one_line(head: str, tree: Tree, labels: Mapping[str, str]) -> str:
    """Return a list or a mapping behind `head`; empty where it is too long, or needs comments."""
    if not _may_fit(tree) or _is_labelled(tree, labels):
        return ""
    line = f"{head} {flow(tree)}"
    return line if len(line) <= _WIDTH else ""


def _may_fit(tree: Tree) -> bool:
    """Return whether there are so few values that it is worth writing them to see if they fit."""
    if isinstance(tree, Mapping):
        return len(tree) <= _WIDTH and all(map(_may_fit, tree.values()))
    if isinstance(tree, Sequence) and not isinstance(tree, str):
        return len(tree) <= _WIDTH and all(map(_may_fit, tree))
    return True


def flow(tree: Tree) -> str:
    """Return a tree in one line."""
    if isinstance(tree, Mapping):
        return "{" + ", ".join(f"{scalar(key)}: {flow(tree[key])}" for key in tree) + "}"
    if isinstance(tree, Sequence) and not isinstance(tree, str):
        return "[" + ", ".join(map(flow, tree)) + "]"
    return scalar(tree)


def scalar(value: str | int | bool) -> str:  # noqa: FBT001 - a value to write, no switch
    """Return a value, in quotes where it needs them."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if _PLAIN.fullmatch(value) and resolve(value) == value and value.lower() not in _WORDS:
        return value
    return '"' + "".join(map(_character, value)) + '"'


def comment(text: str) -> str:
    """Text as it may stand behind `#`: in one line, and nothing in it that steers a terminal."""
    return "".join(character if character.isprintable() else "?" for character in text)


def _character(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    if character.isprintable():
        return character
    code = ord(character)
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def _is_leaf(tree: Tree) -> bool:
    return isinstance(tree, str | int)


def _is_labelled(tree: Tree, labels: Mapping[str, str]) -> bool:
    if isinstance(tree, str):
        return tree in labels
    if isinstance(tree, Mapping):
        return any(_is_labelled(value, labels) for value in tree.values())
    return isinstance(tree, Sequence) and any(_is_labelled(item, labels) for item in tree)
