import json
import os
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.adapters.events.guesses import AT_ONCE
from sidecar.adapters.events.speakers import Speakers
from sidecar.adapters.listening.socket_files import AddressInUse
from sidecar.adapters.socket.incidents import SocketIncident
from sidecar.service.ports.calls import Overloaded, StandingChange, Unavailable
from sidecar.wire.settings.settings import Settings
from sidecar.wire.settings.sources import SourceSettings
from tests.adapters.doors import (
    Services,
    running,
)
from tests.adapters.socket.door import Door, opened, revoke
from tests.waiting import until


@pytest.fixture
def path(tmp_path: Any) -> Any:
    return tmp_path / "s.sock"


async def test_each_request_gets_its_reply_in_order(path: Path) -> None:
    async with opened(path) as door:
        client = await door.client()
        await client.ask(
            {"op": "ping", "ref": 1},
            {"op": "check", "token": "s1", "ref": 2},
            revoke("s1", id="x1", ref=3),
            {"op": "check", "token": "s1", "ref": 4},
            {"op": "nonsense", "ref": 5},
            revoke("s2", ref=6),
            revoke("s2", id="x1", ref=7),
        )
        replies = [await client.reply() for _ in range(7)]
    assert replies == [
        {"ok": True, "ref": 1},
        {
            "ok": True,
            "decision": "allow",
            "status": 200,
            "session": "s1",
            "subject": "u1",
            "assurance": "mfa",
            "ref": 2,
        },
        {"ok": True, "id": "x1", "ref": 3},
        {
            "ok": True,
            "decision": "deny",
            "status": 403,
            "session": "s1",
            "reasons": [{"policy": "p1", "signal": "session-revoked", "text": "it was revoked"}],
            "ref": 4,
        },
        {
            "ok": False,
            "error": "unknown_op",
            "field": "op",
            "message": "must be event, check, watch or ping",
            "ref": 5,
        },
        {"ok": True, "id": "e1", "ref": 6},
        {"ok": True, "id": "x1", "duplicate": True, "ref": 7},
    ]


async def test_a_step_up_is_reported_with_its_challenge_even_for_max_age_zero(path: Path) -> None:
    async with opened(path) as door:
        client = await door.client()
        assert await client.call({"op": "check", "token": "s1", "context": "c1"}) == {
            "ok": True,
            "decision": "step_up",
            "status": 401,
            "session": "s1",
            "www_authenticate": 'Bearer error="insufficient_user_authentication", acr_values="phr"',
            "acr_values": "phr",
            "max_age": 0,
        }
        reply = await client.call({"op": "check", "token": "s-pending"})
        assert reply["step_up_pending"] is True


async def test_a_missing_token_is_an_invalid_one(path: Path) -> None:
    async with opened(path) as door:
        client = await door.client()
        assert await client.call({"op": "check"}) == {
            "ok": False,
            "error": "invalid_token",
            "message": "no",
            "status": 401,
            "www_authenticate": "Bearer",
        }


async def test_a_check_hands_on_all_that_the_line_reports(path: Path) -> None:
    async with opened(path) as door:
        client = await door.client()
        await client.call(
            {
                "op": "check",
                "token": "s1",
                "context": "c2",
                "method": "POST",
                "host": "h",
                "path": "/%62",
                "ip": "203.0.113.9",
                "user_agent": "curl",
            }
        )
        (call,) = door.services.calls
    assert (call.contexts, call.method, call.host, call.path) == ({"c2"}, "POST", "h", "/b")
    assert (call.ip, call.user_agent) == ("203.0.113.9", "curl")


async def test_a_check_sees_the_events_sent_before_it_and_none_sent_after(path: Path) -> None:
    async with opened(path) as door:
        client = await door.client()
        requests = []
        for number in range(100):
            requests += [{"op": "check", "token": f"s{number}"}, revoke(f"s{number}")]
            requests += [{"op": "check", "token": f"s{number}"}]
        await client.ask(*requests)
        decisions = [(await client.reply()).get("decision") for _ in requests]
    assert decisions == ["allow", None, "deny"] * 100


async def test_ten_thousand_requests_may_be_sent_before_a_reply_is_read(path: Path) -> None:
    async with opened(path) as door:
        client = await door.client()
        async with trio.open_nursery() as nursery:
            requests = (
                revoke(f"s{n}", ref=n) if n % 3 else {"op": "ping", "ref": n} for n in range(10_000)
            )
            nursery.start_soon(client.ask, *requests)
            for number in range(10_000):
                assert (await client.reply())["ref"] == number
        assert 1 < door.services.most_at_once <= 64


async def test_a_reply_does_not_wait_for_a_slow_event_sent_after_it(path: Path) -> None:
    async with opened(path) as door:
        door.services.gate = trio.Event()
        client = await door.client()
        await client.ask({"op": "ping", "ref": 1}, revoke("s1", ref=2))
        assert (await client.reply())["ref"] == 1
        door.services.gate.set()
        assert (await client.reply())["ref"] == 2


async def test_an_event_may_wait_until_every_sidecar_has_it(path: Path) -> None:
    async with opened(path) as door:
        client = await door.client()
        reply = await client.call(revoke("s1", id="x", wait="everywhere"))
        assert reply == {"ok": True, "id": "x", "settled": True, "have": 1, "live": 1}
        door.services.sidecars = (2, 3)
        reply = await client.call(revoke("s2", wait="everywhere", timeout=0.1))
        assert (reply["settled"], reply["have"], reply["live"]) == (False, 2, 3)


async def test_a_durable_event_is_reported_as_such_where_nobody_can_report_how_far_it_is(
    path: Path,
) -> None:
    async with opened(path) as door:
        client = await door.client()
        for number, trouble in enumerate((Unavailable("the store is away"), Overloaded())):
            door.services.sidecars = trouble
            reply = await client.call(revoke("s1", id=f"x{number}", wait="everywhere"))
            assert reply == {"ok": True, "id": f"x{number}", "settled": False, "have": 1}


async def test_where_nobody_can_wait_the_event_is_refused_before_it_is_taken(path: Path) -> None:
    async with opened(path, acknowledger=None) as door:
        client = await door.client()
        reply = await client.call(revoke("s1", wait="everywhere"))
        assert (reply["error"], reply["field"]) == ("invalid_event", "wait")
        assert door.services.signals == []


@pytest.mark.parametrize(
    ("trouble", "error"), [(Overloaded(7), "overloaded"), (Unavailable("gone"), "unavailable")]
)
async def test_trouble_behind_the_door_is_reported_and_the_connection_stays(
    path: Path, trouble: Exception, error: Any
) -> None:
    async with opened(path) as door:
        client = await door.client()
        door.services.trouble = trouble
        for request in ({"op": "check", "token": "s1", "ref": 1}, revoke("s1", ref=1)):
            reply = await client.call(request)
            assert (reply["ok"], reply["error"], reply["ref"]) == (False, error, 1)
        door.services.trouble = None
        assert (await client.call({"op": "ping"}))["ok"]


async def test_an_unforeseen_error_is_counted_and_says_nothing_to_the_client(path: Path) -> None:
    async with opened(path) as door:
        client = await door.client()
        door.services.trouble = ZeroDivisionError("secret")
        await client.ask({"op": "check", "token": "s1"}, revoke("a"), revoke("b"))
        for _ in range(3):
            reply = await client.reply()
            assert reply["error"] == "unavailable"
            assert "secret" not in str(reply)
        assert door.incidents == [(SocketIncident.CRASHED, door.services.trouble)] * 3
        assert (await client.call({"op": "ping"}))["ok"]


@pytest.mark.parametrize("line", [b"", b"{", b"\xff\xfe", b"[]", b"[" * 30_000, b"\x00" * 99])
async def test_a_line_that_is_no_json_object_is_reported_and_the_connection_stays(
    path: Path, line: Any
) -> None:
    async with opened(path) as door:
        client = await door.client()
        await client.send(line + b"\r\n" + b'{"op":"ping"}\n')
        assert (await client.reply())["error"] == "invalid_json"
        assert await client.reply() == {"ok": True}


async def test_who_speaks_another_protocol_is_reported_so_and_hung_up_on(path: Path) -> None:
    async with opened(path) as door:
        client = await door.client()
        await client.send(b'a\n{"op":"hello"}\n' * 7 + b'{"op":"ping"}\n' + b"a\n" * 20_000)
        replies = [json.loads(reply) for reply in (await client.rest()).splitlines()]
        assert [reply["ok"] for reply in replies] == [False] * 14 + [True] + [False] * 17
        assert "16 lines in a row" in replies[-1]["message"]
        assert door.incidents == [SocketIncident.MALFORMED]


async def test_a_uid_that_guesses_credentials_is_asked_to_wait(path: Path) -> None:
    async with opened(path) as door:
        client = await door.client()
        guess = revoke("s1", credential="guess")
        errors = [(await client.call(guess))["error"] for _ in range(AT_ONCE)]
        assert errors == ["not_allowed"] * AT_ONCE
        while (await client.call(guess))["error"] != "overloaded":
            pass
        assert (await client.call(revoke("s1")))["ok"]


async def test_a_batch_of_lines_gives_way_to_other_clients(path: Path) -> None:
    async with opened(path) as door:
        flood, other = await door.client(), await door.client()
        batch = b'{"op":"ping"}\n' * 4000
        turns = 0

        async def ask() -> None:
            nonlocal turns
            while True:
                await other.call({"op": "ping"})
                turns += 1

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await until(lambda: turns)
            before = turns
            async with trio.open_nursery() as sending:
                sending.start_soon(flood.send, batch)
                for _ in range(4000):
                    await flood.reply()
            assert turns - before > 4
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("size", [65537, 70_000, 5_000_000])
@pytest.mark.parametrize("end", [b"", b"\n"])
async def test_a_line_that_is_too_large_is_reported_and_ends_the_connection(
    path: Path, size: int, end: bytes
) -> None:
    async with opened(path) as door:
        client = await door.client()
        async with trio.open_nursery() as nursery:

            async def send() -> None:
                with suppress(trio.BrokenResourceError):  # closed before it was all taken
                    await client.send(b'{"op":"ping"}\n' + b"x" * size + end)

            nursery.start_soon(send)
            assert await client.reply() == {"ok": True}
            assert (await client.reply())["error"] == "too_large"
            assert await client.closed()
        assert door.incidents == [SocketIncident.TOO_LARGE]


async def test_the_longest_line_is_not_too_large(path: Path) -> None:
    async with opened(path) as door:
        client = await door.client()
        start, end = b'{"op":"ping","ref":1', b"}"
        await client.send(start + b" " * (65536 - len(start) - len(end)) + end + b"\n")
        assert await client.reply() == {"ok": True, "ref": 1}


async def test_requests_may_come_byte_by_byte_or_cut_anywhere(path: Path) -> None:
    async with opened(path) as door:
        client = await door.client()
        for byte in b'{"op":"ping","ref":1}\n{"op":"ping","ref":2}\n':
            await client.send(bytes([byte]))
        assert [(await client.reply())["ref"] for _ in range(2)] == [1, 2]


async def test_a_half_closed_client_still_gets_its_replies(path: Path) -> None:
    async with opened(path) as door:
        client = await door.client()
        await client.ask(*[{"op": "ping", "ref": n} for n in range(1000)])
        await client.send(b'{"op":"ping","ref":"last"}')
        await client.stream.send_eof()
        replies = (await client.rest()).splitlines()
        assert len(replies) == 1001
        assert json.loads(replies[-1]) == {"ok": True, "ref": "last"}


async def test_a_client_that_vanishes_harms_nobody(path: Path) -> None:
    async with opened(path) as door:
        for _ in range(20):
            client = await door.client()
            await client.ask(*[revoke("s1")] * 50)
            await client.stream.aclose()
        assert (await (await door.client()).call({"op": "ping"}))["ok"]


async def test_a_watcher_is_notified_of_changes_between_its_replies(path: Path) -> None:
    async with opened(path) as door:
        watcher, other = await door.client(), await door.client()
        assert await watcher.call({"op": "watch", "ref": "w"}) == {"ok": True, "ref": "w"}
        await other.call(revoke("s1"))
        assert await watcher.reply() == {
            "event": "standing",
            "session": "s1",
            "standing": "revoked",
        }
        assert (await watcher.call({"op": "ping", "ref": 1}))["ref"] == 1


async def test_a_watcher_hears_of_the_sessions_it_named_only_and_may_name_others(
    path: Path,
) -> None:
    async with opened(path) as door:
        client = await door.client()
        await client.call({"op": "watch", "sessions": ["s1"]})
        door.services.watches.notify(StandingChange("s2", "revoked"))
        door.services.watches.notify(StandingChange("s1", "step_up", ("c1",)))
        assert await client.reply() == {
            "event": "standing",
            "session": "s1",
            "standing": "step_up",
            "contexts": ["c1"],
        }
        await client.call({"op": "watch", "sessions": ["s2"]})
        await trio.testing.wait_all_tasks_blocked()
        assert len(door.services.watches) == 1
        door.services.watches.notify(StandingChange("s1", "clear"))
        door.services.watches.notify(StandingChange("s2", "clear"))
        assert (await client.reply())["session"] == "s2"


async def test_a_watch_of_every_session_ends_where_its_power_is_taken_back(path: Path) -> None:
    may = Settings(sources=(SourceSettings(name="app", uids=(os.getuid(),), may_watch=True),))
    may_not = Settings(sources=(SourceSettings(name="app", uids=(os.getuid(),)),))
    current = [may]
    async with opened(path, speakers=Speakers(lambda: current[-1])) as door:
        every, one = await door.client(), await door.client()
        assert await every.call({"op": "watch"}) == {"ok": True}
        assert await one.call({"op": "watch", "sessions": ["s1"]}) == {"ok": True}
        current.append(may_not)
        door.services.watches.notify(StandingChange("s1", "revoked"))
        assert (await one.reply())["session"] == "s1"
        assert await every.rest() == b""
        assert door.incidents == [SocketIncident.WATCH_ENDED]


async def test_a_watch_ends_with_its_connection(path: Path) -> None:
    async with opened(path) as door:
        client = await door.client()
        await client.call({"op": "watch"})
        await client.stream.aclose()
        await until(lambda: not len(door.services.watches))


async def test_lines_and_replies_of_a_watcher_never_mix(path: Path) -> None:
    async with opened(path) as door:
        client = await door.client()
        await client.call({"op": "watch"})

        async def say() -> None:
            for number in range(2000):
                door.services.watches.notify(StandingChange(f"s{number}", "step_up"))
                if number % 10 == 0:
                    await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(say)
            nursery.start_soon(client.ask, *[{"op": "ping", "ref": n} for n in range(2000)])
            lines = [await client.reply() for _ in range(4000)]
    assert [line["ref"] for line in lines if "ref" in line] == list(range(2000))
    assert [line["session"] for line in lines if "event" in line] == [f"s{n}" for n in range(2000)]


async def test_a_watcher_that_does_not_read_is_cut_off(path: Path) -> None:
    async with opened(path, max_backlog_bytes=10_000) as door:
        slow, quick = await door.client(), await door.client()
        await slow.call({"op": "watch"})
        for number in range(20_000):
            door.services.watches.notify(StandingChange(f"s{number}", "step_up"))
            await trio.lowlevel.checkpoint()
            if door.incidents:
                break
        assert door.incidents == [SocketIncident.SLOW_WATCHER]
        assert b"standing" in await slow.rest()
        assert (await quick.call({"op": "ping"}))["ok"]


async def test_a_watch_that_loses_changes_ends_its_connection(path: Path) -> None:
    async with opened(path) as door:
        client = await door.client()
        await client.call({"op": "watch"})
        for number in range(3000):
            door.services.watches.notify(StandingChange(f"s{number}", "step_up"))
        await client.rest()
        assert len(door.incidents) == 1
        assert door.incidents[0] in (SocketIncident.WATCH_ENDED, SocketIncident.SLOW_WATCHER)


@pytest.mark.parametrize("trouble", [Overloaded(), Unavailable("gone"), ZeroDivisionError()])
async def test_a_watch_that_cannot_be_had_is_reported_and_the_connection_stays(
    path: Path, trouble: Exception
) -> None:
    class NoWatches:
        @asynccontextmanager
        async def watch(self, sessions: Any) -> AsyncIterator[Any]:
            if sessions is None:
                raise trouble
            yield

    async with opened(path, watches=NoWatches()) as door:
        client = await door.client()
        reply = await client.call({"op": "watch", "ref": 1})
        assert reply["error"] in ("overloaded", "unavailable")
        assert (await client.call({"op": "ping"}))["ok"]


async def test_a_client_that_does_not_read_its_replies_is_closed_in_the_end(path: Path) -> None:
    async with opened(path, write_timeout=0.2) as door:
        client = await door.client()

        async def flood() -> None:
            try:
                while True:
                    await client.ask(*[{"op": "ping", "ref": "x" * 200}] * 100)
            except trio.BrokenResourceError:
                pass

        await flood()
        assert door.incidents == [SocketIncident.SLOW_READER]


async def test_an_idle_client_is_closed_and_a_watcher_is_not(path: Path) -> None:
    async with opened(path, idle_timeout=0.2) as door:
        watcher, idle = await door.client(), await door.client()
        await watcher.call({"op": "watch"})
        assert await idle.closed()
        assert door.incidents == [SocketIncident.IDLE]
        assert (await watcher.call({"op": "ping"}))["ok"]


async def test_one_connection_too_many_is_reported_so(path: Path) -> None:
    services = Services()
    services.gate = trio.Event()
    async with opened(path, services, max_connections=2) as door:
        for session in ("s1", "s2"):
            await (await door.client()).ask(revoke(session))
        await until(lambda: services.at_once == 2)
        third = await door.client()
        assert (await third.reply())["error"] == "overloaded"
        assert await third.closed()
        assert door.incidents == [SocketIncident.REFUSED]
        services.gate.set()
        for client in door.clients[:2]:
            assert (await client.reply())["ok"]
        assert (await (await door.client()).call({"op": "ping"}))["ok"]


async def test_who_has_waited_longest_makes_room_for_a_new_connection(path: Path) -> None:
    async with opened(path, max_connections=2) as door:
        first, second = await door.client(), await door.client()
        for client in (first, second, first):
            await client.call({"op": "ping"})
        await second.send(b'{"op":"pi')  # a part of a line is no sign of life
        third = await door.client()
        assert (await third.call({"op": "ping"}))["ok"]
        assert await second.closed()
        assert (await first.call({"op": "ping"}))["ok"]
        assert door.incidents == [SocketIncident.MADE_ROOM]


async def test_a_part_of_a_line_buys_no_time(path: Path) -> None:
    async with opened(path, idle_timeout=0.2) as door:
        client = await door.client()
        with suppress(trio.BrokenResourceError):
            while SocketIncident.IDLE not in door.incidents:
                await client.send(b" ")
                await trio.sleep(0.01)  # the pace at which it drips
        assert await client.closed()


async def test_a_uid_has_so_many_watches(path: Path) -> None:
    async with opened(path, max_watches=2) as door:
        first, second, third = [await door.client() for _ in range(3)]
        assert (await first.call({"op": "watch", "sessions": ["s1"]}))["ok"]
        assert (await second.call({"op": "watch", "sessions": ["s1"]}))["ok"]
        assert (await first.call({"op": "watch", "sessions": ["s2"]}))["ok"]  # instead of the other
        refused = await third.call({"op": "watch", "sessions": ["s1"], "ref": 1})
        assert (refused["error"], refused["ref"]) == ("overloaded", 1)
        assert door.incidents == [SocketIncident.WATCH_REFUSED]
        await first.stream.aclose()
        await until(lambda: len(door.services.watches) == 1)
        assert (await third.call({"op": "watch"}))["ok"]


async def test_a_watch_has_an_end(path: Path) -> None:
    async with opened(path, watch_timeout=0.1) as door:
        client = await door.client()
        assert (await client.call({"op": "watch"}))["ok"]
        assert await client.closed()
        assert door.incidents == [SocketIncident.WATCH_ENDED]
        assert not len(door.services.watches)


async def test_only_allowed_users_get_in(path: Path) -> None:
    async with opened(path, allowed_uids=(os.getuid() + 1,)) as door:
        assert await (await door.client()).closed()
        assert door.incidents == [SocketIncident.FORBIDDEN]
    async with opened(path, allowed_uids=(os.getuid(),)) as door:
        assert (await (await door.client()).call({"op": "ping"}))["ok"]


async def test_who_is_allowed_no_longer_goes_at_once(path: Path) -> None:
    async with opened(path, allowed_uids=(os.getuid(),)) as door:
        client = await door.client()
        assert (await client.call({"op": "ping"}))["ok"]
        settings = door.socket.settings
        door.socket.replace(msgspec.structs.replace(settings, idle_timeout=7.0))
        assert (await client.call({"op": "ping"}))["ok"]
        door.socket.replace(msgspec.structs.replace(settings, allowed_uids=(os.getuid() + 1,)))
        assert await client.closed()
        assert door.incidents == [SocketIncident.FORBIDDEN]


async def test_the_file_has_its_mode_and_is_gone_afterwards(path: Path) -> None:
    async with opened(path, mode="0620", group=str(os.getgid())):
        assert stat.S_IMODE((await trio.Path(path).stat()).st_mode) == 0o620
    assert not await trio.Path(path).exists()


async def test_two_sockets_cannot_have_one_path(path: Path) -> None:
    async with opened(path) as door:
        with pytest.raises(AddressInUse):
            await Door(path).socket.run()
        assert (await (await door.client()).call({"op": "ping"}))["ok"]


@pytest.mark.parametrize("how", ["event", "cancel"])
async def test_a_drain_answers_what_was_read_and_takes_nothing_new(path: Path, how: str) -> None:
    services = Services()
    services.gate = trio.Event()
    draining = trio.Event()
    door = Door(path, services)
    with closing(door):
        await _drained(door, services, draining, how)
    assert not await trio.Path(path).exists()


async def _drained(door: Any, services: Any, draining: Any, how: Any) -> None:
    async with trio.open_nursery() as nursery:
        scope = trio.CancelScope()

        async def run(*, task_status: trio.TaskStatus[Any]) -> None:
            with scope:
                await door.socket.run(
                    draining=draining if how == "event" else None, task_status=task_status
                )

        await nursery.start(run)
        busy, idle, partial = [await door.client() for _ in range(3)]
        await idle.call({"op": "ping"})
        await partial.send(b'{"op":')
        await busy.ask(revoke("s1", ref=1), {"op": "check", "token": "s1", "ref": 2})
        await until(lambda: services.at_once)
        draining.set() if how == "event" else scope.cancel()
        assert await idle.closed()
        assert await partial.closed()
        with pytest.raises(ConnectionRefusedError):
            await door.client()
        services.gate.set()
        assert (await busy.reply())["ref"] == 1
        assert (await busy.reply())["decision"] == "deny"
        assert await busy.closed()


async def test_a_drain_does_not_wait_for_ever(path: Path) -> None:
    services = Services()
    services.gate = trio.Event()
    door = Door(path, services)
    draining = trio.Event()
    with closing(door):
        async with running(door.socket.run, draining=draining, drain_timeout=lambda: 0.1):
            client = await door.client()
            await client.ask(revoke("s1"))
            await until(lambda: services.at_once)
            draining.set()
            assert await client.closed()


@settings(max_examples=15, deadline=None)
@given(st.lists(st.binary(max_size=400) | st.just(b"\n"), max_size=8))
async def test_no_bytes_harm_the_socket(
    tmp_path_factory: pytest.TempPathFactory, chunks: Any
) -> None:
    path = tmp_path_factory.mktemp("fuzz") / "s.sock"
    async with opened(path) as door:
        client = await door.client()
        for chunk in chunks:
            await client.send(chunk)
        await client.stream.send_eof()
        sent = b"".join(chunks)
        lines = sent.split(b"\n")
        expected = len(lines) if lines[-1] else len(lines) - 1
        replies = (await client.rest()).splitlines()
        assert len(replies) == expected
        assert all("ok" in json.loads(reply) for reply in replies)
        assert (await (await door.client()).call({"op": "ping"}))["ok"]
        assert door.incidents == []
