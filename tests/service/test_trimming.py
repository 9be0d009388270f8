"""Facts that a record lets go are folded first: nobody outruns a mark by being seen often."""

from collections import Counter
from itertools import pairwise

import msgspec
import pytest

from sidecar.domain.evaluation.decision import Verdict
from sidecar.domain.facts.signal import (
    DeviceComplianceChange,
    NetworkChange,
    RiskSignal,
    SessionRevoked,
    Subject,
)
from sidecar.domain.policy.conditional_access import Changed, Circumstance, Device, Signals
from sidecar.domain.values.lattice import bound_of, group_of
from sidecar.domain.values.stamp import at
from tests.domain.scenes import AWAY, HOME, PLACES, policy
from tests.service.memory import MemoryStore, Pod, Tokens

MOVED = policy(Changed((Circumstance.COUNTRY,)), name="moved")


@pytest.fixture(autouse=True)
def _many_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(1, 100):
        monkeypatch.setitem(PLACES, f"203.0.113.{number}", PLACES[AWAY])


def pod_on(store: MemoryStore, tokens: Tokens, name: str) -> Pod:
    return Pod(store, [MOVED], tokens, name=name)


@pytest.mark.parametrize("saved_each", [True, False], ids=["saved each time", "saved at the end"])
async def test_a_marked_session_does_not_lose_its_mark_by_changing_its_address(
    saved_each: bool,
) -> None:
    store, tokens = MemoryStore(), Tokens()
    token = tokens.issue("t1")
    pod = pod_on(store, tokens, "a")
    assert (await pod.check(token, ip=HOME)).verdict is Verdict.ALLOW
    await pod.settle()
    for number in range(1, 100):
        pod.now += 1
        ip = f"203.0.113.{number}"
        assert (await pod.check(token, ip=ip)).verdict is Verdict.STEP_UP, number
        if saved_each:
            await pod.settle()
    await pod.settle()
    other = pod_on(store, tokens, "b")
    other.now = pod.now
    assert (await other.check(token, ip="203.0.113.7")).verdict is Verdict.STEP_UP


def revoked(number: int, **whom: str) -> SessionRevoked:
    return SessionRevoked(stamp=at(1001 + number, f"r{number}"), subject=Subject(**whom))


async def test_no_number_of_other_revocations_makes_one_be_forgotten() -> None:
    store, tokens = MemoryStore(), Tokens()
    pod = pod_on(store, tokens, "a")
    await pod.intake.accept(revoked(0, user="alice"))
    for number in range(1, 100):
        await pod.intake.accept(revoked(number, user="alice", device=f"d{number}"))
    pod.now += 1000
    assert (await pod.check(tokens.issue("t1"), "")).status == 401


async def test_no_number_of_other_signals_makes_one_be_forgotten() -> None:
    leaked = policy(Signals(frozenset({"leaked-credentials"})), name="leaked")
    store, tokens = MemoryStore(), Tokens()
    pod = Pod(store, [leaked], tokens)

    def raised(number: int, name: str) -> RiskSignal:
        stamp = at(1001 + number / 1000, f"s{number}")
        return RiskSignal(
            stamp=stamp, subject=Subject("alice"), name=name, weight=20.0, half_life=3600.0
        )

    await pod.intake.accept(raised(0, "leaked-credentials"))
    for number in range(1, 200):
        await pod.intake.accept(raised(number, "noise"))
    pod.now += 5
    assert (await pod.check(tokens.issue("t1"))).verdict is Verdict.STEP_UP


@pytest.mark.parametrize("events", range(5, 60, 9))
async def test_what_comes_late_and_is_still_the_latest_of_its_kind_counts(events: int) -> None:
    broken = policy(Device(compliant=False), name="broken")
    store, tokens = MemoryStore(), Tokens()
    token = tokens.issue("t1", device="d1")
    pod = Pod(store, [broken], tokens)
    assert (await pod.check(token)).verdict is Verdict.ALLOW
    await pod.settle()
    for number in range(events):
        segment = NetworkChange(
            stamp=at(1010 + number, f"n{number}"),
            subject=Subject(session="s1"),
            segment=f"segment-{number}",
        )
        await pod.intake.accept(segment)
        await pod.settle()
    pod.now += 500
    late = DeviceComplianceChange(
        stamp=at(1005, "late"), subject=Subject(device="d1"), compliant=False
    )
    await pod.intake.accept(late)
    for one in (pod, Pod(store, [broken], tokens, name="b")):
        one.now = pod.now
        assert (await one.check(token)).verdict is Verdict.STEP_UP
    mended = msgspec.structs.replace(late, stamp=at(1006, "mended"), compliant=True)
    await pod.intake.accept(mended)
    assert (await pod.check(token)).verdict is Verdict.ALLOW


async def test_a_record_is_over_its_bounds_for_a_while_and_all_sidecars_agree() -> None:
    store, tokens = MemoryStore(), Tokens()
    a, b = pod_on(store, tokens, "a"), pod_on(store, tokens, "b")
    token = tokens.issue("t1")
    for pod in (a, b):
        assert (await pod.check(token, ip=HOME)).verdict is Verdict.ALLOW
        await pod.settle()
    (live,) = a.view
    sizes = []
    for number in range(300):
        move = NetworkChange(
            stamp=at(1001 + number, f"n{number}"),
            subject=Subject(session="s1"),
            segment=f"segment-{number % 7}",
        )
        await a.intake.accept(move)
        if number % 3 == 0:
            await a.settle()
        sizes.append(Counter(map(group_of, store.records[live.own.key])))
    for group in (b"network", b"event"):
        most = max(size[group] for size in sizes)
        assert bound_of(group) < most <= bound_of(group) * 3 // 2
        assert sizes[-1][group] >= bound_of(group)
    assert any(late[b"event"] < early[b"event"] for early, late in pairwise(sizes))
    for pod in (a, b):
        assert await pod.view.revalidate() == 0
    other = pod_on(store, tokens, "c")
    states = [live.state, *(each.state for each in b.view)]
    states.append((await other.view.open(*live.identity)).state)
    assert len(states) == 3
    assert states[0] == states[1] == states[2]
