"""Raw connections to Redis servers, read and written on trio.

redis-py makes each connection in a thread, so that TLS, credentials and sentinels are as
everywhere else; from then on its socket is ours, does not block, and carries RESP 2 both ways.
"""

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar, cast

import hiredis
import trio
from redis.connection import DefaultParser
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from sidecar.adapters.redis.links import Links
from sidecar.adapters.redis_server.causes import cause_of
from sidecar.domain.values.causes import words_of
from sidecar.service.ports.calls import Unavailable

CHUNK = 65536
_INCOMPLETE = object()

T = TypeVar("T")


class BrokenLink(Unavailable):
    """The connection to a server broke: what was asked on it may or may not have happened."""


class RedisSocket:
    """A connected socket. Raises `BrokenLink`, but where it says otherwise.

    Either one task at a time has exchanges, or one receives while others send. `refusal` is what
    becomes of a server's refusal, in its words. `where` is the address, without credentials.
    """

    def __init__(
        self, sock: Any, where: str, refusal: Callable[[str], Exception] = hiredis.ReplyError
    ) -> None:
        self._sock = sock
        self._where = where
        self._reader = hiredis.Reader(notEnoughData=_INCOMPLETE, replyError=refusal)
        self._turn = trio.Lock()
        # TLS holds decrypted bytes back of which the socket itself shows nothing.
        self._may_hold_back = hasattr(sock, "pending")

    async def exchange(
        self, commands: Sequence[Sequence[bytes | str | int]], patience: float
    ) -> list[Any]:
        """Send commands and return the replies, in order; refusals are among them.

        The connection is of no more use if this raises or is cancelled: `BrokenLink` where nothing
        moves for `patience` seconds, and redis-py's own error where the server turns away whoever
        asks, as while it loads its data.
        """
        replies: list[Any] = []
        data = memoryview(b"".join(map(_pack, commands)))
        with trio.move_on_after(patience) as scope:
            while data := data[await self._once(self._sock.send, data, writing=True) :]:
                scope.deadline = trio.current_time() + patience
            while True:
                await self._may_read()
                replies += self._parse(await self._once(self._sock.recv, CHUNK, writing=False))
                if len(replies) >= len(commands):
                    break
                scope.deadline = trio.current_time() + patience
        if scope.cancelled_caught:
            raise BrokenLink(f"{self._where}: it did not answer in time")
        if len(replies) > len(commands) or self._reader.has_data():
            # What is left over would be taken for the answer to the next command.
            raise BrokenLink(f"{self._where}: it answers more than it was asked")
        for reply in replies:
            if isinstance(reply, RedisConnectionError):
                raise reply
        return replies

    def is_clean(self) -> bool:
        """Return whether nothing came, not even an end, since the last exchange."""
        try:
            self._sock.recv(1)
        except BlockingIOError:
            return True
        except OSError as error:
            return isinstance(error, ssl.SSLWantReadError)
        return False

    async def send(self, *commands: tuple[bytes, ...]) -> None:
        """Send commands in one go. If cancelled half-way the connection is of no more use."""
        data = memoryview(b"".join(map(_pack, commands)))
        try:
            self._turn.acquire_nowait()  # nearly always: to wait for it costs a turn of the loop
        except trio.WouldBlock:
            await self._turn.acquire()
        try:
            while data:
                data = data[await self._once(self._sock.send, data, writing=True) :]
        finally:
            self._turn.release()

    async def receive(self) -> list[Any]:
        """Return the replies that arrived, at least one; refusals are among them."""
        while True:
            await self._may_read()
            replies = self._parse(await self._once(self._sock.recv, CHUNK, writing=False))
            if replies:
                return replies

    async def _may_read(self) -> None:
        """Wait until something can be read, as far as the socket shows; others get their turn.

        To try first would cost a turn of the loop, and most often find nothing.
        """
        if self._may_hold_back:
            await trio.lowlevel.checkpoint()
        else:
            await trio.lowlevel.wait_readable(self._sock)

    def _parse(self, data: bytes) -> list[Any]:
        if not data:
            raise BrokenLink(f"{self._where}: it closed the connection")
        replies: list[Any] = []
        try:
            self._reader.feed(data)
            while (reply := self._reader.gets()) is not _INCOMPLETE:
                replies.append(reply)
        except (hiredis.ProtocolError, ValueError):  # of a refusal: none that redis-py can read
            raise BrokenLink(f"{self._where}: it does not speak Redis' protocol") from None
        return replies

    async def _once(self, attempt: Callable[[Any], Any], argument: Any, *, writing: bool) -> Any:
        # TLS may have to read before it can write, and the other way round.
        while True:
            try:
                return attempt(argument)
            except BlockingIOError:  # first, so that without TLS nothing asks for `ssl`
                ready = trio.lowlevel.wait_writable if writing else trio.lowlevel.wait_readable
            except ssl.SSLWantReadError:
                ready = trio.lowlevel.wait_readable
            except ssl.SSLWantWriteError:
                ready = trio.lowlevel.wait_writable
            except OSError as error:
                words = f"{self._where}: the connection broke: {words_of(error)}"
                raise BrokenLink(words) from None
            await ready(self._sock)


def _pack(command: Sequence[bytes | str | int]) -> bytes:
    return cast("bytes", hiredis.pack_command(command))  # type: ignore[arg-type] # takes any length


@asynccontextmanager
async def connected(links: Links, node: str) -> AsyncIterator[RedisSocket]:
    """Connect to a node, and close the connection at the end. Raises `Unavailable`."""
    try:
        connection: Any = await trio.to_thread.run_sync(_connect, links, node)
    except (RedisError, OSError) as error:
        raise Unavailable(cause_of(error, links.where)) from error
    try:
        yield RedisSocket(_socket_of(connection), _named(links))
    finally:
        connection.disconnect()


def _connect(links: Links, node: str) -> Any:
    connection: Any = links.connection(node)
    connection.connect()
    _socket_of(connection).setblocking(False)
    return connection


def _socket_of(connection: Any) -> Any:
    return connection._sock  # noqa: SLF001 - redis-py has no other name for it


def _named(links: Links) -> str:
    return f"the store at {links.where}"


class _Lent:
    """A connection that somebody has, and when it was made."""

    __slots__ = ("connection", "socket", "turn")

    def __init__(self, connection: Any, socket: RedisSocket, turn: int) -> None:
        self.connection = connection
        self.socket = socket
        self.turn = turn

    def close(self) -> None:
        self.connection.disconnect()


class Connections:
    """Connections to the nodes of the store, each in one user's hands at a time.

    There are as many to a node as were ever used at once. At most `width` are made at a time to a
    node, so that one which does not answer takes no threads from the others.
    """

    def __init__(self, links: Links, width: int) -> None:
        self._links = links
        self._width = width
        self._idle: dict[str, list[_Lent]] = {}
        self._limiters: dict[str, trio.CapacityLimiter] = {}
        self._turn = 0

    async def use(self, node: str, work: Callable[[RedisSocket], Awaitable[T]]) -> T:
        """Do something with a connection that is idle, or else with a new one.

        It is closed if that fails. Raises redis-py's errors where none can be made.
        """
        lent = self._take(node) or await self._open(node)
        try:
            result = await work(lent.socket)
        except BaseException:
            lent.close()
            raise
        if lent.turn == self._turn:
            self._idle.setdefault(node, []).append(lent)
        else:
            lent.close()
        return result

    def _take(self, node: str) -> _Lent | None:
        """Take an idle connection; one that ended while it was idle is none."""
        idle = self._idle.get(node)
        while idle:
            lent = idle.pop()
            if lent.socket.is_clean():
                return lent
            lent.close()
        return None

    async def _open(self, node: str) -> _Lent:
        limiter = self._limiters.get(node)
        if limiter is None:
            limiter = self._limiters[node] = trio.CapacityLimiter(self._width)
        turn = self._turn
        connection = await trio.to_thread.run_sync(_connect, self._links, node, limiter=limiter)
        # redis-py knows which refusals mean what.
        refusal: Callable[[str], Exception] = DefaultParser.parse_error
        return _Lent(
            connection, RedisSocket(_socket_of(connection), _named(self._links), refusal), turn
        )

    def keep(self, nodes: Collection[str]) -> None:
        """Close what is idle of any other node."""
        for node in self._idle.keys() - nodes:
            for lent in self._idle.pop(node):
                lent.close()
            self._limiters.pop(node, None)

    def renew(self) -> None:
        """Have all that follows happen on new connections; what is under way ends on its own."""
        self._turn += 1
        self.keep(())
