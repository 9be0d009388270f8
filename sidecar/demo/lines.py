"""The local socket from an app's side, on trio: a JSON object a line, replies in order."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from sidecar.demo.browser import Astray


class SocketClient:
    """A connection to the daemon's socket; for one task at a time."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._buffer = b""

    async def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Send a request and read its reply."""
        await self._stream.send_all(json.dumps(request).encode() + b"\n")
        return await self.read()

    async def read(self) -> dict[str, Any]:
        """Return the next line. Raises `Astray` where the daemon ends the connection."""
        while b"\n" not in self._buffer:
            chunk = await self._stream.receive_some()
            if not chunk:
                raise Astray("the daemon closed the connection")
            self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer


@asynccontextmanager
async def connected(path: Path) -> AsyncIterator[SocketClient]:
    """Connect to the socket at `path`, and yield the connection."""
    async with await trio.open_unix_socket(path) as stream:
        yield SocketClient(stream)
