"""The client's certificate as a gateway sends it, as the thumbprint that tokens are bound to.

`x5t#S256` (RFC 8705, section 3.1): SHA-256 over the DER, in base64url without padding.
"""

import base64
import binascii
import hashlib
import re
from typing import assert_never
from urllib.parse import unquote

from sidecar.wire.settings.tokens import CertificateForm

_HEX = re.compile(r"[0-9a-f]{64}")
_BEGIN, _END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
MAX_CHAIN = 10
"""How many certificates a chain may have, as TLS libraries have it (OpenSSL's `verify_depth`)."""


def thumbprint(value: str, form: CertificateForm) -> str:
    """Return the thumbprint of what a header of this form says; raises ValueError for all else.

    Of a chain it is the client's own certificate; of several hops (`xfcc`) the last one's.
    """
    match form:
        case CertificateForm.HEX:
            digest = value.replace(":", "").strip().lower()
            if not _HEX.fullmatch(digest):
                raise ValueError("not 64 hexadecimal digits")
            return _encoded(bytes.fromhex(digest))
        case CertificateForm.BASE64:
            raw = _base64(value.strip().replace("-", "+").replace("_", "/"))
            if len(raw) != hashlib.sha256().digest_size:
                raise ValueError("not 32 bytes")
            return _encoded(raw)
        case CertificateForm.XFCC:
            found = [one for one in map(_hash_of, _last_element(value)) if one]
            if len(found) != 1:
                raise ValueError("no hash")
            return _encoded(bytes.fromhex(found[0]))
        case CertificateForm.PEM:
            return _of_der(_base64("".join(_first_of_chain(unquote(value)).split())))
        case CertificateForm.RFC9440:
            text = value.strip()
            if len(text) < 2 or text[0] != ":" or text[-1] != ":":
                raise ValueError("not a byte sequence")
            return _of_der(_base64(text[1:-1]))
        case _ as never:
            assert_never(never)


def _first_of_chain(text: str) -> str:
    """Return the base64 of a chain's first certificate, which is the client's (RFC 8446, 4.4.2).

    In PEM, one after the other, as AWS has it; or without the lines around it and with commas
    between, as Traefik does. The others are not looked into, but it has to be a chain.
    """
    if "-----" not in text:
        return text.partition(",")[0]
    before, *chain = text.split(_BEGIN)
    if before.strip() or not 0 < len(chain) <= MAX_CHAIN:
        raise ValueError("no chain of certificates")
    parts = [block.partition(_END) for block in chain]
    if any(not end or rest.strip(" \t\r\n,") for _, end, rest in parts):
        raise ValueError("no chain of certificates")
    return parts[0][0]


def _last_element(value: str) -> list[str]:
    """Return the pairs of the last of an XFCC header's elements; what is quoted is left out.

    A scanner and no regular expression: one for quoted text looks again from each quote where the
    text has no end, so that a header of 30 KB would hold the event loop for seconds. Here each
    character is looked at once. What is quoted may have commas and semicolons, but a hash never is.
    """
    pairs: list[str] = []
    pair: list[str] = []
    quoted = escaped = False
    for character in value:
        if quoted:
            quoted = escaped or character != '"'
            escaped = not escaped and character == "\\"
        elif character == '"':
            quoted = True
            pair.append(character)  # so that `hash="..."` does not become `hash=`
        elif character == ",":
            pairs, pair = [], []
        elif character == ";":
            pairs.append("".join(pair))
            pair = []
        else:
            pair.append(character)
    if quoted:
        raise ValueError("a quotation has no end")
    return [*pairs, "".join(pair)]


def _hash_of(pair: str) -> str:
    """Return the digits of `Hash=DIGITS`; empty for any other pair."""
    name, _, digits = pair.strip().lower().partition("=")
    return digits if name == "hash" and _HEX.fullmatch(digits) else ""


def _of_der(der: bytes) -> str:
    if der[:1] != b"\x30":
        raise ValueError("no certificate")
    return _encoded(hashlib.sha256(der).digest())


def _base64(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except binascii.Error:
        raise ValueError("not base64") from None


def _encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
