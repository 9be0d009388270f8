"""The store keeps the promise of the lattice: its script against `domain.values.lattice.join`."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.adapters.redis.batch import Item, exchange, judge
from sidecar.adapters.redis.commands import Command, decode_news
from sidecar.domain.values.lattice import BOUNDS, Record, bounded, join, join_all, merge
from sidecar.service.ports.store import BEGAN, Index, Join, JoinResult, Load, Loaded
from tests.adapters.servers import serving

FAR = 4_000_000_000_000
NOW = 3_900_000_000_000  # not yet: the server expires keys by its own clock
KEY = b"{k}:record"

# Few names, and values that are prefixes of one another, high bytes, case, zeros: where orders
# by locale, by signed bytes and by length part ways.
VALUES = st.one_of(
    st.sampled_from(
        [b"", b"\0", b"a", b"a\0", b"aB", b"ab", b"B", b"b", b"\x7f", b"\x80", b"\xff"]
    ),
    st.binary(max_size=4),
)
FIELDS = st.one_of(
    st.builds(
        lambda group, name: group + b":" + name,
        st.sampled_from([b"checkpoint", b"assurance", b"auth", b"place", b"other", b"\xff", b""]),
        st.one_of(st.sampled_from([b"", b"1", b":", b"\x80"]), st.binary(max_size=2)),
    ),
    st.binary(min_size=1, max_size=3),
)
RECORDS = st.dictionaries(FIELDS, VALUES, max_size=40)


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[redis.Redis]:
    """A server in a locale whose order of strings is not that of bytes."""
    compiler = shutil.which("localedef")
    directory: Path = tmp_path_factory.mktemp("locales")
    if compiler is None or subprocess.run(
        [compiler, "-i", "en_US", "-f", "UTF-8", str(directory / "en_US.UTF-8")],
        check=False,
        capture_output=True,
    ).returncode not in (0, 1):
        pytest.skip("no locale can be made here")
    with serving(env={"LOCPATH": str(directory), "LC_ALL": "en_US.UTF-8"}) as server:
        client = server.client()
        if not client.eval("return 'a' < 'B'", 0):
            pytest.skip("the server does not follow the locale here")
        with client:
            yield client


def exchanged(client: redis.Redis, items: list[Item]) -> list[list[Any]]:
    connection: Any = client.connection_pool.get_connection()

    async def talk(commands: list[Command]) -> list[Any]:
        await trio.lowlevel.checkpoint()
        connection.send_packed_command(connection.pack_commands(commands))
        replies = []
        for _ in commands:
            try:
                replies.append(connection.read_response())
            except redis.ResponseError as error:
                replies.append(error)
        return replies

    try:
        return trio.run(exchange, talk, items)
    finally:
        client.connection_pool.release(connection)


def run(client: redis.Redis, *operations: Join | Load) -> list[JoinResult | Loaded]:
    items = [Item(operation) for operation in operations]
    for item, replies in zip(items, exchanged(client, items), strict=True):
        judge(item, replies)
    outcomes = [item.outcome for item in items]
    assert all(isinstance(outcome, JoinResult | Loaded) for outcome in outcomes), outcomes
    return [outcome for outcome in outcomes if isinstance(outcome, JoinResult | Loaded)]


def join_at(client: redis.Redis, fields: Record, key: bytes = KEY, **more: object) -> JoinResult:
    arguments = {"expire_at": FAR, "now": NOW, **more}
    (outcome,) = run(client, Join(key, fields, **arguments))  # type: ignore[arg-type] # by name
    assert isinstance(outcome, JoinResult)
    return outcome


def listening(client: redis.Redis) -> Any:
    listener: Any = client.pubsub()  # type: ignore[no-untyped-call] # redis-py's gap
    listener.ssubscribe("{k}")
    listener.get_sharded_message(timeout=5)
    return listener


def check_sequence(client: redis.Redis, records: list[Record]) -> None:
    client.delete(KEY)
    expected: Record = {}
    for record in records:
        before, expected = expected, join(expected, record)
        outcome = join_at(client, record)
        assert outcome.record == expected
        assert client.hgetall(KEY) == expected
        assert set(outcome.changed) == {
            name for name in expected if expected[name] != before.get(name)
        }


@given(records=st.lists(RECORDS, max_size=6))
def test_joins_on_the_server_are_those_of_the_lattice(
    valkey_server: object, records: list[Record]
) -> None:
    with valkey_server.client() as client:  # type: ignore[attr-defined] # a fixture
        check_sequence(client, records)


ALIKE = st.builds(
    lambda begins, size, ends: (begins * 6)[:size] + ends,
    st.sampled_from([b"1764551234567890", b"\0", b"\xff\0"]),
    st.integers(0, 26),
    st.sampled_from([b"", b"\0", b"\0\0", b"1", b"2", b"\xff"]),
)
"""Values that are alike up to some place, of which some end where others go on."""


@given(
    there=st.lists(ALIKE, min_size=8, max_size=8),
    coming=st.lists(st.tuples(st.integers(0, 11), ALIKE), min_size=1, max_size=6),
)
def test_of_values_that_begin_alike_the_least_falls(
    valkey_server: object, there: list[bytes], coming: list[tuple[int, bytes]]
) -> None:
    full = {b"assurance:%d" % n: value for n, value in enumerate(there)}  # as many as may be
    more: list[Record] = [{b"assurance:%d" % n: value} for n, value in coming]
    with valkey_server.client() as client:  # type: ignore[attr-defined] # a fixture
        check_sequence(client, [full, *more])


@given(steps=st.lists(st.tuples(RECORDS, st.booleans()), max_size=6))
def test_a_group_that_is_not_cut_is_cut_by_a_later_join(
    valkey_server: object, steps: list[tuple[Record, bool]]
) -> None:
    with valkey_server.client() as client:  # type: ignore[attr-defined] # a fixture
        client.delete(KEY)
        expected: Record = {}
        for record, cuts in steps:
            before, expected = expected, (join if cuts else merge)(expected, record)
            outcome = join_at(client, record, cut=cuts)
            assert outcome.record == expected
            assert set(outcome.changed) == {
                name for name in expected if expected[name] != before.get(name)
            }
        assert bounded(client.hgetall(KEY)) == join_all(record for record, _ in steps)


@pytest.mark.parametrize("size", [1, 100], ids=["one list", "a table"])
@pytest.mark.parametrize("group", [b"a*", b"?", b"[ab]", b"[^a]", b"\\", b"\x80", b"*@%20"])
def test_a_group_is_found_whatever_its_name_means_in_a_pattern(
    valkey: redis.Redis, group: bytes, size: int
) -> None:
    others = [b"ab:x", b"a:x", b"x", b"a*b:x", b"\x80\x80:x", b"b:x"]
    join_at(valkey, dict.fromkeys(others, b"0" * size))
    for n in range(70):
        record = join_at(
            valkey, {group + b":%d" % n: b"%03d" % n}, want_record=False, want_group=group
        ).record
        assert len(record) == min(n + 1, 64)
    assert set(record) == {group + b":%d" % n for n in range(6, 70)}
    assert set(others) <= set(valkey.hgetall(KEY))


@given(records=st.lists(RECORDS, max_size=4))
@settings(max_examples=50)
def test_they_are_so_in_any_locale(elsewhere: redis.Redis, records: list[Record]) -> None:
    check_sequence(elsewhere, records)


@given(records=st.lists(RECORDS, max_size=5), data=st.data())
@settings(max_examples=50)
def test_the_order_of_joins_does_not_matter(
    valkey_server: object, records: list[Record], data: st.DataObject
) -> None:
    shuffled = data.draw(st.permutations(records))
    with valkey_server.client() as client:  # type: ignore[attr-defined] # a fixture
        client.delete(b"{k}:1", b"{k}:2")
        for one, other in zip(records, shuffled, strict=True):
            join_at(client, one, b"{k}:1")
            join_at(client, other, b"{k}:2")
            join_at(client, one, b"{k}:1")
        assert client.hgetall(b"{k}:1") == client.hgetall(b"{k}:2") == join_all(records)


BOUNDED = sorted(group for group, bound in BOUNDS.items() if bound < BOUNDS[b"h"])
"""The groups that a join bounds; a history is bounded by a script of its own."""


@pytest.mark.parametrize("group", BOUNDED, ids=bytes.decode)
def test_a_group_keeps_its_latest(valkey: redis.Redis, group: bytes) -> None:
    bound = BOUNDS[group]
    for start in range(0, 2 * bound, 7):
        join_at(
            valkey,
            {group + b":%04d" % n: b"%04d" % (n * 7919 % 1000) for n in range(start, start + 7)},
        )
    kept = valkey.hgetall(KEY)
    assert len(kept) == min(bound, -(-2 * bound // 7) * 7)


def test_a_record_of_more_fields_than_lua_can_unpack_is_joined(valkey: redis.Redis) -> None:
    record = {b"g%d:x" % n: b"%d" % n for n in range(9000)}
    assert join_at(valkey, record).record == record


def test_a_field_that_does_not_stay_is_not_reported(valkey: redis.Redis) -> None:
    join_at(valkey, {b"checkpoint:b": b"2"})
    listener = listening(valkey)
    assert join_at(valkey, {b"checkpoint:a": b"1"}, publish=b"{k}").changed == ()
    assert join_at(valkey, {b"checkpoint:c": b"3"}, publish=b"{k}").changed == (b"checkpoint:c",)
    message = listener.get_sharded_message(timeout=5)
    assert decode_news(message["data"]) == (KEY, {b"checkpoint:c": b"3"})
    listener.close()


def test_only_what_changed_is_reported(valkey: redis.Redis) -> None:
    listener = listening(valkey)
    join_at(valkey, {b"a:1": b"2", b"a:2": b"2"}, publish=b"{k}")
    join_at(valkey, {b"a:1": b"2", b"a:2": b"1"}, publish=b"{k}")
    join_at(valkey, {b"a:1": b"\xff,:\0", b"a:2": b"1"}, publish=b"{k}")
    heard = [decode_news(listener.get_sharded_message(timeout=5)["data"]) for _ in range(2)]
    assert heard == [
        (KEY, {b"a:1": b"2", b"a:2": b"2", BEGAN: b""}),
        (KEY, {b"a:1": b"\xff,:\0"}),
    ]
    listener.close()


def test_that_a_record_began_is_reported_by_the_join_that_began_it(valkey: redis.Redis) -> None:
    listener = listening(valkey)
    assert not join_at(valkey, {}, publish=b"{k}").began
    many = {b"assurance:%d" % n: b"%d" % n for n in range(20)}  # more than stay
    assert join_at(valkey, many, publish=b"{k}").began
    assert not join_at(valkey, {b"b:1": b"x"}, publish=b"{k}").began
    valkey.delete(KEY)
    assert join_at(valkey, {b"b:1": b"x"}, publish=b"{k}").began
    heard = [decode_news(listener.get_sharded_message(timeout=5)["data"]) for _ in range(3)]
    assert [BEGAN in fields for _, fields in heard] == [True, False, True]
    listener.close()


def test_an_expiry_only_grows(valkey: redis.Redis) -> None:
    for asked, held in [(FAR, FAR), (FAR - 5, FAR), (FAR + 5, FAR + 5)]:
        join_at(valkey, {b"a:1": b"x"}, expire_at=asked)
        assert valkey.pexpiretime(KEY.decode()) == held


@pytest.mark.parametrize("expiry", [0, FAR - 5])
def test_a_record_that_knows_the_field_lives_on_where_that_is_to_be_confirmed(
    valkey: redis.Redis, expiry: int
) -> None:
    valkey.hset(KEY, "a:1", "x")  # not by us, or kept for ever by hand
    if expiry:
        valkey.pexpireat(KEY, expiry)
    outcome = join_at(valkey, {b"b:1": b"y"}, unless=b"a:1", confirm=True)
    assert outcome == JoinResult((), joined=False, record={b"a:1": b"x"})
    assert valkey.hgetall(KEY) == {b"a:1": b"x"}
    assert valkey.pexpiretime(KEY.decode()) == (expiry or FAR)


def test_a_record_without_expiry_gets_one(valkey: redis.Redis) -> None:
    valkey.hset(KEY, "a:1", "x")
    join_at(valkey, {})
    assert valkey.pexpiretime(KEY.decode()) == FAR


def test_a_record_that_knows_the_field_is_left_alone(valkey: redis.Redis) -> None:
    join_at(valkey, {b"who:user": b"u", b"a:1": b"x"})
    index = Index(b"{k}:index", b"m", FAR)
    outcome = join_at(
        valkey,
        {b"a:1": b"y"},
        unless=b"who:user",
        indexes=(index,),
        publish=b"{k}",
        expire_at=FAR + 9,
    )
    assert outcome == JoinResult((), joined=False, record={b"who:user": b"u", b"a:1": b"x"})
    assert valkey.pexpiretime(KEY.decode()) == FAR
    assert not valkey.exists("{k}:index")


def test_a_record_that_does_not_know_the_field_is_joined(valkey: redis.Redis) -> None:
    assert join_at(valkey, {b"a:1": b"y"}, unless=b"who:user").joined


def test_a_join_whose_answer_was_lost_claims_what_it_brought(valkey: redis.Redis) -> None:
    brought = Join(KEY, {b"event:1": b"x", b"a:1": b"1"}, FAR, NOW, unless=b"event:1")
    run(valkey, brought)
    item = Item(brought)
    item.failed("no answer")
    judge(item, exchanged(valkey, [item])[0])
    assert isinstance(item.outcome, JoinResult)
    assert item.outcome.joined
    assert set(item.outcome.changed) == {b"event:1", b"a:1"}


def test_an_index_holds_its_members_until_they_expire(valkey: redis.Redis) -> None:
    index = b"{k}:index"
    for member, until in [(b"old", NOW + 10), (b"new", NOW + 90), (b"new", NOW + 50)]:
        join_at(valkey, {b"a:1": b"x"}, indexes=(Index(index, member, until),))
    answers = [
        join_at(valkey, {}, now=NOW + later, members_of=index).members for later in (10, 11, 90, 91)
    ]
    assert answers == [(b"old", b"new"), (b"new",), (b"new",), ()]
    assert valkey.zcard(index) == 2
    far = FAR + 1
    join_at(valkey, {}, now=NOW + 60, indexes=(Index(index, b"last", far),))
    assert valkey.zrange(index, 0, -1) == [b"new", b"last"]
    assert valkey.pexpiretime(index.decode()) == far


def test_a_load_reads_what_was_joined_before_it(valkey: redis.Redis) -> None:
    valkey.script_flush()
    join_ = Join(KEY, {b"a:1": b"x"}, FAR, NOW, (Index(b"{k}:i", b"m", FAR),), want_record=False)
    joined, loaded, bare = run(valkey, join_, Load(KEY, b"{k}:i", NOW), Load(b"nothing"))
    assert joined == JoinResult((b"a:1",), joined=True, record={}, began=True)
    assert loaded == Loaded({b"a:1": b"x"}, (b"m",))
    assert bare == Loaded({})
