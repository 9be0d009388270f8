"""Lines of the values of a JSON text, by their JSON paths: `json` itself gives none."""

import json
import re
from typing import NamedTuple

from sidecar.entra.ledger import member

_TOKEN = re.compile(
    r"""[\s,:]*(?:(?P<text>"(?:[^"\\]|\\.)*")|(?P<open>[\[{])|(?P<close>[\]}])|[^\s,:\[\]{}"]+)"""
)


class JsonLines(NamedTuple):
    """The line of each value, and of each member that an object has for the second time."""

    by_path: dict[str, int]
    twice: dict[str, int]

    def of(self, path: str) -> int:
        """Return the line of a value; if the text has another name for it, of what it stands in."""
        while path and path not in self.by_path:
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return self.by_path.get(path, 0)


class _Frame:
    """An object or a list that is open."""

    def __init__(self, path: str, *, is_object: bool) -> None:
        self.path = path
        self.is_object = is_object
        self.index = 0
        self.key = ""
        self.seen: set[str] = set()

    def next_path(self) -> str:
        """Return the path of the value that begins here."""
        if self.is_object:
            path, self.key = self.key, ""
            return path
        self.index += 1
        return f"{self.path}[{self.index - 1}]"


def lines_of(text: str) -> JsonLines:
    """Find the lines of a text that is JSON."""
    found = JsonLines({}, {})
    frames: list[_Frame] = []
    line, counted = 1, 0
    for token in _TOKEN.finditer(text):
        if token["close"]:
            frames.pop()
            continue
        begin = token.end() - len(token[0].lstrip(" \t\r\n,:"))
        line, counted = line + text.count("\n", counted, begin), begin
        top = frames[-1] if frames else None
        if top is not None and top.is_object and not top.key:
            key = json.loads(token["text"], strict=False)
            top.key = member(top.path, key)
            if key in top.seen:
                found.twice[top.key] = line
            top.seen.add(key)
            found.by_path.setdefault(top.key, line)
            continue
        path = top.next_path() if top is not None else "$"
        found.by_path.setdefault(path, line)
        if token["open"]:
            frames.append(_Frame(path, is_object=token["open"] == "{"))
    return found
