import re

import pytest

from sidecar.domain.values.loss import ALL_SLOTS, Floor
from sidecar.wire.store.keys import (
    SessionName,
    StoreKeys,
    listed_name,
    member_of_user,
    parse_name,
    session_name,
)
from sidecar.wire.store.losses import slot_of

NAMES = StoreKeys("sidecar")
ADA = session_name("https://id.example", "ada", "s1")


def test_a_name_is_read_as_an_index_holds_it() -> None:
    assert parse_name(str(ADA).encode()) == ADA
    assert session_name("https://b.example", "ada", "s1") != ADA


def test_an_entry_of_a_users_index_leaves_out_what_its_key_says() -> None:
    index, entry = NAMES.user_index(ADA.user), member_of_user(ADA)
    assert len(entry) == 16
    assert listed_name(index, entry) == ADA
    assert listed_name(index, str(ADA).encode()) == ADA
    assert listed_name(NAMES.device_index(ADA.user), entry) is None
    assert listed_name(index, b"no entry of ours") != ADA


@pytest.mark.parametrize("member", [b"", b"one", b"/s", b"u/"])
def test_what_is_no_name_is_none(member: bytes) -> None:
    assert parse_name(member) is None


def test_a_sessions_record_is_known_by_its_key_and_no_other_is() -> None:
    key = NAMES.session_record(ADA)
    assert NAMES.name_of_record(key) == ADA
    for other in (NAMES.user_record(ADA.user), NAMES.locator("x"), b"other:" + key):
        assert NAMES.name_of_record(other) is None
    pattern = re.escape(NAMES.every_session()).replace(r"\*", ".*")
    assert re.fullmatch(pattern, key.decode())


def test_what_is_a_users_lies_on_one_slot() -> None:
    keys = (
        NAMES.user_record(ADA.user),
        NAMES.user_index(ADA.user),
        NAMES.session_record(ADA),
        NAMES.session_record(SessionName(ADA.user, "another")),
    )
    assert len({NAMES.slot(key) for key in keys}) == 1
    assert NAMES.slot(keys[0]) == slot_of(keys[0])


def test_every_queue_of_work_is_among_all_of_them() -> None:
    assert {NAMES.work_log(f"u{number}") for number in range(200)} == set(NAMES.work_logs())


def test_no_two_kinds_of_records_have_one_key() -> None:
    keys = [
        NAMES.user_record("x"),
        NAMES.user_index("x"),
        NAMES.device_record("x"),
        NAMES.device_index("x"),
        NAMES.locator("x"),
        NAMES.sidecars_record(),
        NAMES.sidecars_index(),
        NAMES.forms_record(),
        NAMES.epoch_record("x"),
        NAMES.beats_record("x", "y"),
        NAMES.answers_record("x"),
        NAMES.rescore_record(),
        NAMES.lease_record("x"),
        NAMES.backlog("x"),
        NAMES.backlog_counts("x"),
        NAMES.dead_letters(),
        NAMES.transmitter("x"),
    ]
    assert len(set(keys)) == len(keys)


def test_a_floor_is_of_all_slots_where_records_are_scattered() -> None:
    floor = Floor(5, 5, 1000)
    assert NAMES.widened(floor) == floor
    scattered = StoreKeys("sidecar", bytes.upper, scattered=True)
    widened = scattered.widened(floor)
    assert (widened.first, widened.last) == (0, ALL_SLOTS - 1)
    assert scattered.slot(b"a") == slot_of(b"A")
