"""The file of decisions: rotated, moved, full, taken by another, continued by the next start."""

import json
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from sidecar.adapters.decision_log.file_output import FileOutput, UnusableFile
from sidecar.cli.main import main
from sidecar.service.decisions.decision_log import OutputFailed
from sidecar.service.observations.decision_log import DecisionFileOpened, DecisionFileStuck
from sidecar.wire.decision_log.chain import digest_by
from sidecar.wire.decision_log.settings import DecisionFile

KEY = "k" * 44


class Written:
    """A file that is written; `settings` and `now` change when the test says so."""

    def __init__(self, path: Path, *, chained: bool = True, **settings: Any) -> None:
        self.path = path
        self.now = 1_800_000_000.0
        self.settings = DecisionFile(path=str(path), **settings)
        self.seen: list[DecisionFileOpened | DecisionFileStuck] = []
        digest = digest_by(KEY) if chained else None
        self.output = FileOutput(lambda: self.settings, digest, lambda: self.now, self.seen.append)

    async def write(self, *ids: str) -> None:
        time = f"2027-01-15T08:00:{len(self.seen):02d}.000000Z"
        records = [f'{{"time":"{time}","kind":"decision","id":"{one}"}}' for one in ids]
        await self.output.write([one.encode() for one in records])

    def ids(self, suffix: str = "") -> list[str]:
        """Return the decisions in a file, and what its other records say of the chain."""
        lines = Path(f"{self.path}{suffix}").read_text().splitlines()
        read = [json.loads(line) for line in lines]
        return [one.get("id") or one["chain"] for one in read]


def names(directory: Path) -> list[str]:
    return sorted(one.name for one in directory.iterdir())


def remove(file: Path) -> None:
    file.unlink()


def verify(tmp_path: Path, *options: str) -> int:
    key = tmp_path / "key"
    key.write_text(KEY)
    files = [str(one) for one in sorted(tmp_path.glob("d.log*"))]
    return main(["verify-log", "--key-file", str(key), *options, *files])


async def test_a_file_that_is_too_large_is_rotated_and_the_oldest_goes(tmp_path: Path) -> None:
    written = Written(tmp_path / "d.log", max_bytes=100, keep=2)
    await written.output.start()
    for number in range(4):
        await written.write(f"d{number}")
    assert written.ids(".2") == ["rotated", "d1"]
    assert written.ids(".1") == ["rotated", "d2"]
    assert written.ids() == ["rotated", "d3"]
    assert names(tmp_path) == ["d.log", "d.log.1", "d.log.2", "d.log.head"]
    assert verify(tmp_path) == 0
    remove(Path(f"{written.path}.1"))
    assert verify(tmp_path) == 1


async def test_a_file_that_is_too_old_is_rotated_also_after_a_restart(tmp_path: Path) -> None:
    written = Written(tmp_path / "d.log", max_age=60.0)
    await written.output.start()
    await written.write("one")
    written.output.close()
    again = Written(tmp_path / "d.log", max_age=60.0)
    again.now += 61
    await again.output.start()
    await again.write("two")
    assert (again.ids(".1"), again.ids()) == (["begun", "one", "resumed"], ["rotated", "two"])


async def test_a_file_that_was_renamed_is_begun_anew_and_none_is_lost(tmp_path: Path) -> None:
    written = Written(tmp_path / "d.log")
    await written.output.start()
    await written.write("one")
    written.path.rename(tmp_path / "d.log.moved")
    await written.write("two")
    assert (written.ids(".moved"), written.ids()) == (["begun", "one"], ["moved", "two"])
    (opened,) = written.seen
    assert isinstance(opened, DecisionFileOpened)
    assert (opened.cause, opened.seq) == ("moved", 2)
    written.output.reopen()  # as SIGHUP asks: it is the same file
    await written.write("three")
    assert written.ids() == ["moved", "two", "three"]
    assert verify(tmp_path) == 0


@contextmanager
def room(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond a size, as a full disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_what_a_full_disk_took_in_part_is_taken_back(tmp_path: Path) -> None:
    written = Written(tmp_path / "d.log")
    await written.output.start()
    await written.write("one")
    with room(written.path.stat().st_size + 30), pytest.raises(OutputFailed, match="too large"):
        await written.write("lost")
    await written.write("two")
    assert written.ids() == ["begun", "one", "two"]
    assert verify(tmp_path) == 0


async def test_a_file_that_cannot_be_rotated_is_written_on(tmp_path: Path) -> None:
    written = Written(tmp_path / "d.log", chained=False, max_bytes=10, keep=1)
    await written.output.start()
    (tmp_path / "d.log.1").mkdir()
    await written.write("one")
    await written.write("two")
    assert written.ids() == ["one", "two"]
    assert isinstance(written.seen[0], DecisionFileStuck)


async def test_no_two_write_one_file(tmp_path: Path) -> None:
    first, second = Written(tmp_path / "d.log"), Written(tmp_path / "d.log")
    await first.output.start()
    with pytest.raises(UnusableFile):
        await second.output.start()


@pytest.mark.parametrize(
    "torn", [b"{", b'{"time":"2027-01-', b'{"time":"2027-01-15T08:00:00Z","id']
)
async def test_a_record_that_was_cut_short_is_removed_at_the_next_start(
    tmp_path: Path, torn: bytes
) -> None:
    written = Written(tmp_path / "d.log", chained=False)
    written.path.write_bytes(b'{"time":"2027-01-15T08:00:00.000000Z","id":"whole"}\n' + torn)
    await written.output.start()
    await written.write("one")
    assert written.ids() == ["whole", "one"]


@pytest.mark.parametrize("chained", [False, True])
@pytest.mark.parametrize("content", [b"a\nb", b"users:\n  ada: 1", b"x" * (3 << 20)], ids=len)
async def test_a_file_that_is_another_ones_is_left_as_it_is(
    tmp_path: Path, content: bytes, chained: bool
) -> None:
    written = Written(tmp_path / "d.log", chained=chained)
    written.path.write_bytes(content)
    with pytest.raises(UnusableFile, match="no record of decisions"):
        await written.output.start()
    assert written.path.read_bytes() == content
    assert names(tmp_path) == ["d.log"]


async def test_a_pipe_is_no_file_to_write_to(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "d.log")
    with pytest.raises(UnusableFile, match="no regular file"):
        await Written(tmp_path / "d.log").output.start()


async def test_the_mark_is_written_through_no_link(tmp_path: Path) -> None:
    """Whoever may write the directory must not have the daemon write elsewhere."""
    other = tmp_path / "other"
    other.write_text("theirs")
    (tmp_path / "d.log.head.new").symlink_to(other)
    written = Written(tmp_path / "d.log")
    await written.output.start()
    await written.write("one")
    assert other.read_text() == "theirs"
    assert (tmp_path / "d.log.head").is_file()
    assert verify(tmp_path) == 0


async def test_a_start_goes_on_where_the_last_one_ended(tmp_path: Path) -> None:
    for name in ("one", "two"):
        written = Written(tmp_path / "d.log")
        await written.output.start()
        await written.write(name)
        written.output.close()
    assert written.ids() == ["begun", "one", "resumed", "two"]
    assert verify(tmp_path) == 0
    written.path.rename(tmp_path / "d.log.1")  # while nobody writes
    third = Written(tmp_path / "d.log")
    await third.output.start()
    await third.write("three")
    assert third.ids() == ["resumed", "three"]
    assert verify(tmp_path) == 0


async def test_a_tail_that_was_cut_off_between_two_starts_is_missed(tmp_path: Path) -> None:
    written = Written(tmp_path / "d.log")
    await written.output.start()
    await written.write("one", "two")
    written.output.close()
    lines = written.path.read_bytes().splitlines(keepends=True)
    written.path.write_bytes(b"".join(lines[:-1]))
    assert verify(tmp_path) == 1
    again = Written(tmp_path / "d.log")
    await again.output.start()
    assert verify(tmp_path) == 1


async def test_what_is_of_no_chain_has_another_one_begin_that_says_why(tmp_path: Path) -> None:
    plain = Written(tmp_path / "d.log", chained=False)
    await plain.output.start()
    await plain.write("one")
    plain.output.close()
    with plain.path.open("ab") as file:
        file.write(b'{"time":"torn')
    chained = Written(tmp_path / "d.log")
    await chained.output.start()
    last = json.loads(chained.path.read_text().splitlines()[-1])
    assert chained.ids() == ["one", "begun"]
    assert last["why"] == "the last record of the file is of no chain"


def test_the_command_says_where_and_what(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "d.log"
    file.write_bytes(b"no record\n")
    assert main(["verify-log", str(file)]) == 2
    assert "holds no record of a chain" in capsys.readouterr().err
    assert main(["verify-log", str(tmp_path / "absent")]) == 2


def test_files_are_not_for_everybody(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        written = Written(tmp_path / "d.log")
        written.output._start()  # noqa: SLF001 - as `start` does, in a thread
    finally:
        os.umask(before)
    modes = {one.stat().st_mode & 0o777 for one in tmp_path.iterdir()}
    assert modes == {0o640}
