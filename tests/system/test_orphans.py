"""The daemon as process 1 of a PID namespace, as in a container."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.waiting import eventually

UNSHARE = ("unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child")


def can_unshare() -> bool:
    if shutil.which("unshare") is None or shutil.which("nsenter") is None:
        return False
    return subprocess.run([*UNSHARE, "true"], capture_output=True, check=False).returncode == 0


def children(process: int) -> dict[int, str]:
    """The state of each child of a process, by its number."""
    found = {}
    for file in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = file.read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue  # it has ended meanwhile
        if int(parent) == process:
            found[int(file.parent.name)] = state
    return found


@pytest.fixture
def first(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A daemon with a store of its own, as process 1; its number outside of the namespace."""
    directory = tmp_path_factory.mktemp("o")
    (directory / "policies").mkdir()
    (directory / "policies" / "none.yaml").write_text("policies: []\n")
    config = directory / "a.yaml"
    listeners = {"http": {"enabled": False}, "admin": {"enabled": False}}
    config.write_text(json.dumps({"socket": {"path": str(directory / "a.sock")}, **listeners}))
    log = directory / "log"
    with (
        log.open("wb") as lines,
        subprocess.Popen(
            [*UNSHARE, sys.executable, "-m", "sidecar", "run", "--config", str(config)],
            stderr=lines,
            env={**os.environ, "PYTHONPATH": str(Path.cwd())},
        ) as outer,
    ):
        try:
            eventually(lambda: '"started"' in log.read_text(), bool, within=20)
            (pid,) = children(outer.pid)
            yield pid
            assert outer.poll() is None, log.read_text()
        finally:
            outer.kill()


@pytest.mark.skipif(not can_unshare(), reason="no PID namespace can be made here")
def test_orphans_are_taken_up_and_the_embedded_store_is_not(first: int, tmp_path: Path) -> None:
    (store,) = children(first)
    fifo = tmp_path / "wait"
    os.mkfifo(fifo)
    enter = ["nsenter", "--target", str(first), "--user", "--pid", "--preserve-credentials"]
    orphans = f"for n in 1 2 3 4 5; do (read line < {fifo}) & done"
    subprocess.run([*enter, "sh", "-c", orphans], check=True, stdin=subprocess.DEVNULL)
    eventually(lambda: len(children(first)), lambda many: many == 6)
    fifo.write_text("on\n" * 5)
    eventually(lambda: children(first).keys(), lambda left: left == {store})
    assert children(first)[store] in {"S", "R"}
