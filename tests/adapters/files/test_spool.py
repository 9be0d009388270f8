"""The spool on real files: what it acknowledges it keeps, whatever becomes of process and disk."""

import errno
import os
import stat
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
import trio
import trio.testing

from sidecar.adapters.files.spool import FileSpool
from sidecar.adapters.files.spool_segments import SpoolInUse
from sidecar.domain.facts.signal import CredentialChange, SessionRevoked, Signal, Subject
from sidecar.domain.values.stamp import Stamp
from sidecar.service.observations.observations import SpoolIncident, SpoolTrouble
from sidecar.service.ports.calls import Overloaded, Unavailable
from sidecar.wire.settings.settings import SpoolSettings
from sidecar.wire.store.spool_records import MAGIC, SALT_BYTES, encode_record
from tests.adapters.spool_writer import event

ROOT = Path(__file__).parents[3]


class Opened:
    """A spool that runs, and what it has reported."""

    def __init__(self, spool: FileSpool, reported: list[SpoolIncident], states: list[str]) -> None:
        self.spool = spool
        self.reported = reported
        self.states = states

    @property
    def troubles(self) -> list[SpoolTrouble]:
        return [incident.trouble for incident in self.reported]

    async def keep(self, *numbers: int) -> None:
        for number in numbers:
            await self.spool.keep(event(number))

    async def all(self) -> list[Signal]:
        """Return everything that waits, in order."""
        return [
            signal
            for segment in await self.spool.segments()
            for signal in await self.spool.read(segment)
        ]

    async def accept_all(self) -> None:
        """Accept and remove everything, as if the store had taken it."""
        for segment in await self.spool.segments():
            for signal in await self.spool.read(segment):
                self.spool.accepted(signal)
            await self.spool.remove(segment)


@asynccontextmanager
async def opened(
    directory: Path,
    sync: Callable[[int], None] = os.fsync,
    share_of: Callable[[str], float] = lambda _source: 1.0,
    **settings: object,
) -> AsyncIterator[Opened]:
    reported: list[SpoolIncident] = []
    states: list[str] = []
    spool = FileSpool(
        SpoolSettings(dir=str(directory), **settings),  # type: ignore[arg-type] # by name
        on_incident=reported.append,
        on_state=states.append,
        sync=sync,
        share_of=share_of,
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(spool.run)
        yield Opened(spool, reported, states)
        nursery.cancel_scope.cancel()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "spool"


def files(directory: Path, suffix: str = ".spool") -> list[Path]:
    return sorted(file for file in directory.iterdir() if file.suffix == suffix)


def place(directory: Path, **contents: bytes) -> None:
    """A directory that somebody else has made, with what lies in it."""
    directory.mkdir(mode=0o755)
    for name, content in contents.items():
        (directory / name).write_bytes(content)


def modes(directory: Path) -> dict[str, int]:
    found = {".": directory, **{file.name: file for file in directory.iterdir()}}
    return {name: stat.S_IMODE(file.stat().st_mode) for name, file in found.items()}


async def test_what_is_kept_comes_back_in_order_after_a_restart(directory: Path) -> None:
    async with opened(directory) as first:
        await first.keep(*range(20))
        assert first.spool.waiting == 20
    async with opened(directory) as second:
        assert second.spool.waiting == 20
        assert await second.all() == [event(number) for number in range(20)]
        await second.keep(20)
        assert await second.all() == [event(number) for number in range(21)]
        assert second.states == [""]


async def test_what_is_accepted_is_removed_and_does_not_come_again(directory: Path) -> None:
    async with opened(directory) as one:
        await one.keep(1, 2)
        await one.accept_all()
        assert one.spool.waiting == 0
        assert not files(directory)
    async with opened(directory) as again:
        assert await again.all() == []


async def test_segments_are_bounded_and_go_one_by_one(directory: Path) -> None:
    async with opened(directory, segment_bytes=500) as one:
        await one.keep(*range(40))
        segments = await one.spool.segments()
        assert len(segments) > 5
        assert max(file.stat().st_size for file in files(directory)) < 700
        first = await one.spool.read(segments[0])
        for signal in first:
            one.spool.accepted(signal)
        await one.spool.remove(segments[0])
        assert one.spool.waiting == 40 - len(first)
        assert [int(s.stamp.id[1:]) for s in await one.all()] == list(range(len(first), 40))


async def test_directory_and_files_are_nobody_elses_to_read(directory: Path) -> None:
    place(directory)
    async with opened(directory) as one:
        await one.keep(1)
        assert modes(directory) == {".": 0o700, "lock": 0o600, "0000000000000001.spool": 0o600}


async def test_two_daemons_cannot_share_a_directory(directory: Path) -> None:
    async with opened(directory):
        with pytest.RaisesGroup(pytest.RaisesExc(SpoolInUse, match="lock")):
            async with opened(directory):
                raise AssertionError("it opened")
    async with opened(directory) as later:
        await later.keep(1)


class Disk:
    """Stands for the disk under `fsync`: it can be slow, and it can fail."""

    def __init__(self) -> None:
        self.syncs = 0
        self.error: OSError | None = None
        self.entered = threading.Event()
        self.go_on = threading.Event()
        self.go_on.set()

    def sync(self, fd: int) -> None:
        self.syncs += 1
        self.entered.set()
        assert self.go_on.wait(20)
        if self.error is not None:
            raise self.error
        os.fsync(fd)


async def test_nothing_is_acknowledged_before_it_is_synced(directory: Path) -> None:
    disk = Disk()
    async with opened(directory, disk.sync) as one:
        acknowledged = []
        await one.keep(0)
        disk.go_on.clear()
        disk.entered.clear()

        async def keep() -> None:
            await one.keep(1)
            acknowledged.append(1)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(keep)
            assert await trio.to_thread.run_sync(disk.entered.wait, 20)
            await trio.testing.wait_all_tasks_blocked()
            assert acknowledged == []
            disk.go_on.set()
        assert acknowledged == [1]


async def test_many_at_a_time_share_one_sync(directory: Path) -> None:
    disk = Disk()
    async with opened(directory, disk.sync) as one:
        await one.keep(0)
        before = disk.syncs
        disk.go_on.clear()
        disk.entered.clear()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.keep, 1)
            assert await trio.to_thread.run_sync(disk.entered.wait, 20)
            for number in range(2, 202):
                nursery.start_soon(one.keep, number)
            await trio.testing.wait_all_tasks_blocked()
            disk.go_on.set()
        assert disk.syncs - before == 2
        assert one.spool.waiting == 202


async def test_a_failed_sync_acknowledges_nothing_and_ends_the_segment(directory: Path) -> None:
    disk = Disk()
    async with opened(directory, disk.sync) as one:
        await one.keep(1)
        suspect = files(directory)
        disk.error = OSError(errno.EIO, os.strerror(errno.EIO))
        for number in (2, 3):
            with pytest.raises(Unavailable, match="Input/output error"):
                await one.keep(number)
        assert one.troubles == [SpoolTrouble.WRITE]
        assert one.states == ["", "the spool cannot be written: Input/output error"]
        disk.error = None
        await one.keep(4)
        assert one.states[-1] == ""
        assert await one.all() == [event(1), event(4)]
        assert len(files(directory)) == 2
        assert files(directory)[:1] == suspect
    async with opened(directory) as later:
        assert await later.all() == [event(1), event(4)]


async def test_without_fsync_nothing_is_synced(directory: Path) -> None:
    disk = Disk()
    async with opened(directory, disk.sync, fsync=False) as one:
        await one.keep(1)
    assert disk.syncs == 0


async def test_a_full_spool_refuses_and_has_room_again_once_replayed(directory: Path) -> None:
    async with opened(directory, max_events=3) as one:
        await one.keep(1, 2, 3)
        for number in (4, 5):
            with pytest.raises(Overloaded):
                await one.keep(number)
        assert one.troubles == [SpoolTrouble.FULL]
        assert "3 events wait" in one.states[-1]
        assert await one.all() == [event(1), event(2), event(3)]
        await one.accept_all()
        assert one.states[-1] == ""
        await one.keep(4)


async def test_a_source_fills_its_share_alone_and_revocations_are_the_last_to_be_refused(
    directory: Path,
) -> None:
    def said(number: int, source: str, *, revokes: bool = False) -> Signal:
        kind = SessionRevoked if revokes else CredentialChange
        stamp = Stamp(1_700_000_000_000_000 + number, f"e{number}")
        return kind(stamp=stamp, subject=Subject("ada"), source=source)

    shares = {"app": 0.5, "idp": 1.0}
    async with opened(directory, max_events=20, share_of=shares.__getitem__) as one:
        for number in range(9):  # of the twenty two are kept free for revocations
            await one.spool.keep(said(number, "app"))
        with pytest.raises(Overloaded):
            await one.spool.keep(said(9, "app"))
        assert one.states[-1:] == [""], "that a source has used up its share is no trouble"
        for number in range(10, 19):
            await one.spool.keep(said(number, "idp"))
        with pytest.raises(Overloaded):
            await one.spool.keep(said(19, "idp"))
        for number in (20, 21):
            await one.spool.keep(said(number, "app", revokes=True))
        with pytest.raises(Overloaded):
            await one.spool.keep(said(22, "idp", revokes=True))
    async with opened(directory, max_events=40, share_of=shares.__getitem__) as again:
        for number in range(30, 37):  # what an earlier daemon left counts, too
            await again.spool.keep(said(number, "app"))
        with pytest.raises(Overloaded):
            await again.spool.keep(said(37, "app"))


async def test_the_bound_on_events_holds_with_many_at_once(directory: Path) -> None:
    refused: list[int] = []

    async def keep(number: int) -> None:
        try:
            await one.keep(number)
        except Overloaded:
            refused.append(number)

    async with opened(directory, max_events=10) as one:
        async with trio.open_nursery() as nursery:
            for number in range(50):
                nursery.start_soon(keep, number)
        assert len(refused) == 41  # one is kept free for a revocation
        assert len(await one.all()) == one.spool.waiting == 9


async def test_the_bound_on_bytes_holds_with_many_at_once_and_after_a_restart(
    directory: Path,
) -> None:
    kept = []

    async def keep(one: Opened, number: int) -> None:
        try:
            await one.keep(number)
        except Overloaded:
            return
        kept.append(number)

    for start in (0, 200):
        async with (
            opened(directory, max_bytes=5000, segment_bytes=1000) as one,
            trio.open_nursery() as nursery,
        ):
            for number in range(start, start + 200):
                nursery.start_soon(keep, one, number)
        assert sum(file.stat().st_size for file in files(directory)) <= 5000
    assert len(kept) > 20
    async with opened(directory) as later:
        assert sorted(s.stamp.id for s in await later.all()) == sorted(f"e{n}" for n in kept)


async def test_a_torn_tail_is_reported_and_costs_nothing_that_was_acknowledged(
    directory: Path,
) -> None:
    async with opened(directory) as one:
        await one.keep(1, 2)
    (segment,) = files(directory)
    with segment.open("ab") as file:
        file.write(b"\0\0\0\x40half")
    async with opened(directory) as later:
        assert later.spool.waiting == 2
        assert await later.all() == [event(1), event(2)]
        assert later.troubles == [SpoolTrouble.TORN]
        assert later.states == [""]
        await later.accept_all()
    assert not files(directory)
    assert not files(directory, ".damaged")


async def test_damage_in_the_middle_is_reported_and_the_segment_kept_for_a_human(
    directory: Path,
) -> None:
    async with opened(directory, segment_bytes=300) as one:
        await one.keep(*range(12))
    victim = files(directory)[0]
    data = bytearray(victim.read_bytes())
    data[60] ^= 0xFF
    victim.write_bytes(data)
    async with opened(directory) as later:
        back = [int(signal.stamp.id[1:]) for signal in await later.all()]
        assert back == list(range(1, 12))
        assert later.troubles == [SpoolTrouble.DAMAGED]
        assert victim.name in later.states[-1]
        await later.accept_all()
        assert later.spool.waiting == 0
    assert not files(directory)
    assert [file.read_bytes() for file in files(directory, ".damaged")] == [data]


@pytest.mark.parametrize("content", [b"not ours at all", MAGIC[:-1] + b"2" + bytes(40)])
async def test_a_foreign_file_is_reported_and_set_aside(directory: Path, content: bytes) -> None:
    place(directory, **{"0000000000000007.spool": content, "README": b"somebody's notes"})
    async with opened(directory) as one:
        await one.keep(1)
        assert await one.all() == [event(1)]
        assert one.troubles == [SpoolTrouble.DAMAGED]
        await one.accept_all()
    assert [file.read_bytes() for file in files(directory, ".damaged")] == [content]
    assert set(modes(directory)) == {".", "lock", "README", "0000000000000007.damaged"}


@pytest.fixture
def obstacle(directory: Path) -> Path:
    directory.write_text("in the way")
    return directory


async def test_a_file_where_the_directory_should_be_is_reported_and_nothing_acknowledged(
    obstacle: Path,
) -> None:
    async with opened(obstacle) as one:
        assert one.troubles == [SpoolTrouble.OPEN]
        for _ in range(2):
            with pytest.raises(Unavailable, match="cannot be opened"):
                await one.keep(1)
        assert await one.spool.segments() == []
        assert one.troubles == [SpoolTrouble.OPEN]
        await trio.Path(obstacle).unlink()
        await one.keep(2)
        assert one.states[-1] == ""
        assert await one.all() == [event(2)]


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting is not permitted here")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def remount(place: Path, mode: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{mode}", str(place)], check=True)


async def test_a_full_disk_is_reported_and_nothing_acknowledged_that_is_not_kept(
    mounted: Path,
) -> None:
    kept: list[int] = []
    async with opened(mounted / "spool", segment_bytes=8192) as one:

        async def fill() -> None:
            for number in range(5000):
                await one.keep(number)
                kept.append(number)

        with pytest.raises(Unavailable, match="No space left on device"):
            await fill()
        assert one.troubles == [SpoolTrouble.WRITE]
        assert await one.all() == [event(number) for number in kept]
        await one.accept_all()
        await one.keep(9999)
        assert one.states[-1] == ""
    async with opened(mounted / "spool") as later:
        assert await later.all() == [event(9999)]


async def test_a_read_only_directory_is_reported_and_nothing_acknowledged(mounted: Path) -> None:
    async with opened(mounted / "spool") as one:
        await one.keep(1)
    remount(mounted, "ro")
    async with opened(mounted / "spool") as later:
        assert later.troubles == [SpoolTrouble.OPEN]
        with pytest.raises(Unavailable, match="Read-only file system"):
            await later.keep(2)
        remount(mounted, "rw")
        await later.keep(3)
        assert await later.all() == [event(1), event(3)]


def writer(directory: Path, *more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.adapters.spool_writer", str(directory), *more],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )


async def test_all_that_a_killed_process_had_acknowledged_is_there(directory: Path) -> None:
    acknowledged: set[str] = set()
    for _ in range(3):
        with writer(directory) as process:
            assert process.stdout is not None
            lines = [process.stdout.readline() for _ in range(400)]
            process.kill()
            lines += process.stdout.readlines()
        acknowledged |= {line.split()[1] for line in lines if line.endswith("\n")}
        assert {line.split()[0] for line in lines if line.endswith("\n")} == {"kept"}
    async with opened(directory) as later:
        there = {signal.stamp.id for signal in await later.all()}
        assert acknowledged <= there
        assert set(later.troubles) <= {SpoolTrouble.TORN}


async def test_a_write_that_fails_halfway_is_not_acknowledged_and_not_believed(
    directory: Path,
) -> None:
    # Files may not grow beyond 3000 bytes: a write is cut off there, the next one fails.
    with writer(directory, "3000") as process:
        assert process.stdout is not None
        lines: list[list[str]] = []
        while sum(line[0] == "refused" for line in lines) < 3:
            lines.append(process.stdout.readline().split())
        process.kill()
        lines += [line.split() for line in process.stdout.readlines() if line.endswith("\n")]
    kept = {words[1] for words in lines if words[0] == "kept"}
    assert any(words[:2] == ["reported", "write"] for words in lines)
    async with opened(directory) as later:
        there = [signal.stamp.id for signal in await later.all()]
        assert kept <= set(there)
        assert len(there) == len(set(there))
        assert set(later.troubles) <= {SpoolTrouble.TORN}


async def test_a_segment_that_cannot_be_read_is_reported_once_and_holds_up_no_other(
    directory: Path,
) -> None:
    async with opened(directory, segment_bytes=300) as one:
        await one.keep(*range(12))
        first, second, *_ = await one.spool.segments()
        lost = trio.Path(files(directory)[0])
        aside = await lost.rename(directory / "elsewhere")
        for _ in range(3):
            with pytest.raises(Unavailable, match="cannot be read"):
                await one.spool.read(first)
            assert await one.spool.read(second)
        assert one.troubles == [SpoolTrouble.READ]
        assert one.states[-1] != ""
        await aside.rename(lost)
        assert await one.spool.read(first)
        assert one.states[-1] == ""


async def test_events_of_a_newer_version_are_reported_kept_for_it_and_not_waited_for(
    directory: Path,
) -> None:
    async with opened(directory) as one:
        await one.keep(1)
    segment = files(directory)[0]
    data = await trio.Path(segment).read_bytes()
    salt = data[len(MAGIC) : len(MAGIC) + SALT_BYTES]
    newer = encode_record(salt, len(data), msgspec.msgpack.encode(("orbit-change", {})))
    await trio.Path(segment).write_bytes(data + newer)
    async with opened(directory) as later:
        assert later.spool.waiting == 1
        assert await later.all() == [event(1)]
        assert later.troubles == [SpoolTrouble.DAMAGED]
        await later.accept_all()
        assert later.spool.waiting == 0
    assert [file.read_bytes() for file in files(directory, ".damaged")] == [data + newer]


async def test_a_closed_spool_takes_and_gives_nothing_and_lets_the_directory_go(
    directory: Path,
) -> None:
    async with opened(directory) as one:
        await one.keep(1)
        (segment,) = await one.spool.segments()
    with pytest.raises(Unavailable, match="closed"):
        await one.keep(2)
    with pytest.raises(Unavailable, match="closed"):
        await one.spool.read(segment)
    assert await one.spool.segments() == []
    async with opened(directory) as later:
        assert await later.all() == [event(1)]
