"""Events that come together share a round trip, and have the outcomes that each has by itself."""

from collections.abc import Sequence

import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.domain.facts.signal import (
    DeviceComplianceChange,
    NetworkChange,
    RiskLevelChange,
    SessionRevoked,
    Signal,
    Subject,
)
from sidecar.domain.policy.conditional_access import RiskLevel, UserRisk
from sidecar.domain.values.lattice import Record
from sidecar.domain.values.stamp import at
from sidecar.service.ports.calls import Accepted
from tests.domain.scenes import policy
from tests.service.memory import MemoryStore, Pod, Tokens

RISKY = policy(UserRisk(RiskLevel.HIGH), name="risky")
SUBJECTS = st.sampled_from(
    [
        Subject(session="s1"),
        Subject(session="s2"),
        Subject(session="nobody-knows"),
        Subject(session="shared"),
        Subject(session="s1", user="alice"),
    ]
)
IDS, TIMES = st.sampled_from("abcdef"), st.integers(1001, 1004)


@st.composite
def signals(draw: st.DrawFn) -> Signal:
    """Draw an event of somebody who is known here, or is not; its id may have counted before."""
    stamp = at(draw(TIMES), draw(IDS))
    match draw(st.sampled_from(["moved", "moved", "risen", "device", "revoked"])):
        case "moved":
            segment = draw(st.sampled_from(["lab", "dmz"]))
            subject = draw(SUBJECTS)
            return NetworkChange(stamp=stamp, subject=subject, segment=segment, content=segment)
        case "risen":
            level = draw(st.sampled_from([RiskLevel.LOW, RiskLevel.HIGH]))
            user = Subject(user=draw(st.sampled_from(["alice", "bob", "stranger"])))
            return RiskLevelChange(stamp=stamp, subject=user, level=level, content=level.name)
        case "device":
            subject = Subject(device=draw(st.sampled_from(["laptop", "phone"])))
            compliant = draw(st.booleans())
            return DeviceComplianceChange(stamp=stamp, subject=subject, compliant=compliant)
        case _:
            return SessionRevoked(stamp=stamp, subject=draw(SUBJECTS))


async def pod() -> Pod:
    """Return a sidecar that has some sessions in its view, two of them of one name."""
    one = Pod(MemoryStore(), [RISKY], Tokens())
    sessions = {"s1": "alice", "s2": "bob", "shared": "alice", "shared ": "bob"}
    for number, (session, user) in enumerate(sessions.items()):
        named = session.strip()
        await one.check(one.tokens.issue(f"t{number}", session=named, user=user, device="laptop"))
    await one.settle()
    return one


async def each(where: Pod, them: Sequence[Signal]) -> list[Accepted | Exception]:
    outcomes: list[Accepted | Exception] = []
    for signal in them:
        try:
            outcomes.append(await where.events.accept(signal))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is to be the same
            outcomes.append(error)
    return outcomes


def words(outcomes: Sequence[Accepted | Exception]) -> list[str]:
    return [str(one) if isinstance(one, Accepted) else repr(one) for one in outcomes]


def facts_in(store: MemoryStore) -> dict[bytes, Record]:
    """Return what is known of users, devices and sessions; in which order is another matter."""
    return {
        key: {f: v for f, v in record.items() if not f.startswith((b"told:", b"claim:"))}
        for key, record in store.records.items()
        if not key.endswith(b":h")
    }


@settings(max_examples=40, deadline=None)
@given(
    before=st.lists(signals(), max_size=3),
    them=st.lists(signals(), max_size=8, unique_by=lambda one: one.stamp.id),
)
def test_events_taken_together_become_what_each_becomes_by_itself(
    before: list[Signal], them: list[Signal]
) -> None:
    async def compare() -> None:
        together, alone = await pod(), await pod()
        for one in (together, alone):
            await each(one, before)
        assert words(await together.events.accept_all(them)) == words(await each(alone, them))
        for one in (together, alone):
            await one.settle()
        assert facts_in(together.store) == facts_in(alone.store)
        assert together.store.indexes == alone.store.indexes
        for session in ("s1", "s2", "shared"):
            found = [
                [
                    live.standing(one.view.evaluator, one.now)
                    for live in one.view.find_session(session)
                ]
                for one in (together, alone)
            ]
            assert found[0] == found[1]

    trio.run(compare)


async def test_events_of_who_is_in_the_view_share_one_round_trip() -> None:
    here = await pod()
    them: list[Signal] = [
        NetworkChange(
            stamp=at(1001, f"e{n}"), subject=Subject(session=f"s{1 + n % 2}"), segment="lab"
        )
        for n in range(32)
    ]
    them += [
        RiskLevelChange(stamp=at(1001, f"r{n}"), subject=Subject(user="bob"), level=RiskLevel.HIGH)
        for n in range(32)
    ]
    before = here.store.round_trips
    outcomes = await here.events.accept_all(them)
    assert here.store.round_trips == before + 1
    assert all(isinstance(one, Accepted) and not one.duplicate for one in outcomes)


async def test_what_concerns_nobody_or_has_no_room_keeps_no_other_event_out() -> None:
    here = await pod()
    here.store.refused.add(here.names.device_record("x"))
    fine = NetworkChange(stamp=at(1001, "e"), subject=Subject(session="s1"), segment="lab")
    wrong = NetworkChange(
        stamp=at(1001, "f"), subject=Subject(session="s1", issuer="none"), segment="lab"
    )
    refused, taken = await here.events.accept_all([wrong, fine])
    assert isinstance(taken, Accepted)
    assert "is not configured" in str(refused)
