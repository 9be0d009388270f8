"""Files of recordings, line by line, compressed or not, in UTF-8 or UTF-16.

How a file is written is told by its first bytes. How far it is read is known.
"""

import codecs
import gzip
import io
import sys
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self, cast

from sidecar.adapters.clock import now
from sidecar.domain.causes import words_of

STANDARD_INPUT = "-"
HEAD_BYTES = 256 * 1024
"""How much is looked at to tell what a recording is: some records, however they are laid out."""

LONGEST_DOCUMENT = 1024**3
"""A file that is one JSON value is held in memory as a whole; a longer one is refused."""

_GZIP = b"\x1f\x8b"
_UTF_16 = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}


class Unreadable(Exception):  # noqa: N818 - named by who must act: whoever named the file
    """A recording cannot be read."""


class RecordingFile:
    """A recording that is read once; `-` is standard input. Raises `Unreadable`.

    `size` and `position` are in bytes of the file as it lies there; size 0: nobody knows.
    `written` is when it was written last, in seconds.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.size = 0
        self.written = now()
        try:
            if name == STANDARD_INPUT:
                self._raw = cast("BinaryIO", sys.stdin.buffer)
            else:
                path = Path(name)
                self._raw = path.open("rb")
                self.size = path.stat().st_size if path.is_file() else 0
                self.written = path.stat().st_mtime
        except OSError as error:
            raise Unreadable(f"{name}: {words_of(error)}") from error
        self._ahead: deque[bytes] = deque()
        self._content: Iterator[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.name != STANDARD_INPUT:
            self._raw.close()

    @property
    def position(self) -> int:
        """How many bytes have been read."""
        return self._raw.tell() if self.size else 0

    def head(self) -> list[bytes]:
        """The first lines, which are read again later. Raises `Unreadable`."""
        content = self._opened()
        length = sum(map(len, self._ahead))
        while length < HEAD_BYTES:
            line = next(content, None)
            if line is None:
                break
            self._ahead.append(line)
            length += len(line)
        return list(self._ahead)

    def lines(self) -> Iterator[bytes]:
        """The lines, in UTF-8. Raises `Unreadable`, also in their midst."""
        content = self._opened()
        while self._ahead:
            yield self._ahead.popleft()
        yield from content

    def text(self) -> Iterator[str]:
        """The lines as text; bytes that are not UTF-8 are replaced."""
        for line in self.lines():
            yield line.decode("utf-8", "replace")

    def document(self) -> str:
        """The whole as one text. Raises `Unreadable`."""
        parts, length = [], 0
        for line in self.lines():
            length += len(line)
            if length > LONGEST_DOCUMENT:
                message = f"is one JSON value of more than {LONGEST_DOCUMENT:,} bytes"
                raise Unreadable(f"{self.name}: {message}; write a line for each record")
            parts.append(line)
        return b"".join(parts).decode("utf-8", "replace")

    def _opened(self) -> Iterator[bytes]:
        if self._content is None:
            self._content = self._unpacked()
        return self._content

    def _unpacked(self) -> Iterator[bytes]:
        """The lines in UTF-8, without a byte order mark."""
        try:
            buffered = cast("io.BufferedReader", self._raw)
            content: io.BufferedReader | gzip.GzipFile = buffered
            if buffered.peek(2)[:2] == _GZIP:
                content = gzip.GzipFile(fileobj=self._raw)
            encoding = _encoding(content.peek(4)[:4])
            lines = _decoded(content, encoding) if encoding else iter(content)
            yield next(lines, b"").removeprefix(codecs.BOM_UTF8)
            yield from lines
        except (OSError, EOFError) as error:
            raise Unreadable(f"{self.name}: {words_of(error)}") from error


def _decoded(content: io.BufferedReader | gzip.GzipFile, encoding: str) -> Iterator[bytes]:
    """The lines of a file in another encoding, in UTF-8. Who opened the file closes it."""
    wrapped = io.TextIOWrapper(content, encoding, "replace", newline="\n")
    try:
        for line in wrapped:
            yield line.encode()
    finally:
        wrapped.detach()


def _encoding(begins: bytes) -> str:
    """UTF-16 as PowerShell writes it, with its mark or without; empty for what is none."""
    marked = _UTF_16.get(begins[:2])
    if marked:
        return marked
    if len(begins) >= 2 and begins[0] and not begins[1]:
        return "utf-16-le"
    return "utf-16-be" if len(begins) >= 2 and begins[1] and not begins[0] else ""
