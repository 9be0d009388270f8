"""Items of shared work (`service.audit.backlog`): who is to be looked at, or where to read who is.

Whoever takes an item that says where to read replaces it by a page, and by one that reads on. So
reading is done once, and the pages by as many as have time.
"""

from collections.abc import Iterable
from typing import TypeAlias

import msgspec

from sidecar.wire.store.keys import SessionName, parse_name


class CountAll(msgspec.Struct, frozen=True, tag="count"):
    """Count all sessions, from the bookmark on (empty: from the beginning); then walk."""

    bookmark: bytes = b""


class WalkAll(msgspec.Struct, frozen=True, tag="walk"):
    """Go through all sessions, from the bookmark on."""

    bookmark: bytes = b""


class WalkIndex(msgspec.Struct, frozen=True, tag="index"):
    """Go through the sessions of an index, from the bookmark on; `cause` is an event's type."""

    cause: str
    index: bytes
    bookmark: bytes = b""


class SessionPage(msgspec.Struct, frozen=True, tag="page"):
    """Look at these sessions. `members` are their names, as indexes hold them."""

    cause: str
    members: tuple[bytes, ...]

    def names(self) -> list[SessionName]:
        """Return what of it names sessions."""
        return [name for member in self.members if (name := parse_name(member))]


Item: TypeAlias = CountAll | WalkAll | WalkIndex | SessionPage
_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(Item)


def page_of(cause: str, names: Iterable[SessionName]) -> SessionPage:
    """Return a page of these sessions."""
    return SessionPage(cause, tuple(str(name).encode() for name in names))


def encode_item(item: Item) -> bytes:
    """Return the item as the body of a backlog's entry."""
    return _encode(item)


def decode_item(body: bytes) -> Item | None:
    """Undo `encode_item`; None for what is not ours, or a newer version's."""
    try:
        decoded: Item = _decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    return decoded
