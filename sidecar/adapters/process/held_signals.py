"""The signals that a daemon receives, kept by the kernel until it does.

Their default is to end a process at once, and a program that is still being imported has nobody
who receives them. This imports next to nothing, so that it can be the first thing that is done.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

HARMLESS = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
"""Signals that never end a daemon."""

RECEIVED = (*HARMLESS, signal.SIGTERM, signal.SIGINT)


def hold_signals() -> None:
    """Have the kernel keep signals until `released_signals`. Only in the main thread.

    Threads and child processes that begin meanwhile inherit this; none does.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, RECEIVED)
    # For the very end, when nobody receives them any more and threads do not block them. Until
    # then they are not lost: Linux keeps one that is blocked, though it would be ignored.
    for number in HARMLESS:
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def released_signals() -> Iterator[None]:
    """Have what was kept, and what comes, handled; afterwards it is kept again, if it was before.

    A process that has nobody left to receive signals ends undisturbed, with its own status.
    """
    before = signal.pthread_sigmask(signal.SIG_UNBLOCK, RECEIVED)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
