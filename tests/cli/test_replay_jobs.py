"""Several processes replay as one does, and one that ends early ends the command."""

import json
import threading
from itertools import islice
from pathlib import Path

import pytest

from benchmarks.recordings import recording
from sidecar.cli.exit_status import Stop
from sidecar.cli.replay_jobs import Prepare, ReplayJobs
from tests.cli.command import sidecar
from tests.cli.replay_prepared import failing, killed
from tests.service.replaying import SETTINGS, begin, call
from tests.tuning.replay.recordings import BOTH, TEN

LINES = [
    *islice(recording(users=15), 500),
    begin(TEN, "s1", "ada"),
    {**call(TEN + 5, session="s2"), "user": "bob"},
    call(TEN + 9, session="s1", away=True),
    "nothing",
]


async def test_any_number_of_processes_gives_the_same_report(tmp_path: Path) -> None:
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "all.yaml").write_text(BOTH)
    (tmp_path / "sidecar.yaml").write_text(SETTINGS)
    recorded = tmp_path / "recorded.ndjson"
    recorded.write_text("".join(f"{json.dumps(line)}\n" for line in LINES))
    reports = []
    for jobs in ("1", "2", "3"):
        done = await sidecar(
            *("replay", str(recorded), "--config", str(tmp_path / "sidecar.yaml")),
            *("--json", "-", "--jobs", jobs, "--threshold", "risky"),
        )
        assert done.status == 0
        assert done.err == f"{recorded}:504: (line): must be one JSON object\n"
        reports.append(done.out)
    assert reports[0] == reports[1] == reports[2]
    assert json.loads(reports[0])["recording"]["occurrences"] == len(LINES) - 1


@pytest.mark.parametrize(
    ("prepare", "words"),
    [(killed, "was killed by signal 9"), (failing, "ValueError: the policies are odd")],
)
@pytest.mark.parametrize("threads", [0, 1], ids=["a copy", "started anew"])
def test_a_process_that_ends_early_is_a_clear_error(
    prepare: Prepare, words: str, threads: int
) -> None:
    over = threading.Event()
    others = [threading.Thread(target=over.wait) for _ in range(threads)]
    for other in others:
        other.start()
    try:
        with ReplayJobs(2, prepare) as jobs, pytest.raises(Stop) as stopped:
            jobs.finish()
    finally:
        over.set()
        for other in others:
            other.join()
    message = str(stopped.value)
    assert message.startswith("sidecar replay: a process that replayed some of the users ")
    assert words in message
