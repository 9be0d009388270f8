"""The end of an acceptor: whatever goes wrong with its drain, what is open ends."""

import math
from collections.abc import Callable

import pytest
import trio
from trio.socket import SocketType

from sidecar.adapters.listening.acceptor import Acceptor
from sidecar.adapters.listening.seats import Seat
from sidecar.adapters.listening.tcp_listeners import tcp_listeners
from sidecar.domain.values.causes import ungrouped


class DrainError(Exception):
    """What the functions of a drain raise here."""


def broken() -> float:
    raise DrainError


def nothing() -> None:
    """End no connection: each waits for the end of patience."""


@pytest.mark.parametrize(
    ("drain", "drain_timeout", "raises"),
    [
        (nothing, broken, DrainError),
        (broken, lambda: 60.0, DrainError),
        (nothing, lambda: math.nan, None),
        (nothing, lambda: -1.0, None),
    ],
    ids=["timeout-raises", "drain-raises", "nan", "negative"],
)
@pytest.mark.parametrize("asks", [True, False], ids=["drained", "cancelled"])
async def test_what_is_open_ends_also_where_the_drain_fails(
    drain: Callable[[], None],
    drain_timeout: Callable[[], float],
    raises: type[Exception] | None,
    asks: bool,
) -> None:
    served = trio.Event()

    async def serve(_connection: SocketType, _peer: str, _seat: Seat) -> None:
        served.set()
        await trio.sleep_forever()

    acceptor = Acceptor(
        serve,
        limit=4,
        refusal=b"",
        drain=drain,
        drain_timeout=drain_timeout,
        on_crowding=lambda _: None,
    )
    (listener,) = await tcp_listeners(["127.0.0.1:0"])
    host, port = listener.getsockname()
    draining = trio.Event()
    failed: list[BaseException] = []
    with trio.fail_after(5):
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(acceptor.run, [listener], draining)
                async with await trio.open_tcp_stream(host, port) as stream:
                    await served.wait()
                    if asks:
                        draining.set()
                        assert await stream.receive_some() == b""
                nursery.cancel_scope.cancel()
        except* DrainError as group:
            failed.extend(ungrouped(group))
    assert [type(one) for one in failed] == ([] if raises is None else [raises])
    assert listener.fileno() == -1


async def test_a_start_that_is_cancelled_ends() -> None:
    # Whoever waits for a connection to end is shielded: begun under a cancelled start it would
    # wait for ever, and with it the process that was asked to end.
    async def serve(_connection: SocketType, _peer: str, _seat: Seat) -> None:
        raise AssertionError

    acceptor = Acceptor(
        serve,
        limit=4,
        refusal=b"",
        drain=nothing,
        drain_timeout=lambda: 60.0,
        on_crowding=lambda _: None,
    )
    (listener,) = await tcp_listeners(["127.0.0.1:0"])
    with listener, trio.CancelScope() as start:
        start.cancel()
        async with trio.open_nursery() as nursery:
            await nursery.start(acceptor.run, [listener])
    assert start.cancelled_caught
