"""Files of recordings, line by line, compressed or not, in UTF-8, UTF-16 or UTF-32.

A file's first bytes show how it is written. How far it is read is known. Whatever a file
unpacks to, no more of it is held than a line, or a document, may have.
"""

import codecs
import gzip
import io
import sys
import zlib
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, NamedTuple, Self, cast

from sidecar.adapters.clock import now
from sidecar.domain.values.causes import words_of

STANDARD_INPUT = "-"
HEAD_BYTES = 256 * 1024
"""So much is looked at to find a recording's format: some records, however they are laid out."""

LONGEST_LINE = 1024**2
LONGEST_PAGE = 64 * 1024**2
"""A line that holds a list of records, as some files have a page of an answer on each."""

_PIECE = 64 * 1024
LONGEST_DOCUMENT = 512 * 1024**2
"""A file that is one JSON value is held in memory as a whole; a longer one is refused."""

_GZIP = b"\x1f\x8b"
_WIDE = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, with whose mark it begins
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


class Flaw(NamedTuple):
    """The reason why reading a file ended before its end, and on which line."""

    line: int
    words: str


class Unreadable(Exception):  # noqa: N818 - named by who must act: whoever named the file
    """A recording cannot be read."""


class RecordingFile:
    """A recording that is read once; `-` is standard input. Raises `Unreadable`.

    `size` and `position` are in bytes of the file as it lies there; size 0: nobody knows.
    `written` is when it was written last, in seconds. `flaw` says, once all of it is read, what
    kept the rest from being read.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.size = 0
        self.written = now()
        self.flaw: Flaw | None = None
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
        """Return how many bytes have been read."""
        return self._raw.tell() if self.size else 0

    def head(self) -> list[bytes]:
        """Return the first lines, which are read again later. Raises `Unreadable`."""
        content = self._opened()
        length = sum(map(len, self._ahead))
        while length < HEAD_BYTES:
            piece = next(content, None)
            if piece is None:
                break
            self._ahead.append(piece)
            length += len(piece)
        return io.BytesIO(b"".join(self._ahead)).readlines()  # as `lines` parts them

    def lines(self, longest: int = LONGEST_LINE) -> Iterator[bytes]:
        """Yield the lines, in UTF-8. Raises `Unreadable`, also in their midst.

        What a line has beyond `longest` bytes is left out: but for one byte, which shows it.
        """
        line = bytearray()
        for piece in self._pieces():
            ends = piece.endswith(b"\n")
            if ends and not line and len(piece) <= longest:
                yield piece
                continue
            if len(line) <= longest:
                line += piece
            if ends:
                yield bytes(line[: longest + 1])
                line.clear()
        if line:
            yield bytes(line[: longest + 1])

    def text(self) -> Iterator[str]:
        """Yield the lines as text; bytes that are not UTF-8 are replaced."""
        for line in self.lines():
            yield line.decode("utf-8", "replace")

    def document(self) -> str:
        """Return the whole as one text. Raises `Unreadable`."""
        whole = bytearray()
        for piece in self._pieces():
            whole += piece
            if len(whole) > LONGEST_DOCUMENT:
                message = f"is one JSON value of more than {LONGEST_DOCUMENT:,} bytes"
                raise Unreadable(f"{self.name}: {message}; write a line for each record")
        return whole.decode("utf-8", "replace")

    def _pieces(self) -> Iterator[bytes]:
        content = self._opened()
        while self._ahead:
            yield self._ahead.popleft()
        yield from content

    def _opened(self) -> Iterator[bytes]:
        if self._content is None:
            self._content = self._unpacked()
        return self._content

    def _unpacked(self) -> Iterator[bytes]:
        """Yield the lines in UTF-8, a long one in pieces, without a byte order mark."""
        line, begun = 1, False
        try:
            buffered = cast("io.BufferedReader", self._raw)
            content: io.BufferedReader | gzip.GzipFile = buffered
            if buffered.peek(2)[:2] == _GZIP:
                content = gzip.GzipFile(fileobj=self._raw)
            encoding = _encoding(content.peek(4)[:4])
            pieces = _decoded(content, encoding) if encoding else _in_pieces(content)
            for piece in pieces:
                yield piece if begun else piece.removeprefix(codecs.BOM_UTF8)
                begun = True
                line += piece.endswith(b"\n")
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            self.flaw = Flaw(line, f"the compressed file is damaged or cut off: {_words(error)}")
        except OSError as error:
            raise Unreadable(f"{self.name}: {words_of(error)}") from error


def _words(error: Exception) -> str:
    return " ".join(str(error).split()).lower()


def _in_pieces(content: io.BufferedReader | gzip.GzipFile) -> Iterator[bytes]:
    while piece := content.readline(_PIECE):
        yield piece


def _decoded(content: io.BufferedReader | gzip.GzipFile, encoding: str) -> Iterator[bytes]:
    """Yield the pieces of a file in another encoding, in UTF-8. Who opened the file closes it."""
    wrapped = io.TextIOWrapper(content, encoding, "replace", newline="\n")
    try:
        while piece := wrapped.readline(_PIECE):
            yield piece.encode("utf-8", "replace")
    finally:
        wrapped.detach()


def _encoding(begins: bytes) -> str:
    """Return an encoding with two or four bytes a letter, with its mark or without.

    Empty for none.
    """
    for mark, encoding in _WIDE:
        if begins.startswith(mark):
            return encoding
    if len(begins) >= 2 and begins[0] and not begins[1]:  # as PowerShell writes it
        return "utf-16-le"
    return "utf-16-be" if len(begins) >= 2 and begins[1] and not begins[0] else ""
