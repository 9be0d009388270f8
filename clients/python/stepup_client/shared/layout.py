"""The layout of the sidecar's table of decisions: words of 64 bits, each read at once.

The daemon's `wire/shared_table/layout.py` says what each is for, and why; a test holds the two
together.
"""

from __future__ import annotations

FILE_NAME = "decisions.table"

MAGIC = int.from_bytes(b"SUTABLE\0", "little")
VERSION = 3

AT_MAGIC = 0
AT_VERSION = 1
AT_STATE = 2
AT_BEAT = 3
AT_FRESH = 4
AT_OFFSET = 5
AT_PATIENCE = 6
AT_EPOCH = 7
AT_SLOTS = 8
AT_KEY = 9
KEY_WORDS = 4
AT_BOOT = 13
BOOT_WORDS = 2
AT_TEXT = 16

TEXT_BYTE = 256
HEADER_BYTES = 8192
WORD = 8
HEADER_WORDS = HEADER_BYTES // WORD
KEY_OF_CALL_WORDS = 2
SLOT_WORDS = 3

LIVE = 1
TICK = 62_500_000
CONTEXT_BITS = 32
ROUTINE_BIT = 0
PROBES = 8
AGENT_CHARACTERS = 256
SHOWN_BYTES = 33
