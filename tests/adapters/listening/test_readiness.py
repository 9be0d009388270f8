"""Connections are given turns, in rounds that leave room for all other tasks."""

import math
import socket
from contextlib import closing, suppress

import trio
import trio.testing

from sidecar.adapters.listening.readiness import AT_A_TIME, ReadySet


class Turns:
    """A connection that has so many lines, and notes in which order turns were given."""

    def __init__(self, name: str, lines: int, order: list[str]) -> None:
        self.name, self.lines, self.order = name, lines, order
        self.ours, self.theirs = socket.socketpair()
        self.ours.setblocking(False)

    def turn(self, most: int) -> int:
        with suppress(BlockingIOError):
            self.ours.recv(100)
        done = min(most, self.lines)
        self.lines -= done
        self.order.append(self.name)
        return done

    @property
    def has_more(self) -> bool:
        return self.lines > 0

    def silent_since(self) -> float:
        return math.inf

    def give_up(self) -> None:
        raise AssertionError


async def test_turns_go_round_and_nothing_else_waits_for_more_than_one() -> None:
    order: list[str] = []
    ready = ReadySet()
    long, short = Turns("long", 5 * AT_A_TIME, order), Turns("short", 1, order)
    with closing(ready), closing(long.ours), closing(long.theirs), closing(short.ours):
        async with trio.open_nursery() as nursery:
            for one in (long, short):
                nursery.start_soon(ready.give_turns, one.ours.fileno(), one)
                one.theirs.send(b"x")
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(ready.run)
            while long.lines:
                order.append("another task")
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        assert not ready.end_turns(long.ours.fileno())
        short.theirs.close()
    assert order.count("long") == 5
    # Of tasks that can run at once trio chooses the first at random: it may be this one twice.
    assert not any(order[at : at + 3] == ["long"] * 3 for at in range(len(order)))
    assert order[: order.index("short")].count("long") <= 2
