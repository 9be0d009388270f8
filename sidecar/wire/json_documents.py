"""JSON that is not a line for each record: arrays, wrapped lists, and values one after another.

Each record comes with the line on which it begins. A mistake ends the reading: where the next
record begins, nobody can tell.
"""

import json
import re
from collections.abc import Generator, Iterator, Mapping

WRAPPERS = ("records", "value", "signins", "events", "logevents")
"""Members in which a vendor's file or answer wraps a list of records."""

_BETWEEN = re.compile(r"[\s,]*")
_HALF = re.compile(
    r"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])"
    r"|(?<!\\u[dD][89abAB][0-9a-fA-F]{2})\\u[dD][c-fC-F][0-9a-fA-F]{2}"
)
_DECODER = json.JSONDecoder()


class UnreadableDocument(ValueError):  # noqa: N818 - named by who must act: whoever wrote the file
    """A document is no JSON from some line on. `line` tells which."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


def records(text: str) -> Iterator[tuple[int, object]]:
    """Yield what an array holds, or the values that stand one after another, each with its line.

    An object that wraps a list (`{"Records": [...]}`) gives what is in the list. Raises
    `UnreadableDocument`, also in its midst.
    """
    text = mended(text)
    lines = _Lines(text)
    at = _skipped(text, 0)
    while at < len(text):
        if text[at] == "[":
            at = yield from _elements(text, at + 1, lines)
            continue
        begins = at
        value, at = _decoded(text, at, lines)
        listed = _list_in(text, begins, at, value)
        if listed:
            yield from _elements(text, listed, lines)
        else:
            yield lines.of(begins), value
        at = _skipped(text, at)


def mended(text: str) -> str:
    """Return JSON without halves of surrogate pairs, which a text that was cut may end with."""
    return _HALF.sub(r"\\ufffd", text) if "\\ud" in text or "\\uD" in text else text


class _Lines:
    """The line of each position, of positions that only grow."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._line = 1

    def of(self, at: int) -> int:
        if at < self._at:
            self._at, self._line = 0, 1
        self._line += self._text.count("\n", self._at, at)
        self._at = at
        return self._line


def _elements(text: str, at: int, lines: _Lines) -> Generator[tuple[int, object], None, int]:
    while True:
        at = _skipped(text, at)
        if at >= len(text):
            raise UnreadableDocument(lines.of(len(text)), "ends before its list does")
        if text[at] == "]":
            return _skipped(text, at + 1)
        begins = at
        value, at = _decoded(text, at, lines)
        yield lines.of(begins), value


def _skipped(text: str, at: int) -> int:
    found = _BETWEEN.match(text, at)
    return found.end() if found else at


def _decoded(text: str, at: int, lines: _Lines) -> tuple[object, int]:
    try:
        value, end = _DECODER.raw_decode(text, at)
    except json.JSONDecodeError as error:
        where = lines.of(min(error.pos, len(text)))
        message = f"is no JSON from here on: {error.msg.lower()}"
        raise UnreadableDocument(where, message) from None
    except RecursionError:
        raise UnreadableDocument(lines.of(at), "is nested too deeply") from None
    return value, end


def _list_in(text: str, begins: int, ends: int, value: object) -> int:
    """Where the list of records begins that an object wraps; 0 for none."""
    if not isinstance(value, Mapping):
        return 0
    for name, item in value.items():
        if name.lower() in WRAPPERS and isinstance(item, list):
            found = re.compile(rf'"{re.escape(name)}"\s*:\s*\[').search(text, begins, ends)
            return found.end() if found else 0
    return 0
