"""Scans of all keys, or of an index, with a bookmark from which any sidecar can go on.

SCAN's promise, that a key which is there all the while is given, holds for one cursor on one
process. So the bookmark names the processes (their run ids) and who held which slots at the
beginning: where any is another by now, the bookmark leads to the beginning. ZSCAN goes through an
index likewise.
"""

from typing import Any

import msgspec
from redis.client import Redis

SCAN_COUNT = 1000


class Position(msgspec.Struct, frozen=True, array_like=True):
    """The position in a node: `cursor` of the process `run`; empty: at the beginning."""

    node: str
    run: str = ""
    cursor: int = 0


class Bookmark(msgspec.Struct, frozen=True, array_like=True):
    """`left` are the nodes that are not done, the next first.

    Each gives a page in turn, so that whoever reads what the pages name spreads over all nodes.
    """

    where: bytes
    left: tuple[Position, ...]

    def after(self, run: str, cursor: int) -> "Bookmark":
        """Return the bookmark after a step on the first node."""
        first, *others = self.left
        if cursor:
            others.append(Position(first.node, run, cursor))
        return Bookmark(self.where, tuple(others))


def encode_bookmark(bookmark: Bookmark) -> bytes:
    """Return a bookmark as bytes that others may keep."""
    return msgspec.msgpack.encode(bookmark)


def decode_bookmark(data: bytes) -> Bookmark | None:
    """Undo `encode_bookmark`; None for anything else."""
    try:
        return msgspec.msgpack.decode(data, type=Bookmark)
    except msgspec.MsgspecError:
        return None


class Step(msgspec.Struct, frozen=True):
    """The result of one SCAN, and the process that gave it."""

    run: str
    cursor: int
    keys: list[bytes]


def step(client: Redis, pattern: str, cursor: int) -> Step:
    """Run one SCAN. Blocks; raises redis-py's errors."""
    run, cursor, found = _ask(client, "SCAN", cursor, "MATCH", pattern, "COUNT", SCAN_COUNT)
    return Step(run, cursor, list(found))


def step_members(client: Redis, index: bytes, cursor: int, now: int) -> Step:
    """Run one ZSCAN: members that have not expired by `now` (unix ms), at `Step.keys`."""
    run, cursor, found = _ask(client, "ZSCAN", index, cursor, "COUNT", SCAN_COUNT)
    return Step(run, cursor, [member for member, until in found if until >= now])


def _ask(client: Redis, *command: bytes | str | int) -> tuple[str, int, Any]:
    pipe: Any  # redis-py does not type what it queues
    with client.pipeline(transaction=False) as pipe:
        pipe.execute_command("INFO", "server")
        pipe.execute_command(*command)
        info, (position, found) = pipe.execute()
    return str(info["run_id"]), int(position), found
