"""A watcher of changes to files: configuration, policies, key sets, databases, lists of CIDRs.

The kernel's notices (or a poll) only wake the watcher; what has changed is found by comparing
fingerprints. So notices that concern other files in the same directory, that come twice, or that
are lost do no harm, and polling is the same code. The *directories* of the watched files are
watched: Kubernetes replaces a ConfigMap's files by renaming a symlink `..data` beside them, and
editors replace a file by renaming another over it. Where a directory is not there yet, its nearest
existing ancestor is watched for it.
"""

import os
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeAlias

import trio
from watchfiles._rust_notify import RustNotify

from sidecar.adapters.files.yaml_directory import yaml_files
from sidecar.service.observations.observations import DaemonEvent, Telemetry, WorkerFailed

_PATIENCE = 10
_STEP_MS = 250
_NOTICES_MS = 1000
_PATIENCE_MS = 5000
_POLL_MS = 300

Changed: TypeAlias = Callable[[frozenset[Path]], Awaitable[None]]


class Pace(NamedTuple):
    """Seconds: of quiet before a change is taken up (`debounce`), and between two looks.

    `poll` is a net under the kernel's notices; `poll_without_notices` where it gives none.
    """

    debounce: float = 0.2
    poll: float = 30.0
    poll_without_notices: float = 2.0


class Fingerprint(NamedTuple):
    """A file as it is now: where symlinks lead, and what `stat` says of it, unread."""

    real: str
    device: int
    inode: int
    size: int
    modified_ns: int
    changed_ns: int


Snapshot: TypeAlias = Mapping[Path, tuple[Fingerprint, ...]]


class FileWatcher:
    """Calls `on_change` with the watched paths that changed, one call after the other.

    `paths` are files, or directories that stand for the `*.yaml` and `*.yml` in them; none needs to
    exist. A change while `on_change` runs brings another call. What `on_change` raises is counted,
    and the watcher goes on.
    """

    def __init__(
        self,
        paths: Iterable[Path],
        on_change: Changed,
        telemetry: Telemetry,
        pace: Pace = Pace(),  # noqa: B008 - a frozen value
    ) -> None:
        self._paths = frozenset(path.absolute() for path in paths)
        self._on_change = on_change
        self._telemetry = telemetry
        self._pace = pace
        self._noticing = True
        self._forced = False
        self._wake = trio.Event()
        self._rewatch = trio.Event()

    def trigger(self) -> None:
        """Call `on_change` with all paths, changed or not (SIGHUP)."""
        self._forced = True
        self._wake.set()

    def watch(self, paths: Iterable[Path]) -> None:
        """Watch these paths from now on: a reload may name other files than before."""
        self._paths = frozenset(path.absolute() for path in paths)
        self._wake.set()
        self._rewatch.set()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Watch until cancelled. What changes after `started` is not missed."""
        seen = await self._look()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._notice)
            task_status.started()
            while True:
                await self._woken()
                seen = await self._report_changes(seen)

    async def _woken(self) -> None:
        pace = self._pace
        with trio.move_on_after(pace.poll if self._noticing else pace.poll_without_notices):
            await self._wake.wait()
        # Until it is quiet (but a file written all the time must not hide the others), or until a
        # signal asks for it now.
        with trio.move_on_after(_PATIENCE * pace.debounce):
            while self._wake.is_set() and not self._forced:
                self._wake = trio.Event()
                with trio.move_on_after(pace.debounce):
                    await self._wake.wait()
        self._wake = trio.Event()

    async def _report_changes(self, before: Snapshot) -> Snapshot:
        forced, self._forced = self._forced, False
        now = await self._look()
        changed = frozenset(path for path in now if now[path] != before.get(path, ()))
        if forced:
            changed = frozenset(now)
        if changed or not self._noticing:
            self._rewatch.set()
        if changed:
            try:
                await self._on_change(changed)
            except Exception as error:  # noqa: BLE001 - a worker loop: count, log, go on
                self._telemetry.record(WorkerFailed(where="files", error=error))
        return now

    async def _look(self) -> Snapshot:
        return await trio.to_thread.run_sync(_snapshot, self._paths)

    async def _notice(self) -> None:
        """Wake the watcher for each notice; watch anew when the directories are others."""
        while True:
            self._rewatch = trio.Event()
            directories = await trio.to_thread.run_sync(_directories, self._paths)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._listen, frozenset(directories))
                await self._until_others(directories)
                nursery.cancel_scope.cancel()

    async def _until_others(self, watched: Mapping[Path, int]) -> None:
        while True:
            await self._rewatch.wait()
            self._rewatch = trio.Event()
            if await trio.to_thread.run_sync(_directories, self._paths) != watched:
                self._wake.set()  # something may have come between
                return

    async def _listen(self, directories: frozenset[Path]) -> None:
        stopped = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._look_again_then_stop, stopped)
            try:
                with await trio.to_thread.run_sync(_notify_of, directories) as notify:
                    self._noticing = True
                    wait = partial(notify.watch, _NOTICES_MS, _STEP_MS, _PATIENCE_MS, stopped)
                    while (notices := await trio.to_thread.run_sync(wait)) != "stop":
                        if notices != "timeout":
                            self._wake.set()
                            self._rewatch.set()
            except (OSError, RuntimeError) as error:
                self._without_notices(error)
            nursery.cancel_scope.cancel()

    def _without_notices(self, error: Exception) -> None:
        self._noticing = False
        self._telemetry.record(
            DaemonEvent(
                event="polling-files",
                fields={"reason": str(error), "every": self._pace.poll_without_notices},
            )
        )
        self._wake.set()

    async def _look_again_then_stop(self, stopped: trio.Event) -> None:
        # This runs once `_listen` waits for its first notice, so the kernel watches by now; what
        # changed since the fingerprints were taken has to be looked for once more.
        self._wake.set()
        # watchfiles waits in a thread that trio cannot cancel, but that looks at this event.
        try:
            await trio.sleep_forever()
        finally:
            stopped.set()


def _notify_of(directories: frozenset[Path]) -> RustNotify:
    """Begin to watch directories. Raises `OSError` or `RuntimeError` where that is impossible."""
    polls = os.environ.get("WATCHFILES_FORCE_POLLING", "").lower() not in {
        "",
        "false",
        "disable",
        "disabled",
    }
    return RustNotify([str(one) for one in directories], False, polls, _POLL_MS, False, True)


def _snapshot(paths: frozenset[Path]) -> Snapshot:
    return {path: tuple(_fingerprints(path)) for path in paths}


def _fingerprints(path: Path) -> Iterator[Fingerprint]:
    """Yield one for a file, one for each YAML file of a directory, none for a missing path."""
    try:
        if not path.is_dir():
            yield _fingerprint(path)
            return
        inside = yaml_files(path)
    except OSError:
        return
    for file in inside:
        try:
            yield _fingerprint(file)
        except OSError:  # a link that leads nowhere, or gone since the listing
            yield Fingerprint(str(file), 0, 0, 0, 0, 0)


def _fingerprint(path: Path) -> Fingerprint:
    real = os.path.realpath(path)
    stat = os.stat(real)  # noqa: PTH116 - of what `realpath` gave
    return Fingerprint(
        real, stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns
    )


def _directories(paths: frozenset[Path]) -> dict[Path, int]:
    """Return the directories to watch, with their inodes: one of the same name may be another."""
    wanted: dict[Path, int] = {}
    for path in paths:
        for place in {path, Path(os.path.realpath(path))}:
            directory = _nearest(place if place.is_dir() else place.parent)
            try:
                wanted[directory] = directory.stat().st_ino
            except OSError:
                continue  # gone since; the poll will notice
    return wanted


def _nearest(directory: Path) -> Path:
    while not directory.is_dir() and directory != directory.parent:
        directory = directory.parent
    return directory
