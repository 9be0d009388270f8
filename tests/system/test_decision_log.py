"""The log of decisions of real processes: moved, continued after a kill, and unread."""

import json
import os
import signal
from pathlib import Path

from sidecar.cli.main import main
from tests.adapters.servers import Server
from tests.stories.running import Client, token, unique
from tests.system.processes import Process, daemons, level
from tests.waiting import eventually


def ids_in(file: Path) -> list[str]:
    lines = file.read_text().splitlines() if file.exists() else []
    return [one["id"] for one in map(json.loads, lines) if one["kind"] == "decision"]


def ask(sidecar: Process, count: int = 1) -> list[str]:
    """Check a call so often; return the ids of the decisions."""
    shown = token(unique("user"), unique("session"))
    with Client(str(sidecar.socket)) as client:
        client.send(*[{"op": "check", "token": shown, "context": "c1"}] * count)
        return [client.read()["id"] for _ in range(count)]


def test_no_decision_is_lost_by_a_rotation_a_restart_or_a_kill(
    tmp_path: Path, valkey_server: Server
) -> None:
    file, moved = tmp_path / "decisions.log", tmp_path / "decisions.log.moved"
    log = {"output": "file", "chain": "plain", "file": {"path": str(file)}}
    with daemons(tmp_path, valkey_server.url, "a", extra={"decision_log": log}) as (sidecar,):
        before = ask(sidecar, 3)
        eventually(lambda: ids_in(file), before.__eq__)
        file.rename(moved)  # as logrotate does
        sidecar.process.send_signal(signal.SIGHUP)
        between = ask(sidecar, 2)
        eventually(lambda: ids_in(file), between.__eq__)
        assert ids_in(moved) == before
        assert level(sidecar, "sidecar_decision_log_up") == 1
        sidecar.process.kill()
        sidecar.process.wait()
        sidecar.start()
        last = ask(sidecar, 4)
        assert sidecar.end() == 0  # what is still in the queue is written
        assert ids_in(file) == [*between, *last]
    assert main(["verify-log", *(str(one) for one in tmp_path.glob("decisions.log*"))]) == 0


def test_a_reader_that_does_not_read_holds_up_no_check(
    tmp_path: Path, valkey_server: Server
) -> None:
    pipe = tmp_path / "out"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    within = ("sh", "-c", f'exec "$@" > {pipe}', "sh")
    log = {"decision_log": {"output": "stdout", "queue": 100}}
    with daemons(tmp_path, valkey_server.url, "a", extra=log, within=within) as (sidecar,):
        answered: list[str] = []
        dropped = "sidecar_decision_log_dropped_total"
        while not level(sidecar, dropped):
            answered += ask(sidecar, 400)
        os.set_blocking(reader, True)
        with os.fdopen(reader, "rb") as stream:
            records = [json.loads(stream.readline())]
            while records[-1]["kind"] != "dropped":
                records.append(json.loads(stream.readline()))
            # What waits goes on its way now; the end of the process is the end of the file.
            sidecar.process.send_signal(signal.SIGTERM)
            records += map(json.loads, stream)
        assert sidecar.process.wait(60) == 0
    logged = [one["id"] for one in records if one["kind"] == "decision"]
    lost = sum(sum(one["dropped"].values()) for one in records if one["kind"] == "dropped")
    assert set(logged) <= set(answered)
    assert len(logged) + lost == len(answered)
