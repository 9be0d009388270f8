import json
from pathlib import Path

import pytest
import trio

from sidecar.adapters.admin.listener import AdminApp
from sidecar.adapters.listening.asgi import Listener
from sidecar.adapters.telemetry.telemetry import PrometheusTelemetry
from sidecar.service.admin.health import Health
from sidecar.wire.settings.settings import Log, Settings
from tests.cli.command import Done, sidecar
from tests.cli.session_book import Book
from tests.tuning.trial.trial_log import SAID, Daemon

POLICIES = """\
policies:
  # On trial.
  - id: p
    state: report-only  # since March
    conditions: {changed: [device]}
    grant: mfa
  - id: other
    conditions: {changed: [ip]}
    grant: mfa
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "trial.yaml").write_text(POLICIES)
    (tmp_path / "sidecar.yaml").write_text("app: {id: payroll}\n")
    (tmp_path / "sidecar.log").write_bytes(b"\n".join([*Daemon().log, b"not ours", b""]))
    return tmp_path / "sidecar.yaml"


def policies(config: Path) -> Path:
    return config.parent / "policies" / "trial.yaml"


async def promote(config: Path, *words: str) -> Done:
    return await sidecar("promote", "--config", str(config), *words)


async def test_a_policy_is_promoted_in_its_file_with_what_to_expect_of_it(config: Path) -> None:
    file = policies(config)
    file.chmod(0o640)
    done = await promote(config, "p", "--log", str(config.parent / "sidecar.log"))
    assert (done.status, done.err) == (0, "")
    lines = done.out.splitlines()
    assert lines[:8] == [
        "p, report-only from 1970-01-01 00:16Z to 1970-01-03 00:16Z (2.0 days)",
        "  would have set 3 marks (network-change 2, risk-signal 1); 2 sessions of 3 users",
        "  calls: 2 allow -> step_up",
        "  calls: 1 allow -> deny",
        "  calls: 1 step_up by others, too",
        "enabled, expect 1.5 marks a day, and at most 1.0 step-ups and 0.5 refusals",
        "  that rests on 3 marks in 2.0 days: from 0.3 to 4.4 a day",
        "  it is less than a week: what comes on other days of the week is not in it",
    ]
    assert "+    state: enabled  # since March" in lines
    assert file.read_text() == POLICIES.replace("report-only", "enabled")
    assert file.stat().st_mode & 0o777 == 0o640
    assert sorted(each.name for each in file.parent.iterdir()) == ["trial.yaml"]
    again = await promote(config, "p", "--force")
    assert (again.status, again.err) == (2, "sidecar promote: p: it is enabled already\n")


async def test_a_dry_run_shows_the_difference_and_changes_nothing(config: Path) -> None:
    done = await promote(config, "p", "--dry-run", "--log", str(config.parent / "sidecar.log"))
    assert done.status == 0
    assert "-    state: report-only  # since March\n" in done.out
    assert policies(config).read_text() == POLICIES


async def test_where_nothing_is_known_nothing_is_changed_unless_forced(config: Path) -> None:
    done = await promote(config, "p")
    assert done.status == 1
    assert "nothing is known of p" in done.err
    assert policies(config).read_text() == POLICIES
    assert (await promote(config, "p", "--force")).status == 0
    assert policies(config).read_text() != POLICIES


async def test_a_link_stays_a_link(config: Path) -> None:
    file, target = policies(config), config.parent / "elsewhere.yaml"
    file.rename(target)
    file.symlink_to(target)
    assert (await promote(config, "p", "--force")).status == 0
    assert file.is_symlink()
    assert target.read_text() == POLICIES.replace("report-only", "enabled")


async def test_counts_come_from_running_daemons(config: Path, nursery: trio.Nursery) -> None:
    telemetry = PrometheusTelemetry(Settings(log=Log(level="error")))
    for observation in SAID:
        telemetry.record(observation)
    listener = Listener("127.0.0.1:0", AdminApp(Health(), telemetry, Book()))
    (url,) = await nursery.start(listener.run)
    done = await promote(config, "p", "--metrics", f"{url}/metrics", "--json", "--dry-run")
    listener.stop()
    assert done.status == 0
    printed = json.loads(done.out)
    assert (printed["marks"], printed["sessions"]) == (3, None)
    assert printed["changes"][0] == {"answered": "allow", "decision": "step_up", "calls": 2}
    gone = await promote(config, "p", "--metrics", f"{url}/metrics")
    assert gone.status == 2
    assert "nobody answers" in gone.err


@pytest.mark.parametrize(
    ("words", "printed"),
    [
        (("q",), "sidecar promote: q: there is no such policy"),
        (("p", "--log", "none.log"), "none.log: No such file or directory"),
        (("p", "--policies", "nowhere"), "there is no such directory"),
    ],
)
async def test_what_is_wrong_is_reported(
    config: Path, words: tuple[str, ...], printed: str
) -> None:
    done = await promote(config, *words)
    assert done.status == 2
    assert printed in done.err


async def test_a_state_that_other_policies_share_is_left_alone(config: Path) -> None:
    shared = POLICIES.replace("  - id: other\n", "  - id: other\n    state: *tried\n")
    policies(config).write_text(shared.replace("state: report", "state: &tried report"))
    done = await promote(config, "p", "--force")
    assert done.status == 2
    assert "write it out" in done.err
