"""Recordings that are damaged, strange, mixed or far too large: read rightly, or named with a line.

`tests/cli/test_replay_files.py` holds what good ones come to.
"""

import base64
import gzip
import json
import tracemalloc
from pathlib import Path

import pytest

from sidecar.cli.replay_files import Wanted, open_recording
from sidecar.tuning.formats.format_names import AUTO
from sidecar.tuning.recording import files as recording_files
from sidecar.tuning.recording.files import LONGEST_LINE, RecordingFile, Unreadable
from sidecar.tuning.recording.reader import RecordingReader
from sidecar.wire.tokens.jwks import key_set_of
from tests.cli.recorded_tokens import CLAIMS, KEY, STRANGER, tokens
from tests.cli.replayed import CASES, CHECK, OWN, TEN, Read, read

LINE = json.dumps(OWN).encode() + b"\n"
OTHER = json.dumps({**OWN, "subject": {"session": "s2", "user": "bob"}}).encode() + b"\n"
CUT = "(line): the compressed file is damaged or cut off"
MANY = b"".join(json.dumps({**CHECK, "time": TEN + n}).encode() + b"\n" for n in range(9000))


def written(tmp_path: Path, content: bytes) -> Path:
    file = tmp_path / "recording"
    file.write_bytes(content)
    return file


def whole(found: Read) -> tuple[int, list[str]]:
    """How many occurrences there were, and what was said of bad lines, without the file's name."""
    return len(found.occurrences), [
        text.partition("/recording:")[2] for text in found.account.examples
    ]


DAMAGED: dict[str, tuple[bytes, int, str]] = {
    "empty": (b"", 0, ""),
    "blank": (b"\n \r\n\n", 0, ""),
    "a mark and nothing": (b"\xef\xbb\xbf", 0, ""),
    "an empty list": (b"[]", 0, ""),
    "two packed files": (gzip.compress(LINE) + gzip.compress(OTHER), 2, ""),
    "a packed header alone": (b"\x1f\x8b", 0, f"1: {CUT}"),
    "a damaged header": (b"\x1f\x8b\x08\x00" + b"junk" * 30, 0, f"1: {CUT}"),
    "a wrong checksum": (gzip.compress(LINE + OTHER)[:-8] + bytes(8), 2, f"3: {CUT}"),
    "rubbish behind": (gzip.compress(LINE) + b"rubbish", 1, f"2: {CUT}"),
    "returns for ends of lines": ((LINE + OTHER).replace(b"\n", b"\r"), 2, ""),
    "UTF-32": ((LINE + OTHER).decode().encode("utf-32"), 2, ""),
    "half a letter of UTF-16": ((LINE + OTHER).decode().encode("utf-16") + b"\x00", 2, "3: (line)"),
    "Latin-1": (LINE + b'{"user":"\xe4"}\n' + OTHER, 2, "2: (line): is not UTF-8 text"),
    "zeroes": (LINE + bytes(5000) + b"\n" + OTHER, 2, "2: (line): must be one JSON object"),
    "a mark in the midst": (LINE + b"\xef\xbb\xbf" + OTHER, 2, ""),
    "a line that is too long": (
        LINE + b'{"a":"' + b"x" * (3 * LONGEST_LINE) + b'"}\n' + OTHER,
        2,
        f"2: (line): is longer than {LONGEST_LINE:,} bytes",
    ),
    "an integer of 5,000 digits": (
        LINE + json.dumps(OWN).replace(str(TEN), "1" * 5000).encode() + b"\n" + OTHER,
        2,
        "2: (line): must be one JSON object",
    ),
    "such a one in a list": (
        b"[" + LINE + b"," + json.dumps(OWN).replace(str(TEN), "1" * 5000).encode() + b"]",
        1,
        "2: (line): holds a number that is too long",
    ),
    "an infinite number in a list": (
        b"[" + LINE + b",\n" + LINE.replace(str(TEN).encode(), b"Infinity") + b"]",
        1,
        "3: time: is no moment between 1970 and 9999",
    ),
    "an integer of 400 digits in a list": (
        b"[" + LINE + b",\n" + LINE.replace(str(TEN).encode(), b"1" + b"0" * 400) + b"]",
        1,
        "3: time: is no moment between 1970 and 9999",
    ),
    "deep": (b"[" * 200_000, 0, "1: (line): is nested too deeply"),
    "a deep object": (b'{"a":' * 200_000, 0, "1: (line): is nested too deeply"),
    "an object that breaks off": (b'{"value": [' + LINE + b'], "next', 1, "2: (line): is no JSON"),
    "a list in a line among lines": (LINE + b"[" + OTHER.strip() + b"]\n", 2, ""),
    "scalars in one line": (b'[1, null, "a"]', 0, "1: (line): must be one JSON object"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_what_is_damaged_is_reported_with_its_line_and_the_rest_counts(
    name: str, tmp_path: Path
) -> None:
    content, occurrences, printed = DAMAGED[name]
    count, examples = whole(read(written(tmp_path, content)))
    assert count == occurrences
    assert bool(examples) is bool(printed)
    assert not printed or examples[0].startswith(printed)


def test_records_of_one_line_are_reported_apart(tmp_path: Path) -> None:
    found = read(written(tmp_path, b'[1, null, {"type": "dance", "subject": {}}]'))
    _, examples = whole(found)
    assert [text.partition(": ")[0] for text in examples] == ["1", "1, record 2", "1, record 3"]


def test_a_packed_file_that_is_cut_off_counts_as_far_as_it_goes(tmp_path: Path) -> None:
    packed = gzip.compress(MANY)
    found = read(written(tmp_path, packed[: len(packed) // 2]))
    count, examples = whole(found)
    assert 0 < count < 9000
    line, _, words = examples[-1].partition(": ")
    assert words.startswith(CUT)
    assert count <= int(line) <= count + 1


@pytest.mark.parametrize(
    "packed",
    [
        pytest.param(gzip.compress(b"x" * (80 * 1024**2), 1), id="a line"),
        pytest.param(gzip.compress(b"[" + b" " * (80 * 1024**2) + b"]", 1), id="a document"),
        pytest.param(gzip.compress(("{" + " " * (20 * 1024**2)).encode("utf-16"), 1), id="UTF-16"),
    ],
)
def test_what_unpacks_to_far_more_takes_no_more_memory_than_a_line_may(
    packed: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording_files, "LONGEST_DOCUMENT", 4 * 1024**2)
    file = written(tmp_path, packed)
    tracemalloc.start()
    printed = ""
    try:
        (printed,) = read(file).account.examples
    except Unreadable as error:
        printed = str(error)
    finally:
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert (
        "is longer than" in printed or "is one JSON value of more than 4,194,304 bytes" in printed
    )
    assert most < 16 * 1024**2


def test_a_document_of_one_long_line_is_read(tmp_path: Path) -> None:
    records = json.loads((CASES / "cloudtrail.json").read_text())["Records"]
    many = {"Records": records * 300, "note": "x"}
    content = json.dumps(many).encode()
    assert len(content) > LONGEST_LINE
    found = read(written(tmp_path, content))
    assert found.format == "cloudtrail"
    assert found.account.records == 300 * len(records)


def test_lines_of_several_formats_are_each_read_as_what_they_are(tmp_path: Path) -> None:
    graph = json.loads((CASES / "entra-graph.json").read_text())["value"][4]
    okta, *_ = (CASES / "okta.ndjson").read_text().splitlines()
    lines = [json.dumps(graph), LINE.decode().strip(), okta, "Nov 30 07:00:00 h sshd[1]: x"]
    file = written(tmp_path, "\n".join(lines).encode())
    reading = RecordingReader(strict=False)
    with RecordingFile(str(file)) as recording:
        opened = open_recording(recording, reading, Wanted(AUTO, None, ""))
        occurrences = list(opened.occurrences)
    users = [each.subject.user for each in occurrences if each.subject.user]
    assert sorted(users) == ["ada", "ada@example.com", "ada@example.com"]
    assert [*reading.formats[str(file)]] == ["entra-signins", "ndjson", "okta-system-log"]
    assert [one.reason for one in reading.account.left_out()] == ["(line): must be one JSON object"]


def test_of_a_format_that_was_asked_for_another_record_is_reported(tmp_path: Path) -> None:
    found = read(written(tmp_path, LINE), "okta-system-log")
    assert found.reasons == {"(line): is no record of okta-system-log": 1}


def token_layouts() -> dict[str, str]:
    made = tokens()
    return {
        "a line each": "\n".join(made) + "\n",
        "a list": json.dumps(made),
        "texts": "\n".join(map(json.dumps, made)),
        "a poll's answer": json.dumps({"sets": dict(enumerate(made)), "moreAvailable": False}),
        "with lines of what others say": "\n".join([made[0], *map(json.dumps, CLAIMS[1:])]),
    }


@pytest.mark.parametrize("layout", token_layouts())
def test_whole_tokens_say_what_their_payloads_do(layout: str, tmp_path: Path) -> None:
    found = read(written(tmp_path, token_layouts()[layout].encode()))
    assert found.format == "caep"
    assert found.occurrences == read(CASES / "caep.ndjson").occurrences
    assert found.account.tokens == (1 if layout.startswith("with") else len(CLAIMS))


def test_with_keys_a_token_counts_if_one_of_them_signed_it(tmp_path: Path) -> None:
    good, forged = tokens()[:2], tokens(STRANGER)[2:4]
    changed = base64.urlsafe_b64encode(json.dumps(CLAIMS[3]).encode()).decode().rstrip("=")
    altered = ".".join((good[0].split(".")[0], changed, good[0].split(".")[2]))
    none = base64.urlsafe_b64encode(b'{"alg":"none"}').decode().rstrip("=")
    unsigned = f"{none}.{good[0].split('.')[1]}."
    file = written(tmp_path, "\n".join([*good, *forged, altered, unsigned]).encode())
    keys = key_set_of(json.dumps({"keys": [KEY.jwk()]}).encode())
    reading = RecordingReader(strict=False, keys=keys)
    with RecordingFile(str(file)) as recording:
        opened = open_recording(recording, reading, Wanted(AUTO, None, ""))
        assert len(list(opened.occurrences)) == 2
    assert {one.reason: one.records for one in reading.account.left_out()} == {
        "(token): is signed by none of the keys that were given": 4
    }


def test_a_token_of_another_kind_is_reported(tmp_path: Path) -> None:
    _, examples = whole(read(written(tmp_path, KEY.token().encode())))
    assert examples == ["1: (token): is no security event token"]


@pytest.mark.parametrize(
    ("claims", "printed"),
    [
        ({"aud": None}, ""),
        ({"jti": None}, "(token): jti must be a text"),
        ({"iat": 1e300}, "(token): iat must be a number of seconds"),
        ({"exp": 1}, "(token): exp must not be present"),
        ({"sub_id": {"format": "opaque"}}, "(token): sub_id"),
        ({"sub_id": None}, "(token): sub_id is required"),
        ({"events": {}}, "(token): events must be an object"),
    ],
    ids=str,
)
def test_a_token_is_refused_for_what_the_receiver_refuses_one(
    claims: dict[str, object], printed: str, tmp_path: Path
) -> None:
    _, examples = whole(read(written(tmp_path, json.dumps({**CLAIMS[3], **claims}).encode())))
    assert bool(examples) is bool(printed)
    assert not printed or printed in examples[0]
