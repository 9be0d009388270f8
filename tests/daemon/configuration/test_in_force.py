"""One snapshot is in force: swapped whole, followed in order, and slept by."""

from functools import partial
from pathlib import Path

import msgspec
import trio
import trio.testing

from sidecar.daemon.configuration.in_force import InForce, Swap
from sidecar.wire.settings.settings import Http, Sessions, Settings
from tests.stories.running import configuration

OTHERS = Settings(sessions=Sessions(sweep_interval=2.0), http=Http(bind="127.0.0.1:2"))
STARTED = Settings(sessions=Sessions(sweep_interval=100.0), http=Http(bind="127.0.0.1:1"))
NOWHERE = Path()


def test_a_swap_names_what_it_applies_and_what_waits() -> None:
    in_force = InForce(configuration(STARTED, (), NOWHERE))
    read = configuration(OTHERS, (), NOWHERE)
    swap = in_force.swap(read, in_force.compiled(read))
    assert swap.applied == ("sessions.sweep_interval",)
    assert in_force.waiting == ("http.bind",)
    assert in_force.settings() == msgspec.structs.replace(STARTED, sessions=OTHERS.sessions)
    again = configuration(STARTED, (), NOWHERE)
    assert in_force.swap(again, in_force.compiled(again)).applied == ("sessions.sweep_interval",)
    assert not in_force.waiting


def test_what_a_process_may_not_have_is_no_change_that_waits() -> None:
    fitted = msgspec.structs.replace(STARTED, http=Http(bind="127.0.0.1:1", max_connections=4))
    in_force = InForce(configuration(fitted, (), NOWHERE), STARTED)
    read = configuration(STARTED, (), NOWHERE)
    in_force.swap(read, in_force.compiled(read))
    assert in_force.waiting == ()
    assert in_force.settings().http.max_connections == 4


def test_of_what_is_given_to_those_who_read_at_the_start_no_live_key_can_be_kept() -> None:
    started = InForce(configuration(STARTED, (), NOWHERE)).started
    assert started == msgspec.structs.replace(STARTED, sessions=Sessions())


def test_followers_see_the_snapshot_in_the_order_in_which_they_came() -> None:
    in_force = InForce(configuration(STARTED, (), NOWHERE))
    seen: list[tuple[str, float]] = []

    def follow(name: str, swap: Swap) -> None:
        seen.append((name, swap.after.settings.sessions.sweep_interval))

    for name in ("first", "second"):
        in_force.follow(partial(follow, name))
    read = configuration(OTHERS, (), NOWHERE)
    in_force.swap(read, in_force.compiled(read))
    assert seen == [("first", 2.0), ("second", 2.0)]


async def test_a_sleep_ends_as_early_as_the_snapshot_then_says(
    autojump_clock: trio.testing.MockClock,
) -> None:
    in_force = InForce(configuration(STARTED, (), NOWHERE))
    began = trio.current_time()

    async def swap() -> None:
        await trio.sleep(1)
        read = configuration(OTHERS, (), NOWHERE)
        in_force.swap(read, in_force.compiled(read))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(swap)
        await in_force.pause(lambda settings: settings.sessions.sweep_interval)
    assert trio.current_time() - began == 2
