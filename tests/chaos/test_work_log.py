"""A sidecar dies between an event's acknowledgement and the reporting of what it did."""

import signal
from pathlib import Path
from time import sleep

import pytest

from sidecar.adapters.telemetry.sampled_lines import IN_FULL
from tests.adapters.servers import Server
from tests.stories.running import Client, token, unique
from tests.system.processes import Process, daemons
from tests.waiting import eventually

SESSIONS = 200
NAMED = 40
"""Fewer sessions than the lines of one event that the log has in full."""


@pytest.fixture
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory whose sockets' paths are not too long."""
    return tmp_path_factory.mktemp("k")


def heard(*sidecars: Process, again: bool = False) -> list[str]:
    """The sessions of whose marks these have reported, the first time or `again`."""
    lines = [line for one in sidecars for line in one.lines("session-marked")]
    return [line["session"] for line in lines if line.get("again", False) is again]


def counted(*sidecars: Process) -> int:
    """How many marks the log reports, named or not."""
    lines = [line for one in sidecars for line in one.lines("session-marked")]
    return sum(1 + line.get("and", 0) for line in lines)


@pytest.mark.parametrize(
    ("many", "after"),
    [
        (NAMED, 0.003),
        (SESSIONS, 0.0),
        pytest.param(NAMED, 0.0, marks=pytest.mark.long),
        pytest.param(NAMED, 0.006, marks=pytest.mark.long),
        pytest.param(SESSIONS, 0.006, marks=pytest.mark.long),
    ],
)
def test_what_a_killed_sidecar_left_unreported_is_reported_by_another(
    short: Path, valkey_server: Server, many: int, after: float
) -> None:
    with valkey_server.client() as client:
        client.flushall()
    with daemons(short, valkey_server.url, "first", "taker") as (first, taker):
        sessions = {unique("session") for _ in range(many)}
        shown = [token(unique("user"), session, deviceid="shared") for session in sessions]
        with Client(str(first.socket)) as client:
            for weak in shown:
                assert client.check(weak)["decision"] == "allow"
        # Ended well, so that all is saved; from here on no sidecar has any of them in its view.
        assert first.end() == 0
        with Client(str(taker.socket)) as client:
            reply = client.event(
                "network-change", {"device": "shared"}, data={"segment": "restricted"}
            )
            sleep(after)  # at any moment: what it has done until then is what is looked at
            taker.process.send_signal(signal.SIGKILL)
            taker.process.wait()
        assert reply["ok"] is True
        first.start()
        # No mark is lost with it, whoever reported it or did not.
        with Client(str(first.socket)) as client:
            assert {client.check(weak, "c1")["decision"] for weak in shown} == {"step_up"}
        if many == NAMED:
            eventually(
                lambda: sessions - set(heard(first, taker)) - set(heard(first, taker, again=True)),
                lambda unheard: not unheard,
                within=20,
            )
        else:
            # Of what it had counted and not written the log says no more; else of each.
            named = min(IN_FULL, counted(taker))
            eventually(
                lambda: counted(first, taker),
                lambda found: found >= many or len(heard(taker)) == named == IN_FULL,
                within=20,
            )
        once, twice = heard(first, taker), heard(first, again=True)
        assert len(once) == len(set(once))
        assert set(once) | set(twice) <= sessions
        assert not heard(taker, again=True)
        # Started anew, the taker finds nothing that is left to do.
        taker.start()
        with valkey_server.client() as client:
            keys = list(client.scan_iter("su:{w*"))
            eventually(lambda: sum(client.xlen(key) for key in keys), lambda n: n == 0, within=20)
        assert (heard(first, taker), heard(first, taker, again=True)) == (once, twice)
