"""The layout of the table that apps read without asking: words of 64 bits, each read at once.

    header                 8192 bytes: what it is, the writer's sign of life, the contexts' bits
    key, key, ...          two words for each slot: the key of a call
    decision, ...          one word for each slot: what is decided of that call

A reader in another process sees one word as a whole, and never two: so all that changes of a
decision is in one word, and the key of a slot is written once in the life of a table, before the
slot's first decision. A slot whose call is no longer known keeps its key, and its decision is 0.

Decisions lie together, away from the keys: who has found a slot before reads its decision alone,
and eight of them share a line of the processor's cache instead of two or three.

`stepup_client.shared.layout` says the same for readers; a test holds the two together.
"""

from binascii import b2a_base64
from collections.abc import Mapping
from hashlib import blake2b
from typing import NamedTuple

import msgspec

FILE_NAME = "decisions.table"

MAGIC = int.from_bytes(b"SUTABLE\0", "little")
VERSION = 3
"""1 had the token's signature in the key of a call, where now its digest is.

2 had a decision beside each key, and the digest in hexadecimal.
"""

AT_MAGIC = 0
AT_VERSION = 1
AT_STATE = 2
AT_BEAT = 3
"""When the writer last showed that it lives: nanoseconds of the machine's monotonic clock."""
AT_FRESH = 4
"""As of when the writer's view had all news, by the same clock."""
AT_OFFSET = 5
"""The wall clock minus the monotonic one, in nanoseconds: where it differs, a clock was set."""
AT_PATIENCE = 6
"""Nanoseconds after which a writer that shows no life counts as gone."""
AT_EPOCH = 7
"""The moment, in nanoseconds of the wall clock, from which decisions count their ticks."""
AT_SLOTS = 8
AT_KEY = 9
KEY_WORDS = 4
AT_BOOT = 13
BOOT_WORDS = 2
AT_START = 15
"""An id of the writer's life; another one is another writer's."""
AT_TEXT = 16
"""The bytes of the JSON that follows the words of the header."""

TEXT_BYTE = 256
HEADER_BYTES = 8192
WORD = 8
HEADER_WORDS = HEADER_BYTES // WORD
KEY_OF_CALL_WORDS = 2
SLOT_WORDS = KEY_OF_CALL_WORDS + 1

UNBORN, LIVE, DEAD = 0, 1, 2
"""The states of a table: it is believed only while it is live, and once dead it stays so."""

TICK = 62_500_000
"""Nanoseconds of the unit in which a decision says until when it holds."""

CONTEXT_BITS = 32
"""The lower half of a decision: bit 0 is the routine call's, the others are contexts'."""

ROUTINE_BIT = 0
LATEST_TICK = (1 << 32) - 1

PROBES = 8
"""Slots in which a key may be, from its own on; a key that finds none of them is left out."""

AGENT_CHARACTERS = 256

KEY_BYTES = 32
SHOWN_BYTES = 33
"""Bytes of the digest of a token and what it shows: as text (base64) it is 44 characters.

With an address and most user agents the text of a call is then one block of its hash, not two.
"""


class ContextBit(msgspec.Struct, frozen=True, array_like=True):
    """The bit of a context, and how old (nanoseconds) a view may be that decides in it."""

    bit: int
    max_staleness: int


class Description(msgspec.Struct, frozen=True):
    """The text of the header: the contexts by their ids and their other names."""

    contexts: dict[str, ContextBit]


def size_of(slots: int) -> int:
    """Return the bytes of a table."""
    return HEADER_BYTES + slots * SLOT_WORDS * WORD


def decisions_at(slots: int) -> int:
    """Return the word at which the decisions of a table begin."""
    return HEADER_WORDS + slots * KEY_OF_CALL_WORDS


def numbered(
    contexts: Mapping[str, float], aliases: Mapping[str, str]
) -> tuple[dict[str, int], Description]:
    """Number contexts, each with the age (seconds) of a view that may decide in it.

    Return the bits by id and their description. Those for which there is no bit are left out.
    """
    bits = dict(zip(sorted(contexts, key=_by_number), range(1, CONTEXT_BITS), strict=False))
    described = {
        name: ContextBit(bit, int(min(contexts[name], 1e9) * 1e9)) for name, bit in bits.items()
    }
    described.update({alias: described[n] for alias, n in aliases.items() if n in described})
    return bits, Description(described)


def _by_number(context: str) -> tuple[int, str]:
    return len(context), context


class TableSession(NamedTuple):
    """A session by the names that its tokens bear; `session` empty: they name none."""

    issuer: str
    user: str
    session: str


def shown_text(whose: TableSession, auth_time: int, acr: str, token: str) -> str:
    """Return what stands for a token in the key: a digest of it, whose it is and what it shows.

    The whole token is in it, and not its signature alone: that of another one may be put to any
    payload, and who looks into the table may have verified neither. Lengths come before the names,
    which may have any characters in them.
    """
    parts = (*whose, str(auth_time), acr, token)
    text = "".join([f"{len(part)}:{part}" for part in parts])
    digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=SHOWN_BYTES).digest()
    return b2a_base64(digest, newline=False).decode()


def call_text(shown: str, ip: str, user_agent: str) -> str:
    """Return the text of a call: what its token shows, and where it comes from.

    No other call has the same text as one that `has_own_text`.
    """
    return f"{shown}{ip}\0{user_agent[:AGENT_CHARACTERS]}"


def has_own_text(ip: str, user_agent: str) -> bool:
    """Return whether the text of a call has one zero, so that it says where its address ends.

    No other may be in the table. Readers need not look: a text of theirs with more finds nothing.
    """
    return "\0" not in ip and "\0" not in user_agent


def key_of(text: str, key: bytes) -> tuple[int, int]:
    """Return the key of a call in a table whose hash has this key."""
    digest = blake2b(text.encode("utf-8", "surrogatepass"), key=key, digest_size=16).digest()
    return int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:], "little")


def decision_of(bits: int, ticks: int) -> int:
    """Return the word of a decision: in which contexts a call passes, and before which tick."""
    return ticks << CONTEXT_BITS | bits
