"""A table as this process has it in memory, after it was seen to be the sidecar's own."""

from __future__ import annotations

import json
import mmap
import os
import socket
import stat
import struct
import sys
from hashlib import blake2b
from pathlib import Path
from time import monotonic_ns
from typing import Any, Callable

from stepup_client.shared import layout
from stepup_client.shared.layout import (
    HEADER_BYTES,
    HEADER_WORDS,
    KEY_OF_CALL_WORDS,
    SLOT_WORDS,
    WORD,
)

_BOOT = "/proc/sys/kernel/random/boot_id"
_READING = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NOT_FOR = stat.S_IWGRP | stat.S_IRWXO
"""What others than the owner may not do with the file: to write, and all but its group to read."""


class NotOurs(Exception):  # noqa: N818 - named by what is to be done: ask the socket
    """The file is no table that may be believed now; the text says why."""


class MappedTable:
    """A table: its words, its key, and of each context the bit and the greatest age of a view.

    `keyed` makes a hash under its key, to which nothing was given yet. `decisions` is the word at
    which the decisions begin.
    """

    __slots__ = (
        "contexts",
        "decisions",
        "epoch",
        "key",
        "keyed",
        "memory",
        "patience",
        "slots",
        "words",
    )

    def __init__(self, path: str, owner: Callable[[], int]) -> None:
        """Map the file; blocks shortly. Raises `NotOurs`, and OSError where there is none.

        `owner` gives the uid that the sidecar has. It is asked of a table that somebody writes
        alone: else a sidecar that hangs would find a connection for each time that it was asked.
        """
        descriptor = os.open(path, _READING)
        try:
            found = os.fstat(descriptor)
            _see_file(path, found)
            # Read and not mapped: its owner may cut it off, which kills whoever has it mapped.
            _see_alive(path, os.pread(descriptor, layout.TEXT_BYTE, 0))
            _compare(path, found.st_uid, owner())
            self.memory = mmap.mmap(descriptor, found.st_size, mmap.MAP_SHARED, mmap.PROT_READ)
        finally:
            os.close(descriptor)
        self.words = memoryview(self.memory).cast("Q")
        try:
            self._read(path)
        except BaseException:
            self.close()
            raise

    def _read(self, path: str) -> None:
        words = self.words
        self.slots = words[layout.AT_SLOTS]
        if not self.slots or HEADER_BYTES + self.slots * SLOT_WORDS * WORD != len(self.memory):
            raise NotOurs(f"{path} has another size than it says")
        self.decisions = HEADER_WORDS + self.slots * KEY_OF_CALL_WORDS
        if _bytes(words, layout.AT_BOOT, layout.BOOT_WORDS) != boot_id():
            raise NotOurs(f"{path} is of another boot of the machine")
        self.patience = words[layout.AT_PATIENCE]
        self.key = _bytes(words, layout.AT_KEY, layout.KEY_WORDS)
        # To copy one takes less time than to make one of the key.
        self.keyed = blake2b(key=self.key, digest_size=16).copy
        self.epoch = words[layout.AT_EPOCH]
        text = self.memory[layout.TEXT_BYTE : layout.TEXT_BYTE + words[layout.AT_TEXT]]
        try:
            self.contexts = _contexts(json.loads(text))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise NotOurs(f"{path} does not say what its bits are") from error

    def trouble(self) -> str:
        """Return why the table is not to be believed any more; empty: it is."""
        return _trouble(self.words)

    def close(self) -> None:
        """Give the memory back."""
        self.words.release()
        self.memory.close()


def _see_file(path: str, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode) or found.st_size < HEADER_BYTES:
        raise NotOurs(f"{path} is no table")
    if found.st_mode & _NOT_FOR:
        raise NotOurs(f"others than its owner may write {path}, or anybody may read it")


def _see_alive(path: str, header: bytes) -> None:
    if len(header) < layout.TEXT_BYTE:
        raise NotOurs(f"{path} is no table")
    words = memoryview(header).cast("Q")
    if words[layout.AT_MAGIC] != layout.MAGIC or words[layout.AT_VERSION] != layout.VERSION:
        raise NotOurs(f"{path} is no table, or one of another version")
    if trouble := _trouble(words):
        raise NotOurs(f"{path}: {trouble}")


def _trouble(words: memoryview) -> str:
    if words[layout.AT_STATE] != layout.LIVE:
        return "the sidecar has another one by now, or none"
    age = monotonic_ns() - words[layout.AT_BEAT]
    return "" if 0 <= age <= words[layout.AT_PATIENCE] else "nobody writes to it"


def _compare(path: str, uid: int, wanted: int) -> None:
    if uid != wanted:
        raise NotOurs(f"{path} is of uid {uid}, and the sidecar has {wanted}")


def _contexts(description: Any) -> dict[str, tuple[int, int]]:
    """Return the mask of each context, and the nanoseconds that a view may lag behind for it."""
    found = {
        str(name): (1 << int(bit), int(staleness))
        for name, (bit, staleness) in description["contexts"].items()
    }
    return {"": (1 << layout.ROUTINE_BIT, sys.maxsize), **found}


def boot_id() -> bytes:
    """Return the machine's boot as 16 bytes; raises OSError where there is none to be had."""
    text = Path(_BOOT).read_text(encoding="ascii").strip().replace("-", "")
    return bytes.fromhex(text)[:16].ljust(16, b"\0")


def listener(path: str) -> int:
    """Return the uid of whoever listens at a unix socket; raises OSError.

    The kernel says so, of the moment at which that process began to listen.
    """
    if not hasattr(socket, "SO_PEERCRED"):
        raise OSError("this system does not say whose a socket is")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(1.0)
        connection.connect(path)
        form = struct.Struct("3i")
        found = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, form.size)
    uid: int = form.unpack(found)[1]
    return uid


def _bytes(words: memoryview, at: int, count: int) -> bytes:
    return b"".join(int(word).to_bytes(WORD, "little") for word in words[at : at + count])
