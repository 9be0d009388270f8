"""The store in keyed forms, one and several: as the lattice has it, and carried on."""

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import msgspec
import pytest
import redis
import trio

from sidecar.adapters.clock import now
from sidecar.adapters.files.spool import FileSpool
from sidecar.adapters.redis.backlog import RedisBacklogs
from sidecar.adapters.redis.links import links_of
from sidecar.adapters.redis.queues import RedisQueues
from sidecar.adapters.redis.sealed_store import SealedStore
from sidecar.domain.facts.signal import SessionRevoked, Subject
from sidecar.domain.values.lattice import Record, join_all
from sidecar.domain.values.loss import ALL_SLOTS, Floor
from sidecar.domain.values.stamp import at
from sidecar.service.ports.store import Append, Browse, HistoryAppend, Index, Join, Load
from sidecar.wire.history.entries import (
    Dated,
    Entry,
    EntryKind,
    decode_entries,
    encode_entry,
)
from sidecar.wire.privacy.privacy_keys import PrivacyKey
from sidecar.wire.privacy.sealed_forms import KeyedForm, PlainForm, SealedForms, names_under
from sidecar.wire.settings.settings import SpoolSettings, StoreSettings
from sidecar.wire.store.keys import StoreKeys, digest, session_name
from sidecar.wire.store.losses import slot_of

NAMES = StoreKeys("su")
ADA = session_name("idp", "ada", "s-1")
KEY, INDEX = NAMES.user_record(ADA.user), NAMES.user_index(ADA.user)
OLD, NEW = (KeyedForm(PrivacyKey(letter * 44), "su") for letter in (b"o", b"n"))
PLAIN = PlainForm()
Known: TypeAlias = tuple[KeyedForm | PlainForm, ...]
STEPS: list[Known] = [(OLD,), (OLD, NEW), (NEW, OLD), (NEW,)]
"""How a key is replaced: each step may run beside the next."""

BESIDE: list[tuple[Known, Known]] = [
    *itertools.pairwise(STEPS),
    ((PLAIN,), (PLAIN, NEW)),
    ((PLAIN, NEW), (NEW, PLAIN)),
]


def fact(second: int, text: bytes = b"x") -> bytes:
    return b"%016d\0%s" % (second, text)


@asynccontextmanager
async def stores(url: str, *known: Known) -> AsyncIterator[list[SealedStore]]:
    settings = StoreSettings(url=url)
    async with trio.open_nursery() as nursery:
        made = []
        for forms in known:
            store = SealedStore(
                links_of(settings),
                settings,
                SealedForms(forms),
                observe=lambda *_: None,
                on_up=lambda *_: None,
            )
            await nursery.start(store.run)
            made.append(store)
        yield made
        nursery.cancel_scope.cancel()


def joining(fields: Record, *, unless: bytes | None = None, life: float = 600) -> Join:
    moment = int(now() * 1000)
    until = moment + int(life * 1000)
    member = Index(INDEX, str(ADA).encode(), until)
    return Join(KEY, fields, until, moment, (member,), unless=unless, members_of=INDEX)


async def test_what_one_step_of_a_rotation_writes_the_next_one_reads_and_joins(
    valkey_url: str, valkey: redis.Redis
) -> None:
    for mine, others in BESIDE:
        valkey.flushall()
        async with stores(valkey_url, mine, others) as (a, b):
            written: list[Record] = []
            for number, store in enumerate((a, b, a, a, b, b)):
                fields = {b"ended:": fact(number // 2), b"signal:%d" % number: fact(number, b"ada")}
                written.append(fields)
                (joined,) = await store.join(joining(fields))
                assert set(joined.changed) >= {b"signal:%d" % number}
                assert joined.record == join_all(written)
                assert joined.members == (str(ADA).encode(),)
            for store in (a, b):
                load = Load(KEY, INDEX, int(now() * 1000))
                loaded, _ = await store.load(load, Load(NAMES.user_record("x" * 22)))
                assert loaded.record == join_all(written)
                assert loaded.members == (str(ADA).encode(),)
                (again,) = await store.join(joining(written[0]))
                assert again.changed == ()


async def test_what_happens_once_happens_once_whichever_step_does_it(valkey_url: str) -> None:
    for mine, others in BESIDE:
        async with stores(valkey_url, mine, others) as both:
            with redis.Redis.from_url(valkey_url) as client:
                client.flushall()
            for number in range(6):
                field = b"spent:%d" % number
                won: list[int] = []

                async def claim(
                    store: SealedStore, who: int, field: bytes = field, won: list[int] = won
                ) -> None:
                    value = fact(1, b"%d" % who)
                    (joined,) = await store.join(joining({field: value}, unless=field))
                    # As the check that uses a proof judges: what it finds there is its own.
                    if joined.joined or joined.record.get(field) == value:
                        won.append(who)

                async with trio.open_nursery() as nursery:
                    for who in range(4):
                        nursery.start_soon(claim, both[who % 2], who)
                await claim(both[0], 9)
                await claim(both[1], 9)
                assert len(won) <= 1, "and never a second time"


async def test_an_event_that_was_written_in_another_form_is_found_and_brought_over(
    valkey_url: str,
) -> None:
    async with stores(valkey_url, (OLD,), (NEW, OLD), (NEW,)) as (old, both, new):
        fields = {b"event:e1": b"%016de1" % 1, b"revoked:e1": fact(1, b"ada")}
        await old.join(joining(fields, life=900))
        (joined,) = await both.join(joining(fields, unless=b"event:e1", life=60))
        assert (joined.joined, joined.record) == (False, fields)
        (loaded,) = await new.load(Load(KEY))
        assert loaded.record == {b"revoked:e1": fields[b"revoked:e1"]}
        (expiry,) = await new.expiries(KEY)
        assert expiry > (now() + 600) * 1000, "it lives as long as before"


async def test_all_sessions_are_found_by_scan_and_by_index_in_every_form(valkey_url: str) -> None:
    async with stores(valkey_url, (OLD,), (PLAIN,), (NEW, OLD, PLAIN)) as (old, plain, all_forms):
        moment = int(now() * 1000)
        expected = set()
        for store, user in ((old, "ada"), (plain, "bob"), (all_forms, "eve")):
            name = session_name("idp", user, f"of-{user}")
            expected.add(NAMES.session_record(name))
            key, member = NAMES.session_record(name), str(name).encode()
            await store.join(Join(key, {b"who:user": b"u"}, moment + 60_000, moment))
            index = (Index(INDEX, member, moment + 60_000),)
            await store.join(Join(KEY, {b"a:b": fact(1)}, moment + 60_000, moment, index))
        found = {key async for keys in all_forms.keys(NAMES.every_session()) for key in keys}
        assert found == expected
        members: set[bytes] = set()
        bookmark = b""
        while True:
            part = await all_forms.members(INDEX, moment, bookmark)
            members |= set(part.keys)
            bookmark = part.bookmark
            if not bookmark:
                break
        assert members == {key.split(b"{u")[1].replace(b"}:s:", b"/") for key in expected}


async def test_queues_backlogs_and_the_spool_name_nobody(
    valkey_url: str, valkey: redis.Redis, tmp_path_factory: pytest.TempPathFactory
) -> None:
    directory = tmp_path_factory.mktemp("spool")
    async with stores(valkey_url, (NEW, OLD)) as (store,):
        queues = RedisQueues(store)
        await queues.append(Append(NAMES.dead_letters(), b"ada", 10))
        (entry,) = (await queues.browse(Browse(NAMES.dead_letters(), b"", 5))).entries
        assert entry.payload == b"ada"
        backlogs = RedisBacklogs(store, NAMES, sealing=SealedForms((NEW, OLD)))
        await backlogs.begin("all", 1, b"ada-walk")
        taken = await backlogs.take("all", "pod")
        assert taken is not None
        assert taken.body == b"ada-walk"
        await backlogs.replace("all", taken, b"ada-page", done=1)
        queued = (NAMES.dead_letters(), NAMES.backlog("all"))
        entries: list[Any] = []
        for key in queued:
            entries += valkey.xrange(key) or []
    assert len(entries) == len(queued)
    assert b"ada" not in repr(entries).encode()
    ada = Subject(user="ada@example.com", issuer="idp")
    event = SessionRevoked(stamp=at(1, "e1"), subject=ada, reason="stolen")
    for forms in ((OLD,), (NEW, OLD)):
        async with trio.open_nursery() as nursery:
            spool = FileSpool(
                SpoolSettings(dir=str(directory)),
                on_incident=lambda incident: pytest.fail(str(incident)),
                on_state=lambda _: None,
                sealing=SealedForms(forms),
            )
            await nursery.start(spool.run)
            await spool.keep(event)
            kept = [await spool.read(one) for one in await spool.segments()]
            nursery.cancel_scope.cancel()
    assert kept == [[event], [event]]
    on_disk = b"".join(file.read_bytes() for file in directory.glob("*.spool"))
    assert on_disk
    assert b"ada" not in on_disk
    assert b"stolen" not in on_disk


def test_where_the_store_has_a_record_is_where_its_losses_count() -> None:
    one, two = names_under("su", SealedForms((NEW,))), names_under("su", SealedForms((NEW, OLD)))
    assert one.slot(KEY) == slot_of(NEW.seal_key(KEY))
    assert one.widened(Floor(1, 2, 3)) == Floor(1, 2, 3)
    assert two.widened(Floor(1, 2, 3)) == Floor(0, ALL_SLOTS - 1, 3)
    assert digest("idp", "ada") == ADA.user


async def test_a_history_names_nobody_and_is_read_in_every_form(valkey_url: str) -> None:
    entry = Entry(kind=EntryKind.SIGNAL, session="s-of-ada", text="ada@example.com was here")
    several = [Dated(number, f"0id-of-{number}", entry) for number in range(3)]
    key = NAMES.user_history(ADA.user)
    far = int((now() + 600) * 1000)
    for mine, others in BESIDE:
        async with stores(valkey_url, mine, others) as (a, b):
            with redis.Redis.from_url(valkey_url) as client:
                client.flushall()
                appends = [HistoryAppend(key, dict([encode_entry(x)]), 9, 0, far) for x in several]
                for store, one in zip((a, b, a), appends, strict=True):
                    (answer,) = await store.append_history(one)
                    assert answer.fresh == tuple(one.fields)
                join = joining({b"signal:1": fact(1)})
                await b.join(msgspec.structs.replace(join, history=appends[0]))
                for store in (a, b):
                    (loaded,) = await store.load(Load(key))
                    assert sorted(decode_entries(loaded.record)) == several
                if PLAIN not in (*mine, *others):
                    raw = repr([client.hgetall(one) for one in client.scan_iter("*:h")])
                    assert not any(name in raw for name in ("ada", "id-of", "s-of"))
