"""Servers that answer otherwise than Redis does: who asked hears of it, and the store goes on."""

import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trustme

from sidecar.adapters.redis.connection import RedisSocket
from sidecar.service.ports.calls import Unavailable
from sidecar.service.ports.store import Load
from tests.adapters.redis.running import GIVE_UP, running
from tests.adapters.servers import impatient

RECORD = b"*2\r\n$3\r\na:1\r\n$1\r\nx\r\n"
LIES = {
    "a number": (b":1\r\n", "answer nothing that it was asked"),
    "nothing": (b"*-1\r\n", "answer nothing that it was asked"),
    "half a pair": (b"*1\r\n$1\r\na\r\n", "answer nothing that it was asked"),
    "more than was asked": (RECORD + RECORD, "more than it was asked"),
    "a part of what follows": (RECORD + b"$9\r\nano", "more than it was asked"),
    "half an answer, and an end": (b"*2\r\n$3\r\na:1\r\n", "closed the connection"),
    "a move to nowhere": (b"-MOVED somewhere\r\n", "does not speak Redis' protocol"),
    "a refusal in no language": (b"-ERR \xff\xfe\r\n", "refuses"),
    "another protocol": (b"HTTP/1.1 400 Bad Request\r\n\r\n", "does not speak Redis' protocol"),
}


class Liar:
    """A server that gives a record for every answer, or a lie in its place."""

    def __init__(self) -> None:
        self.lie = b""

    async def serve(self, stream: trio.SocketStream) -> None:
        try:
            async with stream:
                async for sent in stream:
                    if sent.startswith((b"*2\r\n$7\r\nHGETALL", b"*1\r\n$7\r\nEVALSHA")):
                        await stream.send_all(self.lie or RECORD)
                        if self.lie == LIES["half an answer, and an end"][0]:
                            return
                    elif sent.startswith(b"*1\r\n$4\r\nPING"):
                        await stream.send_all(b"+PONG\r\n")
                    else:  # redis-py names itself on a new connection, in several commands
                        await stream.send_all(b"+OK\r\n" * sent.count(b"*"))
        except trio.BrokenResourceError:
            pass  # the store has had enough

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.serve_listeners, self.serve, [listener])
            yield f"redis://127.0.0.1:{listener.socket.getsockname()[1]}"
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("lie", LIES)
async def test_what_is_no_answer_is_none_and_the_next_is_taken_for_what_it_is(lie: str) -> None:
    liar = Liar()
    liar.lie, words = LIES[lie]
    async with liar.listening() as url, running(impatient(url, retries=0)) as (store, _):
        with pytest.raises(Unavailable, match=words):
            await store.load(Load(b"k"))
        liar.lie = b""
        (loaded,) = await store.load(Load(b"k"))
        assert loaded.record == {b"a:1": b"x"}


async def test_an_answer_over_tls_that_is_always_there_lets_others_have_their_turn() -> None:
    authority = trustme.CA()
    theirs, ours = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert("store").configure_cert(theirs)
    authority.configure_trust(ours)
    one, other = socket.socketpair()
    records = 4
    turns = 0

    def answer() -> ssl.SSLSocket:
        server = theirs.wrap_socket(other, server_side=True)
        # Less than a socket holds: all of it is there before it is asked for.
        body = bytes(records * 16_384)
        server.sendall(b"$%d\r\n%b\r\n" % (len(body), body))
        return server

    async def take_turns() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with trio.open_nursery() as nursery:
        client: list[ssl.SSLSocket] = []

        async def connect() -> None:
            client.append(
                await trio.to_thread.run_sync(
                    lambda: ours.wrap_socket(one, server_hostname="store")
                )
            )

        nursery.start_soon(connect)
        server = await trio.to_thread.run_sync(answer)
        while not client:
            await trio.lowlevel.checkpoint()
        client[0].setblocking(False)
        nursery.start_soon(take_turns)
        before = turns
        with trio.fail_after(GIVE_UP):
            (reply,) = await RedisSocket(client[0], "here").exchange([("GET", b"k")], GIVE_UP)
        assert len(reply) == records * 16_384
        assert turns - before >= records - 1  # one may fall into the same round as the first
        nursery.cancel_scope.cancel()
    client[0].close()
    server.close()
