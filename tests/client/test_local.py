import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
import stepup_client
import trio
from stepup_client.connection import protocol
from stepup_client.connection.protocol import usual_path
from stepup_client.local import (
    LONGEST_LINE,
    WINDOW,
    Change,
    Decision,
    LocalClient,
    Mismatched,
    Reason,
    Receipt,
    Refused,
    Unreachable,
)
from stepup_client.pool import PooledClient

from sidecar.service.ports.calls import StandingChange
from tests.client.events import event
from tests.client.sidecar import Sidecar


@pytest.fixture
async def sidecar(tmp_path: Path, nursery: trio.Nursery) -> Sidecar:
    sidecar = Sidecar(tmp_path / "s.sock")
    await nursery.start(sidecar.run)
    return sidecar


async def asked(sidecar: Sidecar, ask: Callable[[LocalClient], Any]) -> Any:
    def work() -> Any:
        with LocalClient(str(sidecar.path), timeout=10) as client:
            return ask(client)

    return await trio.to_thread.run_sync(work)


async def test_a_ping_is_answered(sidecar: Sidecar) -> None:
    await asked(sidecar, LocalClient.ping)


async def test_an_allowed_call(sidecar: Sidecar) -> None:
    decision = await asked(sidecar, lambda client: client.check("good", context="c2"))
    assert decision == Decision("allow", 200, "s1", "ada", step_up_pending=True)
    assert decision.allowed


async def test_a_challenged_call_says_what_to_answer_and_why(sidecar: Sidecar) -> None:
    decision = await asked(sidecar, lambda client: client.check("good", context="c1"))
    assert decision == Decision(
        "step_up",
        401,
        "s1",
        "ada",
        'Bearer error="insufficient_user_authentication"',
        "mfa",
        300,
        (Reason("p1", "risk-level-change", "the user's risk is high"),),
        step_up_pending=True,
    )
    assert not decision.allowed


async def test_a_call_arrives_as_it_was_described(sidecar: Sidecar) -> None:
    def ask(client: LocalClient) -> None:
        client.check(
            "good", method="POST", host="x.org", path="/%61/b", ip="::1", user_agent="curl"
        )

    await asked(sidecar, ask)
    (call,) = sidecar.calls
    assert (call.method, call.host, call.path) == ("POST", "x.org", "/a/b")
    assert (call.ip, call.user_agent, call.contexts) == ("::1", "curl", frozenset())


async def test_a_token_that_is_not_believed_is_refused_with_its_challenge(
    sidecar: Sidecar,
) -> None:
    with pytest.raises(Refused) as raised:
        await asked(sidecar, lambda client: client.check("bad"))
    assert (raised.value.error, raised.value.status) == ("invalid_token", 401)
    assert raised.value.www_authenticate == 'Bearer error="invalid_token"'


@pytest.mark.parametrize(
    ("reply", "status", "headers"),
    [
        ({"error": "invalid_event"}, 400, {}),
        ({"error": "unknown_context"}, 400, {}),
        ({"error": "not_allowed"}, 403, {}),
        ({"error": "invalid_token", "www_authenticate": "B"}, 401, {"WWW-Authenticate": "B"}),
        ({"error": "overloaded", "retry_after": 3}, 503, {"Retry-After": "3"}),
        ({"error": "unavailable", "status": 503}, 503, {"Retry-After": "1"}),
        ({"error": "unavailable", "retry_after": 0}, 503, {"Retry-After": "1"}),
    ],
)
def test_a_refusal_says_what_to_answer(
    reply: dict[str, Any], status: int, headers: dict[str, str]
) -> None:
    refused = Refused(reply)
    assert (refused.status, refused.headers) == (status, headers)


def test_what_clients_give_and_raise_is_imported_from_one_place() -> None:
    assert stepup_client.Refused is Refused
    assert issubclass(stepup_client.Mismatched, stepup_client.Unreachable)
    assert all(hasattr(stepup_client, name) for name in stepup_client.__all__)


async def test_an_event_is_durable_when_it_returns(sidecar: Sidecar) -> None:
    receipt = await asked(sidecar, lambda client: client.event(event("e1")))
    assert receipt == Receipt("e1")
    assert [signal.stamp.id for signal in sidecar.signals] == ["e1"]
    assert await asked(sidecar, lambda c: c.event(event("e1"))) == Receipt("e1", duplicate=True)


async def test_an_event_can_be_waited_for_everywhere(sidecar: Sidecar) -> None:
    receipt = await asked(sidecar, lambda c: c.event(event("e1"), wait_everywhere=True))
    assert receipt == Receipt("e1", settled=True)
    assert receipt.reply["live"] == 3


async def test_a_refused_event_names_the_field_and_the_connection_lives_on(
    sidecar: Sidecar,
) -> None:
    def ask(client: LocalClient) -> str:
        with pytest.raises(Refused) as raised:
            client.event({**event("e1"), "data": {"current_level": "HUGE"}})
        client.ping()
        return raised.value.field

    assert await asked(sidecar, ask) == "data.current_level"
    assert sidecar.connections == 1


async def test_many_events_keep_their_order_refused_ones_among_them(sidecar: Sidecar) -> None:
    count = 3 * WINDOW + 7

    def ask(client: LocalClient) -> list[str]:
        events = [event(f"e{n}") if n % 5 else {"type": "nonsense"} for n in range(count)]
        events[1] = {**event("e1"), "source": "x" * LONGEST_LINE}
        outcomes = list(client.events(events))
        return [o.error if isinstance(o, Refused) else o.id for o in outcomes]

    wanted = [f"e{n}" if n % 5 else "invalid_event" for n in range(count)]
    wanted[1] = "too_large"
    assert await asked(sidecar, ask) == wanted
    assert sidecar.connections == 1


@pytest.mark.parametrize("text", ["\udcff", "a\ud800", float("nan"), float("inf")])
async def test_what_no_daemon_could_read_is_refused_and_disturbs_no_other_event(
    sidecar: Sidecar, text: Any
) -> None:
    def ask(client: LocalClient) -> list[str]:
        events = [event("e1"), {**event("e2"), "data": {"reason": text}}, event("e3")]
        outcomes = list(client.events(events))
        with pytest.raises(Refused) as raised:
            client.event(events[1])
        assert (raised.value.error, raised.value.status) == ("invalid_json", 400)
        return [one.error if isinstance(one, Refused) else one.id for one in outcomes]

    assert await asked(sidecar, ask) == ["e1", "invalid_json", "e3"]


async def test_replies_left_unread_never_answer_another_request(sidecar: Sidecar) -> None:
    def ask(client: LocalClient) -> str:
        with closing(client.events(event(f"e{n}") for n in range(10))) as outcomes:
            next(outcomes)
        return client.event(event("last")).id

    assert await asked(sidecar, ask) == "last"


async def test_a_connection_that_was_closed_while_idle_is_made_anew(
    tmp_path: Path, nursery: trio.Nursery
) -> None:
    sidecar = Sidecar(tmp_path / "s.sock")
    await nursery.start(sidecar.run)
    with LocalClient(str(sidecar.path), timeout=10) as client:
        await trio.to_thread.run_sync(client.ping)
        await sidecar.end_idle()
        await trio.to_thread.run_sync(client.ping)
    assert sidecar.connections == 2


def test_no_socket_is_reported_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match="no sidecar socket at") as raised:
        LocalClient(str(tmp_path / "none.sock")).ping()
    assert "sidecar run" in raised.value.hint


def test_a_socket_that_nobody_listens_at_is_reported(tmp_path: Path) -> None:
    path = str(tmp_path / "dead.sock")
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(path)
    with pytest.raises(Unreachable, match="nobody listens at"):
        LocalClient(path).ping()


def test_the_path_comes_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIDECAR_SOCKET", str(tmp_path / "x.sock"))
    assert LocalClient().path == str(tmp_path / "x.sock")
    assert LocalClient("/else").path == "/else"
    monkeypatch.delenv("SIDECAR_SOCKET")
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    assert LocalClient().path == "/run/sidecar/sidecar.sock"


def test_where_nothing_names_the_socket_it_is_looked_for_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SIDECAR_SOCKET", raising=False)
    own, run = tmp_path / "user", tmp_path / "run"
    own.mkdir(mode=0o700)
    monkeypatch.setattr(protocol, "DEFAULT_PATH", str(run / "sidecar.sock"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", "")
    assert usual_path() == str(run / "sidecar.sock")
    monkeypatch.setenv("XDG_RUNTIME_DIR", "user")  # the specification wants it absolute
    assert usual_path() == str(run / "sidecar.sock")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "absent"))
    assert usual_path() == str(run / "sidecar.sock")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(own))
    assert usual_path() == str(own / "sidecar.sock")  # what a daemon would do
    early = LocalClient()
    run.mkdir()
    assert usual_path() == str(run / "sidecar.sock")
    (own / "sidecar.sock").touch()
    assert usual_path() == str(own / "sidecar.sock")
    (run / "sidecar.sock").touch()
    assert usual_path() == str(run / "sidecar.sock")
    with pytest.raises(Unreachable, match=str(run)):
        early.ping()
    assert PooledClient().path == str(run / "sidecar.sock")
    assert LocalClient("/named").path == "/named"


@pytest.mark.parametrize("mode", [0o1777, 0o770])
def test_where_others_may_write_no_socket_is_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int
) -> None:
    monkeypatch.delenv("SIDECAR_SOCKET", raising=False)
    monkeypatch.setattr(protocol, "DEFAULT_PATH", str(tmp_path / "run" / "sidecar.sock"))
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "sidecar.sock").touch()
    theirs.chmod(mode)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(theirs))
    assert usual_path() == str(tmp_path / "run" / "sidecar.sock")


@pytest.fixture
def script(tmp_path: Path) -> Iterator[Callable[..., str]]:
    """A peer that answers each line with the next of the given replies (None: closes).

    `REF` in a reply becomes the `ref` of the line. With a `pace` each byte comes so many seconds
    after the one before, until nobody reads it.
    """
    threads = []
    listener = socket.socket(socket.AF_UNIX)

    def script(*replies: bytes | None, pace: float = 0) -> str:
        path = str(tmp_path / "script.sock")
        listener.bind(path)
        listener.listen()

        def serve() -> None:
            peer, _ = listener.accept()
            with peer, peer.makefile("rb") as lines:
                for reply in replies:
                    line = lines.readline()
                    if reply is None:
                        return
                    answer = reply.replace(b"REF", json.loads(line)["ref"].encode())
                    if not pace:
                        peer.sendall(answer)
                        continue
                    with suppress(BrokenPipeError):
                        for byte in answer:
                            peer.sendall(bytes([byte]))
                            time.sleep(pace)  # this slowness is what the client is to bear
                lines.readline()

        threads.append(threading.Thread(target=serve))
        threads[0].start()
        return path

    with listener:
        yield script
        for thread in threads:
            thread.join()


def test_a_silent_sidecar_is_not_waited_for_longer_than_asked(script: Callable[..., str]) -> None:
    with (
        LocalClient(script(b""), timeout=0.05) as client,
        pytest.raises(Unreachable, match="did not answer in time"),
    ):
        client.ping()


def test_a_reply_that_comes_byte_after_byte_is_not_waited_for_longer_than_asked(
    script: Callable[..., str],
) -> None:
    with (
        LocalClient(script(ALLOW, pace=0.02), timeout=0.1) as client,
        pytest.raises(Unreachable, match="did not answer in time"),
    ):
        client.check("t")


def test_a_connection_cut_before_the_reply_is_an_error_and_no_second_try(
    script: Callable[..., str],
) -> None:
    with (
        LocalClient(script(None)) as client,
        pytest.raises(Unreachable, match="closed the connection"),
    ):
        client.ping()


@pytest.mark.parametrize("reply", [b"hello\n", b"[]\n", b"\xff\n", b"220 smtp\r\n"])
def test_what_is_no_sidecar_is_reported_so(script: Callable[..., str], reply: bytes) -> None:
    with LocalClient(script(reply)) as client, pytest.raises(Unreachable, match="is no sidecar"):
        client.ping()


def test_a_check_without_a_decision_is_no_permission(script: Callable[..., str]) -> None:
    with LocalClient(script(b'{"ok":true,"ref":"REF"}\n')) as client:
        assert not client.check("t").allowed


ALLOW = b'{"ok":true,"ref":"REF","decision":"allow","status":200}\n'


@pytest.mark.parametrize("value", [b"5", b"null", b'"text"', b'{"policy":"p1"}', b"[5,null]"])
def test_reasons_in_a_form_that_is_not_known_are_none(
    script: Callable[..., str], value: bytes
) -> None:
    reply = ALLOW.replace(b'"status"', b'"reasons":' + value + b',"status"')
    with LocalClient(script(reply)) as client:
        assert client.check("t") == Decision("allow", 200)


@pytest.mark.parametrize("value", [5, None, "text", {"c1": 1}])
def test_a_change_in_contexts_of_a_form_that_is_not_known_is_one_all_the_same(value: Any) -> None:
    line = {"event": "standing", "session": "s1", "standing": "clear", "contexts": value}
    assert protocol.change_of(line) == Change("s1", "clear")


@pytest.mark.parametrize("ref", [b'"ref":"1-1"', b'"ref":null', b'"also":"REF"'])
def test_a_reply_to_another_request_is_an_error_and_the_connection_is_dropped(
    script: Callable[..., str], ref: bytes
) -> None:
    with LocalClient(script(ALLOW, ALLOW.replace(b'"ref":"REF"', ref))) as client:
        assert client.check("t").allowed
        with pytest.raises(Mismatched, match="answers another request"):
            client.check("t")
        assert client._socket is None  # noqa: SLF001 - what is still to come must answer nothing


def test_an_event_whose_reply_is_anothers_is_not_taken_for_durable(
    script: Callable[..., str],
) -> None:
    good, other = b'{"ok":true,"id":"e1","ref":"REF"}\n', b'{"ok":true,"id":"e2","ref":"0"}\n'
    with LocalClient(script(good, other)) as client:
        outcomes = client.events([event("e1"), event("e2")])
        assert next(outcomes) == Receipt("e1")
        with pytest.raises(Mismatched):
            next(outcomes)


def test_a_refusal_of_the_whole_connection_needs_no_ref(script: Callable[..., str]) -> None:
    with (
        LocalClient(script(b'{"ok":false,"error":"overloaded"}\n')) as client,
        pytest.raises(Refused, match="overloaded"),
    ):
        client.ping()


async def test_two_threads_that_share_a_client_each_get_their_own_answer(
    sidecar: Sidecar,
) -> None:
    def work() -> None:
        with LocalClient(str(sidecar.path), timeout=10) as client, ThreadPoolExecutor(8) as pool:
            contexts = ["c1", "c2"] * 200
            decisions = pool.map(lambda name: client.check("good", context=name), contexts)
            assert [one.decision for one in decisions] == ["step_up", "allow"] * 200

    await trio.to_thread.run_sync(work)
    assert sidecar.connections == 1


async def test_a_call_over_a_connection_that_watches_is_never_answered_by_a_change(
    sidecar: Sidecar,
) -> None:
    def work() -> None:
        with LocalClient(str(sidecar.path), timeout=10) as client:
            client.start_watching(["s1"])
            trio.from_thread.run(sidecar.say, StandingChange("s1", "step_up"))
            assert client.next_change() == Change("s1", "step_up")
            trio.from_thread.run(sidecar.say, StandingChange("s1", "clear"))
            with pytest.raises(Mismatched):
                client.check("good")

    await trio.to_thread.run_sync(work)


def test_the_client_needs_only_the_standard_library() -> None:
    code = "import sys, json, stepup_client.local; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    tops = {name.partition(".")[0] for name in json.loads(done.stdout)}
    assert tops & {"trio", "msgspec", "httpx", "redis", "yaml"} == set()
