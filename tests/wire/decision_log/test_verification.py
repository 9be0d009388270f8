"""A chain of records shows what was done to it: what is missing, changed, moved, cut off."""

import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.wire.decision_log.chain import (
    Chain,
    ChainEnd,
    digest_by,
    encode_mark,
    read_mark,
    read_record,
)
from sidecar.wire.decision_log.verification import ChainVerifier, Fault, Verified, lines_of

KEY = "k" * 44


def written(count: int = 8, key: str = KEY) -> tuple[list[bytes], ChainEnd]:
    chain = Chain(digest_by(key))
    lines = [chain.link(b'{"time":"t","kind":"decision","id":"d%d"}' % n) for n in range(count)]
    return [line + b"\n" for line in lines], chain.end


def verified(*files: list[bytes], key: str = KEY, end: ChainEnd | None = None) -> Verified:
    verifier = ChainVerifier([digest_by(key)])
    for number, lines in enumerate(files):
        for line in lines_of(f"f{number}", lines):
            verifier.read(line)
    return verifier.finish(end, f"f{len(files) - 1}")


def faults(found: Verified) -> list[tuple[Fault, str, int]]:
    return [(one.fault, one.file, one.line) for one in found.findings]


def test_what_was_written_is_intact() -> None:
    lines, end = written()
    assert verified(lines, end=end) == Verified(8, 1, 8, ())
    assert verified(lines[:3], lines[3:], end=end) == Verified(8, 1, 8, ())
    assert verified(lines[3:], end=end) == Verified(5, 4, 8, ())


Change = Callable[[list[bytes]], list[bytes]]

CHANGES: dict[str, tuple[Change, list[tuple[Fault, int]]]] = {
    "a record is taken out": (lambda x: x[:3] + x[4:], [(Fault.GAP, 4)]),
    "several are taken out": (lambda x: x[:2] + x[5:], [(Fault.GAP, 3)]),
    "a word is changed": (
        lambda x: [*x[:3], x[3].replace(b"decision", b"nonsense"), *x[4:]],
        [(Fault.EDITED, 4)],
    ),
    "two change places": (
        lambda x: [*x[:3], x[4], x[3], *x[5:]],
        [(Fault.REORDERED, 5)],
    ),
    "one is there twice": (lambda x: [*x[:5], x[2], *x[5:]], [(Fault.REPEATED, 6)]),
    "a line is put in": (
        lambda x: [*x[:4], b'{"kind":"decision"}\n', *x[4:]],
        [(Fault.FOREIGN, 5)],
    ),
    "the last line is torn": (lambda x: [*x[:7], x[7][:20]], [(Fault.TRUNCATED, 8)]),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_found_where_it_is(name: str) -> None:
    change, wanted = CHANGES[name]
    lines, _ = written()
    assert faults(verified(change(lines))) == [(fault, "f0", line) for fault, line in wanted]


def test_a_tail_that_is_cut_off_is_missed_by_the_mark_and_by_the_next_file() -> None:
    lines, end = written()
    (found,) = verified(lines[:6], end=end).findings
    assert (found.fault, found.words) == (
        Fault.TRUNCATED,
        "the tail is cut off: records 7 to 8 are missing at the end",
    )
    (found,) = verified(lines[:3], lines[5:], end=end).findings
    assert (found.fault, found.file, found.line) == (Fault.TRUNCATED, "f1", 1)
    assert "the tail of f0 is cut off" in found.words


def test_who_edits_a_plain_chain_must_edit_all_that_follows() -> None:
    lines, end = written(key="")
    chain = Chain(digest_by(""), ChainEnd(3, _digest(lines[2])))
    forged = chain.link(b'{"time":"t","kind":"decision","id":"forged"}') + b"\n"
    assert faults(verified([*lines[:3], forged, *lines[4:]], key="", end=end)) == [
        (Fault.EDITED, "f0", 5)
    ]


def test_who_lacks_the_key_makes_no_record() -> None:
    lines, _ = written(key="another key, of 32 characters at least")
    assert {one.fault for one in verified(lines).findings} == {Fault.EDITED}


def test_a_mark_is_of_its_chain_and_its_key() -> None:
    digest, end = digest_by(KEY), ChainEnd(4, "ab" * 32)
    assert read_mark(encode_mark(end, digest), digest) == end
    assert read_mark(encode_mark(end, digest_by("")), digest) is None
    assert read_mark(encode_mark(end, digest).replace(b"4", b"3", 1), digest) is None
    assert read_mark(b"\xff", digest) is None


def test_a_chain_that_begins_anew_is_no_fault_and_is_counted() -> None:
    first, _ = written(3)
    second, end = written(4)
    assert verified(first, second, end=end) == Verified(7, 1, 4, (), 1)


@given(st.binary(max_size=300))
def test_no_bytes_are_more_than_a_finding(data: bytes) -> None:
    verifier = ChainVerifier([digest_by(KEY)])
    for line in lines_of("f", data.splitlines(keepends=True)):
        verifier.read(line)
    verifier.finish()


@given(st.data())
def test_any_change_of_the_bytes_is_found(data: st.DataObject) -> None:
    lines, end = written()
    text = bytearray(b"".join(lines))
    at = data.draw(st.integers(0, len(text) - 1))
    text[at] ^= data.draw(st.integers(1, 255))
    assert verified(bytes(text).splitlines(keepends=True), end=end).findings


@given(st.data())
def test_any_lines_that_are_left_out_are_found(data: st.DataObject) -> None:
    lines, end = written()
    kept = data.draw(st.lists(st.booleans(), min_size=8, max_size=8))
    left = [line for line, keep in zip(lines, kept, strict=True) if keep]
    first = next((n for n, keep in enumerate(kept) if keep), 8)
    # What was before the first that is there, is in another file.
    assert bool(verified(left, end=end).findings) is (not all(kept[first:]) or first == 8)


@given(st.permutations(range(1, 30)), st.sets(st.integers(1, 29)))
def test_of_records_in_any_order_those_are_missing_that_are_not_there(
    order: list[int], gone: set[int]
) -> None:
    lines, _ = written(31)
    left = [n for n in order if n not in gone]
    found = verified([lines[0], *(lines[n] for n in left), lines[30]])
    spans = (re.findall(r"[0-9]+", one.words) for one in found.findings if one.fault is Fault.GAP)
    missing = [n for span in spans for n in range(int(span[0]), int(span[-1]) + 1)]
    assert missing == sorted(n + 1 for n in gone)
    late = sum(n < max(left[:place], default=0) for place, n in enumerate(left))
    assert sum(one.fault is Fault.REORDERED for one in found.findings) == late


def _digest(line: bytes) -> str:
    record = read_record(line.rstrip(b"\n"))
    assert record is not None
    return record.digest
