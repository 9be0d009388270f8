"""Keeps the stops of the garbage collector short, however much a process holds.

A full collection walks through every object that could be part of a cycle: 0.34 s for 8,000
sessions, in which nothing is answered. It finds next to nothing: what the daemon lets go of is in
no cycle (tests/service/test_no_cyclic_garbage.py). So whatever outlives a full collection is
*frozen*: no later one looks at it, and its reference count alone frees it. Then a full collection
has only to walk through what came since the one before, of which the thresholds allow little.

What is frozen and dies in a cycle all the same is lost until `collect_everything`.
"""

import gc

YOUNG, MIDDLE, OLD = 1_000, 5, 1
"""New objects before a first collection, and collections of each generation before the next one's.

So a full one finds some 12,000 objects at most, which takes about 2 ms.
"""


def wait_for_start() -> None:
    """Let nothing be collected while the program starts: what it makes then stays."""
    gc.disable()


def settle() -> None:
    """Freeze what is there from the start, and from now on what outlives a full collection.

    Nothing is looked for: to find the cycles of a start, one MiB, takes a seventh of its time.
    """
    _freeze()
    gc.set_threshold(YOUNG, MIDDLE, OLD)
    if _freeze_the_old not in gc.callbacks:
        gc.callbacks.append(_freeze_the_old)
    gc.enable()


def collect_everything() -> int:
    """Look for cycles among all that the process holds; return how many objects were freed.

    That is the long stop that is avoided otherwise: for whoever is short of memory.
    """
    gc.unfreeze()
    freed = gc.collect()
    _freeze()
    return freed


def _freeze() -> None:
    gc.freeze()
    # Of nothing: else its next full collection would wait for a quarter of what the last one found.
    gc.collect()


def _freeze_the_old(phase: str, about: dict[str, int]) -> None:
    if phase == "stop" and about["generation"] == _FULL:
        gc.freeze()


_FULL = 2
"""The oldest generation."""
