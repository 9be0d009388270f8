"""The asyncio and trio clients are one logic: every claim is held on both."""

import json
import multiprocessing
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.abc import SocketStream
from stepup_client.connection.asynchronous import AsyncClient
from stepup_client.connection.protocol import Change, Mismatched, Refused, Unreachable
from stepup_client.local import LocalClient
from stepup_client.on_asyncio import AsyncioClient
from stepup_client.on_trio import TrioClient

from tests.client.daemon import Daemon, daemon
from tests.client.events import event

CLIENTS: dict[str, type[AsyncioClient] | type[TrioClient]] = {
    "asyncio": AsyncioClient,
    "trio": TrioClient,
}
Ask = Callable[[AsyncClient], Awaitable[Any]]


@pytest.fixture(params=CLIENTS)
def loop(request: Any) -> str:
    name: str = request.param
    return name


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Daemon]:
    with daemon(tmp_path) as running:
        yield running


@pytest.fixture
def full(tmp_path: Path) -> Iterator[str]:
    """A socket whose backlog is full, as that of a daemon which does not come to accept."""
    path = str(tmp_path / "full.sock")
    with socket.socket(socket.AF_UNIX) as listener, ExitStack() as waiting:
        listener.bind(path)
        listener.listen(0)
        with suppress(BlockingIOError):
            while True:
                one = waiting.enter_context(socket.socket(socket.AF_UNIX))
                one.setblocking(False)
                one.connect(path)
        yield path


def asked(loop: str, running: Daemon, ask: Ask, **options: Any) -> Any:
    async def main() -> Any:
        with anyio.fail_after(20):
            async with CLIENTS[loop](str(running.path), **options) as client:
                return await ask(client)

    return anyio.run(main, backend=loop)


def test_a_check_is_answered_with_its_decision(loop: str, running: Daemon) -> None:
    async def ask(client: AsyncClient) -> None:
        await client.ping()
        decision = await client.check("good", context="c1", ip="::1", user_agent="curl")
        assert (decision.decision, decision.status) == ("step_up", 401)
        assert decision.acr_values == "mfa"
        assert (await client.check("good", context=["c2", "c3"])).allowed

    asked(loop, running, ask)
    first, second = running.sidecar.calls
    assert (first.ip, first.user_agent) == ("::1", "curl")
    assert second.contexts == frozenset({"c2", "c3"})
    assert running.sidecar.connections == 1


def test_a_token_that_is_not_believed_is_refused(loop: str, running: Daemon) -> None:
    async def ask(client: AsyncClient) -> None:
        with pytest.raises(Refused) as raised:
            await client.check("bad")
        assert (raised.value.error, raised.value.status) == ("invalid_token", 401)
        await client.ping()

    asked(loop, running, ask)
    assert running.sidecar.connections == 1


def test_an_event_is_durable_when_it_returns(loop: str, running: Daemon) -> None:
    async def ask(client: AsyncClient) -> None:
        assert (await client.event(event("e1"))).id == "e1"
        assert (await client.event(event("e1"), wait_everywhere=True)).settled

    asked(loop, running, ask)


def test_changes_are_reported_as_they_come(loop: str, running: Daemon) -> None:
    async def ask(client: AsyncClient) -> list[Change]:
        heard = []
        async with client.watch(["s1"]) as changes:
            for session, standing in (("s2", "step_up"), ("s1", "step_up"), ("s1", "clear")):
                await anyio.to_thread.run_sync(running.say, session, standing)
            async for change in changes:
                heard.append(change)
                if len(heard) == 2:
                    return heard
        return heard

    assert asked(loop, running, ask) == [Change("s1", "step_up"), Change("s1", "clear")]
    running.do(running.sidecar.until_watched, 0)


def test_a_watch_that_is_cut_off_says_so(loop: str, running: Daemon) -> None:
    async def ask(client: AsyncClient) -> None:
        async with client.watch() as changes:
            await anyio.to_thread.run_sync(running.stop)
            with pytest.raises(Unreachable):
                await anext(changes)
        await anyio.to_thread.run_sync(running.start)

    asked(loop, running, ask)


def test_many_callers_share_few_connections(loop: str, running: Daemon) -> None:
    async def ask(client: AsyncClient) -> None:
        async with anyio.create_task_group() as tasks:
            for _ in range(40):
                tasks.start_soon(client.ping)

    asked(loop, running, ask, connections=3)
    assert running.sidecar.connections <= 3


def test_no_turn_in_time_is_an_error(loop: str, tmp_path: Path) -> None:
    async def main() -> None:
        path = str(tmp_path / "silent.sock")
        async with await anyio.create_unix_listener(path):
            client = CLIENTS[loop](path, timeout=0.05, connections=1)
            failures = []

            async def ping() -> None:
                with pytest.raises(Unreachable) as raised:
                    await client.ping()
                failures.append(str(raised.value))

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(ping)
                tasks.start_soon(ping)
        assert any("busy" in failure for failure in failures)
        assert any("did not answer in time" in failure for failure in failures)

    anyio.run(main, backend=loop)


def test_a_reply_that_its_caller_did_not_wait_for_answers_nobody_else(
    loop: str, running: Daemon
) -> None:
    async def ask(client: AsyncClient) -> None:
        await client.ping()
        for _ in range(20):
            with anyio.move_on_after(0):
                await client.check("good", context="c1")
            assert (await client.event(event("e1"))).id == "e1"

    asked(loop, running, ask)


def test_a_connection_that_was_closed_while_idle_is_made_anew(loop: str, tmp_path: Path) -> None:
    with daemon(tmp_path) as running:

        async def ask(client: AsyncClient) -> None:
            await client.ping()
            await anyio.to_thread.run_sync(running.do, running.sidecar.end_idle)
            await client.ping()

        asked(loop, running, ask)
        assert running.sidecar.connections == 2


def test_a_client_outlives_the_daemon_and_the_loop(loop: str, running: Daemon) -> None:
    client = CLIENTS[loop](str(running.path))
    anyio.run(client.ping, backend=loop)
    running.stop()
    with pytest.raises(Unreachable, match="no sidecar socket at"):
        anyio.run(client.ping, backend=loop)
    running.start()
    anyio.run(client.ping, backend=loop)
    client.close()


def test_a_listener_that_takes_nobody_is_reported_as_late(loop: str, full: str) -> None:
    with pytest.raises(Unreachable, match="did not answer in time"):
        anyio.run(CLIENTS[loop](full).ping, backend=loop)
    with pytest.raises(Unreachable, match="did not answer in time"):
        LocalClient(full).ping()


def test_a_reply_to_another_request_is_an_error_and_the_connection_is_dropped(
    loop: str, tmp_path: Path
) -> None:
    async def main() -> None:
        path = str(tmp_path / "mixed.sock")
        async with (
            await anyio.create_unix_listener(path) as listener,
            anyio.create_task_group() as tasks,
            CLIENTS[loop](path) as client,
        ):
            tasks.start_soon(listener.serve, _answer_another)
            for _ in range(2):
                with pytest.raises(Mismatched, match="answers another request"):
                    await client.check("good")
            with pytest.raises(Mismatched):
                async with client.watch(["s1"]):
                    pass
            tasks.cancel_scope.cancel()

    anyio.run(main, backend=loop)


async def _answer_another(stream: SocketStream) -> None:
    async with stream:
        await stream.receive()
        await stream.send(b'{"ok":true,"decision":"allow","status":200,"ref":"0-0"}\n')


def _check_in_child(loop: str, client: AsyncClient, answers: Any) -> None:
    async def check() -> list[str]:
        return [(await client.check("good", context="c2")).decision for _ in range(100)]

    answers.put(anyio.run(check, backend=loop))


def test_a_forked_process_has_connections_of_its_own(loop: str, running: Daemon) -> None:
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    client = CLIENTS[loop](str(running.path))
    anyio.run(client.ping, backend=loop)
    child = context.Process(target=_check_in_child, args=(loop, client, answers))
    child.start()

    async def check() -> list[str]:
        return [(await client.check("good", context="c1")).decision for _ in range(100)]

    assert anyio.run(check, backend=loop) == ["step_up"] * 100
    assert answers.get(timeout=20) == ["allow"] * 100
    child.join()
    client.close()
    assert running.sidecar.connections == 2


def test_only_the_trio_client_needs_more_than_the_standard_library() -> None:
    modules = "local pool on_asyncio asgi wsgi gate returning enforcement.doors"
    code = (
        "import sys, json, importlib\n"
        f"for name in '{modules}'.split(): importlib.import_module('stepup_client.' + name)\n"
        "print(json.dumps(sorted(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    names = set(json.loads(done.stdout))
    tops = {name.partition(".")[0] for name in names}
    assert tops & {"trio", "anyio", "msgspec", "httpx", "starlette", "flask", "django"} == set()
    assert "sidecar" not in tops
