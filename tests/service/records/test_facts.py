"""Facts go into the record of whom they are of, on that record's terms."""

from sidecar.domain.facts.fact_kinds import RiskReported, Scope, Seen, Sighted
from sidecar.domain.facts.signal import RiskLevelChange, SessionEstablished, Subject
from sidecar.domain.policy.conditional_access import RiskLevel
from sidecar.domain.values.location import Place
from sidecar.domain.values.stamp import at
from sidecar.service.records.fact_reader import (
    DeviceRecord,
    FactReader,
    LocatorRecord,
    SessionRecord,
    UserRecord,
)
from sidecar.service.records.facts import FactRecords
from sidecar.service.records.spooled_facts import Pending
from sidecar.wire.settings.settings import Sessions
from sidecar.wire.store.entries import Identified, Moved, OwnedBy
from sidecar.wire.store.keys import StoreKeys, session_name
from sidecar.wire.store.records import decode_facts, owners_of
from tests.service.memory import MemoryStore

NOW = 1000.0
SESSIONS = Sessions(facts_ttl=500.0, min_ttl=100.0)
FACTS_LIVE = int((NOW + SESSIONS.facts_ttl) * 1000)
NAME = session_name("", "ada", "s1")
ADA, LAPTOP = UserRecord(NAME.user), DeviceRecord("laptop")
OWN, LOCATOR = SessionRecord(NAME), LocatorRecord(NAME.session)
RISE = RiskLevelChange(stamp=at(990, "r"), subject=Subject("ada"), level=RiskLevel.HIGH)
BEGUN = SessionEstablished(stamp=at(990, "b"), subject=Subject("ada", session="s1"), exp=2000)
RISK = RiskReported(stamp=at(990, "r"), scope=Scope.USER, level=RiskLevel.HIGH)
SIGHTED = Sighted(stamp=at(990, "b"), ip="192.0.2.1", place=Place())
SEEN = Seen(stamp=at(990, "b"), session=NAME.session, ip="192.0.2.1", place=Place())


def records(store: MemoryStore) -> FactRecords:
    return FactRecords(store, StoreKeys("t"), lambda: NOW, lambda: SESSIONS)


async def test_an_event_counts_once_and_its_answer_names_the_sessions() -> None:
    facts = records(MemoryStore())
    await facts.join(facts.write((SIGHTED,), of=OWN, event=BEGUN))
    write = facts.write((RISK,), of=ADA, event=RISE)
    (first,) = await facts.join(write)
    (second,) = await facts.join(write)
    assert (first.joined, second.joined) == (True, False)
    assert first.sessions == second.sessions == (NAME,)
    (listed,) = await facts.load_listed(ADA)
    assert listed.sessions == (NAME,)
    assert decode_facts(listed.record) == ([RISK], [])


async def test_followers_hear_of_facts_and_events_and_of_nothing_else() -> None:
    facts, keys = records(MemoryStore()), StoreKeys("t")
    channel = keys.user_channel(NAME.user)
    assert facts.write((RISK,), of=ADA).terms.publish == channel
    assert facts.write((SIGHTED,), of=OWN).terms.publish == channel
    assert facts.write((), of=OWN, event=BEGUN).terms.publish == channel
    assert facts.write((RISK,), of=LAPTOP).terms.publish == keys.device_channel("laptop")
    assert facts.write((Identified("", "ada", "s1"),), of=OWN).terms.publish is None
    assert facts.write((SIGHTED,), of=LOCATOR, event=BEGUN).terms.publish is None


async def test_a_record_lives_as_long_as_it_may_have_to_stop_a_token() -> None:
    store = MemoryStore()
    facts = records(store)
    until = facts.life_of(BEGUN)
    assert until == 2_000_000 > FACTS_LIVE == facts.life_of(RISE)
    assert not facts.keep(ADA, FACTS_LIVE)
    await facts.join(*facts.keep(ADA, until), facts.list_session(NAME, LAPTOP, until))
    assert store.expiries_of == {facts.key(ADA): until, facts.key(LAPTOP): until}
    await facts.join(facts.write((OwnedBy("ada", shown=True),), of=LOCATOR, until=until))
    (located,) = await facts.load(LOCATOR)
    assert [one.user for one in owners_of(located)] == ["ada"]
    (listed,) = await facts.load_listed(LAPTOP)
    assert listed.sessions == (NAME,)


async def test_a_session_is_read_with_the_records_of_its_user_and_devices() -> None:
    facts = records(MemoryStore())
    said = (SIGHTED, Identified("", "ada", "s1"))
    await facts.join(facts.write(said, of=OWN, event=BEGUN), facts.write((RISK,), of=ADA))
    (session,) = await facts.load_sessions([NAME, session_name("", "bob", "s2")])
    assert session.name == NAME
    assert session.identified == Identified("", "ada", "s1")
    assert decode_facts(session.of_user) == ([RISK], [])


async def test_what_waits_in_the_spool_is_read_whole_though_it_is_of_one_record() -> None:
    store = MemoryStore()
    facts, pending = records(store), Pending(store)
    pending.add(
        ("", "b", BEGUN.subject),
        [facts.write((Moved(SEEN),), of=ADA), facts.write((RISK,), of=ADA)],
    )
    (waiting,) = await FactReader(pending, StoreKeys("t"), lambda: NOW).load(ADA)
    assert set(map(repr, decode_facts(waiting)[0])) == {repr(SEEN), repr(RISK)}
    assert await facts.load(ADA) == [{}]
