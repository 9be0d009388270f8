"""JSON that is not a line for each record: arrays, wrapped lists, and values one after another.

Each record comes with the line on which it begins. A mistake ends the reading: where the next
record begins is unknown.
"""

import json
import re
from collections.abc import Generator, Iterator

WRAPPERS = ("records", "value", "signins", "events", "logevents")
"""Members in which a vendor's file or answer wraps a list of records."""

_BETWEEN = re.compile(r"[\s,\ufeff]*")
_COLON = re.compile(r"\s*:\s*")
_HALF = re.compile(
    r"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])"
    r"|(?<!\\u[dD][89abAB][0-9a-fA-F]{2})\\u[dD][c-fC-F][0-9a-fA-F]{2}"
)
_DECODER = json.JSONDecoder()


class UnreadableDocument(ValueError):  # noqa: N818 - named by who must act: whoever wrote the file
    """A document is no JSON from some line on. `line` says which."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


def records(text: str) -> Iterator[tuple[int, object]]:
    """Yield what an array holds, or the values that stand one after another, each with its line.

    An object that wraps a list (`{"Records": [...]}`) gives what is in the list, and nothing of
    itself. Raises `UnreadableDocument`, also in its midst.
    """
    text = mended(text)
    lines = _Lines(text)
    at = _skipped(text, 0)
    while at < len(text):
        if text[at] == "[":
            at = yield from _elements(text, at + 1, lines)
        elif text[at] == "{":
            at = yield from _object(text, at, lines)
        else:
            begins = at
            value, at = _decoded(text, at, lines)
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


def _object(text: str, begins: int, lines: _Lines) -> Generator[tuple[int, object], None, int]:
    """Yield an object, or what is in the list that it wraps; return where it ends.

    It is read member by member, so that nothing has to be held of a list but a record at a time.
    """
    found: dict[str, object] = {}
    wraps = False
    at = _skipped(text, begins + 1)
    while text[at : at + 1] != "}":
        name, at = _decoded(text, at, lines)
        colon = _COLON.match(text, at)
        if colon is None or not isinstance(name, str):
            raise UnreadableDocument(lines.of(min(at, len(text))), "is no JSON from here on")
        at = colon.end()
        if text[at : at + 1] == "[" and name.lower() in WRAPPERS:
            wraps = True
            at = yield from _elements(text, at + 1, lines)
        else:
            found[name], at = _decoded(text, at, lines)
            at = _skipped(text, at)
    if not wraps:
        yield lines.of(begins), found
    return at + 1


def _skipped(text: str, at: int) -> int:
    found = _BETWEEN.match(text, at)
    return found.end() if found else at


def _decoded(text: str, at: int, lines: _Lines) -> tuple[object, int]:
    try:
        return _DECODER.raw_decode(text, at)
    except json.JSONDecodeError as error:
        where = lines.of(min(error.pos, len(text)))
        message = f"is no JSON from here on: {error.msg.lower()}"
        raise UnreadableDocument(where, message) from None
    except ValueError:  # of an integer with thousands of digits
        raise UnreadableDocument(lines.of(at), "holds a number that is too long") from None
    except RecursionError:
        raise UnreadableDocument(lines.of(at), "is nested too deeply") from None
