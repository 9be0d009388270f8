"""A raw connection to a Redis server, read and written on trio.

redis-py makes the connection in a thread, so that TLS, credentials and sentinels are as
everywhere else; from then on its socket is ours, does not block, and carries RESP 2 both ways.
"""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import hiredis
import redis
import trio

from sidecar.adapters.redis.links import Links
from sidecar.adapters.redis_server.causes import cause_of
from sidecar.domain.values.causes import words_of
from sidecar.service.ports.calls import Unavailable

CHUNK = 65536
_INCOMPLETE = object()


class RedisSocket:
    """A connected socket. One task may receive while others send. Raises `Unavailable` only."""

    def __init__(self, sock: Any) -> None:
        self._sock = sock
        self._reader = hiredis.Reader(notEnoughData=_INCOMPLETE)
        self._turn = trio.Lock()

    async def send(self, *commands: tuple[bytes, ...]) -> None:
        """Send commands in one go. If cancelled half-way the connection is of no more use."""
        data = memoryview(b"".join(map(_pack, commands)))
        async with self._turn:
            while data:
                sent = await self._once(lambda rest=data: self._sock.send(rest), writing=True)
                data = data[sent:]

    async def receive(self) -> list[Any]:
        """Return the replies that arrived, at least one.

        A server's refusal is a `ReplyError` in it.
        """
        await trio.lowlevel.checkpoint()  # a busy channel must not keep all others waiting
        while True:
            data = await self._once(lambda: self._sock.recv(CHUNK), writing=False)
            if not data:
                raise Unavailable("the store closed the connection")
            replies = self._parse(data)
            if replies:
                return replies

    def _parse(self, data: bytes) -> list[Any]:
        replies: list[Any] = []
        try:
            self._reader.feed(data)
            while (reply := self._reader.gets()) is not _INCOMPLETE:
                replies.append(reply)
        except hiredis.ProtocolError:
            raise Unavailable("the store does not speak the Redis protocol") from None
        return replies

    async def _once(self, attempt: Any, *, writing: bool) -> Any:
        # TLS may have to read before it can write, and the other way round.
        while True:
            try:
                return attempt()
            except ssl.SSLWantReadError:
                ready = trio.lowlevel.wait_readable
            except ssl.SSLWantWriteError:
                ready = trio.lowlevel.wait_writable
            except BlockingIOError:
                ready = trio.lowlevel.wait_writable if writing else trio.lowlevel.wait_readable
            except OSError as error:
                raise Unavailable(f"the connection to the store broke: {words_of(error)}") from None
            await ready(self._sock)


def _pack(command: tuple[bytes, ...]) -> bytes:
    return cast("bytes", hiredis.pack_command(command))  # type: ignore[arg-type] # takes any length


@asynccontextmanager
async def connected(links: Links, node: str) -> AsyncIterator[RedisSocket]:
    """Connect to a node, and close the connection at the end. Raises `Unavailable`."""
    try:
        connection: Any = await trio.to_thread.run_sync(_connect, links, node)
    except (redis.RedisError, OSError) as error:
        raise Unavailable(cause_of(error, links.where)) from error
    try:
        yield RedisSocket(connection._sock)  # noqa: SLF001 - redis-py has no other name for it
    finally:
        connection.disconnect()


def _connect(links: Links, node: str) -> Any:
    connection: Any = links.connection(node)
    connection.connect()
    connection._sock.setblocking(False)  # noqa: SLF001 - as above
    return connection
