"""Checks whose answer is at hand are answered in turns, with all that holds of other lines."""

import json
import socket
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.adapters.events.replies import BEGUN_BOUND, RepeatedReplies, check_reply
from sidecar.adapters.listening.readiness import AT_A_TIME
from sidecar.adapters.socket.connection import AHEAD
from sidecar.adapters.socket.incidents import SocketIncident
from sidecar.domain.evaluation.decision import Verdict
from sidecar.service.checks.kept_answers import RepeatedAnswer
from sidecar.service.ports.calls import UNKNOWN_CONTEXT, Answer, Reason
from tests.adapters.doors import Services
from tests.adapters.socket.door import opened, revoke
from tests.waiting import until


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "s.sock"


def check(ref: Any, token: str = "s1") -> Any:
    return {"op": "check", "token": token, "ref": ref}


class Steps(trio.abc.Instrument):
    """Counts how often each task was run, by the name of what it runs."""

    def __init__(self) -> None:
        self.of: Counter[str] = Counter()

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.of[task.name.rpartition(".")[2]] += 1


async def test_a_check_at_hand_wakes_up_one_task_and_no_other(path: Path) -> None:
    async with opened(path) as door:
        clients = [await door.client() for _ in range(4)]
        for client in clients:
            await client.call(check(0))
        steps = Steps()
        trio.lowlevel.add_instrument(steps)
        for number in range(20):
            for client in clients:
                asked = check(number, "s1" if number % 2 else "s1 judged")
                assert (await client.call(asked))["ref"] == number
        trio.lowlevel.remove_instrument(steps)
    # Of the ready set: one for each check, and at most one in which nobody has asked again yet.
    assert 80 <= steps.of["run"] <= 160
    assert "_serve_one" not in steps.of


async def test_lines_of_every_kind_are_answered_in_their_order(path: Path) -> None:
    async with opened(path) as door:
        client = await door.client()
        requests = [
            request
            for number in range(0, 400, 5)
            for request in (
                check(number, f"s{number}"),
                check(number + 1, f"s{number} judged"),
                check(number + 2, f"s{number} later"),
                {"op": "ping", "ref": number + 3} if number % 2 else revoke("x", ref=number + 3),
                {"op": "nonsense", "ref": number + 4},
            )
        ]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.ask, *requests)
            replies = [await client.reply() for _ in requests]
    assert [reply["ref"] for reply in replies] == list(range(400))


async def test_a_check_sees_the_event_before_it_in_whichever_way_it_is_answered(path: Path) -> None:
    async with opened(path) as door:
        client = await door.client()
        for number in range(60):
            name = f"s{number}" + ("", " judged", " later")[number % 3]
            await client.ask(check(0, name), revoke(name), check(1, name))
            replies = [await client.reply() for _ in range(3)]
            assert [reply.get("decision") for reply in replies] == ["allow", None, "deny"]
            assert (await client.call(check(2, name)))["decision"] == "deny"


async def test_what_checks_of_one_connection_wait_for_is_gathered(path: Path) -> None:
    async with opened(path) as door:
        client = await door.client()
        await client.call(check(0, "s1 later"))
        assert door.services.gathered == []  # one alone has nothing to wait for the same time with
        lines = [check(number, f"s{number} later") for number in range(AHEAD + 3)]
        await client.ask(*lines[:3], revoke("s9"), {"op": "nonsense"}, *lines[3:])
        replies = [await client.reply() for _ in range(len(lines) + 2)]
        found = [reply["ref"] for reply in replies if "decision" in reply]
    assert found == list(range(AHEAD + 3))
    # A bounded number at a time; of the lines among them, those that are no checks bring nothing.
    assert door.services.gathered == [AHEAD - 2, 5]


async def test_a_batch_of_checks_gives_way_to_other_clients(path: Path) -> None:
    async with opened(path) as door:
        flood, other = await door.client(), await door.client()
        line = json.dumps(check(1)).encode() + b"\n"
        await other.call(check(0))
        turns = 0

        async def ask() -> None:
            nonlocal turns
            while True:
                await other.call(check(0))
                turns += 1

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await until(lambda: turns)
            before = turns
            async with trio.open_nursery() as sending:
                sending.start_soon(flood.send, line * 4000)
                for _ in range(4000):
                    await flood.reply()
            assert turns - before > 4
            nursery.cancel_scope.cancel()


async def test_checks_may_come_byte_by_byte_or_cut_anywhere(path: Path) -> None:
    async with opened(path) as door:
        client = await door.client()
        lines = b"".join(json.dumps(check(ref)).encode() + b"\n" for ref in range(3))
        for byte in lines:
            await client.send(bytes([byte]))
        assert [(await client.reply())["ref"] for _ in range(3)] == [0, 1, 2]
        for cut in range(1, len(lines), 7):
            await client.send(lines[:cut])
            await trio.lowlevel.checkpoint()
            await client.send(lines[cut:])
            assert [(await client.reply())["ref"] for _ in range(3)] == [0, 1, 2]


async def test_a_half_closed_client_still_gets_the_replies_to_its_checks(path: Path) -> None:
    async with opened(path) as door:
        client = await door.client()
        await client.ask(*[check(ref) for ref in range(1000)])
        await client.send(json.dumps(check("last")).encode())
        await client.stream.send_eof()
        replies = [json.loads(line) for line in (await client.rest()).splitlines()]
        assert [reply["ref"] for reply in replies] == [*range(1000), "last"]


async def test_checks_before_a_line_that_is_too_large_are_answered(path: Path) -> None:
    async with opened(path, max_line_bytes=1000) as door:
        client = await door.client()
        await client.ask(*[check(ref) for ref in range(100)])
        with suppress(trio.BrokenResourceError):
            await client.send(b"x" * 5000 + b"\n")
        replies = [json.loads(line) for line in (await client.rest()).splitlines()]
        assert [reply.get("ref") for reply in replies] == [*range(100), None]
        assert replies[-1]["error"] == "too_large"
        assert door.incidents == [SocketIncident.TOO_LARGE]


async def test_a_client_that_does_not_read_the_answers_to_its_checks_is_closed(path: Path) -> None:
    async with opened(path, write_timeout=0.2) as door:
        client = await door.client()
        with suppress(trio.BrokenResourceError):
            while True:
                await client.ask(*[check("x" * 200)] * 100)
        assert door.incidents == [SocketIncident.SLOW_READER]


async def test_who_reads_late_loses_no_reply(path: Path) -> None:
    async with opened(path) as door:
        client = await door.client()
        client.stream.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        sent = trio.Event()

        async def send() -> None:
            await client.ask(*[check(ref) for ref in range(20_000)])
            sent.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            with trio.move_on_after(0.05):
                await sent.wait()
            refs = [(await client.reply())["ref"] for _ in range(20_000)]
        assert refs == list(range(20_000))


async def test_a_crash_in_a_turn_is_counted_and_says_nothing_to_the_client(path: Path) -> None:
    async with opened(path) as door:
        client = await door.client()
        door.services.trouble = ZeroDivisionError("secret")
        reply = await client.call(check(5))
        assert (reply["error"], reply["ref"]) == ("unavailable", 5)
        assert "secret" not in str(reply)
        assert door.incidents == [(SocketIncident.CRASHED, door.services.trouble)]
        door.services.trouble = None
        assert (await client.call(check(6)))["ok"]


async def test_a_crash_of_a_turn_itself_ends_that_connection_alone(path: Path) -> None:
    async with opened(path) as door:
        client, other = await door.client(), await door.client()
        assert (await other.call(check(1)))["ok"]
        error = ZeroDivisionError()

        class Broken:
            @property
            def reply(self) -> Any:
                raise error

        replies, door.socket.replies = door.socket.replies, Broken()
        await client.ask(check(2))
        assert await client.closed()
        assert door.incidents == [(SocketIncident.CRASHED, error)]
        door.socket.replies = replies
        assert (await other.call(check(3)))["ref"] == 3


async def test_a_watcher_is_answered_too(path: Path) -> None:
    async with opened(path) as door:
        client = await door.client()
        assert (await client.call({"op": "watch", "sessions": ["s9"]}))["ok"]
        await client.ask(*[check(ref) for ref in range(300)])
        assert [(await client.reply())["ref"] for _ in range(300)] == list(range(300))
        await client.send(b'{"op":"ch')
        await client.send(b'eck","ref":1}\n')
        assert (await client.reply())["ref"] == 1


async def test_a_check_is_a_sign_of_life(path: Path) -> None:
    async with opened(path) as door:
        client = await door.client()
        before = trio.current_time()
        assert (await client.call(check(1)))["ok"]
        (connection,) = door.socket._connections  # noqa: SLF001 - nothing else shows it
        assert before <= connection.silent_since() <= trio.current_time()


async def test_another_time_for_silence_counts_at_once(path: Path) -> None:
    async with opened(path) as door:
        client = await door.client()
        assert (await client.call(check(1)))["ok"]
        door.socket.replace(msgspec.structs.replace(door.socket.settings, idle_timeout=0.05))
        assert await client.closed()
        assert door.incidents == [SocketIncident.IDLE]


async def test_a_drain_answers_the_lines_that_wait_for_their_turn(path: Path) -> None:
    draining = trio.Event()

    class Draining(Services):
        def check_at_once(self, call: Any) -> Any:
            if len(self.calls) == AT_A_TIME // 2:
                draining.set()
            return super().check_at_once(call)

    async with opened(path, Draining(), draining=draining) as door:
        client = await door.client()
        await client.ask(*[check(ref) for ref in range(10 * AT_A_TIME)])
        replies = [json.loads(line) for line in (await client.rest()).splitlines()]
    refs = [reply["ref"] for reply in replies]
    assert refs == list(range(len(refs)))
    assert len(refs) >= AT_A_TIME


async def test_a_connection_that_makes_room_is_given_no_more_turns(path: Path) -> None:
    async with opened(path, max_connections=4) as door:
        for number in range(40):
            client = await door.client()
            assert (await client.call(check(number)))["ref"] == number
        assert Counter(door.incidents) == {SocketIncident.MADE_ROOM: 37}


texts = st.text(max_size=5)
answers = st.builds(
    Answer,
    verdict=st.sampled_from(Verdict),
    status=st.sampled_from([200, 401, 403, 503]),
    session=texts,
    subject=texts,
    assurance=texts,
    pending=st.booleans(),
    challenge=texts,
    acr_values=texts,
    max_age=st.none() | st.integers(0, 9),
    reasons=st.lists(st.builds(Reason, texts, texts, texts), max_size=2).map(tuple),
    error=st.sampled_from(["", "", "invalid_token", "unavailable", UNKNOWN_CONTEXT]),
    message=texts,
    retry_after=st.integers(0, 2),
)
refs = st.one_of(
    st.just(msgspec.UNSET), st.none(), st.booleans(), texts, st.integers(-9, 9), st.floats(0, 1)
)


@settings(max_examples=300, deadline=None)
@given(answers, st.lists(st.tuples(st.sampled_from(["", "abc-1f"]), refs), min_size=1, max_size=4))
def test_what_is_made_of_a_kept_reply_is_the_reply(answer: Answer, asked: Any) -> None:
    replies = RepeatedReplies()
    for decision, ref in asked:
        repeated = RepeatedAnswer(answer, decision)
        assert replies.reply(repeated, ref) == check_reply(repeated.whole, ref)


def test_kept_replies_are_bounded_and_never_those_of_another_answer() -> None:
    replies = RepeatedReplies()
    for number in range(2 * BEGUN_BOUND):
        answer = Answer(Verdict.ALLOW, 200, session=str(number))
        assert json.loads(replies.reply(RepeatedAnswer(answer, "x"), 1))["session"] == str(number)
        assert len(replies) <= BEGUN_BOUND
