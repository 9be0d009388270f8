"""Compact JWS, read strictly and without believing it (RFC 7515, section 3.1; RFC 8725).

Libraries are lenient where a second reader may see something else: padding, white space, bits
that base64 ignores, members named twice. All of these are refused here.
"""

import base64
import json
import math
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple, NoReturn

import msgspec

from sidecar.wire.tokens.claims import Flaw, InvalidToken

MAX_DEPTH = 64
"""Nothing stands within so many objects and lists of a JSON document."""

_decode_json = msgspec.json.Decoder().decode
_SHALLOW = 16
_SAFE = 2**53 - 1
_MANY = 2**63
"""More texts than there are in any document."""

_BASE64URL = re.compile(r"[A-Za-z0-9_-]*")
_ENDS = ("", "", "AQgw", "AEIMQUYcgkosw048")
"""The last characters whose lower four, or two, bits are zero, by the characters beyond fours."""


class Unverified(NamedTuple):
    """A JWS before its signature is checked: enough to pick the key, and nothing to act upon.

    `type` is in lower case, empty where there is none. `claims` is the payload. `key` is what the
    header brings as `jwk`: for proofs of that very key, and for nothing else.
    """

    algorithm: str
    key_id: str | None
    type: str
    claims: dict[str, object]
    key: object = None


def read_jws(token: str, max_bytes: int) -> Unverified:
    """Take a compact JWS with a JSON payload apart; raises `InvalidToken`.

    Headers that bring or point to a key (`jwk`, `jku`, `x5c`, `x5u`) are ignored and never
    fetched: keys come from the issuer's settings alone. Every `crit`, and `b64`, is refused.
    """
    if len(token) > max_bytes:
        raise InvalidToken(Flaw.TOO_LARGE, "the token is too large")
    parts = token.split(".")
    if len(parts) != 3:
        raise InvalidToken(Flaw.MALFORMED, "the token does not have three parts")
    header = _object(parts[0], "header")
    if "crit" in header or "b64" in header:
        raise InvalidToken(Flaw.CRIT_NOT_UNDERSTOOD, "the token has critical extensions")
    _decode(parts[2], "signature")
    return Unverified(
        algorithm=_member(header, "alg") or "",
        key_id=_member(header, "kid"),
        type=(_member(header, "typ") or "").lower(),
        claims=_object(parts[1], "payload"),
        key=header.get("jwk"),
    )


def parted(token: str) -> tuple[str, str]:
    """Return the signed part of a token, and its signature: the text and "" if no compact JWS.

    Two texts may be one token: who holds one signed with ES256 can make another signature of it
    (s and n - s are both good), and an issuer that signs the same claims twice makes two. So what
    is remembered of a token is remembered by what is signed; that it is signed, by its signature.
    """
    signed, _, signature = token.rpartition(".")
    return (signed, signature) if signed.count(".") == 1 else (token, "")


def strict_object(raw: bytes) -> dict[str, object]:
    """Read a JSON object that every reader reads alike; raises ValueError for anything else.

    No member is named twice, nothing is `NaN` or `Infinity`, every string can be encoded, and
    nothing stands within `MAX_DEPTH` levels, so that what was read can be written again. Whoever
    asks for numbers has to compare them with their bounds first: `1e999` is infinite, and 400
    digits fit into no float. `bounded_object` has neither.
    """
    return _plain_object(raw, None, None)


def bounded_object(raw: bytes) -> dict[str, object]:
    """Read as `strict_object` does, with numbers that a double can hold (RFC 7493, section 2.2)."""
    return _plain_object(raw, _fraction, _whole)


def _plain_object(
    raw: bytes, fraction: Callable[[str], float] | None, whole: Callable[[str], int] | None
) -> dict[str, object]:
    found = _quickly(raw)
    return _carefully(raw, fraction, whole) if found is None else found


def _quickly(raw: bytes) -> dict[str, object] | None:
    """Read an object in which there is nothing that readers may differ about; else None.

    Without backslashes each name and each other text has two quotation marks of its own, so that a
    document with more of them than what was read of it names a member twice.
    """
    if b"\\" in raw:
        return None
    try:
        value = _decode_json(raw)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict):
        return None
    texts = _texts(value, _SHALLOW)
    return value if texts >= 0 and 2 * texts == raw.count(b'"') else None


def _texts(value: dict[str, object] | list[object], levels: int) -> int:
    """Return how many names and other texts there are; less than 0: numbers, or too deep."""
    if levels == 0:
        return -_MANY
    if isinstance(value, dict):
        count, within = len(value), iter(value.values())
    else:
        count, within = 0, iter(value)
    for inner in within:
        if isinstance(inner, str):
            count += 1
        elif isinstance(inner, dict | list):
            count += _texts(inner, levels - 1)
        elif isinstance(inner, float) or (isinstance(inner, int) and abs(inner) > _SAFE):
            return -_MANY
    return count


def _carefully(
    raw: bytes, fraction: Callable[[str], float] | None, whole: Callable[[str], int] | None
) -> dict[str, object]:
    text = raw.decode()
    try:
        value = json.loads(
            text,
            object_pairs_hook=_unique,
            parse_constant=_not_json,
            parse_float=fraction,
            parse_int=whole,
        )
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode()  # finds a lone surrogate
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(value, dict):
        raise ValueError("not an object")  # noqa: TRY004 - the document's fault, not a caller's
    if text.count("{") + text.count("[") >= MAX_DEPTH and is_deep(value, MAX_DEPTH):
        raise ValueError("nested too deeply")
    return value


def is_deep(document: object, levels: int) -> bool:
    """Return whether anything stands within so many objects and lists of a JSON document."""
    level = [document]
    for _ in range(levels):
        below: list[object] = []
        for value in level:
            if isinstance(value, dict):
                below.extend(value.values())
            elif isinstance(value, list):
                below.extend(value)
        if not below:
            return False
        level = below
    return True


def _object(part: str, name: str) -> dict[str, object]:
    raw = _decode(part, name)
    try:
        return bounded_object(raw)
    except ValueError:
        raise InvalidToken(Flaw.MALFORMED, f"the {name} is not a plain JSON object") from None


def _decode(part: str, name: str) -> bytes:
    # Bits that do not fill a byte must be zero, or many texts would be the same token.
    left = len(part) % 4
    if _BASE64URL.fullmatch(part) and (left == 0 or part[-1] in _ENDS[left]):
        return base64.urlsafe_b64decode(part + "===="[left:] if left else part)
    raise InvalidToken(Flaw.MALFORMED, f"the {name} is not base64url")


def _member(header: dict[str, object], name: str) -> str | None:
    value = header.get(name)
    if value is not None and not isinstance(value, str):
        raise InvalidToken(Flaw.MALFORMED, f"the {name} header is not text")
    return value


def _unique(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member is named twice")
    return members


def _fraction(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("a number is out of range")
    return value


def _whole(text: str) -> int:
    _fraction(text)
    return int(text)


def _not_json(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")
