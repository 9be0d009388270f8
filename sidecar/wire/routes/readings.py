"""Paths that all servers read alike, and the one spelling of each.

A path is judged here and mapped to a resource in the app. Where the two could read it differently,
a sensitive resource would be reachable under a name that is not marked. So a path is judged only
where all servers read it alike: percent-encoding is undone where it means nothing (RFC 3986,
section 6.2.2.2), and what servers are known to read differently is refused:

- dot segments, raw or encoded: some servers resolve them (RFC 3986, section 5.2.4), while the
  frameworks of most apps hand `/pay/../x` to the handler of `/pay/`; also dots that are such only
  in a compatible form (full-width ones), which a few servers map to plain ones;
- an empty segment (`//`): some merge it away, others do not;
- an encoded slash, backslash or control character, a raw backslash or control character;
- a percent sign that is encoded itself and begins another encoding ("double encoding");
- bytes that are not UTF-8 (overlong forms hide slashes), and the replacement character, which is
  what servers make of them;
- `;`, raw or encoded: some servers cut "path parameters" off before they match, others do not;
- `#`, raw: it has no place in a request, and servers differ on whether it ends the path.

Nothing else asks a question of a path before this: neither routes nor what passes unasked. Apps
have the same rules in `stepup_client.enforcement.readings`, which imports nothing of the daemon.
"""

import re
import unicodedata
from collections.abc import Iterator

_PCHAR = frozenset(
    b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~!$&'()*+,=:@"
)
"""RFC 3986, section 3.3, without `;`: these stand for themselves, all others encoded."""

_CLEAN = re.compile(rb"(?:/(?!\.{1,2}(?:/|\Z))[A-Za-z0-9\-._~!$&'()*+,=:@]+)*/?")
_HEX = re.compile(rb"[0-9A-Fa-f]{2}")
_ENCODED = re.compile(rb"%[0-9A-Fa-f]{2}")
_COMPATIBLE_DOTS = re.compile(r"(?:^|[/\\])\.{1,2}(?:[/\\;]|\Z)")


class PathInvalid(Exception):  # noqa: N818 - named by who must act: the sender
    """The path has no one meaning. The message never repeats it."""


def normalise(path: str | bytes) -> str:
    """Return the one spelling of a path, its query cut off; raises `PathInvalid`.

    A slash at the end is kept. Normalising again changes nothing.
    """
    raw = _bytes(path).partition(b"?")[0]
    if not raw.startswith(b"/"):
        raise PathInvalid("a path begins with a slash")
    if _CLEAN.fullmatch(raw):
        return raw.decode("ascii")
    decoded = bytes(_decoded(raw))
    if _ENCODED.search(decoded):
        raise PathInvalid("the path is percent-encoded twice")
    try:
        text = decoded.decode("utf-8")
    except UnicodeDecodeError:
        raise PathInvalid("the path is not UTF-8") from None
    if "\ufffd" in text:
        raise PathInvalid("the path has the replacement character")
    segments = decoded.split(b"/")[1:]
    if b"." in segments or b".." in segments:
        raise PathInvalid("the path has a dot segment")
    if b"" in segments[:-1]:
        raise PathInvalid("the path has a repeated slash")
    if not text.isascii() and _COMPATIBLE_DOTS.search(unicodedata.normalize("NFKC", text)):
        raise PathInvalid("the path has a segment that may be read as a dot segment")
    return "/" + "/".join(map(_encoded, segments))


def _bytes(path: str | bytes) -> bytes:
    try:
        return path if isinstance(path, bytes) else path.encode()
    except UnicodeEncodeError:
        raise PathInvalid("the path is not Unicode") from None


def _decoded(raw: bytes) -> Iterator[int]:
    at = 0
    while at < len(raw):
        byte = raw[at]
        at += 1
        if byte == 0x25:  # %
            if not _HEX.match(raw, at):
                raise PathInvalid("a percent sign is not followed by two hexadecimal digits")
            byte = int(raw[at : at + 2], 16)
            at += 2
            if byte == 0x2F:
                raise PathInvalid("the path has an encoded slash")
        elif byte in b" #":
            raise PathInvalid("the path has a character that must be encoded")
        if byte < 0x20 or byte == 0x7F:
            raise PathInvalid("the path has a control character")
        if byte == 0x5C:
            raise PathInvalid("the path has a backslash")
        if byte == 0x3B:
            raise PathInvalid("the path has parameters (';')")
        yield byte


def _encoded(segment: bytes) -> str:
    return "".join(chr(byte) if byte in _PCHAR else f"%{byte:02X}" for byte in segment)
