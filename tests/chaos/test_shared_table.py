"""The shared table under a writer at full speed, which is killed now and then: no wrong pass."""

import itertools
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from stepup_client import SharedView, VerifiedToken
from stepup_client.shared import view as shared_view

from tests.chaos.shared_table_writer import CALLS, CONTEXTS, bits_of, states, token_of
from tests.waiting import eventually

IP = "192.0.2.1"


def shown(number: int, session: str | None = None) -> VerifiedToken:
    return VerifiedToken(
        token_of(number),
        issuer="https://id.example",
        user="ada",
        session=f"s{number}" if session is None else session,
        auth_time=1000 + number,
        acr="mfa",
    )


@contextmanager
def writer(table: Path, known: Path, seed: int) -> Iterator[None]:
    """Have a writer run, and kill it where it stands."""
    program = [sys.executable, "-m", "tests.chaos.shared_table_writer"]
    command = [*program, str(table), str(known), str(seed)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((".", "clients/python"))}
    process = subprocess.Popen(command, env=environment)
    try:
        yield
    finally:
        process.kill()
        process.wait()


class Reader:
    """An app that reads what a writer writes; it counts what it found."""

    def __init__(self, table: Path, known: memoryview) -> None:
        self.view = SharedView(str(table), owner=os.geteuid())
        self.known = known
        self.kept = [shown(number) for number in range(CALLS)]
        self.found: Counter[str] = Counter()
        self.tables: set[int] = set()

    def look(self, number: int, context: str) -> None:
        """Look up one call as an app does that kept its token, or that did not."""
        token = self.kept[number] if number % 2 else shown(number)
        before = self.known[number]
        passes = self.view.allows(token, context, ip=IP)
        after = self.known[number]
        self.found["passes" if passes else "asks"] += 1
        if not passes:
            return
        assert bits_of(number) & 1 << CONTEXTS[context].bit, "it passes in another's context"
        assert before != after or before % 2, "it passes though it was taken back"
        table = self.view._table  # noqa: SLF001 - to count them
        self.tables.add(id(table.key) if table is not None else 0)

    def look_for_strangers(self) -> None:
        """Look up what nobody has written: a call with another session, address or agent."""
        assert not self.view.allows(shown(1, "s2"), "c1", ip=IP)
        assert not self.view.allows(self.kept[1], "c1", ip="192.0.2.2")
        assert not self.view.allows(self.kept[1], "c1", ip=IP, user_agent="curl")
        assert not self.view.allows(self.kept[1], "c99", ip=IP)

    def round(self) -> None:
        for number, context in itertools.product(range(CALLS), CONTEXTS):
            self.look(number, context)
        self.look_for_strangers()

    def finds_more(self) -> bool:
        """Look at everything once; return whether anything has passed."""
        passed = self.found["passes"]
        self.round()
        return self.found["passes"] > passed

    def finds_nothing(self) -> bool:
        return not any(
            self.view.allows(token, context, ip=IP) for token in self.kept for context in CONTEXTS
        )


def played(directory: Path, lives: int, rounds: int, seconds: float) -> Reader:
    """Read beside so many writers in turn, each killed after so many rounds and seconds."""
    table, known = directory / "table", directory / "states"
    reader = Reader(table, states(known))
    for seed in range(lives):
        with writer(table, known, seed):
            eventually(reader.finds_more, bool)
            end = time.monotonic() + seconds
            for done in itertools.count():
                reader.round()
                if done >= rounds and time.monotonic() >= end:
                    break
        # Whatever the one that was killed had published is believed no longer than its patience.
        eventually(reader.finds_nothing, bool)
    return reader


@pytest.fixture(autouse=True)
def _eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look for another table at once: the writer has one after another."""
    monkeypatch.setattr(shared_view, "RETRY", 0)


def test_no_wrong_pass_under_writers_at_full_speed(tmp_path: Path) -> None:
    reader = played(tmp_path, lives=2, rounds=20, seconds=0)
    assert reader.found["passes"] > 100
    assert reader.found["asks"] > 100


@pytest.mark.long
def test_no_wrong_pass_in_ten_minutes_under_writers_at_full_speed(tmp_path: Path) -> None:
    reader = played(tmp_path, lives=20, rounds=1, seconds=30)
    assert reader.found["passes"] > 1_000_000
