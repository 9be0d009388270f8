import gc
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import pytest
import trio
from h2.errors import ErrorCodes
from h2.utilities import SizeLimitDict

from sidecar.adapters.grpc.server import LeanGrpcServer
from sidecar.adapters.http.handlers import HttpIncident
from sidecar.wire.grpc.messages import CallRefused, Code, packed, unpacked
from sidecar.wire.settings.settings import Grpc
from tests.adapters.doors import Incidents, running
from tests.adapters.http2 import Peer, talking
from tests.waiting import until

ECHO, SLOW, BROKEN, NO, BIG = b"/t.T/Echo", b"/t.T/Slow", b"/t.T/Broken", b"/t.T/No", b"/t.T/Big"
HEADERS = [
    (b":method", b"POST"),
    (b":path", SLOW),
    (b":scheme", b"http"),
    (b":authority", b"sidecar"),
    (b"content-type", b"application/grpc"),
]
BIG_ANSWER = b"x" * 300_000


class Served:
    """A running server, its methods' doings, and a peer."""

    def __init__(self) -> None:
        self.incidents = Incidents()
        self.gate = trio.Event()
        self.draining = trio.Event()
        self.waiting = 0
        self.cancelled = 0
        self.address = ""

    async def echo(self, message: bytes) -> bytes:
        await trio.lowlevel.checkpoint()
        return message

    async def slow(self, message: bytes) -> bytes:
        self.waiting += 1
        try:
            await self.gate.wait()
        except trio.Cancelled:
            self.cancelled += 1
            raise
        return message

    async def broken(self, message: bytes) -> bytes:
        raise RuntimeError(message)

    async def no(self, message: bytes) -> bytes:
        raise CallRefused(Code.INVALID_ARGUMENT, "no")

    async def big(self, message: bytes) -> bytes:
        await trio.lowlevel.checkpoint()
        return BIG_ANSWER


@asynccontextmanager
async def served(**settings: Any) -> AsyncIterator[tuple[Served, Peer]]:
    here = Served()
    methods = {
        ECHO: here.echo,
        SLOW: here.slow,
        BROKEN: here.broken,
        NO: here.no,
        BIG: here.big,
    }
    server = LeanGrpcServer(
        methods, Grpc(bind="127.0.0.1:0", **settings), on_incident=here.incidents
    )
    async with running(server.run, draining=here.draining) as (address,), talking(address) as peer:
        here.address = address
        yield here, peer


async def test_a_message_is_answered_with_one() -> None:
    async with served() as (here, peer):
        for message in (b"", b"hello", bytes(60_000)):
            outcome = await peer.outcome(await peer.call(ECHO, packed(message)))
            assert outcome.fields[b":status"] == b"200"
            assert outcome.fields[b"content-type"].startswith(b"application/grpc")
            assert (outcome.status, outcome.ended) == (Code.OK, True)
            assert unpacked(outcome.data) == message
        assert here.incidents == []


async def test_calls_of_one_connection_are_answered_as_they_are_done() -> None:
    async with served() as (here, peer):
        slow = await peer.call(SLOW, packed(b"slow"))
        quick = [await peer.call(ECHO, packed(b"%d" % number)) for number in range(50)]
        answers = [unpacked((await peer.outcome(one)).data) for one in quick]
        assert answers == [b"%d" % number for number in range(50)]
        assert not peer.outcomes[slow].over
        here.gate.set()
        assert unpacked((await peer.outcome(slow)).data) == b"slow"


@pytest.mark.parametrize(
    ("path", "body", "code"),
    [
        (b"/t.T/Unknown", packed(b""), Code.UNIMPLEMENTED),
        (ECHO, b"", Code.INVALID_ARGUMENT),
        (ECHO, b"\0\0\0\0\5abc", Code.INVALID_ARGUMENT),
        (ECHO, b"\1\0\0\0\1a", Code.UNIMPLEMENTED),
        (NO, packed(b""), Code.INVALID_ARGUMENT),
    ],
)
async def test_a_call_without_an_answer_has_a_status(path: Any, body: Any, code: Any) -> None:
    async with served() as (_, peer):
        outcome = await peer.outcome(await peer.call(path, body))
        assert (outcome.status, outcome.data, outcome.ended) == (code, b"", True)
        assert (await peer.outcome(await peer.call(ECHO, packed(b"x")))).status == Code.OK


async def test_a_crash_is_reported_here_and_not_there() -> None:
    async with served() as (here, peer):
        outcome = await peer.outcome(await peer.call(BROKEN, packed(b"secret")))
        assert outcome.status == Code.INTERNAL
        assert b"secret" not in outcome.fields[b"grpc-message"]
        ((incident, error),) = here.incidents
        assert (incident, str(error)) == (HttpIncident.CRASHED, "b'secret'")


@pytest.mark.parametrize(
    ("method", "kind", "status"),
    [(b"GET", b"application/grpc", b"405"), (b"POST", b"application/json", b"415")],
)
async def test_what_is_no_grpc_gets_an_http_status(method: Any, kind: Any, status: Any) -> None:
    async with served() as (_, peer):
        outcome = await peer.outcome(await peer.call(ECHO, packed(b""), method=method, kind=kind))
        assert outcome.fields[b":status"] == status
        assert b"grpc-status" not in outcome.fields


async def test_a_message_that_is_too_large_is_refused_before_it_is_whole() -> None:
    async with served(max_message_bytes=1000) as (_, peer):
        exact = await peer.call(ECHO, packed(b"x" * 1000))
        assert (await peer.outcome(exact)).status == Code.OK
        number = await peer.call(ECHO, packed(b"x" * 1001), end=False)
        assert (await peer.outcome(number)).status == Code.RESOURCE_EXHAUSTED
        assert (await peer.outcome(await peer.call(ECHO, packed(b"x")))).status == Code.OK


async def test_a_request_that_does_not_become_whole_is_given_up() -> None:
    async with served(message_timeout=0.05) as (here, peer):
        number = await peer.call(ECHO, b"\0\0", end=False)
        assert (await peer.outcome(number)).status == Code.DEADLINE_EXCEEDED
        assert HttpIncident.SLOW_REQUEST in here.incidents


async def test_a_call_that_is_reset_is_given_up_and_the_others_go_on() -> None:
    async with served() as (here, peer):
        number = await peer.call(SLOW, packed(b""))
        other = await peer.call(SLOW, packed(b"other"))
        await until(lambda: here.waiting == 2)
        peer.h2.reset_stream(number)
        await peer.flush()
        await until(lambda: here.cancelled == 1)
        here.gate.set()
        assert unpacked((await peer.outcome(other)).data) == b"other"


async def test_an_answer_larger_than_the_windows_is_sent_as_they_open() -> None:
    async with served() as (_, peer):
        numbers = [await peer.call(BIG, packed(b"")) for _ in range(5)]
        for number in numbers:
            outcome = await peer.outcome(number)
            assert (unpacked(outcome.data), outcome.status) == (BIG_ANSWER, Code.OK)


async def test_who_does_not_read_an_answer_loses_it() -> None:
    async with served(write_timeout=0.1) as (here, peer):
        peer.reads = False
        outcome = await peer.outcome(await peer.call(BIG, packed(b"")))
        assert outcome.reset is not None
        assert here.incidents == [HttpIncident.SLOW_READER]


async def test_who_reads_nothing_at_all_is_cut_off() -> None:
    async with served(write_timeout=0.1) as (here, _):
        stream = await trio.open_tcp_stream("127.0.0.1", int(here.address.rpartition(":")[2]))
        deaf = Peer(stream)
        await deaf.start()
        deaf.h2.update_settings({4: 2**31 - 1})  # SETTINGS_INITIAL_WINDOW_SIZE
        deaf.h2.increment_flow_control_window(2**30)
        for _ in range(60):
            await deaf.call(BIG, packed(b""))
        await here.incidents.wait_for(HttpIncident.SLOW_READER)
        await stream.aclose()


async def test_more_streams_than_allowed_end_the_connection() -> None:
    async with served(max_streams=3) as (here, peer):
        await until(lambda: peer.h2.remote_settings.max_concurrent_streams == 3)
        peer.h2.remote_settings[3] = 100  # the peer forgets what it was sent
        peer.h2.remote_settings.acknowledge()
        for _ in range(4):
            await peer.call(SLOW, packed(b""))
        await until(lambda: peer.closed)
        assert here.incidents == [HttpIncident.MALFORMED]


@pytest.mark.parametrize("kind", ["settings", "pings", "windows", "nothing"])
async def test_who_floods_with_frames_that_ask_nothing_is_asked_to_calm_down(kind: str) -> None:
    async with served() as (here, peer):
        assert (await peer.outcome(await peer.call(ECHO, packed(b"x")))).status == Code.OK
        h2, frames = peer.h2, b""
        h2.data_to_send()
        for number in range(1200):
            match kind:
                case "settings":
                    frames += b"\0\0\0\4\0\0\0\0\0"
                case "pings":
                    h2.ping(b"%08d" % number)
                case "windows":
                    h2.increment_flow_control_window(1)
                case "nothing":
                    frames += b"\0\0\0\xbb\0\0\0\0\0"  # of no known type
            frames += h2.data_to_send()
        async with talking(here.address) as other:
            with suppress(trio.BrokenResourceError):
                await peer.stream.send_all(frames)
            await here.incidents.wait_for(HttpIncident.FLOODED)
            await until(lambda: peer.closed)
            assert (await other.outcome(await other.call(ECHO, packed(b"y")))).status == Code.OK
        assert peer.goaway_code == ErrorCodes.ENHANCE_YOUR_CALM
        assert here.incidents == [HttpIncident.FLOODED]


async def test_calls_that_are_given_up_end_no_others_of_their_connection() -> None:
    """Give up calls at once, as any of a gateway's many clients on one connection may."""
    async with served() as (here, peer), talking(here.address) as other:
        kept = await peer.call(SLOW, packed(b"z"))
        h2, frames = peer.h2, b""
        for _ in range(3000):
            stream = h2.get_next_available_stream_id()
            h2.send_headers(stream, HEADERS)
            h2.reset_stream(stream)
            frames += h2.data_to_send()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.stream.send_all, frames)
            await here.incidents.wait_for(HttpIncident.MANY_RESETS)
            assert (await other.outcome(await other.call(ECHO, packed(b"y")))).status == Code.OK
        last = await peer.call(ECHO, packed(b"x"))
        assert (await peer.outcome(last)).status == Code.OK
        here.gate.set()
        assert (await peer.outcome(kept)).status == Code.OK
        assert set(here.incidents) == {HttpIncident.MANY_RESETS}


async def test_a_connection_remembers_few_of_the_calls_that_have_ended() -> None:
    async with served() as (here, peer):
        h2, frames = peer.h2, b""
        for _ in range(3000):
            stream = h2.get_next_available_stream_id()
            h2.send_headers(stream, HEADERS)
            h2.reset_stream(stream)
            frames += h2.data_to_send()
        await peer.stream.send_all(frames)
        assert (await peer.outcome(await peer.call(ECHO, packed(b"x")))).status == Code.OK
        gc.collect()
        known = [one for one in gc.get_objects() if type(one) is SizeLimitDict]  # asks no proxy
        servers = [len(one) for one in known if one not in vars(h2).values()]
        assert 0 < max(servers) <= 1024
        assert set(here.incidents) == {HttpIncident.MANY_RESETS}


async def test_calls_that_are_answered_may_bring_resets_and_pings_without_end() -> None:
    async with served(max_streams=8) as (here, peer):
        for number in range(700):
            done = await peer.call(ECHO, packed(b"x"))
            given_up = await peer.call(SLOW, packed(b"x"))
            peer.h2.reset_stream(given_up)
            peer.h2.ping(b"%08d" % number)
            await peer.flush()
            assert (await peer.outcome(done)).status == Code.OK
        assert here.incidents == []


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01", b"PRI * HTTP/3\r\n"])
async def test_what_is_no_http2_is_hung_up_on(data: bytes) -> None:
    async with served() as (here, _):
        stream = await trio.open_tcp_stream("127.0.0.1", int(here.address.rpartition(":")[2]))
        async with stream:
            await stream.send_all(data)
            await here.incidents.wait_for(HttpIncident.MALFORMED)
            while await stream.receive_some(1000):
                pass


async def test_who_says_nothing_is_hung_up_on() -> None:
    async with served(message_timeout=0.05) as (here, _):
        stream = await trio.open_tcp_stream("127.0.0.1", int(here.address.rpartition(":")[2]))
        async with stream:
            while await stream.receive_some(1000):
                pass


async def test_an_idle_connection_is_reported_and_closed() -> None:
    async with served(idle_timeout=0.05) as (_, peer):
        assert (await peer.outcome(await peer.call(ECHO, packed(b"x")))).status == Code.OK
        await until(lambda: peer.closed)


async def test_one_connection_too_many_is_closed_at_once() -> None:
    async with served(max_connections=1) as (here, peer):
        call = await peer.call(SLOW, packed(b"x"))
        await until(lambda: here.waiting)
        async with talking(here.address) as other:
            await until(lambda: other.closed)
        assert here.incidents == [HttpIncident.REFUSED]
        here.gate.set()
        assert (await peer.outcome(call)).status == Code.OK


async def test_a_connection_without_a_call_makes_room() -> None:
    async with served(max_connections=1) as (here, peer):
        assert (await peer.outcome(await peer.call(ECHO, packed(b"x")))).status == Code.OK
        async with talking(here.address) as other:
            assert (await other.outcome(await other.call(ECHO, packed(b"x")))).status == Code.OK
            await until(lambda: peer.closed)
        assert here.incidents == [HttpIncident.MADE_ROOM]


async def test_a_call_that_is_not_whole_keeps_no_place() -> None:
    async with served(max_connections=4) as (here, peer):  # of one address three
        ours = await peer.call(SLOW, packed(b"x"))
        await until(lambda: here.waiting)
        async with AsyncExitStack() as stack:
            for _ in range(2):
                half = await stack.enter_async_context(talking(here.address))
                await half.call(SLOW, b"\0\0", end=False)
            async with talking(here.address) as other:
                assert (await other.outcome(await other.call(ECHO, packed(b"x")))).status == Code.OK
        assert set(here.incidents) == {HttpIncident.MADE_ROOM}
        here.gate.set()
        assert (await peer.outcome(ours)).status == Code.OK


async def test_a_drain_answers_what_is_open_and_refuses_what_comes_later() -> None:
    async with served() as (here, peer):
        number = await peer.call(SLOW, packed(b"last"))
        await until(lambda: here.waiting == 1)
        here.draining.set()
        await until(lambda: peer.goaway is not None)
        assert peer.goaway == number
        assert not peer.closed
        with pytest.raises(OSError, match="connect"):
            await trio.open_tcp_stream("127.0.0.1", int(here.address.rpartition(":")[2]))
        here.gate.set()
        assert unpacked((await peer.outcome(number)).data) == b"last"
        await until(lambda: peer.closed)
        assert here.incidents == []


async def test_a_call_that_crosses_the_goodbye_is_refused_as_not_processed() -> None:
    async with served() as (here, peer):
        await peer.call(SLOW, packed(b""))
        await until(lambda: here.waiting == 1)
        here.draining.set()
        await until(lambda: peer.goaway is not None)
        late = await peer.call(ECHO, packed(b""))
        assert (await peer.outcome(late)).reset == 7  # REFUSED_STREAM
        here.gate.set()


async def test_a_peer_that_says_goodbye_is_not_counted_as_a_fault() -> None:
    async with served() as (here, peer):
        assert (await peer.outcome(await peer.call(ECHO, packed(b"x")))).status == Code.OK
        peer.h2.ping(b"12345678")
        peer.h2.close_connection()
        await peer.flush()
        await until(lambda: peer.closed)
        assert here.incidents == []


async def test_an_idle_connection_ends_with_the_drain() -> None:
    async with served() as (here, peer):
        number = await peer.call(ECHO, packed(b"x"))
        assert (await peer.outcome(number)).status == Code.OK
        here.draining.set()
        await until(lambda: peer.closed)
        assert peer.goaway == number
