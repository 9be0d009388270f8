"""Lines that are known again say what the plain reader reads in them."""

import json
import random
from typing import Any

import pytest

from sidecar.domain.facts.signal import Subject
from sidecar.tuning.formats.format_names import Format
from sidecar.tuning.recording.occurrences import Occurrence, read_line
from sidecar.tuning.recording.reader import RecordingReader, RecordingSource
from sidecar.tuning.recording.repeated_lines import RepeatedLines, subject_in
from sidecar.wire.events.members import InvalidSignal

TEN = 1_790_071_200
TIMES = (TEN, TEN + 0.25, TEN * 1000, str(TEN), "2026-09-22T10:00:00Z", -1, None, True)
IDS = ("a", "b", "", "\x7f", "é", None, 7)
SUBJECTS: tuple[Any, ...] = (
    *({"user": "ada", "session": "s1"}, {"session": "s2"}, {"session": "s1", "device": "d"}),
    *({"user": "ada"}, {"session": ""}, {"session": "s1", "issuer": "corp"}, None, "s1"),
    {"session": "é"},
)
DATA: tuple[Any, ...] = (
    *({"ip": "192.0.2.1", "user_agent": "Firefox", "path": "/pay", "method": "POST"}, {}, None),
    *({"ip": "192.0.2.1", "context": "c1"}, {"ip": "nowhere"}, {"place": {"country": "DE"}}),
    *({"claims": {"groups": ["a"]}}, {"place": {"country": "??"}}, {"path": "x"}, "data"),
    {"user_agent": "\\", "auth_time": TEN},
)
MORE: tuple[dict[str, Any], ...] = (
    *({}, {"label": "attack"}, {"label": "odd"}, {"context": ["c1", "c2"]}, {"app": "payroll"}),
    *({"path": "/a", "method": "GET"}, {"place": {"country": "FR"}}, {"odd": 1}, {"op": "check"}),
    *({"level": "info", "event": "checked"}, {"source": "idp"}, {"type": "session-revoked"}),
)


def line(dice: random.Random) -> bytes:
    """A line; most are written as nearly all are."""
    odd = dice.random() < 0.3
    said = {
        "type": "session-presented",
        "time": dice.choice(TIMES) if odd else TEN + dice.randrange(10**6) / 1000,
        "id": dice.choice(IDS) if odd else f"r{dice.randrange(1000)}",
        "subject": dice.choice(SUBJECTS) if odd else SUBJECTS[dice.randrange(3)],
        "data": dice.choice(DATA) if odd else DATA[dice.randrange(4)],
        **(dice.choice(MORE) if odd else MORE[dice.randrange(2)]),
    }
    left_out = dice.choice(list(said)) if dice.random() < 0.1 else ""
    text = json.dumps({n: v for n, v in said.items() if n != left_out}, ensure_ascii=odd)
    if dice.random() < 0.05:
        text = text.replace("{", '{"time": 1, ', 1)
    return text.encode()


@pytest.mark.parametrize("seed", range(10))
def test_what_is_known_again_is_what_the_plain_reader_reads(seed: int) -> None:
    dice = random.Random(seed)
    repeated = RepeatedLines()
    known = 0
    for _ in range(400):
        one = line(dice)
        try:
            plain = read_line(one)
        except InvalidSignal:
            plain = None
        again = repeated.read(one)
        if again is not None:
            known += 1
            assert again.occurrence() == plain
        elif isinstance(plain, Occurrence):
            repeated.keep(one, plain)
    assert known > 100


@pytest.mark.parametrize("seed", range(10))
def test_whom_a_line_names_is_whom_the_plain_reader_finds(seed: int) -> None:
    dice = random.Random(seed)
    known = 0
    for _ in range(400):
        one = line(dice)
        named = subject_in(one)
        try:
            plain = read_line(one)
        except InvalidSignal:
            continue
        if named is not None:
            known += 1
            assert isinstance(plain, Occurrence)
            assert named == plain.subject
    assert known > 100


def test_whom_lines_name_is_found_without_reading_the_rest() -> None:
    lines = [
        json.dumps({"type": kind, "time": TEN, "subject": subject, **more}).encode()
        for kind, subject, more in (
            ("session-presented", {"user": "ada", "session": "s1"}, {}),
            ("session-revoked", {"user": "é"}, {}),
            ("session-presented", {"session": "s2"}, {"data": {"place": 7}}),
            ("odd", {"user": "bob"}, {}),
        )
    ]
    lines.append(b'{"op": "check", "time": 7, "session": "s3", "subject": {"session": "s4"}}')
    named: list[Subject] = []
    reading = RecordingReader(strict=False, name=named.append)
    found = list(reading.lines(RecordingSource("file", Format.NDJSON), lines))
    assert named == [Subject(user="ada", session="s1"), Subject(session="s2")]
    assert [one.subject for one in found] == [Subject(user="é"), Subject(session="s3")]


def test_the_account_of_a_file_counts_what_is_known_again_as_all_else() -> None:
    def strangers(names: Any) -> list[str]:
        return [name for name in names if name == "c2"]

    plain = b'{"type":"session-presented","time":%d,"id":"i%d","subject":{"session":"s"}%b}\n'
    lines = [plain % (TEN + n, n, b',"context":"c%d"' % (n % 2 + 1)) for n in range(8)]
    reading = RecordingReader(strict=False, strangers=strangers)
    found = list(reading.lines(RecordingSource("file", Format.NDJSON), lines))
    assert len(found) == 4
    assert (reading.account.records, reading.account.bad) == (8, 4)
    assert reading.account.examples[1] == "file:4: context: 'c2' is not configured"
