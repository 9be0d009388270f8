"""Sidecars are killed under load, one after the other, and nothing that was acknowledged is lost.

The short form runs for some seconds; `make test-long` sets SIDECAR_CHAOS_SECONDS for the long one.
"""

import json
import os
import random
import threading
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest

from tests.adapters.servers import Server
from tests.stories.running import Client, eventually, token, unique
from tests.system.processes import Process, daemons

SECONDS = float(os.environ.get("SIDECAR_CHAOS_SECONDS", "8"))
BOUND = 2.0
"""Seconds after which a mark that was acknowledged must be in force at every live sidecar."""


class Load:
    """A steady load of check, event, check, each on a session of its own, through any sidecar."""

    def __init__(self, sidecars: list[Process], seed: int) -> None:
        self.sidecars = sidecars
        self.choose = random.Random(seed)
        self.acknowledged: list[tuple[float, str, str]] = []
        self.tried: set[str] = set()
        self.wrong: list[str] = []
        self.checks = 0
        self.ending = False

    def ask(self, **request: Any) -> Any:
        """One request to any sidecar; None where that one is just being killed."""
        try:
            with Client(str(self.choose.choice(self.sidecars).socket)) as client:
                return client.ask(**request)
        except (OSError, json.JSONDecodeError):
            sleep(0.02)
            return None

    def run(self) -> None:
        while not self.ending:
            self.begin(unique("user"), unique("session"))
            self.recheck()

    def begin(self, user: str, session: str) -> None:
        weak = token(user, session)
        reply = self.ask(op="check", token=weak, context="c1", ip="192.0.2.1")
        if reply is None or reply.get("decision") != "allow":
            return
        event = {
            "type": "network-change",
            "id": f"mark-{session}",
            "subject": {"session": session},
            "data": {"segment": "restricted"},
        }
        self.tried.add(session)  # a killed sidecar may have kept it without saying so
        reply = self.ask(op="event", **event)
        if reply is not None and reply["ok"]:
            self.acknowledged.append((monotonic(), session, weak))

    def recheck(self) -> None:
        """A check of a session whose mark was acknowledged more than the bound ago."""
        settled = [one for one in self.acknowledged if monotonic() - one[0] > BOUND]
        if not settled:
            return
        _, session, weak = self.choose.choice(settled)
        reply = self.ask(op="check", token=weak, context="c1", ip="192.0.2.1")
        if reply is not None:
            self.checks += 1
            if reply.get("decision") == "allow":
                self.wrong.append(session)


@pytest.fixture
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory whose sockets' paths are not too long."""
    return tmp_path_factory.mktemp("k")


def test_what_was_acknowledged_survives_the_kill_of_any_sidecar(
    short: Path, valkey_server: Server
) -> None:
    with valkey_server.client() as client:
        client.flushall()
    with daemons(short, valkey_server.url, "a", "b", "c") as sidecars:
        loads = [Load(sidecars, seed) for seed in range(2)]
        threads = [threading.Thread(target=load.run) for load in loads]
        for thread in threads:
            thread.start()
        victims = random.Random(7)
        end = monotonic() + SECONDS
        kills = 0
        while monotonic() < end:
            sleep(1)
            victim = victims.choice(sidecars)
            victim.process.kill()
            victim.process.wait()
            kills += 1
            victim.start()
        for load in loads:
            load.ending = True
        for thread in threads:
            thread.join()
        acknowledged = [one for load in loads for one in load.acknowledged]
        assert kills >= 3
        assert len(acknowledged) > 20
        assert sum(load.checks for load in loads) > 20
        assert [name for load in loads for name in load.wrong] == []
        for sidecar in sidecars:
            with Client(str(sidecar.socket)) as client:
                for _, _, weak in acknowledged:
                    eventually(
                        lambda weak=weak, client=client: client.check(weak)["decision"],
                        lambda found: found == "step_up",
                    )
        told = [line["session"] for one in sidecars for line in one.lines("session-marked")]
        assert len(told) == len(set(told))
        assert set(told) <= {session for load in loads for session in load.tried}
