"""What is remembered of sessions that made room, and what memory it takes."""

import os

from benchmarks.memory import resident
from sidecar.service.view.live_session import Identity, Live, Tracked
from sidecar.service.view.upkeep.departed import Departed

NOW = 1_800_000_000.0


def session(n: int) -> Live:
    own, users, locator = (Tracked(key, 0) for key in (b"own", b"users", b"locator"))
    return Live(Identity("https://id.example", "ada", f"session-{n}"), own, users, locator)


def test_a_session_that_comes_back_knows_until_when_it_is_kept_and_once() -> None:
    departed = Departed(100)
    live = session(1)
    live.expires_at = NOW + 3600
    departed.note(live)
    first, second, other = session(1), session(1), session(2)
    for one in (other, first, second):
        departed.recall(one, NOW)
    assert [one.expires_at for one in (other, first, second)] == [0.0, NOW + 3600, 0.0]


def test_what_is_kept_no_longer_is_not_recalled() -> None:
    departed = Departed(100)
    live = session(1)
    live.expires_at = NOW - 1
    departed.note(live)
    again = session(1)
    departed.recall(again, NOW)
    assert again.expires_at == 0.0


def test_to_look_for_sessions_that_never_departed_takes_no_memory() -> None:
    departed = Departed(200_000)  # fifty mebibytes, if all of it were given
    departed.recall(session(0), NOW)
    before = resident(os.getpid())
    for n in range(5000):
        departed.recall(session(n), NOW)
    assert resident(os.getpid()) - before < 4 * 2**20
