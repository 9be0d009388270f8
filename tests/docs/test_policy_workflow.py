"""The commands of the page on policies are run, one after another, as the page says."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest

from benchmarks.recordings import recording

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/policy-workflow.md").read_text()
POLICY = "finance-elsewhere"
WHOM = {"level": "info", "policy": POLICY, "session": "s1", "subject": "ada"}
LOG = [
    {
        "time": "2026-09-21T08:00:00Z",
        "event": "session-would-be-marked",
        "signal": "session-presented",
        **WHOM,
    },
    {
        "time": "2026-09-23T08:00:00Z",
        "event": "would-have-decided",
        "answered": "allow",
        "decision": "step_up",
        **WHOM,
    },
]


def blocks(kind: str) -> list[tuple[str, str]]:
    """What is written in the page's blocks of a kind, each with the rest of its first line."""
    return re.findall(rf"^```{kind} ?([^\n]*)\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def run(place: Path, command: str) -> subprocess.CompletedProcess[str]:
    words = shlex.split(command)
    assert words.pop(0) == "sidecar"
    return subprocess.run(
        [sys.executable, "-m", "sidecar", *words],
        cwd=place,
        env={"PATH": "/usr/bin:/bin", "NO_COLOR": "1", "COLUMNS": "200", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> dict[str, subprocess.CompletedProcess[str]]:
    """Each command of the page, in its order, with how it went."""
    place = tmp_path_factory.mktemp("workflow")
    shutil.copytree(ROOT / "config", place / "config")
    for head, text in blocks("yaml"):
        file = place / head.removeprefix("file=")
        assert not file.exists()
        file.write_text(text)
    lines = islice(recording(users=20), 1500)
    (place / "recording.ndjson").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    (place / "sidecar.log").write_text("".join(f"{json.dumps(line)}\n" for line in LOG))
    commands = [
        line.removeprefix("$ ")
        for _, text in blocks("console")
        for line in text.splitlines()
        if line.startswith("$ ")
    ]
    outcomes = {command: run(place, command) for command in commands}
    (place / "after.yaml").write_text((place / "config/policies/50-trial.yaml").read_text())
    outcomes["after"] = subprocess.CompletedProcess([], 0, (place / "after.yaml").read_text(), "")
    return outcomes


def of(done: dict[str, subprocess.CompletedProcess[str]], words: str) -> str:
    (found,) = [each.stdout for command, each in done.items() if command.startswith(words)]
    return found


def test_every_command_of_the_page_does_what_it_is_for(
    done: dict[str, subprocess.CompletedProcess[str]],
) -> None:
    failed = {command: each.stderr for command, each in done.items() if each.returncode}
    assert failed == {}
    assert len(done) == 7


def test_a_policy_on_trial_is_reported_and_asks_nobody(
    done: dict[str, subprocess.CompletedProcess[str]],
) -> None:
    heard = of(done, "sidecar what-if")
    assert f"{POLICY} [report-only]: step-up" in heard
    assert "report-only" in of(done, "sidecar validate")


def test_the_end_of_it_is_an_enabled_policy_with_its_comments(
    done: dict[str, subprocess.CompletedProcess[str]],
) -> None:
    ((_, written),) = [each for each in blocks("yaml") if "policies" in each[0]]
    assert done["after"].stdout == written.replace("report-only", "enabled")
    dry, real = (each for command, each in done.items() if command.startswith("sidecar promote"))
    assert dry.stdout == real.stdout
    assert "enabled, expect 0.5 marks a day, and at most 0.5 step-ups" in dry.stdout
