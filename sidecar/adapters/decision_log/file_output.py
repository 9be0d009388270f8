"""Writes records to a file that is rotated, in a thread: a slow disk stops nobody else.

The file is opened anew where it was renamed or removed, and when that is asked for (SIGHUP). One
that has grown too large or too old becomes `PATH.1`, that `PATH.2`, and so on. What a full disk has
taken of a record is taken back, so that each line is a whole record.

Of a chain, the first record of a new file follows the last one of the former file, and a start goes
on where the last one ended: both say so in a record. Where nothing says where that was, another
chain begins, and says why.
"""

import fcntl
import os
import re
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import trio

from sidecar.domain.values.causes import words_of
from sidecar.service.decisions.decision_log import OutputFailed
from sidecar.service.observations.decision_log import DecisionFileOpened, DecisionFileStuck
from sidecar.wire.decision_log.chain import (
    Chain,
    ChainEnd,
    Digest,
    encode_mark,
    read_mark,
    read_record,
)
from sidecar.wire.decision_log.records import CHAIN, encode_notice
from sidecar.wire.decision_log.settings import DecisionFile

_FLAGS = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
_TIME = re.compile(rb'\{"time":"([0-9T:.-]{10,32}Z)"')
_BEGINS = b'{"time":"'
_TAIL = 1 << 20
"""Bytes at the end of a file among which its last record is looked for."""


class UnusableFile(Exception):  # noqa: N818 - named by who must act: the operator
    """Another process writes this file, or it is none of ours."""


class _Opened(NamedTuple):
    descriptor: int
    inode: tuple[int, int]


class FileOutput:
    """The port `service.decisions.RecordOutput`, on the file that `settings` name.

    `digest` None: there is no chain. `record` is called, from any thread, for each file that is
    begun, or cannot be.
    """

    def __init__(
        self,
        settings: Callable[[], DecisionFile],
        digest: Digest | None,
        clock: Callable[[], float],
        record: Callable[[DecisionFileOpened | DecisionFileStuck], None],
    ) -> None:
        self._settings = settings
        started = settings()
        self._path = Path(started.path)
        self._mode = int(started.mode, 8)
        self._digest = digest
        self._chain: Chain | None = None
        self._clock = clock
        self._record = record
        self._opened: _Opened | None = None
        self._began = 0.0
        self._is_reopen_wanted = False
        self._is_written = False

    @property
    def end(self) -> ChainEnd:
        """Return the end of the chain."""
        return ChainEnd() if self._chain is None else self._chain.end

    def reopen(self) -> None:
        """Open the file anew before the next record, as it may have been moved."""
        self._is_reopen_wanted = True

    async def start(self) -> None:
        """Open the file. Raises OSError, or `UnusableFile`."""
        await trio.to_thread.run_sync(self._start)

    async def write(self, records: Sequence[bytes]) -> None:
        """Write records; raises `OutputFailed`."""
        try:
            await trio.to_thread.run_sync(self._write, records, abandon_on_cancel=True)
        except UnusableFile as error:
            raise OutputFailed(str(error), len(records)) from None
        except OSError as error:
            words = f"{self._path}: {words_of(error)}"
            raise OutputFailed(words, len(records)) from None

    def close(self) -> None:
        """Close the file; where a disk still holds up its thread, the end of the process does."""
        if not self._is_written:
            self._close()

    def _close(self) -> None:
        if self._opened is not None:
            os.close(self._opened.descriptor)
            self._opened = None

    def _start(self) -> None:
        opened = self._open()
        if self._digest is None:
            return
        end, why = self._known_end(opened.descriptor, self._digest)
        self._chain = Chain(self._digest, end)
        does = {"chain": "begun", "why": why} if why else {"chain": "resumed"}
        self._put(opened, [encode_notice(self._clock(), CHAIN, does)])

    def _known_end(self, descriptor: int, digest: Digest) -> tuple[ChainEnd, str]:
        """Return where the chain ended; and if nothing says it, why."""
        marked = None
        with suppress(OSError):
            marked = read_mark(self._head.read_bytes(), digest)
        last = _last_line(descriptor)
        if last is None:
            if marked is not None:
                return marked, ""
            return ChainEnd(), "no file was there before"
        found = read_record(last)
        if found is None:
            words = "the last record of the file is of no chain"
        elif digest(found.signed) != found.digest:
            words = "the last record of the file is another one's, or of another key"
        elif marked is not None and marked.seq > found.seq:
            return marked, ""  # so that it shows what is missing
        else:
            return ChainEnd(found.seq, found.digest), ""
        return (marked, "") if marked is not None else (ChainEnd(), words)

    @property
    def _head(self) -> Path:
        return self._path.with_name(self._path.name + ".head")

    def _write(self, records: Sequence[bytes]) -> None:
        self._is_written = True
        try:
            self._put(self._current(), records)
        finally:
            self._is_written = False

    def _current(self) -> _Opened:
        """Return the file to write to: another one where it was moved, or is to be rotated."""
        opened, settings = self._opened, self._settings()
        if opened is None:
            return self._open()
        is_moved = self._is_reopen_wanted or not _is_at(self._path, opened.inode)
        if is_moved:
            self._is_reopen_wanted = False
            return self._begin_another("moved")
        size = os.fstat(opened.descriptor).st_size
        is_old = self._clock() - self._began >= settings.max_age
        if size and (size >= settings.max_bytes or is_old):
            try:
                self._rotate(settings.keep)
            except OSError as error:  # too large a file is better than none
                detail = f"{self._path} cannot be rotated: {words_of(error)}"
                self._record(DecisionFileStuck(detail=detail))
            else:
                return self._begin_another("rotated")
        return opened

    def _begin_another(self, cause: str) -> _Opened:
        before = self._opened
        self._close()
        opened = self._open()
        end = self.end
        if before is None or before.inode != opened.inode:
            if self._chain is not None:
                self._put(opened, [encode_notice(self._clock(), CHAIN, {"chain": cause})])
            begun = DecisionFileOpened(
                file=str(self._path), cause=cause, seq=end.seq, digest=end.digest
            )
            self._record(begun)
        return opened

    def _rotate(self, keep: int) -> None:
        """Move the file and those before it; the oldest goes."""
        names = [self._path, *(self._path.with_name(f"{self._path.name}.{n}") for n in _to(keep))]
        if not keep:
            self._path.unlink(missing_ok=True)
            return
        for older, newer in zip(reversed(names), [*reversed(names)][1:], strict=False):
            with suppress(FileNotFoundError):
                newer.replace(older)
        beyond = keep + 1  # where fewer stay than before
        while (gone := self._path.with_name(f"{self._path.name}.{beyond}")).exists():
            gone.unlink()
            beyond += 1

    def _open(self) -> _Opened:
        descriptor = os.open(self._path, _FLAGS, self._mode)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            status = os.fstat(descriptor)
            self._take_back(descriptor, status)
        except BlockingIOError:
            os.close(descriptor)
            raise UnusableFile(f"{self._path}: another process writes it") from None
        except BaseException:
            os.close(descriptor)
            raise
        self._began = _first_moment(descriptor) or self._clock()
        self._opened = _Opened(descriptor, (status.st_dev, status.st_ino))
        return self._opened

    def _take_back(self, descriptor: int, status: os.stat_result) -> None:
        """Remove a record that was cut short at the end.

        Raises `UnusableFile`, and removes nothing, where the file is none or ends with anything
        else: its path may be that of something of others.
        """
        if not stat.S_ISREG(status.st_mode):
            raise UnusableFile(f"{self._path} is no regular file")
        size = status.st_size
        tail = _tail(descriptor, size)
        torn = tail[tail.rfind(b"\n") + 1 :]
        if not torn:
            return
        if len(torn) == _TAIL or not _BEGINS.startswith(torn[: len(_BEGINS)]):
            raise UnusableFile(
                f"{self._path} ends with what is no record of decisions: name another file, or "
                "move this one"
            )
        os.ftruncate(descriptor, size - len(torn))

    def _put(self, opened: _Opened, records: Sequence[bytes]) -> None:
        """Append records, all of them or none."""
        chain, descriptor = self._chain, opened.descriptor
        end = None if chain is None else chain.end
        lines = records if chain is None else [*map(chain.link, records)]
        size = os.fstat(descriptor).st_size
        left = memoryview(b"".join(line + b"\n" for line in lines))
        try:
            while left:
                left = left[os.write(descriptor, left) :]
        except OSError:
            if chain is not None and end is not None:
                chain.end = end
            with suppress(OSError):
                os.ftruncate(descriptor, size)
            raise
        if chain is not None and self._digest is not None:
            with suppress(OSError):  # the mark of a record before says less, and nothing wrong
                self._mark(encode_mark(chain.end, self._digest))

    def _mark(self, mark: bytes) -> None:
        aside = self._head.with_name(self._head.name + ".new")
        aside.unlink(missing_ok=True)  # of a start that was killed, or a link to something else
        descriptor = os.open(
            aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, self._mode
        )
        try:
            os.write(descriptor, mark)
        finally:
            os.close(descriptor)
        aside.replace(self._head)


def _to(keep: int) -> Iterator[int]:
    yield from range(1, keep + 1)


def _first_moment(descriptor: int) -> float:
    """Return the moment of a file's first record; 0: it has none."""
    found = _TIME.match(os.pread(descriptor, 64, 0))
    try:
        return datetime.fromisoformat(found[1].decode()).timestamp() if found else 0.0
    except ValueError:
        return 0.0


def _is_at(path: Path, inode: tuple[int, int]) -> bool:
    try:
        status = path.stat()
    except OSError:
        return False
    return (status.st_dev, status.st_ino) == inode


def _tail(descriptor: int, size: int) -> bytes:
    start = max(0, size - _TAIL)
    return os.pread(descriptor, size - start, start)


def _last_line(descriptor: int) -> bytes | None:
    """Return the last line of a file; None where it is empty."""
    tail = _tail(descriptor, os.fstat(descriptor).st_size)
    return tail.rstrip(b"\n").rpartition(b"\n")[2] if tail else None
