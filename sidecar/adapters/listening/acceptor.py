"""Accepts connections, each served in a task of its own: bounded, and drained at the end.

`Acceptor.run` ends when `draining` is set or when it is cancelled. Either way it first stops
accepting, then lets what is in flight finish, for `drain_timeout` seconds at the most; connections
are shielded from the cancellation until then.
"""

import errno
import select
import socket
from collections.abc import Awaitable, Callable, Sequence
from enum import StrEnum

import trio
from trio.socket import SocketType

from sidecar.adapters.events.speakers import uid_of
from sidecar.adapters.listening.seats import BY_ADDRESS, Seat, Seats, address_owner, uid_owner
from sidecar.wire.config.descriptors import lingering

AT_ONCE = 16
"""Connections that are accepted before others get their turn: one peer may open many at once."""

LINGER = 1.0
LINGER_BYTES = 1_048_576
CAPACITY_PAUSE = 0.1

_CAPACITY = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})
_BROKEN = frozenset({errno.EBADF, errno.EINVAL, errno.ENOTSOCK, errno.EFAULT})

Serve = Callable[[SocketType, str, Seat], Awaitable[None]]
"""Serves a connection to its end; the text is the peer's IP address, empty on a unix socket.

It notes in the seat when the connection waits for its client and when it works.
"""


class CrowdOutcome(StrEnum):
    """The outcome of a connection for which there is no place, or no descriptor."""

    REFUSED = "refused"  # all work: the new one is closed
    MADE_ROOM = "made-room"  # one that waited for its client was closed for it
    NO_DESCRIPTOR = "no-descriptor"  # the process has no more; the new one waits


def ten_seconds() -> float:
    """Return for how long a drain takes at most, where nobody says otherwise."""
    return 10.0


class Acceptor:
    """Serves at most `limit` connections at once, with shares for each peer (`seats`).

    One more takes the place of one that waits for its client; where there is none it gets `refusal`
    and is closed. `on_crowding` is called for each. `drain` is called once, when no more
    connections are accepted: it has the open ones end.
    """

    def __init__(  # noqa: PLR0913 - ports and settings, by name
        self,
        serve: Serve,
        *,
        limit: int,
        refusal: bytes,
        drain: Callable[[], None],
        drain_timeout: Callable[[], float],
        on_crowding: Callable[[CrowdOutcome], None],
        rate: float = BY_ADDRESS,
    ) -> None:
        self._serve = serve
        self._seats = Seats(limit, rate)
        self._refusal = refusal
        self._drain = drain
        self._drain_timeout = drain_timeout
        self._on_crowding = on_crowding
        self._refusing = 0
        self._most_refusing = lingering(limit)
        self._over = trio.Event()

    async def run(
        self,
        listeners: Sequence[SocketType],
        draining: trio.Event | None = None,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Accept until drained or cancelled; the listeners are closed then."""
        hard = trio.CancelScope(shield=True)
        async with trio.open_nursery() as outer:
            connections = await outer.start(self._hold, hard)
            try:
                async with trio.open_nursery() as accepting:
                    for listener in listeners:
                        accepting.start_soon(self._accept, listener, connections)
                    task_status.started()
                    if draining is not None:
                        await draining.wait()
                        accepting.cancel_scope.cancel()
            finally:
                # Nobody else can end what is shielded: where anything here fails, it ends now.
                hard.deadline = trio.current_time()
                self._over.set()
                for listener in listeners:
                    listener.close()
                self._drain()
                hard.deadline += max(0.0, self._drain_timeout())  # in this order: no nan is left

    async def _hold(
        self, hard: trio.CancelScope, *, task_status: trio.TaskStatus[trio.Nursery]
    ) -> None:
        # A start that is cancelled ends here: `hard` would keep it, and nobody would end that.
        await trio.lowlevel.checkpoint_if_cancelled()
        with hard:
            async with trio.open_nursery() as connections:
                task_status.started(connections)
                await self._over.wait()

    async def _accept(self, listener: SocketType, connections: trio.Nursery) -> None:
        waiting = socket.socket(fileno=listener.fileno())
        try:
            while True:
                await trio.lowlevel.wait_readable(listener)
                try:
                    self._accept_some(waiting, connections)
                except BlockingIOError:
                    continue
                except OSError as error:
                    if error.errno in _BROKEN:
                        raise
                    await self._recover(error, waiting)
        finally:
            waiting.detach()  # the descriptor is the listener's

    async def _recover(self, error: OSError, waiting: socket.socket) -> None:
        """Go on after a connection that could not be accepted; all else concerns that one alone.

        Out of descriptors: one comes back when a connection ends. It may be anybody's who takes it,
        so that in any case the next attempt is not made at once.
        """
        if error.errno not in _CAPACITY or not _has_waiting(waiting):
            return  # Linux says EMFILE before it looks whether anybody waits
        self._on_crowding(CrowdOutcome.NO_DESCRIPTOR)
        if self._seats.make_room() is not None:
            self._on_crowding(CrowdOutcome.MADE_ROOM)
        await trio.sleep(CAPACITY_PAUSE)

    def _accept_some(self, waiting: socket.socket, connections: trio.Nursery) -> None:
        """Accept what waits; raises OSError where there is no more, or one cannot be accepted."""
        for _ in range(AT_ONCE):
            accepted, peer = waiting.accept()
            connection = trio.socket.from_stdlib_socket(accepted)
            address = _address(peer)
            seat, left = self._seats.take(
                address_owner(address) if address else uid_owner(uid_of(connection))
            )
            if left is not None:
                self._on_crowding(CrowdOutcome.MADE_ROOM)
            if seat is not None:
                connections.start_soon(self._serve_one, connection, address, seat)
                continue
            self._on_crowding(CrowdOutcome.REFUSED)
            if self._refusing < self._most_refusing:
                self._refusing += 1
                connections.start_soon(self._refuse, connection)
            else:
                connection.close()

    async def _serve_one(self, connection: SocketType, peer: str, seat: Seat) -> None:
        try:
            with connection, seat.scope:
                await self._serve(connection, peer, seat)
        finally:
            self._seats.leave(seat)

    async def _refuse(self, connection: SocketType) -> None:
        try:
            with connection, trio.move_on_after(LINGER):
                await send_all(connection, self._refusal)
                await linger(connection)
        except OSError:
            pass  # it has hung up
        finally:
            self._refusing -= 1


def _has_waiting(listener: socket.socket) -> bool:
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    return bool(poll.poll(0))


async def send_all(connection: SocketType, data: bytes | bytearray) -> None:
    """Send everything; raises OSError."""
    sent = await connection.send(data)
    if sent < len(data):
        with memoryview(data) as rest:
            while sent < len(data):
                sent += await connection.send(rest[sent:])


async def linger(connection: SocketType) -> None:
    """Let the other end read our last words (RFC 9112, section 9.6).

    A socket that is closed with unread data is reset, and what was sent last may be lost.
    """
    with trio.move_on_after(LINGER):
        try:
            connection.shutdown(socket.SHUT_WR)
            left = LINGER_BYTES
            while left > 0 and (data := await connection.recv(65536)):
                left -= len(data)
        except OSError:
            return  # it has hung up


def _address(peer: object) -> str:
    return str(peer[0]) if isinstance(peer, tuple) else ""
