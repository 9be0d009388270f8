"""Followers of sessions share connections, on which their sessions and no others are watched."""

import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from stepup_client.enforcement.standings import TOGETHER, Standings

from tests.client.daemon import daemon


def waking() -> tuple[threading.Event, Callable[[], None]]:
    event = threading.Event()
    return event, event.set


def test_a_session_that_is_followed_later_is_watched_on_the_same_connection(
    tmp_path: Path,
) -> None:
    with daemon(tmp_path) as here:
        standings = Standings(str(here.path))
        (first, wake_first), (second, wake_second) = waking(), waking()
        with standings.following("s1", wake_first):
            here.do(here.sidecar.until_watched, 1)
            with standings.following("s2", wake_second):
                assert second.wait(10), "it watches anew, so that it may have missed something"
                for event, session in ((first, "s1"), (second, "s2")):
                    event.clear()
                    here.say(session, "revoked")
                    assert event.wait(10)
                assert here.sidecar.connections == 1


def test_many_followed_sessions_are_watched_on_several_connections(tmp_path: Path) -> None:
    with daemon(tmp_path) as here, ExitStack() as stack:
        standings = Standings(str(here.path))
        last, wake = waking()
        for number in range(TOGETHER):
            stack.enter_context(standings.following(f"s{number}", lambda: None))
        stack.enter_context(standings.following("last", wake))
        here.do(here.sidecar.until_watched, 2)
        last.clear()
        here.say("last", "revoked")
        assert last.wait(10)
