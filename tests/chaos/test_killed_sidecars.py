"""Sidecars are killed under load, one after the other, and nothing that was acknowledged is lost.

The short form runs for some seconds; `make test-long` sets SIDECAR_CHAOS_SECONDS for the long one.
"""

import os
import random
from pathlib import Path
from time import monotonic, sleep

import pytest

from tests.adapters.servers import Server
from tests.chaos.load import Loads
from tests.system.processes import Process, daemons, level
from tests.waiting import eventually

SECONDS = float(os.environ.get("SIDECAR_CHAOS_SECONDS", "8"))
BOUND = 2.0
"""Seconds after which a mark that was acknowledged must be in force at every live sidecar."""


@pytest.fixture
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory whose sockets' paths are not too long."""
    return tmp_path_factory.mktemp("k")


def heard(sidecars: list[Process], *, again: bool = False) -> list[str]:
    """The sessions of whose marks these have reported, the first time or `again`."""
    lines = [line for one in sidecars for line in one.lines("session-marked")]
    return [str(line["session"]) for line in lines if line.get("again", False) is again]


def test_what_was_acknowledged_survives_the_kill_of_any_sidecar(
    short: Path, valkey_server: Server
) -> None:
    with valkey_server.client() as client:
        client.flushall()
    with daemons(short, valkey_server.url, "a", "b", "c") as sidecars:
        sockets = [str(one.socket) for one in sidecars]
        victims = random.Random(7)
        end = monotonic() + SECONDS
        kills = counted = 0
        with Loads(sockets, bound=BOUND) as loads:
            # A slow machine takes longer over its kills, and is not let off any.
            while monotonic() < end or kills < 3:
                sleep(1)  # the pace of killing
                victim = victims.choice(sidecars)
                counted += int(level(victim, "sidecar_marks_total{"))
                victim.process.kill()
                victim.process.wait()
                kills += 1
                victim.start()
        assert len(loads.acknowledged) > 20
        assert loads.total("checks") > 20
        assert loads.total("repeated") > 5
        loads.must_hold(sockets)
        # None twice but what says so: not in any log, and not in the counts of all lives together,
        # which lack only what was counted between a life's last scrape and its end.
        named = heard(sidecars)
        assert len(named) == len(set(named))
        assert set(named) <= loads.tried
        counted += sum(int(level(one, "sidecar_marks_total{")) for one in sidecars)
        assert counted <= len(named) + len(heard(sidecars, again=True))
        # And not too few: what those that died left is reported by others.
        eventually(
            lambda: (
                {one.session for one in loads.acknowledged}
                - {*heard(sidecars), *heard(sidecars, again=True)}
            ),
            lambda unheard: not unheard,
            within=30,
        )
