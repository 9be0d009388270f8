"""A sidecar dies between an event's acknowledgement and the telling of what it did."""

import signal
from pathlib import Path

import pytest

from tests.adapters.servers import Server
from tests.stories.running import Client, eventually, token, unique
from tests.system.processes import Process, daemons

SESSIONS = 40
"""Fewer than the lines of one cause that the log has in full: the others it counts, not names."""


@pytest.fixture
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory whose sockets' paths are not too long."""
    return tmp_path_factory.mktemp("k")


def told(*sidecars: Process) -> list[str]:
    return [line["session"] for one in sidecars for line in one.lines("session-marked")]


def test_what_a_killed_sidecar_left_untold_is_told_by_another_once(
    short: Path, valkey_server: Server
) -> None:
    with valkey_server.client() as client:
        client.flushall()
    with daemons(short, valkey_server.url, "first", "taker") as (first, taker):
        sessions = {unique("session") for _ in range(SESSIONS)}
        with Client(str(first.socket)) as client:
            for session in sessions:
                weak = token(unique("user"), session, deviceid="shared")
                assert client.check(weak)["decision"] == "allow"
        # Ended well, so that all is saved; from here on no sidecar has any of them in its view.
        assert first.end() == 0
        with Client(str(taker.socket)) as client:
            reply = client.event(
                "network-change", {"device": "shared"}, data={"segment": "restricted"}
            )
            taker.process.send_signal(signal.SIGKILL)
            taker.process.wait()
        assert reply["ok"] is True
        left = sessions - set(told(taker))
        assert left
        first.start()
        eventually(lambda: left - set(told(first)), lambda untold: not untold, within=20)
        everything = told(first, taker)
        assert len(everything) == len(set(everything))
        # Started anew, the taker finds nothing that is left to do.
        taker.start()
        with valkey_server.client() as client:
            keys = list(client.scan_iter("su:{w*"))
            eventually(lambda: sum(client.xlen(key) for key in keys), lambda n: n == 0, within=20)
        assert len(told(first, taker)) == len(everything)
