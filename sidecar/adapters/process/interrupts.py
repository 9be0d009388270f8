"""Commands that wait for somebody else, and a person who interrupts them.

Python raises `KeyboardInterrupt` between any two steps of whatever runs, so that a library may be
left half way, and its warnings follow on standard error. Here an interrupt cancels the command
where it waits, and what is open is closed as ever.
"""

import signal
from collections.abc import Awaitable, Callable
from typing import TypeVar, TypeVarTuple

import trio

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


def run_until_interrupt(work: Callable[[*Ts], Awaitable[T]], *arguments: *Ts) -> T:
    """Run `work` in trio and return its result; raises what it raises.

    SIGINT cancels it and raises `KeyboardInterrupt`; a second one does not wait for what is being
    closed. A signal that is ignored stays so, as in the background of a shell.
    """
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        return trio.run(work, *arguments)
    return trio.run(_cancelled_by_interrupt, work, arguments)


async def _cancelled_by_interrupt(work: Callable[[*Ts], Awaitable[T]], arguments: tuple[*Ts]) -> T:
    results: list[T] = []
    failures: list[Exception] = []
    async with trio.open_nursery() as nursery:
        await nursery.start(_cancel_at_interrupt, nursery.cancel_scope)
        try:
            results.append(await work(*arguments))
        except Exception as error:  # noqa: BLE001 - it is raised below, not in a group of one
            failures.append(error)
        nursery.cancel_scope.cancel()
    if failures:
        raise failures[0]
    if not results:
        raise KeyboardInterrupt
    return results[0]


async def _cancel_at_interrupt(
    everything: trio.CancelScope, *, task_status: trio.TaskStatus[None]
) -> None:
    """Cancel at the first interrupt; the next one finds Python's own handler again."""
    with trio.open_signal_receiver(signal.SIGINT) as signals:
        task_status.started()
        async for _ in signals:
            break
    everything.cancel()
