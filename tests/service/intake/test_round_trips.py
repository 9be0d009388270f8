"""What an event costs: round trips to the store until it is acknowledged."""

import pytest

from sidecar.domain.evaluation.decision import Verdict
from sidecar.domain.facts.signal import NetworkChange, RiskLevelChange, Signal, Subject
from sidecar.domain.policy.conditional_access import RiskLevel, UserRisk
from sidecar.domain.values.stamp import at
from sidecar.wire.events.members import InvalidSignal
from sidecar.wire.store.event_keys import event_field
from sidecar.wire.store.keys import SessionName, session_name
from tests.domain.scenes import policy
from tests.service.memory import MemoryStore, Pod, Tokens

RISKY = policy(UserRisk(RiskLevel.HIGH), name="risky")
OF_SESSION = Subject(session="s1")


def pod(store: MemoryStore, tokens: Tokens, name: str = "a") -> Pod:
    return Pod(store, [RISKY], tokens, name=name)


def moved(identifier: str = "e1", subject: Subject = OF_SESSION, segment: str = "lab") -> Signal:
    return NetworkChange(
        stamp=at(1001, identifier), subject=subject, segment=segment, content=segment
    )


def risen() -> Signal:
    return RiskLevelChange(
        stamp=at(1001, "r1"), subject=Subject(user="alice"), level=RiskLevel.HIGH
    )


def named(where: Pod, user: str = "alice") -> SessionName:
    (live,) = where.view.find_session("s1")
    return session_name(live.namespace, user, "s1")


@pytest.fixture
async def here() -> Pod:
    """A sidecar that has one session in its view, and all of it saved."""
    one = pod(MemoryStore(), Tokens())
    assert (await one.check(one.tokens.issue("t"))).verdict is Verdict.ALLOW
    await one.settle()
    return one


@pytest.mark.parametrize("signal", [moved(), risen()], ids=["of a session", "of a user"])
async def test_an_event_of_who_is_in_the_view_is_one_round_trip(here: Pod, signal: Signal) -> None:
    before = here.store.round_trips
    assert not (await here.intake.accept(signal)).duplicate
    assert here.store.round_trips == before + 1


async def test_it_waits_for_whoever_comes_to_have_the_session_later(here: Pod) -> None:
    await here.intake.accept(moved())
    other = pod(here.store, here.tokens, "b")
    await other.check(here.tokens.issue("of another", user="bob"))
    (live,) = other.view.find_session("s1")
    assert event_field("e1") in live.locator.record


async def test_who_has_a_session_of_that_name_elsewhere_is_meant_too(here: Pod) -> None:
    other = pod(here.store, here.tokens, "b")
    await other.check(here.tokens.issue("of another", user="bob"))
    await other.settle()
    accepted = await here.intake.accept(moved())
    assert not accepted.duplicate
    for user in ("alice", "bob"):
        record = here.store.records[here.names.session_record(named(here, user))]
        assert event_field("e1") in record
    assert (await here.intake.accept(moved())).duplicate


async def test_an_id_that_has_counted_for_another_event_is_refused(here: Pod) -> None:
    await here.intake.accept(moved())
    with pytest.raises(InvalidSignal, match="another event"):
        await here.intake.accept(moved(segment="dmz"))


NARROWED = Subject(user="alice", session="s1")


@pytest.mark.parametrize("subject", [OF_SESSION, NARROWED], ids=["of nobody yet", "of hers alone"])
async def test_an_id_that_counts_for_another_event_is_refused_before_any_record_has_it(
    subject: Subject,
) -> None:
    """Whichever of the two records it counts in, the other one gets nothing of this either."""
    store, tokens = MemoryStore(), Tokens()
    here, elsewhere = pod(store, tokens), pod(store, tokens, "b")
    if subject is NARROWED:
        await here.check(tokens.issue("t"))
        await here.settle()
    await elsewhere.intake.accept(moved(subject=subject))
    await here.check(tokens.issue("t"))
    await here.settle()
    before = {key: dict(record) for key, record in store.records.items()}
    with pytest.raises(InvalidSignal, match="another event"):
        await here.intake.accept(moved(segment="dmz"))
    assert store.records == before


async def test_an_id_that_counts_for_another_event_of_one_of_several_owners_is_refused_for_all(
    here: Pod,
) -> None:
    await here.check(here.tokens.issue("of another", user="bob"))
    await here.settle()
    await here.intake.accept(moved(subject=Subject(user="bob", session="s1")))
    before = {key: dict(record) for key, record in here.store.records.items()}
    with pytest.raises(InvalidSignal, match="another event"):
        await here.intake.accept(moved(segment="dmz"))
    assert here.store.records == before


async def test_an_event_that_only_the_locator_had_counts_for_the_session(here: Pod) -> None:
    """As when it came before anybody knew whose the session is, and its sender tries again."""
    nobodys = pod(here.store, here.tokens, "b")
    locator = nobodys.names.locator(named(here).session)
    owners, here.store.records[locator] = here.store.records[locator], {}
    await nobodys.intake.accept(moved())
    here.store.records[locator] |= owners
    assert not (await here.intake.accept(moved())).duplicate
    (live,) = here.view.find_session("s1")
    assert event_field("e1") in live.own.record
