import os
import signal
import threading

import trio

from sidecar.adapters.process.held_signals import RECEIVED, hold_signals
from sidecar.adapters.process.process_signals import ProcessSignals


class Calls:
    """The calls, in order, to be waited for."""

    def __init__(self) -> None:
        self._send, self._receive = trio.open_memory_channel[str](10)
        self.signals = ProcessSignals(
            reload=lambda: self._send.send_nowait("reload"),
            stop=lambda: self._send.send_nowait("stop"),
            stop_now=lambda: self._send.send_nowait("stop now"),
        )

    async def next(self) -> str:
        with trio.fail_after(10):
            return await self._receive.receive()

    async def after(self, *numbers: signal.Signals) -> list[str]:
        calls = []
        for number in numbers:
            os.kill(os.getpid(), number)
            calls.append(await self.next())
        return calls


async def test_each_hangup_reloads(nursery: trio.Nursery) -> None:
    calls = Calls()
    await nursery.start(calls.signals.run)
    assert await calls.after(signal.SIGHUP, signal.SIGHUP) == ["reload", "reload"]
    nursery.cancel_scope.cancel()


async def test_the_first_termination_stops_and_the_second_stops_now(nursery: trio.Nursery) -> None:
    calls = Calls()
    await nursery.start(calls.signals.run)
    received = await calls.after(signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
    assert received == ["stop", "reload", "stop now"]
    nursery.cancel_scope.cancel()


async def test_other_signals_than_these_do_nothing(nursery: trio.Nursery) -> None:
    calls = Calls()
    await nursery.start(calls.signals.run)
    os.kill(os.getpid(), signal.SIGUSR1)
    os.kill(os.getpid(), signal.SIGUSR2)
    assert await calls.after(signal.SIGHUP, signal.SIGTERM) == ["reload", "stop"]
    nursery.cancel_scope.cancel()


async def test_what_was_held_is_received() -> None:
    before = {number: signal.getsignal(number) for number in RECEIVED}
    calls = Calls()
    try:
        async with trio.open_nursery() as own:
            hold_signals()
            # To this thread: others that tests before this one began do not hold signals.
            signal.pthread_kill(threading.get_ident(), signal.SIGHUP)
            signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)
            await own.start(calls.signals.run)
            assert [*await calls.after(signal.SIGTERM), await calls.next()] == ["reload", "stop"]
            own.cancel_scope.cancel()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, RECEIVED)


async def test_the_handlers_before_are_back_afterwards() -> None:
    before = [signal.getsignal(n) for n in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT)]
    async with trio.open_nursery() as nursery:
        await nursery.start(Calls().signals.run)
        assert signal.getsignal(signal.SIGTERM) != before[1]
        nursery.cancel_scope.cancel()
    assert [signal.getsignal(n) for n in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT)] == before
