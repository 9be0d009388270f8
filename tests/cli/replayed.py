"""Recordings on disk, and what 'sidecar replay' says of them."""

from pathlib import Path
from typing import NamedTuple

from sidecar.cli.replay_files import Wanted, open_recording
from sidecar.tuning.formats.format_names import AUTO
from sidecar.tuning.recording.account import Account
from sidecar.tuning.recording.csv_columns import read_columns
from sidecar.tuning.recording.files import RecordingFile
from sidecar.tuning.recording.occurrences import Occurrence
from sidecar.tuning.recording.reader import RecordingReader

CASES = Path(__file__).parents[1] / "cases" / "recordings"
TEN = 1_790_071_200  # 2026-09-22T10:00:00Z


class Read(NamedTuple):
    """What a file came to."""

    format: str
    occurrences: list[Occurrence]
    account: Account

    @property
    def reasons(self) -> dict[str, int]:
        """Why records were left out, and how many."""
        return {one.reason: one.records for one in self.account.left_out()}


def read(
    file: Path, chosen: str = AUTO, columns: str = "", known: tuple[str, ...] = ("c1",)
) -> Read:
    """Read a whole file, as the command does."""

    def strangers(names: object) -> list[str]:
        return [name for name in names if name not in known]  # type: ignore[attr-defined]

    reading = RecordingReader(strict=False, strangers=strangers)
    mapped = read_columns(columns, "map.yaml") if columns else None
    with RecordingFile(str(file)) as recording:
        opened = open_recording(recording, reading, Wanted(chosen, mapped, "map.yaml"))
        occurrences = [
            one if isinstance(one, Occurrence) else one.occurrence() for one in opened.occurrences
        ]
    account = reading.account
    assert account.records + account.beside == (
        len(occurrences)
        + account.bad
        + account.skipped
        + account.passed_over
        + account.marked_lines
    )
    assert sum(one.records for one in account.left_out()) == account.bad + account.skipped
    return Read(opened.format.value, occurrences, account)


OWN = {"type": "session-established", "time": TEN, "subject": {"session": "s1", "user": "ada"}}
CHECK = {"op": "check", "time": TEN, "session": "s1", "context": "c1"}
