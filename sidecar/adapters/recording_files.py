"""Files of recordings, line by line, also compressed by gzip; how far one is read is known."""

import gzip
import io
import sys
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self, cast

from sidecar.domain.causes import words_of

STANDARD_INPUT = "-"


class Unreadable(Exception):  # noqa: N818 - named by who must act: whoever named the file
    """A recording cannot be read."""


class RecordingFile:
    """A recording that is read once; `-` is standard input. Raises `Unreadable`.

    `size` and `position` are in bytes of the file as it lies there; size 0: nobody knows.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.size = 0
        try:
            if name == STANDARD_INPUT:
                self._raw = cast("BinaryIO", sys.stdin.buffer)
            else:
                path = Path(name)
                self._raw = path.open("rb")
                self.size = path.stat().st_size if path.is_file() else 0
        except OSError as error:
            raise Unreadable(f"{name}: {words_of(error)}") from error
        self._content: io.BufferedIOBase | BinaryIO = self._raw
        if name.endswith(".gz"):
            self._content = gzip.GzipFile(fileobj=self._raw)

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

    def lines(self) -> Iterator[bytes]:
        """The lines. Raises `Unreadable`, also in their midst."""
        try:
            yield from self._content
        except (OSError, EOFError) as error:
            raise Unreadable(f"{self.name}: {words_of(error)}") from error

    def text(self) -> Iterator[str]:
        """The lines as text; bytes that are not UTF-8 are replaced."""
        for line in self.lines():
            yield line.decode("utf-8", "replace")
