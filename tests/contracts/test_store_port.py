"""The store's port: what is asked of the form in memory and of a real server is answered alike."""

import itertools
from collections.abc import AsyncIterator, Sequence
from typing import Any, TypeAlias

import pytest
import redis
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.domain.values.loss import ALL_SLOTS
from sidecar.service.ports.calls import StoreRefused
from sidecar.service.ports.store import (
    MEMBERS_BOUND,
    Enlistment,
    GuardedStore,
    Index,
    Join,
    JoinResult,
    Load,
    Loaded,
    Scanned,
    Sign,
)
from tests.adapters.servers import Server
from tests.contracts.forms import FORMS, Form, opened
from tests.stories.running import unique

FAR = 4_000_000_000_000
NOW = 3_900_000_000_000  # not yet: a server expires keys by its own clock
KEY, INDEX = b"t:{k}:f", b"t:{k}:x"


@pytest.fixture(params=FORMS)
async def form(
    request: pytest.FixtureRequest, valkey_server: Server, valkey: redis.Redis
) -> AsyncIterator[Form]:
    async with opened(request.param, valkey_server) as one:
        yield one


@pytest.fixture
def store(form: Form) -> GuardedStore:
    return form.store


async def join_at(
    store: GuardedStore, fields: dict[bytes, bytes], key: bytes = KEY, **more: Any
) -> JoinResult:
    (joined,) = await store.join(Join(key, fields, **{"expire_at": FAR, "now": NOW, **more}))
    return joined


# Any operations in any order

Step: TypeAlias = tuple[Any, ...]
FIELDS = st.dictionaries(
    st.sampled_from([b"a:1", b"a:2", b"checkpoint:1", b"checkpoint:2", b"checkpoint:3", b"bare"]),
    st.sampled_from([b"", b"1", b"2", b"\xff"]),
    max_size=4,
)
MEMBERS = st.sampled_from([b"m", b"n", b"o"])
MOMENTS = st.integers(0, 3).map(lambda n: NOW + 10 * n)
JOINS = st.tuples(
    st.just("join"),
    st.sampled_from(["f", "g"]),
    FIELDS,
    st.fixed_dictionaries(
        {"expire_at": st.sampled_from([FAR, FAR + 5, FAR + 9]), "now": MOMENTS},
        optional={
            "unless": st.sampled_from([b"a:1", b"a:2"]),
            "want_record": st.booleans(),
            "want_group": st.sampled_from([b"a", b"checkpoint"]),
            "confirm": st.booleans(),
        },
    ),
    st.none() | st.tuples(MEMBERS, MOMENTS),
    st.booleans(),
)
STEPS = st.one_of(
    JOINS,
    st.tuples(st.just("load"), st.sampled_from(["f", "g"]), st.none() | MOMENTS),
    st.tuples(st.just("expiries")),
    st.tuples(st.just("members"), MOMENTS),
)


async def play(store: GuardedStore, tag: str, steps: Sequence[Step]) -> list[object]:
    """Return what was answered; names that no two plays share are made of `tag`."""
    keys = {name: b"t:{%s}:%s" % (tag.encode(), name.encode()) for name in "fgx"}
    answers: list[object] = []
    for verb, *arguments in steps:
        match verb:
            case "join":
                name, fields, more, member, asks = arguments
                indexes = () if member is None else (Index(keys["x"], *member),)
                members_of = keys["x"] if asks else None
                one = Join(keys[name], fields, indexes=indexes, members_of=members_of, **more)
                answers += await store.join(one)
            case "load":
                name, now = arguments
                index = keys["x"] if now is not None else None
                answers += await store.load(Load(keys[name], index, now or 0))
            case "expiries":
                answers.append(await store.expiries(*keys.values()))
            case "members":
                found = await through(store, keys["x"], *arguments)
                answers.append(sorted(found))
    return answers


async def through(store: GuardedStore, index: bytes, now: int) -> list[bytes]:
    found: list[bytes] = []
    page = Scanned([], b"")
    while True:
        page = await store.members(index, now, page.bookmark)
        found += page.keys
        if not page.bookmark:
            return found


@given(st.lists(STEPS, min_size=1, max_size=12))
@settings(deadline=None, max_examples=60)
def test_whatever_is_asked_both_forms_answer_alike(
    valkey_server: Server, steps: list[Step]
) -> None:
    async def both() -> None:
        tag = unique("k")
        async with opened("memory", valkey_server) as fake, opened("real", valkey_server) as real:
            assert await play(fake.store, tag, steps) == await play(real.store, tag, steps)

    trio.run(both)


# What a caller may count on


async def test_a_record_that_was_not_asked_for_is_not_given(store: GuardedStore) -> None:
    await join_at(store, {b"a:1": b"x"})
    assert (await join_at(store, {b"a:2": b"y"}, want_record=False)).record == {}
    known = await join_at(store, {b"a:2": b"z"}, unless=b"a:1", want_record=False)
    assert known == JoinResult((), joined=False, record={})
    assert await store.load(Load(KEY)) == [Loaded({b"a:1": b"x", b"a:2": b"y"})]


async def test_of_a_record_one_group_can_be_asked_for(store: GuardedStore) -> None:
    both = {b"a:1": b"x", b"ab:1": b"z", b"b:1": b"y"}
    joined = await join_at(store, both, want_record=False, want_group=b"a")
    assert joined.record == {b"a:1": b"x"}
    known = await join_at(store, {b"c:1": b"z"}, unless=b"a:1", want_record=False, want_group=b"a")
    assert known == JoinResult((), joined=False, record={b"a:1": b"x"})


async def test_one_call_answers_each_in_order_and_none_is_no_call(store: GuardedStore) -> None:
    first, second = Join(KEY, {b"a:1": b"1"}, FAR, NOW), Join(KEY, {b"a:1": b"0"}, FAR, NOW)
    assert [one.changed for one in await store.join(first, second)] == [(b"a:1",), ()]
    assert await store.load(Load(b"t:{other}:f"), Load(KEY)) == [Loaded({}), Loaded({b"a:1": b"1"})]
    assert await store.join() == []
    assert await store.load() == []


async def test_what_falls_over_its_groups_bound_has_not_grown(store: GuardedStore) -> None:
    await join_at(store, {b"checkpoint:a": b"1"})
    joined = await join_at(store, {b"checkpoint:a": b"2", b"checkpoint:b": b"9"})
    assert joined == JoinResult((b"checkpoint:b",), joined=True, record={b"checkpoint:b": b"9"})


async def test_members_come_by_when_they_expire_and_the_answer_to_a_join_is_bounded(
    store: GuardedStore,
) -> None:
    many = [b"m%04d" % n for n in range(MEMBERS_BOUND + 3)]
    for n, member in enumerate(many, 1):
        index = Index(INDEX, member, NOW + len(many) - n)
        await store.join(Join(KEY, {}, FAR, NOW, (index,)))
    (joined,) = await store.join(Join(KEY, {}, FAR, NOW, members_of=INDEX))
    assert joined.members == tuple(reversed(many))[:MEMBERS_BOUND]
    (loaded,) = await store.load(Load(KEY, INDEX, NOW + len(many) - 2))
    assert loaded.members == (many[1], many[0])


async def test_a_member_that_has_expired_is_gone_for_those_whose_clocks_are_behind_too(
    store: GuardedStore,
) -> None:
    await store.join(Join(KEY, {}, FAR, NOW, (Index(INDEX, b"old", NOW + 10),)))
    await store.join(Join(KEY, {}, FAR, NOW + 11, (Index(INDEX, b"new", NOW + 50),)))
    assert await store.load(Load(KEY, INDEX, NOW)) == [Loaded({}, (b"new",))]


async def test_keys_that_match_are_listed_by_keys_and_by_scan(store: GuardedStore) -> None:
    assert [page async for page in store.keys("t:{u*}:s:*")] == []
    sessions = [b"t:{u%d}:s:x" % n for n in range(25)]
    others = [b"t:{u1}:f", b"t:{d1}:s:x", b"s:{u1}:s:x"]
    for key in (*sessions, *others):
        await store.join(Join(key, {b"a:1": b"x"}, FAR, NOW))
    listed = [key async for page in store.keys("t:{u*}:s:*") for key in page]
    assert set(listed) == set(sessions)
    scanned, bookmark = set[bytes](), b""
    for pages in itertools.count(1):
        page = await store.scan("t:{u*}:s:*", bookmark)
        scanned.update(page.keys)
        bookmark = page.bookmark
        if not bookmark:
            break
        assert pages < len(sessions) + len(others)
    assert scanned == set(sessions)


async def test_records_and_indexes_expire_and_their_expiries_can_be_asked_for(
    store: GuardedStore,
) -> None:
    await store.join(Join(KEY, {b"a:1": b"x"}, FAR, NOW, (Index(INDEX, b"m", FAR + 7),)))
    await store.join(Join(KEY, {}, FAR - 5, NOW, (Index(INDEX, b"n", FAR + 3),)))
    assert await store.expiries(INDEX, KEY, b"t:{none}:f") == [FAR + 7, FAR, 0]


async def test_signs_add_up_and_are_news_and_whoever_lists_itself_is_found(
    store: GuardedStore,
) -> None:
    signs, expires = b"t:{k}:b:a", FAR + 3
    assert await store.sign(Sign(signs, b"beat:signs", 5, signs, b"0", expires)) == 5
    assert await store.sign(Sign(signs, b"beat:signs", 7, signs, b"1", confirm=True)) == 12
    (loaded,) = await store.load(Load(signs))
    assert loaded.record == {b"beat:signs": b"12"}
    assert await store.expiries(signs) == [expires]
    for member, until in ((b"m", NOW + 5), (b"m", NOW + 9), (b"m", NOW + 1), (b"n", NOW + 2)):
        await store.enlist(Enlistment(INDEX, member, until, NOW, FAR))
    (found,) = await store.load(Load(KEY, INDEX, NOW + 3))
    assert found == Loaded({}, (b"m",))


@pytest.mark.parametrize("spoilt", [b"spoilt", b"%d" % (2**63 - 1)])
async def test_signs_that_cannot_be_counted_begin_anew(store: GuardedStore, spoilt: bytes) -> None:
    signs = b"t:{k}:b:spoilt"
    await store.join(Join(signs, {b"beat:signs": spoilt}, FAR, NOW))
    with pytest.raises(StoreRefused):
        await store.sign(Sign(signs, b"beat:signs", 5, signs, b"0"))
    assert await store.sign(Sign(signs, b"beat:signs", 7, signs, b"1", FAR)) == 7
    assert await store.expiries(signs) == [FAR]


async def test_servers_say_what_they_are_and_what_they_do_not_grant(store: GuardedStore) -> None:
    shards = store.shards()
    spans = sorted(span for shard in shards for span in shard.spans)
    assert (spans[0][0], spans[-1][1]) == (0, ALL_SLOTS - 1)
    for shard in shards:
        vitals = await store.vitals(shard)
        assert vitals is not None
        assert (bool(vitals.run), vitals.policy, vitals.evicted) == (True, "noeviction", 0)
        assert await store.vitals(shard) == vitals
        assert await store.lacks(shard) == ""


async def test_what_the_store_refuses_for_good_leaves_the_rest_of_a_call_done(
    form: Form, valkey: redis.Redis
) -> None:
    valkey.set(KEY, "somebody else's")
    if hasattr(form.store, "refused"):
        form.store.refused.add(KEY)
    fine, refused = (Join(key, {b"a:1": b"x"}, FAR, NOW) for key in (b"t:{k}:g", KEY))
    with pytest.raises(StoreRefused):
        await form.store.join(refused, fine)
    with pytest.raises(StoreRefused):
        await form.store.load(Load(KEY))
    assert await form.store.load(Load(b"t:{k}:g")) == [Loaded({b"a:1": b"x"})]
