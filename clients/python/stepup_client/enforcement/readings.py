"""Finds paths that servers read in different ways, before anything is decided by a path.

The same rules as the sidecar's own (`sidecar.wire.routes.readings`, where the reasons stand); one
table, `tests/wire/routes/test_readings.py`, holds both to it. An app knows the path as its routing
reads it, decoded, and of most servers the request's target, too, where more can be seen.
"""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import unquote_to_bytes

_CLEAN = re.compile(r"(?:/(?!\.{1,2}(?:/|\Z))[A-Za-z0-9\-._~!$&'()*+,=:@]+)*/?")
_ABSOLUTE = re.compile(r"\A[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*")
_UNCLEAR = re.compile(r"//|/\.{1,2}(?:/|\Z)|[\x00-\x1f\x7f\\;\ufffd\ud800-\udfff]|%[0-9A-Fa-f]{2}")
_UNCLEAR_TARGET = re.compile(r"[\x00-\x20\x7f#\\;]|%(?![0-9A-Fa-f]{2})|%(?:2f|5c)", re.IGNORECASE)
_COMPATIBLE_DOTS = re.compile(r"(?:^|[/\\])\.{1,2}(?:[/\\;]|\Z)")


def is_read_alike(path: str, target: str = "") -> bool:
    """Return whether all servers read a path in the same way.

    `path` is decoded, as the app's own routing reads it; empty where a framework has cut all of it
    off. `target` is the request line's, undecoded, with its query; empty where it is not known.
    """
    raw = _ABSOLUTE.sub("", target).partition("?")[0]
    if _CLEAN.fullmatch(path) and (raw == path or _CLEAN.fullmatch(raw)):
        return True
    return _is_clear(path) and (not raw or _is_clear_target(raw))


def _is_clear(path: str) -> bool:
    if _UNCLEAR.search(path) or (path and not path.startswith("/")):
        return False
    return path.isascii() or not _COMPATIBLE_DOTS.search(unicodedata.normalize("NFKC", path))


def _is_clear_target(raw: str) -> bool:
    if _UNCLEAR_TARGET.search(raw):
        return False
    try:
        return _is_clear(unquote_to_bytes(raw.encode("latin-1")).decode())
    except UnicodeError:
        return False
