"""Checks the way back after a step-up before a browser is sent there.

A page that redirects to whatever a parameter says is an open redirect. The sidecar only ever makes
paths of the app's own origin; anybody can write another value into the address bar.

    target = returning.address(request.query.get("return_to"))                  # "/" if unfit
    target = returning.signed_address(request.query, key=KEY, now=time.time())  # and signed
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping

LONGEST = 2048

_ADDRESS = re.compile(
    r"/(?:(?!\.{1,2}(?:[/?]|\Z))[A-Za-z0-9._~!$&'()*+,=:%-]+(?:/|(?=[?]|\Z)))*"
    r"(?:\?[A-Za-z0-9._~!$&'()*+,;=:%/?-]*)?"
)
_ENCODED_TRAPS = re.compile(r"%(?:2[ef]|5c|[01][0-9a-f]|7f)", re.IGNORECASE)


def address(value: str | None, default: str = "/") -> str:
    """Return the value if it is a path (with a query) of this very origin, else `default`.

    So it is for a parameter that is missing (None), or of any other type than text.
    A path has no empty and no dot segments, encoded ones included, and no backslash, `@`, control
    character or anything else that some reader takes for the start of another address.
    """
    if not isinstance(value, str) or len(value) > LONGEST or not _ADDRESS.fullmatch(value):
        return default
    return default if _ENCODED_TRAPS.search(value.partition("?")[0]) else value


def signed_address(
    query: Mapping[str, str | None],
    *,
    key: str,
    now: float,
    parameter: str = "return_to",
    default: str = "/",
) -> str:
    """Return the address if the sidecar signed it with this key (`redirect.key`) not long ago.

    It is checked as by `address`, too.

    `now` is in seconds since the epoch.
    """
    value, signature = query.get(parameter), query.get(f"{parameter}_signature")
    if not isinstance(value, str) or not isinstance(signature, str):
        return default
    expires, _, mac = signature.partition(".")
    if not re.fullmatch(r"[0-9]{1,12}", expires) or int(expires) < now:
        return default
    try:
        shown = base64.urlsafe_b64decode(mac + "=" * (-len(mac) % 4))
    except (binascii.Error, ValueError):
        return default
    signed = f"{expires}.{value}".encode("utf-8", "surrogatepass")
    wanted = hmac.digest(key.encode(), signed, hashlib.sha256)
    return address(value, default) if hmac.compare_digest(shown, wanted) else default
