"""The tokens that were found good, each known by what is signed, and found by its text.

Two texts may be one token (`wire.tokens.jws.parted`). So there is one entry for what is signed,
which holds the texts whose signatures were verified: a text that nobody has looked at finds
nothing. All names and texts are digests.
"""

from collections import OrderedDict
from typing import NamedTuple

import msgspec

from sidecar.adapters.tokens.keys import KeySource
from sidecar.wire.tokens.claims import Token, Validity

MAX_TEXTS = 4
"""How many texts of one token are known at a time."""


class CachedToken(NamedTuple):
    """A token, while it counts, and the key that signed it."""

    token: Token
    validity: Validity
    source: KeySource
    key: str


class Kept(msgspec.Struct, frozen=True, gc=False):
    """A `CachedToken` with its name and texts, of which `text` is the latest.

    There are thousands of these: what they hold stands in one object.
    """

    token: Token
    begins: float
    ends: float
    source: KeySource
    key: str
    name: bytes
    text: bytes
    others: tuple[bytes, ...] = ()

    @property
    def texts(self) -> tuple[bytes, ...]:
        """All texts, the latest last."""
        return (*self.others, self.text)


class TokenCache:
    """At most `limit` tokens, of which the least recently used leaves first."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._by_name: OrderedDict[bytes, Kept] = OrderedDict()
        self._by_text: dict[bytes, Kept] = {}

    def __len__(self) -> int:
        return len(self._by_name)

    def shrink(self, limit: int) -> None:
        """Keep no more than this from now on."""
        self._limit = limit
        while len(self._by_name) > limit:
            self.drop(next(iter(self._by_name.values())))

    def find(self, text: bytes) -> Kept | None:
        """Return the token that has this text, if it was verified."""
        return self._by_text.get(text)

    def use(self, kept: Kept) -> None:
        """Note that a token is used now."""
        self._by_name.move_to_end(kept.name)

    def keep(self, name: bytes, text: bytes, found: CachedToken) -> Token:
        """Keep a token that was verified; return the one that is kept.

        It is the one that is there already, if it has the same name and key: who looks whether a
        token is new finds that it is not.
        """
        kept = Kept(found.token, *found.validity, found.source, found.key, name, text)
        known = self._by_name.get(name)
        if known is not None:
            self.drop(known)
            if known.key == found.key:
                others = tuple(other for other in known.texts if other != text)
                kept = msgspec.structs.replace(known, text=text, others=others[-MAX_TEXTS + 1 :])
        self._by_name[name] = kept
        for one in kept.texts:
            self._by_text[one] = kept
        self.shrink(self._limit)
        return kept.token

    def drop(self, kept: Kept) -> None:
        """Forget a token, by all of its texts."""
        del self._by_name[kept.name]
        for text in kept.texts:
            del self._by_text[text]
