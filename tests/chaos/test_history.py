"""The history while sidecars are killed: each transition is there once, in order, with its cause.

The events are dated a week ago and more, so that at the end the sessions are over for that long.
The short form has some hundred of them; `make test-long` runs 100,000, or SIDECAR_HISTORY_EVENTS.
"""

import json
import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import redis

from sidecar.adapters import clock
from tests.adapters.servers import Server
from tests.stories.running import Client
from tests.system.processes import Process, daemons
from tests.waiting import eventually

POLICIES = """\
policies:
  - id: restricted-segment
    contexts: {include: [c1]}
    conditions: {networks: {include: [restricted]}}
    grant: mfa
  - id: risky-user
    contexts: {include: [c1]}
    conditions: {user_risk: {at_least: high}}
    grant: mfa
"""

DAY = 86_400
MANY = int(os.environ.get("SIDECAR_HISTORY_EVENTS", "100000"))
BATCH = 32
SENDERS = 4
ADMIN = "an-admin-credential-for-this-test"


class Round(NamedTuple):
    """One event of each session: what it is, and what the history has of it afterwards.

    `seconds` after the first round it is dated; `found` are kind, policy and reason of the entries.
    """

    type: str
    seconds: int
    data: dict[str, Any]
    found: tuple[tuple[str, str, str], ...]
    of_user: bool = False


ROUNDS = (
    Round(
        "session-established",
        0,
        {"acr": "single-factor", "ip": "192.0.2.1"},
        (("proof", "", ""), ("signal", "", "session-established")),
    ),
    Round(
        "network-change",
        100,
        {"segment": "restricted"},
        (("signal", "", "network-change"), ("marked", "restricted-segment", "")),
    ),
    Round(
        "assurance-level-change",
        200,
        {"namespace": "RFC8176", "current_level": "mfa", "change_direction": "increase"},
        (
            ("signal", "", "assurance-level-change"),
            ("proof", "", ""),
            ("cleared", "restricted-segment", "proof"),
        ),
    ),
    Round(
        "risk-level-change",
        300,
        {"current_level": "HIGH"},
        (("signal", "", "risk-level-change"), ("marked", "risky-user", "")),
        of_user=True,
    ),
    Round(
        "risk-level-change",
        400,
        {"current_level": "LOW"},
        (("signal", "", "risk-level-change"), ("cleared", "risky-user", "withdrawn")),
        of_user=True,
    ),
    Round(
        "session-revoked",
        500,
        {"reason": "stolen"},
        (("signal", "", "session-revoked"), ("revoked", "", "")),
    ),
)


class Senders:
    """Send events to any of the sidecars, until each was acknowledged by one."""

    def __init__(self, sockets: list[str]) -> None:
        self._sockets = sockets
        self._refused: list[Any] = []

    def send(self, events: list[dict[str, Any]]) -> None:
        """Send all, by several at once; an event that was not acknowledged is sent again."""
        shares = [events[place::SENDERS] for place in range(SENDERS)]
        threads = [
            threading.Thread(target=self._send, args=(share, random.Random(place)))
            for place, share in enumerate(shares)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not self._refused, self._refused[:3]

    def _send(self, events: list[dict[str, Any]], choose: random.Random) -> None:
        left = events
        while left:
            batch = left[:BATCH]
            left = [*self._try(batch, choose.choice(self._sockets)), *left[BATCH:]]

    def _try(self, batch: list[dict[str, Any]], socket: str) -> list[dict[str, Any]]:
        """Return what was not acknowledged."""
        done = 0
        try:
            with Client(socket) as client:
                client.send(*batch)
                for _ in batch:
                    reply = client.read()
                    if not reply["ok"]:
                        if reply["error"] not in {"overloaded", "unavailable"}:
                            self._refused.append(reply)
                        break
                    done += 1
        except (OSError, json.JSONDecodeError):
            time.sleep(0.05)  # the pace of trying: it is being killed
        return batch[done:]


class Killer:
    """Kills one sidecar after the other for as long as something is sent."""

    def __init__(self, sidecars: list[Process], *, after: float) -> None:
        self._sidecars = sidecars
        self._after = after
        self._choose = random.Random(11)
        self.kills = 0

    def beside(self, sending: threading.Thread) -> None:
        """Kill and start until it is over, and once at least."""
        while sending.is_alive() or not self.kills:
            sending.join(self._after * (0.5 + self._choose.random()))
            victim = self._choose.choice(self._sidecars)
            victim.process.kill()
            victim.process.wait()
            self.kills += 1
            victim.start()


def event(number: int, at: Round, began: int) -> dict[str, Any]:
    subject = {"user": f"user-{number}"}
    if not at.of_user:
        subject["session"] = f"session-{number}"
    data = dict(at.data)
    if at.type == "session-established":
        data["auth_time"] = began - 10
    return {
        "op": "event",
        "type": at.type,
        "id": f"{at.type}-{at.seconds}-{number}",
        "time": began + at.seconds,
        "subject": subject,
        "data": data,
    }


def entries(client: redis.Redis) -> int:
    """Count the entries of all users' histories."""
    keys = list(client.scan_iter("su:{u*}:h", count=1000))
    with client.pipeline(transaction=False) as pipe:
        for key in keys:
            pipe.hlen(key)
        return int(sum(pipe.execute())) - len(keys)  # without the field of its first


def history(sidecar: Process, number: int, *more: str) -> str:
    """Ask as an operator does."""
    command = [sys.executable, "-m", "sidecar", "history", "--user", f"user-{number}"]
    command += ["--url", sidecar.admin, "--timeout", "30", *more]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def assert_found(found: list[dict[str, Any]], number: int) -> None:
    """Assert that all there was is there once, in order, and says by which events."""
    assert [one["time"] for one in found] == sorted(one["time"] for one in found)
    named = [(one["kind"], one.get("policy", ""), one.get("what", "")) for one in found]
    assert named == [each for one in ROUNDS for each in one.found]
    causes = {one["policy"]: one["by"] for one in found if one["kind"] == "marked"}
    assert causes == {
        "restricted-segment": [["app", f"network-change-100-{number}"]],
        "risky-user": [["app", f"risk-level-change-300-{number}"]],
    }


@pytest.fixture
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory whose sockets' paths are not too long."""
    return tmp_path_factory.mktemp("k")


@pytest.mark.parametrize("events", [180, pytest.param(MANY, marks=pytest.mark.long)])
def test_each_transition_is_there_once_in_order_with_its_cause_whoever_is_killed(
    short: Path, valkey_server: Server, monkeypatch: pytest.MonkeyPatch, events: int
) -> None:
    sessions = events // len(ROUNDS) + (events % len(ROUNDS) > 0)
    monkeypatch.setenv("SIDECAR_ADMIN__TOKEN", ADMIN)
    types = sorted({one.type for one in ROUNDS})
    app = {"name": "app", "uids": [os.getuid()], "may": types, "may_prove": True}
    began = int(clock.now()) - 8 * DAY
    with valkey_server.client() as client:
        client.flushall()
        with daemons(
            short, valkey_server.url, "a", "b", "c", policies=POLICIES, extra={"sources": [app]}
        ) as sidecars:
            senders = Senders([str(one.socket) for one in sidecars])
            killer = Killer(sidecars, after=0.5 if events < MANY else 5)
            found = 0
            for number, one in enumerate(ROUNDS):
                batch = [event(session, one, began) for session in range(sessions)]
                sending = threading.Thread(target=senders.send, args=(batch,))
                sending.start()
                if number % 2:
                    killer.beside(sending)
                sending.join()
                found += sessions * len(one.found)
                eventually(
                    lambda: entries(client),
                    lambda n, most=found: n >= most,
                    within=120 + events / 50,
                )
                assert entries(client) == found
            for key in client.scan_iter("su:{u*}:s:*"):
                client.delete(key)  # long over: the store knows the sessions no more
            for number in random.Random(3).sample(range(sessions), min(sessions, 12)):
                assert_found(json.loads(history(sidecars[0], number, "--json"))["entries"], number)
            assert killer.kills >= len(ROUNDS) // 2
            assert history(sidecars[0], 1, "--since", "7d") == ""
            said = history(sidecars[0], 1)
    assert "session session-1: marked by policy restricted-segment" in said
    assert "network moved to restricted (source app)" in said
    assert "session session-1: over until a later sign-in: stolen (source app)" in said
