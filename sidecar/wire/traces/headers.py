"""Header fields that a file holds: `Name: value`, one a line."""

import re

_FIELD = re.compile(
    r"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}):[ \t]*([!-~]|[!-~][ -~]{0,8190}[!-~])[ \t]*"
)
_OURS = frozenset({"content-length", "content-type", "host", "transfer-encoding", "connection"})


class InvalidHeaders(ValueError):  # noqa: N818 - named by who must act: the operator
    """A text that holds no header fields; the message quotes nothing of it."""


def headers_of(text: str) -> tuple[tuple[str, str], ...]:
    """Return the fields. Raises `InvalidHeaders`."""
    fields = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        found = _FIELD.fullmatch(line)
        if found is None:
            raise InvalidHeaders(f"line {number} is no header field such as `Name: value`")
        name, value = found.groups()
        if name.lower() in _OURS:
            raise InvalidHeaders(f"line {number} names a field that the sidecar sets itself")
        fields.append((name, value))
    return tuple(fields)
