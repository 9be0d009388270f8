"""Values of claims as the texts that policies compare: one reading for tokens, events and policies.

Numbers compare as numbers: `3`, `3.0` and `3e0` are one text, and so are `1e3` and `1000`.
"""

import math

from sidecar.wire.names import composed, is_fit, is_plain

MAX_CLAIM_VALUE = 512
"""Characters of a value; a longer one is no value, since a cut one would lie."""


def claim_text(value: object) -> str | None:
    """Return the text of a scalar; None for null, a list, an object, or a text that is not fit."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return _fit(value)
        case int() | float():
            return number_text(value)
        case _:
            return None


def _fit(value: str) -> str | None:
    if is_plain(value) and len(value) <= MAX_CLAIM_VALUE:  # as nearly all are
        return value
    if len(value) > 4 * MAX_CLAIM_VALUE or not is_fit(value):
        return None
    text = composed(value)
    return text if len(text) <= MAX_CLAIM_VALUE else None


def number_text(value: float) -> str | None:
    """Return the one text of a number, however it was written; None for what is no number."""
    if isinstance(value, int):
        return str(value) if abs(value) < _BOUND else None
    if not math.isfinite(value):
        return None
    return str(int(value)) if value.is_integer() else repr(value)


_BOUND = 10**400
"""Beyond every finite float, and within what Python writes as digits."""
