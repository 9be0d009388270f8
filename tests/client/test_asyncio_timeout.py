"""The limit for Pythons before 3.11 does what `asyncio.timeout` does."""

import asyncio  # noqa: TID251 - apps run on it
from collections.abc import Awaitable, Callable

import pytest
from stepup_client.connection.asyncio_timeout import Limit

type_of_limit = pytest.mark.parametrize("limited", [Limit, asyncio.Timeout])
Limited = type[Limit] | type[asyncio.Timeout]


def now() -> float:
    return asyncio.get_running_loop().time()


def run(work: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        await work()

    asyncio.run(main())


@type_of_limit
def test_a_body_is_cancelled_at_its_moment(limited: Limited) -> None:
    async def work() -> None:
        ended: list[BaseException] = []

        async def body() -> None:
            async with limited(now()):
                try:
                    await asyncio.Event().wait()
                except BaseException as error:
                    ended.append(error)
                    raise

        with pytest.raises(TimeoutError):
            await body()
        assert [type(error) for error in ended] == [asyncio.CancelledError]

    run(work)


@type_of_limit
def test_a_moment_may_be_set_and_taken_back_meanwhile(limited: Limited) -> None:
    async def work() -> None:
        async with limited(now()) as limit:
            limit.reschedule(None)
            for _ in range(3):
                await asyncio.sleep(0)

        async def body() -> None:
            async with limited(None) as limit:
                limit.reschedule(now())
                await asyncio.Event().wait()

        with pytest.raises(TimeoutError):
            await body()

    run(work)


@type_of_limit
def test_a_body_that_has_ended_has_no_moment_any_more(limited: Limited) -> None:
    async def work() -> None:
        async with limited(None) as limit:
            pass
        with pytest.raises(RuntimeError):
            limit.reschedule(now())

    run(work)


@type_of_limit
def test_who_else_cancels_the_task_is_not_taken_for_a_time_out(limited: Limited) -> None:
    async def work() -> None:
        begun = asyncio.Event()

        async def body() -> None:
            async with limited(now() + 60):
                begun.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(body())
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(work)


@type_of_limit
def test_an_error_of_the_body_is_raised_as_it_is(limited: Limited) -> None:
    async def work() -> None:
        with pytest.raises(KeyError):
            async with limited(now() + 60):
                raise KeyError

    run(work)
