"""Connections are given turns, in rounds that leave room for all other tasks."""

import math
import socket
from contextlib import closing, suppress

import pytest
import trio
import trio.testing

from sidecar.adapters.listening import readiness
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


class Asking(Turns):
    """A connection whose client asks again as soon as it is answered, until it has no more."""

    def turn(self, most: int) -> int:
        done = super().turn(min(most, 1))
        if self.lines:
            self.theirs.send(b"x")
        return done

    @property
    def has_more(self) -> bool:
        return False


@pytest.mark.parametrize(("soon", "waits"), [(math.inf, 2), (0.0, 6)], ids=["soon", "late"])
async def test_who_asks_again_at_once_is_looked_for_before_the_next_wait_and_only_then(
    monkeypatch: pytest.MonkeyPatch, soon: float, waits: int
) -> None:
    monkeypatch.setattr(readiness, "SOON", soon)
    order: list[str] = []
    waited: list[int] = []
    wait_readable = trio.lowlevel.wait_readable

    async def wait(descriptor: int) -> None:
        waited.append(descriptor)
        await wait_readable(descriptor)

    monkeypatch.setattr(trio.lowlevel, "wait_readable", wait)
    ready, client = ReadySet(), Asking("client", 5, order)
    with closing(ready), closing(client.ours), closing(client.theirs):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ready.give_turns, client.ours.fileno(), client)
            client.theirs.send(b"x")
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(ready.run)
            await trio.testing.wait_all_tasks_blocked()  # it looks no more once nothing came
            assert (order, len(waited)) == (["client"] * 5, waits)
            nursery.cancel_scope.cancel()
