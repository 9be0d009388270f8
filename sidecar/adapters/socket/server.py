"""The local socket: JSON lines over a unix stream (contract, section 4).

The requests of one connection are done in order, but for a run of events, which commute and are
handed in together; so a check sees every event that was sent before it. Replies are sent when there
is nothing more to read, or enough of them. A client that does not read its replies is not read
from either. A watcher cannot be held back like that: what it does not read is kept up to
`max_backlog_bytes`, and then it is cut off, so that it watches anew and does not miss changes.

No peer can take the places of others: the connections and watches of each uid are bounded, and one
that waits for its client makes room where all places are taken (`seats`).
"""

from collections import Counter
from collections.abc import Callable
from contextlib import closing

import msgspec
import trio
from trio.socket import SocketType

from sidecar.adapters.events.intake import (
    DurableEvents,
    EventIntake,
    FleetAcknowledgements,
    OnInvalid,
    ignore_invalid,
)
from sidecar.adapters.events.replies import RepeatedReplies, refusal_reply
from sidecar.adapters.events.speakers import Speakers, uid_of
from sidecar.adapters.listening.acceptor import Acceptor, ten_seconds
from sidecar.adapters.listening.readiness import ReadySet
from sidecar.adapters.listening.seats import Seat
from sidecar.adapters.listening.socket_files import SocketFile
from sidecar.adapters.ports import Checks, StandingChanges
from sidecar.adapters.socket.connection import SocketConnection
from sidecar.adapters.socket.incidents import OnSocketIncident, SocketIncident, ignore_incident
from sidecar.service.ports.calls import Overloaded
from sidecar.wire.events.socket_lines import (
    EventRequest,
    LineRequest,
    Refusal,
    WatchRequest,
    decode_line,
)
from sidecar.wire.settings.settings import Socket


class LocalSocket:
    """Serves the local socket. `on_incident` is called with each fault.

    `clock` gives the time of events without one, `new_id` their ids, and `skew` how far in the
    future an event's own time may lie.
    """

    def __init__(  # noqa: PLR0913 - ports and settings, by name
        self,
        settings: Socket,
        *,
        checks: Checks,
        events: DurableEvents,
        watches: StandingChanges,
        speakers: Speakers,
        clock: Callable[[], float],
        skew: Callable[[], float],
        new_id: Callable[[], str],
        acknowledger: FleetAcknowledgements | None = None,
        on_incident: OnSocketIncident = ignore_incident,
        on_invalid: OnInvalid = ignore_invalid,
    ) -> None:
        self.settings = settings
        self.checks = checks
        self.watches = watches
        self.speakers = speakers
        self.on_incident = on_incident
        self.on_invalid = on_invalid
        self.intake = EventIntake(
            events, acknowledger, lambda error: on_incident(SocketIncident.CRASHED, error)
        )
        self.draining = False
        self.watching = Counter[str]()
        self._clock = clock
        self._skew = skew
        self._new_id = new_id
        self.ready = ReadySet()
        self.replies = RepeatedReplies()
        self._connections: set[SocketConnection] = set()

    async def run(
        self,
        *,
        draining: trio.Event | None = None,
        drain_timeout: Callable[[], float] = ten_seconds,
        task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve until `draining` is set or the task is cancelled, then drain.

        Starts with the path. Raises `AddressInUse`, OSError, and KeyError for an unknown group.
        """
        path, mode, group = self.settings.path, int(self.settings.mode, 8), self.settings.group
        file = await trio.to_thread.run_sync(SocketFile, path, mode, group)
        with file, closing(self.ready):
            acceptor = Acceptor(
                self._serve,
                limit=self.settings.max_connections,
                refusal=refusal_reply(Refusal("overloaded", "too many connections are open")),
                drain=self._drain,
                drain_timeout=drain_timeout,
                on_crowding=lambda what: self.on_incident(SocketIncident(what), None),
            )
            listener = trio.socket.from_stdlib_socket(file.socket)
            async with trio.open_nursery() as turns:
                turns.start_soon(self.ready.run)
                turns.start_soon(self.ready.end_silent, lambda: self.settings.idle_timeout)
                async with trio.open_nursery() as nursery:
                    await nursery.start(acceptor.run, [listener], draining)
                    task_status.started(path)
                turns.cancel_scope.cancel()

    def replace(self, settings: Socket) -> None:
        """Serve as is configured now; who may connect no longer goes."""
        self.settings = settings
        for connection in self._connections:
            if not self._is_allowed(connection.uid):
                connection.expel()
        self.ready.patience_changed()

    def decode(self, line: bytes, uid: int | None) -> LineRequest:
        """Read one request line of a peer, as the source that it is or shows itself to be."""
        request = decode_line(line, now=self._clock(), skew=self._skew(), new_id=self._new_id)
        # Most lines are checks, of which nobody need be the source.
        if not isinstance(request, EventRequest | WatchRequest):
            return request
        name = self.speakers.peer(uid)
        if request.credential:
            try:
                name = self.speakers.shown(request.credential, uid)
            except Overloaded:
                message = "too many wrong ones were shown: try again later"
                return Refusal("overloaded", message, "credential", request.ref)
            if not name:
                return Refusal("not_allowed", "is no source's", "credential", request.ref)
        if isinstance(request, EventRequest):
            signal = msgspec.structs.replace(request.signal, source=name)
            return msgspec.structs.replace(request, signal=signal, credential="")
        if not self.may_watch(request, uid):
            message = (
                "is required: to watch every session takes a source with `may_watch: true` in"
                " `sources`"
            )
            return Refusal("not_allowed", message, "sessions", request.ref)
        return request

    def may_watch(self, request: WatchRequest, uid: int | None) -> bool:
        """Return whether a peer may watch this, as sources and their credentials now are."""
        if request.sessions is not None:
            return True
        shown = request.credential
        name = self.speakers.bearer(shown) if shown else self.speakers.peer(uid)
        return bool(name) and self.speakers.source(name).may_watch

    async def _serve(self, stream: SocketType, _peer: str, seat: Seat) -> None:
        uid = uid_of(stream)
        if not self._is_allowed(uid):
            self.on_incident(SocketIncident.FORBIDDEN, None)
            return
        connection = SocketConnection(self, stream, uid, seat)
        self._connections.add(connection)
        try:
            await connection.run()
        except Exception as error:  # noqa: BLE001 - the door: counted, logged, and survived
            self.on_incident(SocketIncident.CRASHED, error)
        finally:
            self._connections.discard(connection)

    def _is_allowed(self, uid: int | None) -> bool:
        allowed = self.settings.allowed_uids
        return allowed is None or uid in allowed

    def _drain(self) -> None:
        self.draining = True
        for connection in self._connections:
            connection.end_reading()
