"""The history's script and its fake, held to one suite."""

from collections.abc import AsyncIterator

import pytest
import redis
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.service.ports.calls import StoreRefused
from sidecar.service.ports.store import HistoryAppend, Join, Load
from sidecar.wire.history.entries import (
    GROUP,
    LONGEST,
    Dated,
    Entry,
    EntryKind,
    decode_entries,
    newest_of,
)
from sidecar.wire.history.entries import encode_entry as encoded
from tests.adapters.servers import Server
from tests.contracts.forms import FORMS, Form, opened
from tests.stories.running import unique

FAR = 4_000_000_000_000
BOUND = 8

APPENDS = st.lists(
    st.tuples(st.lists(st.integers(0, 60), max_size=6), st.integers(0, 20)),
    max_size=12,
)


def append(key: bytes, entries: dict[str, int], oldest: int = 0, lag: int = 0) -> HistoryAppend:
    fields = {GROUP + name.encode(): f"{at:016d}\0{name}".encode() for name, at in entries.items()}
    return HistoryAppend(key, fields, BOUND, oldest, FAR, lag)


async def kept(form: Form, key: bytes, oldest: int = 0) -> list[tuple[int, bytes]]:
    """Return what a reader makes of a history: the newest that may stay."""
    (loaded,) = await form.store.load(Load(key))
    entries = [
        (int(value[:16]), field)
        for field, value in loaded.record.items()
        if field.startswith(GROUP)
    ]
    return [one for one in sorted(entries)[-BOUND:] if one[0] >= oldest]


@pytest.fixture(params=FORMS)
async def form(
    request: pytest.FixtureRequest, valkey_server: Server, valkey: redis.Redis
) -> AsyncIterator[Form]:
    async with opened(request.param, valkey_server) as one:
        yield one


@given(APPENDS)
@settings(deadline=None, max_examples=60)
def test_whatever_is_appended_a_reader_finds_the_same_in_both_forms(
    valkey_server: Server, appends: list[tuple[list[int], int]]
) -> None:
    async def both() -> None:
        key = b"t:{%s}:h" % unique("u").encode()
        async with opened("memory", valkey_server) as fake, opened("real", valkey_server) as real:
            oldest = 0
            for entries, later in appends:
                oldest = max(oldest, later)
                one = append(key, {f"{name:02d}": name * 7 % 31 for name in entries}, oldest)
                answers = [await each.store.append_history(one) for each in (fake, real)]
                # What fell out may be new once more to who keeps less of it.
                assert set(answers[1][0].fresh) <= set(answers[0][0].fresh)
                found = [await kept(each, key, oldest) for each in (fake, real)]
                assert found[0] == found[1]

    trio.run(both)


async def test_an_entry_that_is_there_stays_as_it_is(form: Form) -> None:
    key = b"t:{u1}:h"
    (first,) = await form.store.append_history(append(key, {"a": 5, "b": 7}))
    (second,) = await form.store.append_history(append(key, {"a": 9, "c": 6}))
    assert (len(first.fresh), second.fresh) == (2, (b"h:c",))
    assert await kept(form, key) == [(5, b"h:a"), (6, b"h:c"), (7, b"h:b")]


async def test_the_newest_stay_and_little_more_is_kept_of_the_others(form: Form) -> None:
    key = b"t:{u2}:h"
    for at in range(100):
        await form.store.append_history(append(key, {f"{at:03d}": at}))
    assert [at for at, _ in await kept(form, key)] == [*range(92, 100)]
    (loaded,) = await form.store.load(Load(key))
    assert len([field for field in loaded.record if field.startswith(GROUP)]) <= BOUND + 1


async def test_what_is_too_old_is_not_taken_and_goes(form: Form) -> None:
    key = b"t:{u3}:h"
    await form.store.append_history(append(key, {"a": 5, "b": 7}))
    (answer,) = await form.store.append_history(append(key, {"c": 5, "d": 8}, oldest=6))
    assert answer.fresh == (b"h:d",)
    assert await kept(form, key) == [(7, b"h:b"), (8, b"h:d")]
    await form.store.append_history(append(key, {}, oldest=100))
    assert await kept(form, key) == []


async def test_what_is_too_old_by_little_goes_later(form: Form) -> None:
    key = b"t:{u4}:h"
    await form.store.append_history(append(key, {"a": 5, "b": 7}))
    await form.store.append_history(append(key, {"c": 9}, oldest=6, lag=3))
    assert await kept(form, key, oldest=6) == [(7, b"h:b"), (9, b"h:c")]


def many(kind: EntryKind, begin: int, count: int, source: str = "") -> dict[bytes, bytes]:
    """Return the fields of some entries of one share."""
    entry = Entry(kind=kind, source=source)
    return dict(encoded(Dated(at, f"0{source}{at}", entry)) for at in range(begin, begin + count))


async def test_whoever_has_most_of_a_full_history_loses_the_oldest(form: Form) -> None:
    key = b"t:{u6}:h"
    few = many(EntryKind.ACT, 0, 2) | many(EntryKind.SIGNAL, 10, 3, "siem")
    for fields in (few, many(EntryKind.SIGNAL, 20, 50, "app"), many(EntryKind.DENIED, 90, 50)):
        await form.store.append_history(HistoryAppend(key, fields, BOUND, 0, FAR))
    (loaded,) = await form.store.load(Load(key))
    found = newest_of(decode_entries(loaded.record), BOUND)
    assert [one.moment for one in found] == [0, 1, 11, 12, 68, 69, 138, 139]


async def test_an_append_that_is_done_again_says_what_it_said(form: Form) -> None:
    one = append(b"t:{u7}:h", {"a": 5, "b": 7})
    for _ in range(2):
        (answer,) = await form.store.append_history(one)
        assert answer.fresh == (b"h:a", b"h:b")


async def test_what_has_no_moment_is_in_nobodys_way(form: Form, valkey: redis.Redis) -> None:
    key = b"t:{u8}:h"
    if not hasattr(form.store, "refused"):
        valkey.hset(key, mapping={"first": "soon", "h:x": "", "h:y": "later\0"})
    for at in range(40):
        await form.store.append_history(append(key, {f"{at:02d}": at + 1}))
    assert [at for at, _ in await kept(form, key)] == [*range(33, 41)]


async def test_a_spoilt_history_keeps_no_event_out(form: Form, valkey: redis.Redis) -> None:
    spoilt = b"t:{u9}:h"
    valkey.set(spoilt, "somebody else's")
    if hasattr(form.store, "refused"):
        form.store.refused.add(spoilt)
    join = Join(b"t:{u9}:f", {b"a:b": b"1"}, FAR, 1, history=append(spoilt, {"a": 5}))
    (answer,) = await form.store.join(join)
    assert answer.joined
    with pytest.raises(StoreRefused):
        await form.store.append_history(append(spoilt, {"a": 5}))


async def test_it_goes_along_with_a_join_in_one_round_trip(form: Form) -> None:
    join = Join(b"t:{u5}:f", {b"a:b": b"1"}, FAR, 1, history=append(b"t:{u5}:h", {"a": 5}))
    (answer,) = await form.store.join(join)
    assert answer.joined
    assert await kept(form, b"t:{u5}:h") == [(5, b"h:a")]


def test_an_entry_is_read_back_and_others_are_left_out() -> None:
    one = Dated(5, "0abc", Entry(kind=EntryKind.SIGNAL, session="s", text="said"))
    record = dict([encoded(one)])
    assert [*decode_entries({**record, b"h:x": b"5\0\xff", b"first": b"5", b"h:y": b""})] == [one]
    longer = {field: b"9" * 5000 + value for field, value in record.items()}
    assert [each.moment for each in decode_entries(longer)] == [10**16 - 1]


def test_what_is_too_long_for_an_entry_is_cut() -> None:
    long = Dated(5, "0abc", Entry(kind=EntryKind.SIGNAL, text="x" * (1 << 20)))
    (cut,) = decode_entries(dict([encoded(long)]))
    assert len(cut.entry.text) == LONGEST
    assert cut.entry.text.endswith("...")
