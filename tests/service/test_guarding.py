"""The store comes back empty: no mark is laundered, and what sidecars know is written back."""

from sidecar.domain.policy import RiskLevel, UserRisk
from sidecar.domain.signal import RiskLevelChange, Subject
from sidecar.domain.stamp import at
from sidecar.service.answers import Verdict
from sidecar.service.observations import Told
from tests.domain.scenes import policy
from tests.service.memory import MemoryStore, Pod, Tokens

RISKY = policy(UserRisk(RiskLevel.MEDIUM), name="risky")
RISE = RiskLevelChange(stamp=at(1005, "r"), subject=Subject(user="alice"), level=RiskLevel.HIGH)


async def pair() -> tuple[Pod, Pod, Tokens]:
    store, tokens = MemoryStore(), Tokens()
    a, b = Pod(store, [RISKY], tokens, name="a"), Pod(store, [RISKY], tokens, name="b")
    for pod in (a, b):
        await pod.reconnect()
    return a, b, tokens


def empty(store: MemoryStore) -> None:
    store.records.clear()
    store.indexes.clear()


async def test_sessions_in_a_view_are_written_back_with_their_marks() -> None:
    a, b, tokens = await pair()
    token = tokens.issue("t1")
    await a.check(token)
    await a.settle()
    await a.intake.accept(RISE)
    empty(a.store)
    for pod in (a, b):
        pod.now += 20
        await pod.reconnect()
        await pod.settle()
    answer = await b.check(token)
    assert answer.verdict is Verdict.STEP_UP
    assert [reason.policy for reason in answer.reasons] == ["risky"]


async def test_a_session_that_nobody_remembers_must_sign_in_anew() -> None:
    a, b, tokens = await pair()
    token = tokens.issue("t1")
    empty(a.store)
    for pod in (a, b):
        pod.now += 20
        await pod.reconnect()
    for pod in (a, b):
        answer = await pod.check(token)
        assert answer.verdict is Verdict.STEP_UP
        assert [reason.policy for reason in answer.reasons] == ["store-lost"]
        assert (await pod.check(token, "")).verdict is Verdict.ALLOW
        await pod.settle()
        pod.now += 10
    fresh = tokens.issue("t2", auth_time=1025)
    assert (await a.check(fresh)).verdict is Verdict.ALLOW
    await a.settle()
    assert (await b.check(token)).verdict is Verdict.ALLOW


async def test_a_sidecar_that_starts_later_learns_of_the_floor() -> None:
    a, _, tokens = await pair()
    empty(a.store)
    a.now += 20
    await a.reconnect()
    late = Pod(a.store, [RISKY], tokens, name="late")
    late.now = a.now + 1
    await late.reconnect()
    assert (await late.check(tokens.issue("t1"))).verdict is Verdict.STEP_UP
    assert (await late.check(tokens.issue("t2", session="s2", auth_time=1021))).verdict is (
        Verdict.ALLOW
    )


async def test_a_store_that_kept_its_records_loses_nothing_and_asks_nobody() -> None:
    a, b, tokens = await pair()
    token = tokens.issue("t1")
    await a.check(token)
    await a.settle()
    for pod in (a, b):
        pod.now += 20
        await pod.reconnect()
    assert (await b.check(token)).verdict is Verdict.ALLOW
    assert not a.telemetry.of(Told)
    assert (await b.check(tokens.issue("t2", session="s2"))).verdict is Verdict.ALLOW


async def test_a_new_store_under_new_sidecars_is_simply_new() -> None:
    a, b, tokens = await pair()
    assert (await a.check(tokens.issue("t1"))).verdict is Verdict.ALLOW
    assert (await b.check("t1")).verdict is Verdict.ALLOW
