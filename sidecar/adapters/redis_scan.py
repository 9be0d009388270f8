"""Going through all keys of all servers, with a bookmark from which any sidecar can go on.

SCAN's promise, that a key which is there all the while is given, holds for one cursor on one
process. So the bookmark names the process (its run id) and who held which slots at the
beginning: where either is another by now, the bookmark leads to the beginning.
"""

from typing import Any

import msgspec
import redis

SCAN_COUNT = 1000


class Bookmark(msgspec.Struct, frozen=True, array_like=True):
    """`left` are the nodes that are not done, the first at `cursor` of the process `run`."""

    where: bytes
    left: tuple[str, ...]
    run: str = ""
    cursor: int = 0

    def after(self, run: str, cursor: int) -> "Bookmark":
        """After a step on the first node."""
        if cursor:
            return Bookmark(self.where, self.left, run, cursor)
        return Bookmark(self.where, self.left[1:])


def encode_bookmark(bookmark: Bookmark) -> bytes:
    """As others may keep it."""
    return msgspec.msgpack.encode(bookmark)


def decode_bookmark(data: bytes) -> Bookmark | None:
    """Undo `encode_bookmark`; None for anything else."""
    try:
        return msgspec.msgpack.decode(data, type=Bookmark)
    except msgspec.MsgspecError:
        return None


class Step(msgspec.Struct, frozen=True):
    """What one SCAN gave, and the process that gave it."""

    run: str
    cursor: int
    keys: list[bytes]


def step(client: redis.Redis, pattern: str, cursor: int) -> Step:
    """One SCAN. Blocks; raises redis-py's errors."""
    pipe: Any  # redis-py does not type what it queues
    with client.pipeline(transaction=False) as pipe:
        pipe.execute_command("INFO", "server")
        pipe.execute_command("SCAN", cursor, "MATCH", pattern, "COUNT", SCAN_COUNT)
        info, (position, found) = pipe.execute()
    return Step(str(info["run_id"]), int(position), list(found))
