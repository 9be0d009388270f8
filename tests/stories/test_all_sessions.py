"""Policies change: all sessions in the store are re-scored, and fresh signals do not wait for it.

The short form has 20,000 sessions; SIDECAR_SCALE_SESSIONS=1000000 makes it the long one.
"""

import json
import os
import statistics
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter

import pytest

from tests.adapters.servers import Server, serving
from tests.stories.crowd import settle
from tests.stories.running import Client, token, unique
from tests.system.processes import Process, daemons, level
from tests.waiting import eventually

SESSIONS = int(os.environ.get("SIDECAR_SCALE_SESSIONS", "20000"))
RISKY = 10
SAMPLES = 40
WITHIN = 60 + SESSIONS / 200
"""Seconds after which something hangs."""

RATIO = 25
"""Far more than is seen: the machine that runs this has other things to do."""

MORE = """\
policies:
  - id: users-at-risk
    contexts: {include: [c1]}
    conditions: {user_risk: {at_least: high}}
    grant: mfa
"""


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as one:
        yield one


def progress(sidecar: Process) -> tuple[float, float]:
    """Sessions done and expected."""
    return (
        level(sidecar, "sidecar_rescore_sessions_done "),
        level(sidecar, "sidecar_rescore_sessions_expected "),
    )


def signal_to_check(here: Client, there: Client) -> float:
    """Seconds until a check elsewhere is challenged for a signal that came in here."""
    session = unique("fresh")
    weak = token(unique("visitor"), session)  # a `user-N` is of the crowd, and may be at risk
    found = there.check(weak)
    assert found["decision"] == "allow", found
    event = {"subject": {"session": session}, "data": {"segment": "restricted"}}
    begun = perf_counter()
    assert here.event("network-change", id=f"e-{session}", **event)["ok"]
    eventually(lambda: there.check(weak)["decision"], lambda found: found == "step_up")
    return perf_counter() - begun


def test_fresh_signals_do_not_wait_for_the_re_score_of_all_sessions(
    tmp_path_factory: pytest.TempPathFactory, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    # More than the usual share, for the sake of whoever waits for the tests.
    monkeypatch.setenv("SIDECAR_WORK__RESCORE_SHARE", "0.8")
    # On a machine without time for it, a sidecar must not take its store for gone.
    monkeypatch.setenv("SIDECAR_STORE__TIMEOUT", "20")
    monkeypatch.setenv("SIDECAR_SESSIONS__MAX_STALENESS", "60")
    directory: Path = tmp_path_factory.mktemp("s")
    with daemons(directory, server.url, "a", "b") as both:
        # What the daemons ask for at their start is done while the store is empty.
        eventually(lambda: done(both), lambda lines: len(lines) == 1)
        with server.client() as client:
            settle(client, SESSIONS, risky=RISKY)
        with Client(str(both[0].socket)) as a, Client(str(both[1].socket)) as b:
            before = [signal_to_check(a, b) for _ in range(SAMPLES)]
            (directory / "policies" / "two.yaml").write_text(MORE)
            eventually(
                lambda: max(progress(one)[1] for one in both),
                lambda expected: expected >= SESSIONS,
                within=WITHIN,
                every=0.05,
            )
            during: list[float] = []
            while len(done(both)) < 2 and len(during) < 3 * SAMPLES:
                during.append(signal_to_check(a, b))
        assert len(during) >= SAMPLES
        assert statistics.median(during) < RATIO * statistics.median(before)
        eventually(lambda: done(both), lambda lines: len(lines) == 2, within=WITHIN, every=0.5)
        assert int(str(done(both)[-1]["sessions"])) >= SESSIONS
        assert max(progress(one)[0] for one in both) >= SESSIONS
        marked = [
            line["session"]
            for one in both
            for line in one.lines("session-marked")
            if line["policy"] == "users-at-risk"
        ]
        risky = {f"crowd-{n}" for n in range(SESSIONS) if n // 4 % RISKY == 0}
        assert len(marked) == len(set(marked))
        assert set(marked) == risky
        assert sum(rescored(one) for one in both) == len(risky)  # the others are passed over
        assert all(rescored(one) > len(risky) / 10 for one in both)  # they share the work
        report = {
            "sessions": SESSIONS,
            "seconds": done(both)[-1]["seconds"],
            "samples": len(during),
            "before": statistics.median(before),
            "during": statistics.median(during),
        }
        print(json.dumps(report))  # noqa: T201


def rescored(sidecar: Process) -> float:
    return level(sidecar, 'sidecar_rescored_sessions_total{cause="reload"}')


def done(sidecars: list[Process]) -> list[dict[str, object]]:
    lines = [line for one in sidecars for line in one.lines("all-sessions-rescored")]
    return sorted(lines, key=lambda line: str(line["time"]))
