"""Reads large bodies beside the event loop: one of a mebibyte takes a tenth of a second."""

from collections.abc import Callable
from typing import TypeVar

import trio

LARGE = 16384
"""Bytes; less is read in a few milliseconds at the worst."""

T = TypeVar("T")


async def aside(decode: Callable[[bytes], T], body: bytes) -> T:
    """Decode a body, in a thread if it is large; raises what `decode` raises."""
    if len(body) <= LARGE:
        return decode(body)
    return await trio.to_thread.run_sync(decode, body)
