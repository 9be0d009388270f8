"""An HTTP request and an answer to it, as values between the lean server and its handlers."""

from collections.abc import Mapping
from typing import TypeAlias

import msgspec

Fields: TypeAlias = tuple[tuple[str, str], ...]
"""Header fields: names as HTTP/1.1 spells them, and values as text; see `header_lines`."""

_NO_FIELDS: dict[bytes, tuple[bytes, ...]] = {}


class Request(msgspec.Struct, frozen=True, gc=False):
    """A whole request.

    `target` is in origin form (RFC 9112, section 3.2.1) or `*`. `headers` holds the first value of
    each field by its name in lower case, `repeated` all values of those that came more than once.
    `peer` is the other end's address, empty on a unix socket; `uid` its user there, None where
    that is not known.
    """

    method: str
    target: bytes
    host: bytes = b""
    headers: Mapping[bytes, bytes] = {}
    body: bytes = b""
    peer: str = ""
    repeated: Mapping[bytes, tuple[bytes, ...]] = _NO_FIELDS
    uid: int | None = None

    @property
    def path(self) -> bytes:
        """Return the target without its query, as it came."""
        return self.target.partition(b"?")[0]

    def values(self, name: bytes) -> tuple[bytes, ...]:
        """Return every value of a field, in order."""
        if name in self.repeated:
            return self.repeated[name]
        value = self.headers.get(name)
        return () if value is None else (value,)


class Response(msgspec.Struct, frozen=True, gc=False):
    """An answer. `fields` is the header section but for what the server adds."""

    status: int
    fields: Fields = ()
    body: bytes = b""


class PreparedResponse(msgspec.Struct, frozen=True, gc=False):
    """An answer whose fields are lines already, as `header_lines` writes them."""

    status: int
    lines: bytes = b""
    body: bytes = b""

    def with_lines(self, more: bytes) -> "PreparedResponse":
        """Return the same with further lines."""
        return PreparedResponse(self.status, self.lines + more, self.body)


def header_lines(fields: Fields) -> bytes:
    """Return the fields as lines of HTTP/1.1, each ended; values as `printable` has them."""
    values = "".join([value for _, value in fields])
    if not (values.isascii() and values.isprintable()):
        fields = tuple((name, printable(value)) for name, value in fields)
    return "".join([f"{name}: {value}\r\n" for name, value in fields]).encode("ascii")


def header_pairs(fields: Fields) -> list[tuple[bytes, bytes]]:
    """Return the fields with names in lower case, as HTTP/2; values as `printable` has them."""
    return [
        (name.lower().encode("ascii"), printable(value).encode("ascii")) for name, value in fields
    ]


def printable(text: str) -> str:
    """Return the text with `?` for all that is not printable ASCII, which could end a line."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(letter if " " <= letter <= "~" else "?" for letter in text)
