import json
import multiprocessing
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from stepup_client.connection.calls import Calls
from stepup_client.connection.protocol import Change, Refused, Stale, Unreachable
from stepup_client.local import LocalClient
from stepup_client.pool import PooledClient

from tests.client.daemon import Daemon, daemon
from tests.client.events import event


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Daemon]:
    with daemon(tmp_path) as running:
        yield running


def test_many_threads_share_few_connections(running: Daemon) -> None:
    with PooledClient(str(running.path), connections=3) as client, ThreadPoolExecutor(20) as pool:
        contexts = ["c1", "c2"] * 100
        decisions = pool.map(lambda name: client.check("good", context=name), contexts)
        assert [one.decision for one in decisions] == ["step_up", "allow"] * 100
    assert running.sidecar.connections <= 3


def test_a_refusal_keeps_its_connection(running: Daemon) -> None:
    with PooledClient(str(running.path)) as client:
        for _ in range(3):
            with pytest.raises(Refused, match="invalid_token"):
                client.check("bad")
        assert client.event(event("e1"), wait_everywhere=True).settled
    assert running.sidecar.connections == 1


def test_changes_are_reported_beside_the_pool(running: Daemon) -> None:
    with PooledClient(str(running.path), connections=1) as client:
        heard: list[Change] = []

        def watch() -> None:
            changes = client.watch(["s1"])
            heard.append(next(changes))
            changes.close()

        watcher = threading.Thread(target=watch)
        watcher.start()
        running.do(running.sidecar.until_watched)
        client.ping()
        running.say("s1", "revoked")
        watcher.join()
        assert heard == [Change("s1", "revoked")]


def test_a_restarted_daemon_is_found_again(running: Daemon) -> None:
    with PooledClient(str(running.path)) as client:
        client.ping()
        running.stop()
        with pytest.raises(Unreachable):
            client.ping()
        running.start()
        client.ping()


class Breaking:
    """Answers the first request of each connection, and breaks it upon the second."""

    def __init__(self, path: str) -> None:
        self.seen: list[bytes] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(path)
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            with peer, peer.makefile("rb") as lines:
                self.seen.append(lines.readline())
                reply = {"ok": True, "id": "x", "ref": json.loads(self.seen[-1])["ref"]}
                peer.sendall(json.dumps(reply).encode() + b"\n")
                self.seen.append(lines.readline())

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()


@pytest.fixture
def breaking(tmp_path: Path) -> Iterator[tuple[str, Breaking]]:
    path = str(tmp_path / "breaking.sock")
    peer = Breaking(path)
    yield path, peer
    peer.close()


@pytest.mark.parametrize("request_", [{"op": "ping"}, {"op": "event", "id": "e1"}])
def test_what_counts_once_is_sent_once_more_when_an_old_connection_breaks(
    breaking: Any, request_: dict[str, str]
) -> None:
    path, peer = breaking
    with PooledClient(path) as client:
        client.ping()
        if request_["op"] == "ping":
            client.ping()
        else:
            assert client.event(event("e1")).id == "x"
    assert len([line for line in peer.seen if line]) == 3


def test_an_event_without_an_id_is_never_sent_twice(breaking: Any) -> None:
    path, peer = breaking
    nameless = {name: value for name, value in event("x").items() if name != "id"}
    with PooledClient(path) as client:
        client.ping()
        with pytest.raises(Stale):
            client.event(nameless)
    assert len([line for line in peer.seen if line]) == 2


def test_no_turn_in_time_is_an_error(tmp_path: Path) -> None:
    path = str(tmp_path / "silent.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        with PooledClient(path, timeout=0.2, connections=1) as client:
            failures = []

            def ping() -> None:
                with pytest.raises(Unreachable) as raised:
                    client.ping()
                failures.append(str(raised.value))

            threads = [threading.Thread(target=ping) for _ in range(3)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    assert any("busy" in failure for failure in failures)


def _check_in_child(client: Calls, answers: Any) -> None:
    answers.put([client.check("good", context="c2").decision for _ in range(200)])


@pytest.mark.parametrize("kind", [LocalClient, PooledClient])
def test_a_forked_process_has_connections_of_its_own(
    running: Daemon, kind: type[LocalClient] | type[PooledClient]
) -> None:
    # A thread of the parent may hold any lock at the fork: only the client is in question here.
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    with kind(str(running.path)) as client:
        client.ping()
        child = context.Process(target=_check_in_child, args=(client, answers))
        child.start()
        own = [client.check("good", context="c1").decision for _ in range(200)]
        assert answers.get(timeout=20) == ["allow"] * 200
        child.join()
        assert own == ["step_up"] * 200
        client.ping()
    assert running.sidecar.connections == 2
