"""An interrupt cancels a command where it waits, and not between any two steps."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from sidecar import cli
from sidecar.adapters.process.interrupts import run_until_interrupt


@pytest.fixture(autouse=True)
def pythons_own_handler() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


async def doubled(number: int) -> int:
    await trio.lowlevel.checkpoint()
    return 2 * number


async def refused() -> None:
    await trio.lowlevel.checkpoint()
    raise LookupError("nowhere")


def test_the_result_comes_back() -> None:
    assert run_until_interrupt(doubled, 21) == 42


def test_an_error_comes_back_as_it_was_raised() -> None:
    with pytest.raises(LookupError, match="nowhere"):
        run_until_interrupt(refused)


def test_an_interrupt_does_not_break_a_step_in_two() -> None:
    steps: list[str] = []

    async def interrupted() -> None:
        try:
            signal.raise_signal(signal.SIGINT)
            steps.append("the step is done")
            await trio.sleep_forever()
        finally:
            steps.append("closed")

    with pytest.raises(KeyboardInterrupt):
        run_until_interrupt(interrupted)
    assert steps == ["the step is done", "closed"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_second_interrupt_does_not_wait_for_what_is_being_closed() -> None:
    closing: list[str] = []

    async def slow_to_close() -> None:
        try:
            signal.raise_signal(signal.SIGINT)
            await trio.sleep_forever()
        finally:
            closing.append("begun")
            signal.raise_signal(signal.SIGINT)
            closing.append("done")

    with pytest.raises(BaseExceptionGroup) as raised:
        run_until_interrupt(slow_to_close)
    assert raised.group_contains(KeyboardInterrupt)
    assert closing == ["begun"]


def test_an_interrupt_that_is_ignored_stays_so() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    async def interrupted() -> str:
        signal.raise_signal(signal.SIGINT)
        await trio.lowlevel.checkpoint()
        return "went on"

    assert run_until_interrupt(interrupted) == "went on"


def test_no_command_runs_what_an_interrupt_would_break_in_two() -> None:
    commands = sorted(Path(cli.__file__).parent.glob("*.py"))
    assert len(commands) > 40
    assert not [one.name for one in commands if "trio.run(" in one.read_text()]
