"""Finds the credentials in a URL, and shows URLs and texts without them.

URLs and names that look like them stand in log lines, metric labels, probes and errors. So no
credential may be in one that is configured, and of one that comes from elsewhere what may hold a
credential is left out.
"""

import re

_LONGEST = 2048
"""Of a longer URL, which a provider's metadata can hold, nothing is shown: to find its user takes
a time that grows with the square of its length."""

HIDDEN = "..."
"""Stands for what is not shown."""

_USER = re.compile(
    r"(\bhttps?:[/\\]*|[/\\]{2})[^/\\?#\s]*(?::\d+[/\\?#][^/\\?#\s]*)?@", re.IGNORECASE
)
"""Also of `u:47/11@host`, where `u` is read as the host, and what begins the password as a port."""

_PARAMETER = re.compile(r"([?&;#])([^=?&;#\s]*)=([^&;#\s'\"]*)")
_CREDENTIAL_NAME = re.compile(
    r"(?:token|passw(?:or)?d|passphrase|secret|credentials?|api[-_]?key|authori[sz]ation|^auth"
    r"|jwt|pwd)$",
    re.IGNORECASE,
)
"""Names that a parameter has only where its value is a credential; `token_type_hint` is none."""


def credential_in(url: str) -> str:
    """Return which part of a URL is a credential, in words; empty where none is.

    That is a user or password before the host (RFC 3986, section 3.2.1), also where readers differ
    on how the host begins or ends, or a parameter that is called as one. In a path right after a
    port `@` is written `%40`.
    """
    if _USER.search(url):
        return "a user or password"
    if any(_CREDENTIAL_NAME.search(found[2]) for found in _PARAMETER.finditer(url)):
        return "a credential in its parameters"
    return ""


def masked(text: str) -> str:
    """Return a text with the credentials of the URLs in it left out."""
    if "@" in text:
        text = _USER.sub(rf"\1{HIDDEN}@", text)
    return _PARAMETER.sub(_without_value, text) if "=" in text else text


def _without_value(found: re.Match[str]) -> str:
    if not _CREDENTIAL_NAME.search(found[2]):
        return found[0]
    return f"{found[1]}{found[2]}={HIDDEN}"


def without_credentials(url: str) -> str:
    """Return a URL without user, password, parameters and fragment: what may be secret in one."""
    if len(url) > _LONGEST:
        return f"a URL of {len(url)} characters"
    return _USER.sub(r"\1", re.split(r"[?#]", url, maxsplit=1)[0])
