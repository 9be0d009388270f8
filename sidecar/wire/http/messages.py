"""An HTTP request and an answer to it, as values between the lean server and its handlers."""

from collections.abc import Iterable, Mapping

import msgspec

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
        """The target without its query, as it came."""
        return self.target.partition(b"?")[0]

    def values(self, name: bytes) -> tuple[bytes, ...]:
        """Every value of a field, in order."""
        if name in self.repeated:
            return self.repeated[name]
        value = self.headers.get(name)
        return () if value is None else (value,)


class Response(msgspec.Struct, frozen=True, gc=False):
    """An answer. `fields` is the header section but for what the server adds, each line ended."""

    status: int
    fields: bytes = b""
    body: bytes = b""


def fields_of(pairs: Iterable[tuple[str, str]]) -> bytes:
    """Header lines; what is not printable ASCII becomes `?`, so that nothing can be injected."""
    return "".join(f"{name}: {printable(value)}\r\n" for name, value in pairs).encode("ascii")


def printable(text: str) -> str:
    """The text with all that is not printable ASCII replaced by `?`."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(letter if " " <= letter <= "~" else "?" for letter in text)
