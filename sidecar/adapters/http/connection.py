"""One connection of the HTTP server: reads requests, answers them in order, reads on.

Where its requests can be prepared, the connection waits in the set that all share and is given
turns (`listening.readiness`): a turn reads what has come, answers what nothing has to be waited
for, and sends the answers. All else ends the turn, and the connection's own task goes on where the
turn has stopped: with a request that takes longer, with one of which only a part has come, with
what ends the connection. That task's only cancel scope has a deadline which is moved from phase to
phase; among turns the set sees to the time.
"""

import math
import socket
from collections.abc import Sequence
from itertools import islice
from typing import Protocol

import trio
from trio.socket import SocketType

from sidecar.adapters.events.speakers import uid_of
from sidecar.adapters.http.handlers import AtOnce, Handler, HttpIncident, OnHttpIncident, Prepare
from sidecar.adapters.http.request_parser import (
    BODY,
    IDLE,
    Exchange,
    KnownRequest,
    KnownRequests,
    RequestParser,
)
from sidecar.adapters.listening.acceptor import linger, send_all
from sidecar.adapters.listening.readiness import ReadySet
from sidecar.adapters.listening.seats import Seat
from sidecar.wire.http.messages import PreparedResponse, Request, Response
from sidecar.wire.http.problems import Problem, problem
from sidecar.wire.settings.settings import Http

READ_SIZE = 16384
"""Bytes that are read into requests at once: some 400 requests at most."""
AHEAD = 32
"""Requests of one connection for which what they wait for is got ready at the same time."""
ENOUGH = 32768
"""Bytes of answers that are sent without waiting for more."""
LAST_WORDS = 1.0

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_INTERNAL = problem(Problem.INTERNAL)
_TIMED_OUT = problem(Problem.TIMED_OUT)


class Door(Protocol):
    """The server of a connection, as it is configured now."""

    settings: Http
    draining: bool
    handler: Handler
    prepare: Prepare
    on_incident: OnHttpIncident
    ready: ReadySet
    known: KnownRequests

    async def begin_gathering(self, requests: Sequence[Request]) -> trio.CancelScope:
        """Have what requests wait for got ready beside them; it can be given up."""

    def render(
        self,
        response: Response | PreparedResponse,
        *,
        close: bool = False,
        http_1_0: bool = False,
        head: bool = False,
    ) -> bytes:
        """Return the bytes of a response; to a HEAD request all but the body."""


class HttpConnection:
    """One client."""

    def __init__(self, server: Door, stream: SocketType, peer: str, seat: Seat) -> None:
        settings = server.settings
        self._server = server
        self._stream = stream
        self._descriptor = stream.fileno()
        self._seat = seat
        self._peer = peer
        self._uid = None if peer else uid_of(stream)
        self._parser = RequestParser(
            peer, settings.max_header_bytes, settings.max_body_bytes, self._uid
        )
        self._scope = trio.CancelScope()
        self._reading = False
        self._writing = False
        self._ended = False
        self._suits_turns = False  # its latest requests can be prepared
        self._failure: Exception | None = None  # in a turn
        self._out = bytearray()

    def end_if_idle(self) -> None:
        """End now between requests; else `draining` ends it after the next answer."""
        in_turns = self._server.ready.end_turns(self._descriptor)
        if not in_turns and self._reading and self._parser.phase == IDLE:
            self._scope.cancel()

    def close(self) -> None:
        """Hold nothing any more."""
        self._parser.close()

    async def run(self) -> None:
        """Serve to the end; raises OSError where the other end is gone."""
        # Trio's socket has a checkpoint in each operation; this is the same one without.
        self._raw = socket.socket(fileno=self._descriptor)
        try:
            with self._scope:
                await self._converse()
                return
        finally:
            self._raw.detach()
        if self._writing:
            self._server.on_incident(HttpIncident.SLOW_READER, None)
        elif self._parser.phase != IDLE:
            self._server.on_incident(HttpIncident.SLOW_REQUEST, None)
            await self._last_words(_TIMED_OUT)

    async def _converse(self) -> None:
        parser = self._parser
        self._allow(self._server.settings.header_timeout)
        if not await self._read_requests():
            return
        while await self._do():
            if parser.phase == IDLE and self._suits_turns:
                self._scope.deadline = math.inf
                await self._server.ready.give_turns(self._descriptor, self)
                continue
            self._allow(self._server.settings.keep_alive_timeout)
            if not await self._read_requests():
                return

    async def _do(self) -> bool:
        """Send what is left to send, and answer what has come; False where that is the end."""
        parser = self._parser
        if self._failure is not None:
            raise self._failure
        works = bool(parser.ready or self._out or parser.fault is not None)
        if works:  # a part of a request buys no time
            self._seat.works()
        if self._out:
            await self._send(bytes(self._out))
            self._out.clear()
        while parser.ready:
            if not await self._answer_some():
                return False
        if parser.fault is not None:
            self._server.on_incident(HttpIncident.MALFORMED, None)
            self._scope.deadline = math.inf
            await self._last_words(parser.fault)
            return False
        if works:
            self._seat.waits()
        return not (self._ended or (self._server.draining and parser.phase == IDLE))

    async def _read_requests(self) -> bool:
        """Read until a request is whole or refused; False where no more will come."""
        parser = self._parser
        phase = parser.phase
        if phase != IDLE:
            self._enter(phase)
        while not parser.ready and parser.fault is None:
            if parser.wants_continue:
                parser.wants_continue = False
                await send_all(self._stream, _CONTINUE)
            self._reading = True
            data = await self._stream.recv(READ_SIZE)
            self._reading = False
            if not data:
                return False
            parser.feed(data)
            if parser.phase != phase and not parser.ready:
                phase = parser.phase
                self._enter(phase)
        return True

    def _enter(self, phase: int) -> None:
        limits = self._server.settings
        self._allow(limits.body_timeout if phase == BODY else limits.header_timeout)

    def _allow(self, seconds: float) -> None:
        self._scope.deadline = trio.current_time() + seconds

    async def _answer_some(self) -> bool:
        """Answer the next requests, in their order; False where the connection ends with one.

        What several wait for is got ready beside it for all of them, and not one after the other.
        """
        ready = self._parser.ready
        requests = [exchange.request for exchange in islice(ready, AHEAD)]
        if len(requests) == 1:
            return await self._answer(ready.popleft())
        self._scope.deadline = math.inf
        gathering = await self._server.begin_gathering(requests)
        try:
            for _ in requests:
                if not await self._answer(ready.popleft()):
                    return False
        finally:
            gathering.cancel()
        return True

    async def _answer(self, exchange: Exchange) -> bool:
        """Answer one request; False where the connection ends with it."""
        request, keep_alive, http_1_0 = exchange
        self._suits_turns = self._suits_turns or self._prepare(request) is not None
        server = self._server
        self._scope.deadline = math.inf
        try:
            response = await server.handler(request)
        except Exception as error:  # noqa: BLE001 - the door: counted, logged, and survived
            server.on_incident(HttpIncident.CRASHED, error)
            response = _INTERNAL
        keep_alive = keep_alive and not (server.draining and not self._parser.ready)
        data = server.render(
            response, close=not keep_alive, http_1_0=http_1_0, head=request.method == "HEAD"
        )
        await self._send(data)
        if not keep_alive and (self._parser.ready or self._parser.fault is not None):
            await linger(self._stream)
        return keep_alive

    async def _send(self, data: bytes) -> None:
        self._allow(self._server.settings.write_timeout)
        self._writing = True
        await send_all(self._stream, data)
        self._writing = False

    async def _last_words(self, response: Response) -> None:
        with trio.move_on_after(LAST_WORDS):
            await send_all(self._stream, self._server.render(response, close=True))
            await linger(self._stream)

    # Turns

    def _take_over(self) -> None:
        """Have the connection's own task go on."""
        self._server.ready.end_turns(self._descriptor)

    def silent_since(self) -> float:
        """Return since when nothing has come after the last answer."""
        return math.inf if self.has_more else self._seat.since

    def give_up(self) -> None:
        """End, as nothing has come for too long."""
        self._ended = True
        self._take_over()

    @property
    def has_more(self) -> bool:
        """Return whether requests are left which another turn is to do."""
        return bool(self._parser.ready)

    def turn(self, most: int) -> int:
        """Read, answer until `most` are done, send; return how many were done."""
        try:
            return self._turn(most)
        except Exception as error:  # noqa: BLE001 - it is one connection's, and not the set's
            self._failure = error
            self._take_over()
            return most

    def _turn(self, most: int) -> int:
        if self._parser.ready:
            return self._go_on(most)
        try:
            data = self._raw.recv(READ_SIZE)
        except BlockingIOError:
            return 0
        except OSError:
            data = b""
        if not data:
            self._ended = True
            self._take_over()
            return 1
        known = self._server.known.find((data, self._peer, self._uid)) or self._read(data)
        if known is None:
            # To read a request takes as long as to answer it, also where that is for the task.
            return max(len(self._parser.ready), self._go_on(most))
        self._parser.pass_over()
        if self._answer_at_once(known.exchange, known.at_once):
            self._seat.served()
            self._flush_at_once()
        else:
            self._parser.ready.append(known.exchange)
            self._take_over()
        return 1

    def _read(self, data: bytes) -> KnownRequest | None:
        """Parse, and return the request if it is one alone; else it is left in the parser."""
        parser, server = self._parser, self._server
        parser.feed(data)
        if parser.phase != IDLE or len(parser.ready) != 1 or parser.fault is not None:
            return None
        at_once = self._prepare(parser.ready[0].request)
        if at_once is None:
            return None
        known = KnownRequest(parser.ready.popleft(), at_once)
        server.known.keep(data, known)
        return known

    def _prepare(self, request: Request) -> AtOnce | None:
        try:
            at_once = self._server.prepare(request)
        except Exception:  # noqa: BLE001 - the handler does the same, and is heard
            at_once = None
        if at_once is None:
            self._suits_turns = False
        return at_once

    def _go_on(self, most: int) -> int:
        """Answer requests that are left in the parser."""
        parser, seat = self._parser, self._seat
        done = 0
        while parser.ready and done < most:
            exchange = parser.ready[0]
            at_once = self._prepare(exchange.request)
            if at_once is None or not self._answer_at_once(exchange, at_once):
                self._take_over()
                return done + 1
            parser.ready.popleft()
            done += 1
        if parser.ready:
            seat.works()
            if len(self._out) < ENOUGH:
                return done
        elif done:
            seat.served()
        if self._flush_at_once() and (parser.phase != IDLE or parser.fault is not None):
            self._take_over()  # a part of a request, or none
        return max(1, done)

    def _answer_at_once(self, exchange: Exchange, at_once: AtOnce) -> bool:
        """Put the answer to those to send; return False where that takes the connection's task."""
        request, keep_alive, http_1_0 = exchange
        server = self._server
        if not keep_alive or server.draining:
            return False
        try:
            response = at_once()
        except Exception as error:  # noqa: BLE001 - the door: counted, logged, and survived
            server.on_incident(HttpIncident.CRASHED, error)
            response = _INTERNAL
        if response is None:
            return False
        self._out += server.render(response, http_1_0=http_1_0, head=request.method == "HEAD")
        return True

    def _flush_at_once(self) -> bool:
        """Send what there is; where some is left the connection's task sends it. Return if not."""
        out = self._out
        if not out:
            return True
        try:
            sent = self._raw.send(out)
        except OSError:  # it would have to wait, or the client is gone: sending again says which
            sent = 0
        if sent == len(out):
            out.clear()
            return True
        del out[:sent]
        self._take_over()
        return False
