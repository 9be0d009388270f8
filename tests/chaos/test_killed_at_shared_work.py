"""A sidecar is killed at work on very many sessions, which it shares: another goes on."""

from pathlib import Path

import pytest

from sidecar.service.audit.pager import SLICE
from tests.adapters.servers import serving
from tests.stories.crowd import settle
from tests.stories.running import Client
from tests.system.processes import Process, daemons, level
from tests.waiting import eventually

SESSIONS = 10_000
RISKS = """\
policies:
  - id: users-at-risk
    contexts: {include: [c1]}
    conditions: {user_risk: {at_least: high}}
    grant: mfa
"""


def marks(sidecar: Process) -> int:
    return int(level(sidecar, "sidecar_marks_total{"))


def heard(*sidecars: Process, again: bool = False) -> list[str]:
    """The sessions of whose marks these have reported, the first time or `again`."""
    lines = [line for one in sidecars for line in one.lines("session-marked")]
    return [str(line["session"]) for line in lines if line.get("again", False) is again]


def test_the_sessions_of_a_large_event_are_reported_once_though_a_sidecar_dies_on_the_way(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    directory: Path = tmp_path_factory.mktemp("f")
    with serving() as server, daemons(directory, server.url, "a", "b", policies=RISKS) as both:
        a, b = both
        with server.client() as client:
            settle(client, SESSIONS, risky=0, per_user=SESSIONS)
        with Client(str(a.socket)) as sender:
            event = {"subject": {"user": "user-0"}, "data": {"current_level": "HIGH"}}
            assert sender.event("risk-level-change", id="rise", **event)["ok"]
        before = eventually(
            lambda: marks(a) + marks(b), lambda count: count > SESSIONS / 10, within=60, every=0.05
        )
        by_a = marks(a)
        a.process.kill()
        a.process.wait()
        assert before < SESSIONS
        eventually(
            lambda: level(b, "sidecar_fan_out_sessions_done "),
            lambda done: done >= SESSIONS,
            within=120,
            every=0.1,
        )
        # The log names the first sessions of an event alone, and metrics count them all. None is
        # reported twice, but of a slice that `a` had reported and not yet marked as reported.
        sessions = heard(a, b)
        assert len(sessions) == len(set(sessions))
        assert set(sessions) <= {f"crowd-{n}" for n in range(SESSIONS)}
        assert 0 < marks(b) <= SESSIONS - by_a + SLICE
        assert len(heard(b, again=True)) <= SLICE


def test_a_re_score_of_all_sessions_is_finished_by_others_where_a_sidecar_dies(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    directory: Path = tmp_path_factory.mktemp("r")
    with serving() as server, daemons(directory, server.url, "a", "b") as both:
        a, b = both
        # What they asked for at their start is done before there is anything to do.
        known = len(eventually(lambda: rescored(*both), bool))
        with server.client() as client:
            settle(client, SESSIONS, risky=2)
        (directory / "policies" / "two.yaml").write_text(RISKS)
        eventually(
            lambda: len(heard(a)), lambda count: count > SESSIONS / 20, within=30, every=0.05
        )
        a.process.kill()
        a.process.wait()
        before = len(heard(a, b))
        lines = eventually(
            lambda: rescored(a, b), lambda lines: len(lines) > known, within=120, every=0.1
        )
        assert max(line["sessions"] for line in lines) >= SESSIONS
        sessions = heard(a, b)
        risky = {f"crowd-{n}" for n in range(SESSIONS) if n // 4 % 2 == 0}
        twice = heard(b, again=True)
        assert len(sessions) == len(set(sessions))
        assert {*sessions, *twice} == risky
        assert len(twice) <= SLICE
        assert len(sessions) > before


def rescored(*sidecars: Process) -> list[dict[str, object]]:
    return [line for one in sidecars for line in one.lines("all-sessions-rescored")]
