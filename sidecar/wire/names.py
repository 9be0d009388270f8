"""Names: one definition for tokens, events, SETs, AuthZEN, policies and the commands.

A name (of a user, session, device, app, group, role or issuer, an `acr`, an `amr`) is 1 to 512
characters in Unicode's normalisation form C (Unicode Standard Annex 15), none of which is a control
character (U+0000-001F, U+007F-009F) or half of a surrogate pair. So whoever can sign in under a
name can be revoked under it, whichever way its letters were typed.
"""

import re
import unicodedata

MAX_NAME = 512
"""Characters of a name."""

_UNFIT = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


class InvalidName(ValueError):  # noqa: N818 - each door names it by who must act there
    """A text is no name; the message says why, and never repeats the text."""

    def __init__(self, message: str, *, too_long: bool = False) -> None:
        super().__init__(message)
        self.too_long = too_long


def is_fit(text: str) -> bool:
    """Return whether a text has none of the characters that go into no header, log or key."""
    # As nearly all are; to find that nothing else is there takes several times as long.
    return is_plain(text) or _UNFIT.search(text) is None


def is_plain(text: str) -> bool:
    """Return whether a text has printable ASCII alone, which is fit and composed as it is."""
    return text.isascii() and text.isprintable()


def composed(text: str) -> str:
    """Return the text in normalisation form C, so that what reads the same is the same."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def name_of(text: str, limit: int = MAX_NAME) -> str:
    """Return the name that a text spells.

    Raises `InvalidName`. `limit` is for what may be longer.
    """
    if is_plain(text) and 0 < len(text) <= limit:  # as nearly all are
        return text
    if len(text) > 4 * limit:
        raise InvalidName(f"must be at most {limit} characters", too_long=True)
    if not is_fit(text):
        raise InvalidName("must not have control characters")
    name = composed(text)
    if len(name) > limit:
        raise InvalidName(f"must be at most {limit} characters", too_long=True)
    if not name:
        raise InvalidName("must not be empty")
    return name
