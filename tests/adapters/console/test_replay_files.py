"""Reports are found in one directory, the latest first; what is none of them is said."""

import os
from pathlib import Path

import pytest

from sidecar.adapters.console.replay_files import MOST_BYTES, MOST_FILES, ReplayFiles
from sidecar.tuning.report.report import encode
from sidecar.wire.console.replay_reports import InvalidReport
from tests.service.replaying import replay
from tests.tuning.replay.recordings import BOTH, TINY


def files(directory: Path) -> ReplayFiles:
    return ReplayFiles(lambda: str(directory))


async def test_reports_are_listed_by_when_they_were_written_and_nothing_else_is(
    tmp_path: Path,
) -> None:
    for number, name in enumerate(("b.json", "a.json", ".hidden.json", "report.html")):
        (tmp_path / name).write_bytes(b"{}")
        os.utime(tmp_path / name, (1000 + number, 1000 + number))
    (tmp_path / "folder.json").mkdir()
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "dangling.json").symlink_to(tmp_path / "nowhere")
    found = await files(tmp_path).listing()
    assert [(one.name, one.written) for one in found.files] == [("a.json", 1001), ("b.json", 1000)]
    assert found.trouble == ""


async def test_a_directory_that_is_not_there_has_none_and_it_is_said_why(tmp_path: Path) -> None:
    found = await files(tmp_path / "nowhere").listing()
    assert found.files == ()
    assert "No such file or directory" in found.trouble


async def test_no_more_than_some_are_listed(tmp_path: Path) -> None:
    for number in range(MOST_FILES + 5):
        (tmp_path / f"{number}.json").write_bytes(b"{}")
    assert len((await files(tmp_path).listing()).files) == MOST_FILES


async def test_a_report_is_read_and_what_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "good.json").write_bytes(encode(replay(TINY, BOTH)))
    (tmp_path / "bad.json").write_bytes(b"{}")
    os.mkfifo(tmp_path / "pipe.json")
    with (tmp_path / "large.json").open("wb") as large:
        large.truncate(MOST_BYTES + 1)
    assert (await files(tmp_path).report("good.json")).recording.users == 2
    for name in ("bad.json", "pipe.json", "large.json", "nowhere.json"):
        with pytest.raises(InvalidReport):
            await files(tmp_path).report(name)
