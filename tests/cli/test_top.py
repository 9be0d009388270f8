"""`sidecar top`, against a real daemon."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from rich.console import Console

from sidecar.cli.top_frame import Frame, Scrape, quantiles
from sidecar.cli.top_view import drawn
from sidecar.domain.policy.conditional_access import Networks, Selection
from sidecar.wire.settings.settings import Admin, Settings
from tests.adapters.servers import Server
from tests.cli.command import CLEAN, Done, on_a_terminal, sidecar
from tests.domain.scenes import policy
from tests.stories.running import Pods, running, token, unique

POLICIES = (policy(Networks(Selection(frozenset({"restricted"}))), name="segment"),)


class Shown(NamedTuple):
    """A daemon with a marked session, and the file of its credential."""

    pods: Pods
    file: Path
    session: str

    async def top(self, *words: str, terminal: int = 0, **environ: str) -> Done:
        ask = partial(on_a_terminal, terminal) if terminal else sidecar
        url = self.pods.addresses[0].admin[0]
        given = {"SIDECAR_ADMIN__TOKEN_FILE": str(self.file), **environ}
        return await ask("top", "--interval", "0.05", "--url", url, *words, **given)


@pytest.fixture(scope="module")
def shown(valkey_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    file = tmp_path_factory.mktemp("top") / "admin"
    file.write_text("operator\n")

    def change(settings: Settings, _: int) -> Settings:
        return msgspec.structs.replace(settings, admin=Admin(bind="127.0.0.1:0", token="operator"))

    with running(valkey_server.url, POLICIES, 1, change) as pods:
        (client,) = pods.clients
        session = unique("top-session")
        bearer = token(unique("top-user"), session)
        assert client.check(bearer)["decision"] == "allow"
        about = {"session": session, "issuer": "https://id.example"}
        client.event("network-change", about, data={"segment": "restricted"}, wait="everywhere")
        assert client.check(bearer)["decision"] == "step_up"
        pods.sweep()
        yield Shown(pods, file, session)


async def test_one_frame_shows_the_daemon_at_a_glance(shown: Shown) -> None:
    done = await shown.top("--once")
    assert (done.status, done.err) == (0, "")
    rows = {line.split("  ")[0].strip(): line for line in done.out.splitlines() if line.strip()}
    assert "yes" in rows["ready"]
    assert "allow" in rows["checks"]
    assert "step_up" in rows["checks"]
    assert "up" in rows["store"]
    assert "city: " in rows["databases"]
    assert "issuer 0: " in rows["keys"]
    assert "not as it should be" not in done.out
    assert any("segment" in line and shown.session in line for line in done.out.splitlines())


async def test_programs_get_it_as_json(shown: Shown) -> None:
    done = await shown.top("--once", "--json")
    frame: Any = json.loads(done.out)
    assert frame["status"] == "ok"
    assert frame["checks_total"]["step_up"] >= 1
    assert frame["marks_active"] >= 1
    assert len(frame["policy_set"]) > 8
    mine = [one for one in frame["latest_marks"] if one["session"] == shown.session]
    assert [(one["policy"], one["signal"]) for one in mine] == [("segment", "network-change")]
    assert "restricted" in mine[0]["reason"]
    msgspec.convert(frame, Frame)


async def test_a_terminal_gets_it_in_its_width(shown: Shown) -> None:
    done = await shown.top("--once", terminal=60)
    assert done.status == 0
    lines = re.sub(r"\x1b\[[0-9;]*m", "", done.out).splitlines()
    assert all(len(line) <= 60 for line in lines), lines


async def test_what_is_wrong_says_what_to_do(shown: Shown) -> None:
    wrong = shown.file.with_name("wrong")
    wrong.write_text("nobody\n")
    refused = await shown.top("--once", SIDECAR_ADMIN__TOKEN_FILE=str(wrong))
    assert refused.status == 2
    assert "this is not the daemon's admin credential" in refused.err
    gone = await shown.top("--once", "--url", "http://127.0.0.1:9")
    assert gone.status == 2
    assert "nobody answers" in gone.err
    assert "--url" in gone.err
    none = await shown.top("--once", SIDECAR_ADMIN__TOKEN_FILE="")
    assert "--admin-token-file" in none.err


def test_quantiles_lie_within_their_buckets() -> None:
    name = "sidecar_check_seconds_bucket"
    bounds = ("0.001", "0.01", "+Inf")

    def scraped(*counts: int) -> Scrape:
        pairs = zip(bounds, counts, strict=True)
        return Scrape(0.0, {name: {(("le", bound),): float(count) for bound, count in pairs}})

    before, now = scraped(5, 5, 5), scraped(55, 105, 105)
    half, most = quantiles(before, now, (0.25, 0.99))
    assert half == pytest.approx(0.0005)
    assert most is not None
    assert 0.009 < most < 0.01
    assert [*quantiles(now, now, (0.5,))] == [None]
    assert [*quantiles(before, scraped(5, 5, 9), (0.5,))] == [0.01]


def test_nothing_that_is_shown_steers_a_terminal() -> None:
    evil = "\x1b[2J[bold]"
    names: dict[str, Any] = dict.fromkeys(("url", "version", "status", "policy_set"), evil)
    numbers: dict[str, Any] = dict.fromkeys(
        ("seconds", "events", "events_total", "marks", "marks_total", "store_staleness"), 1.0
    )
    counts: dict[str, Any] = dict.fromkeys(
        ("marks_active", "sessions", "spooled", "dead_letters"), 1
    )
    frame = Frame(
        at=0.0,
        **names,
        **numbers,
        **counts,
        conditions=[{"name": evil, "state": evil, "reason": evil}],
        loaded_age=1.0,
        reload_failed=True,
        restart_required=True,
        checks={evil: 1.0},
        checks_total={evil: 1.0},
        check_seconds=[0.1, None],
        store_up=False,
        keys={evil: 100.0},
        databases={evil: 1e6},
        latest_marks=[],
        rescore={"state": "running", "done": 1, "expected": 2},
    )
    shown = StringIO()
    Console(file=shown, force_terminal=False, width=200).print(drawn(frame, evil))
    text = shown.getvalue()
    assert "\x1b" not in text
    assert "[bold]" in text
    assert "not as it should be" in text


def test_on_a_terminal_frames_follow_one_another_until_the_user_ends_it(shown: Shown) -> None:
    ours, its = pty.openpty()
    url = shown.pods.addresses[0].admin[0]
    words = [sys.executable, "-m", "sidecar", "top", "--interval", "0.05", "--url", url]
    environ = {**CLEAN, "TERM": "xterm", "SIDECAR_ADMIN__TOKEN_FILE": str(shown.file)}
    # A shell starts what it has in the background with this signal ignored, and so would we.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    with subprocess.Popen(words, stdin=its, stdout=its, stderr=its, env=environ) as process:
        signal.signal(signal.SIGINT, before)
        os.close(its)
        read = b""
        while read.count(b"latest marks") < 3:
            read += os.read(ours, 65536)
        process.send_signal(signal.SIGINT)
        with suppress(OSError):  # nobody has the other end any more
            while os.read(ours, 65536):
                pass
        assert process.wait(20) == 0
    os.close(ours)
