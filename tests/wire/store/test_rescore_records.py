import pytest

from sidecar.wire.store.rescore_records import (
    WANT,
    Finished,
    RescoreRequest,
    backlog_of,
    current_of,
    encode_finished,
    finished_of,
    number,
    swept_field,
)

ASKED = RescoreRequest("g2", 200)


def test_the_current_re_score_is_the_one_that_was_asked_for_last() -> None:
    record = {
        WANT + b"g1": number(100),
        WANT + b"g2": number(200),
        WANT + b"g3": b"odd",
        b"x": b"9",
    }
    assert current_of(record) == ASKED
    assert current_of(record | {WANT + b"g4": number(200)}) == RescoreRequest("g4", 200)
    assert current_of({b"x": b"9"}) is None


def test_a_re_score_is_done_once_its_record_says_so() -> None:
    done = Finished(300, 7)
    record = {swept_field(ASKED): encode_finished(done)}
    assert finished_of(record, ASKED) == done
    assert finished_of(record, RescoreRequest("g2", 201)) is None
    assert encode_finished(done) < encode_finished(Finished(1000, 0)), "as the lattice compares"


@pytest.mark.parametrize("value", [b"", number(300), number(300) + b"\xc1"])
def test_what_cannot_be_read_is_not_done(value: bytes) -> None:
    assert finished_of({swept_field(ASKED): value}, ASKED) is None


def test_each_re_score_has_a_backlog_of_its_own() -> None:
    assert backlog_of(ASKED) != backlog_of(RescoreRequest("g2", 201))
