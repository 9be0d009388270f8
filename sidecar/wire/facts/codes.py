"""Numbers for words that many facts repeat: add to the end of a table only, as they are stored."""

from collections.abc import Mapping

from sidecar.domain.facts.memberships import DENY, EXCLUDED, GROUPS, INCLUDED, ROLES


class Table:
    """Words, each with its number: its place in the table."""

    __slots__ = ("_numbers", "_words")

    def __init__(self, *words: str) -> None:
        self._words: Mapping[int, str] = dict(enumerate(words))
        self._numbers: Mapping[str, int] = {word: number for number, word in enumerate(words)}

    def written(self, word: str) -> int | str:
        """Return the number of a word; a word that is not in the table stays as it is."""
        return self._numbers.get(word, word)

    def read(self, written: int | str) -> str:
        """Undo `written`. Raises `ValueError` for a number that only a later version knows."""
        if isinstance(written, str):
            return written
        word = self._words.get(written)
        if word is None:
            raise ValueError("a number that stands for no word")
        return word


ACR = Table(
    *("", "single-factor", "mfa", "passwordless", "phishing-resistant", "phr", "phrh"),
    *("urn:okta:loa:1fa:any", "urn:okta:loa:2fa:any", "urn:okta:loa:2fa:any:ifpossible"),
    "http://schemas.openid.net/pape/policies/2007/06/multi-factor",
    "http://schemas.openid.net/pape/policies/2007/06/phishing-resistant",
    *("urn:mace:incommon:iap:bronze", "urn:mace:incommon:iap:silver"),
    *("possessionorinherence", "knowledge"),
)
AMR = Table(
    *("face", "fpt", "geo", "hwk", "iris", "kba", "mca", "mfa", "otp", "pin", "pop"),
    *("pwd", "rba", "retina", "sc", "sms", "swk", "tel", "user", "vbm", "wia"),
    *("rsa", "ngcmfa", "wiaormfa", "fed"),
)
CLAIMS = Table("user", GROUPS, ROLES)
UNKNOWN = Table(INCLUDED, EXCLUDED, DENY)
