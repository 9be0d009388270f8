"""`sidecar demo` as a process: the real daemon, provider, store, socket and HTTP."""

import os
import re
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests import plain_http

ENDS_BY = 60.0
COMMAND = (sys.executable, "-m", "sidecar")
ROOT = Path(__file__).parents[2]


@pytest.fixture
def place() -> Iterator[Path]:
    """A temporary directory with a short name, as sockets need."""
    with tempfile.TemporaryDirectory(prefix="d-") as directory:
        yield Path(directory)


def environment(place: Path, **more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SIDECAR_")}
    return {**kept, "TMPDIR": str(place), "PYTHONPATH": str(ROOT), **more}


@contextmanager
def demo(place: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [*COMMAND, "demo", *arguments],
        env=environment(place),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def read_until(process: subprocess.Popen[str], wanted: str) -> str:
    """What it prints, up to and with the line that holds `wanted`."""
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if wanted in line:
            return "".join(lines)
    pytest.fail(f"{wanted!r} never came:\n{''.join(lines)}\n{process.communicate()[1]}")


def sidecar(place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        env=environment(place),
        capture_output=True,
        text=True,
        timeout=ENDS_BY,
        check=False,
    )


def test_the_demo_acts_its_story_out_and_leaves_nothing_behind(place: Path) -> None:
    # Settings of a real daemon must not reach the demo's.
    ended = subprocess.run(
        [*COMMAND, "demo", "--once"],
        env=environment(place, SIDECAR_STORE__URL="redis://nowhere.invalid:1/0"),
        capture_output=True,
        text=True,
        timeout=ENDS_BY,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, ""), ended.stdout
    page = ended.stdout
    steps = [
        "signs in with a password",
        "200 allow",
        "marked",
        "200 allow, step-up pending",
        "401 step up",
        'error="insufficient_user_authentication"',
        'acr_values="mfa"',
        "signs in again as the challenge asks",
        "from Lisbon",
        'acr_values="phr phrh"',
        "403 deny",
        "401 invalid token",
        "sidecar_marks_total",
        "all as expected",
    ]
    at = 0
    for step in steps:
        assert step in page[at:], f"{step!r} does not come (in this order):\n{page}"
        at = page.index(step, at)
    assert "✗" not in page
    assert "\x1b" not in page
    assert list(place.iterdir()) == []


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_a_demo_that_is_left_running_can_be_tried_and_ends_cleanly(
    place: Path, ending: signal.Signals
) -> None:
    with demo(place) as process:
        page = read_until(process, "EDITOR")
        (directory,) = place.glob("sidecar-demo-*")
        token = directory / "alice.token"
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
        assert stat.S_IMODE(token.stat().st_mode) == 0o600
        shown = re.search(r"export SIDECAR_SOCKET=(\S+)", page)
        assert shown is not None
        named = re.search(r"--session (\S+)", page)
        assert named is not None
        at = ("--socket", shown[1])
        check = ("check", *at, "--token-file", str(token), "--context", "c1")
        assert sidecar(place, *check).returncode == 0
        emit = ("emit", *at, "--type", "network-change", "--session", named[1])
        assert sidecar(place, *emit, "--data", "segment=restricted").returncode == 0
        challenged = sidecar(place, *check)
        assert challenged.returncode == 1
        assert "acr_values: mfa" in challenged.stdout
        url = re.search(r"curl -X POST (\S+)", page)
        assert url is not None
        assert plain_http.get(url[1], trust_env=False).status_code == 405
        assert plain_http.post(url[1], trust_env=False).status_code == 200
        assert sidecar(place, *check).returncode == 0
        process.send_signal(ending)
        assert process.wait(ENDS_BY) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""
    assert list(place.iterdir()) == []


def test_a_story_that_is_interrupted_fails_and_leaves_nothing_behind(place: Path) -> None:
    with demo(place, "--once") as process:
        read_until(process, "starting the daemon")
        process.send_signal(signal.SIGTERM)
        assert process.wait(ENDS_BY) == 1
        assert process.stderr is not None
        assert process.stderr.read() == ""
    assert list(place.iterdir()) == []
