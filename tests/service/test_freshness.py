"""The age that a view may have, by context, and the time for which a stop is kept."""

import msgspec
import pytest
import trio

from sidecar.domain.evaluation.decision import Verdict
from sidecar.domain.facts.signal import RiskLevelChange, SessionEstablished, SessionRevoked, Subject
from sidecar.domain.policy.conditional_access import RiskLevel, UserRisk
from sidecar.domain.values.stamp import at
from sidecar.service.observations.observations import WorkerFailed
from sidecar.service.ports.calls import Call
from sidecar.wire.settings.settings import Context, Resilience
from sidecar.wire.store.keys import digest
from sidecar.wire.tokens.claims import Token
from tests.domain.scenes import policy
from tests.service.memory import SETTINGS, MemoryStore, Pod, Tokens

DAY = 86400.0
RISKY = policy(UserRisk(RiskLevel.MEDIUM), name="risky")
BY_CONTEXT = msgspec.structs.replace(
    SETTINGS,
    contexts={
        "c1": Context(name="Payments", max_staleness=3.0),
        "c2": Context(name="Reports"),
        "c3": Context(name="Archive", when_unknown=Resilience.DENY, max_staleness=60.0),
    },
)


def lasting(tokens: Tokens, name: str, *, days: float, auth_time: int = 999, **more: str) -> str:
    """Issue a token that may be shown for so many days from second 1000."""
    tokens.issue(name, auth_time=auth_time, **more)
    known: Token = tokens.known[name]
    tokens.known[name] = msgspec.structs.replace(known, expires_at=1000 + int(days * DAY))
    return name


@pytest.mark.parametrize(
    ("stale", "undecided"),
    [(2.9, ""), (3.1, "c1"), (9.9, "c1"), (10.1, "c1 c2"), (59.0, "c1 c2"), (60.1, "c1 c2 c3")],
)
async def test_each_context_has_its_own_age_past_which_a_view_does_not_decide(
    stale: float, undecided: str
) -> None:
    tokens = Tokens()
    pod = Pod(MemoryStore(), [RISKY], tokens, BY_CONTEXT)
    token = tokens.issue("t1")
    await pod.check(token)
    pod.news.stale = stale
    answers = {name: await pod.check(token, name) for name in BY_CONTEXT.contexts}
    assert " ".join(n for n, a in answers.items() if a.verdict is not Verdict.ALLOW) == undecided
    assert (await pod.check(token, "")).verdict is Verdict.ALLOW


async def test_a_call_in_two_contexts_is_answered_as_the_one_says_that_cannot_be_decided() -> None:
    tokens = Tokens()
    pod = Pod(MemoryStore(), [RISKY], tokens, BY_CONTEXT)
    token = tokens.issue("t1")
    await pod.check(token)
    pod.news.stale = 5
    both = await pod.checker.check(Call(token, frozenset({"c1", "c3"})))
    assert (both.status, both.error) == (503, "unavailable")
    pod.news.stale = 61
    assert (await pod.checker.check(Call(token, frozenset({"c1", "c3"})))).status == 403


async def test_what_a_sidecar_has_answered_once_it_never_takes_back_for_older_knowledge() -> None:
    store, tokens = MemoryStore(), Tokens()
    pod = Pod(store, [RISKY], tokens)
    token = tokens.issue("t1")
    await pod.check(token)
    await pod.settle()
    before = {key: dict(record) for key, record in store.records.items()}
    event = RiskLevelChange(stamp=at(1001, "r"), subject=Subject("alice"), level=RiskLevel.HIGH)
    await pod.intake.accept(event)
    assert (await pod.check(token)).verdict is Verdict.STEP_UP
    # A failover to a replica that had not got it: what is read back is older than what is known.
    store.records.update(before)
    await pod.reconnect()
    for key, record in before.items():
        pod.view.hear(key, record)
    assert (await pod.check(token)).verdict is Verdict.STEP_UP
    await pod.settle()
    other = Pod(store, [RISKY], tokens, name="b")
    assert (await other.check(token)).verdict is Verdict.STEP_UP


@pytest.mark.parametrize("device", ["", "laptop"])
async def test_a_revocation_lives_as_long_as_the_longest_token_that_it_must_stop(
    device: str,
) -> None:
    store, tokens = MemoryStore(), Tokens()
    pod = Pod(store, [RISKY], tokens)
    token = lasting(tokens, "t1", days=90, device=device)
    assert (await pod.check(token)).verdict is Verdict.ALLOW
    await pod.settle()
    subject = Subject(device=device) if device else Subject(user="alice")
    await pod.intake.accept(SessionRevoked(stamp=at(2000, "over"), subject=subject))
    for day in range(1, 90, 11):
        store.expire(1000 + day * DAY)
        later = Pod(store, [RISKY], tokens, name=f"on day {day}")
        later.now = 1000 + day * DAY
        assert (await later.check(token)).status == 401, day
        await trio.lowlevel.checkpoint()


async def test_it_does_so_for_a_session_that_only_an_event_has_named() -> None:
    store, tokens = MemoryStore(), Tokens()
    pod = Pod(store, [RISKY], tokens)
    exp = 1000 + int(90 * DAY)
    subject = Subject(user="alice", session="s1")
    await pod.intake.accept(
        SessionEstablished(stamp=at(1000, "e"), subject=subject, exp=exp, auth_time=999)
    )
    await pod.intake.accept(SessionRevoked(stamp=at(2000, "o"), subject=Subject(user="alice")))
    store.expire(1000 + 80 * DAY)
    later = Pod(store, [RISKY], tokens, name="later")
    later.now = 1000 + 80 * DAY
    assert (await later.check(lasting(tokens, "t1", days=90))).status == 401


async def test_a_sign_in_older_than_anything_that_is_kept_is_no_longer_enough() -> None:
    store, tokens = MemoryStore(), Tokens()
    pod = Pod(store, [RISKY], tokens)
    await pod.intake.accept(SessionRevoked(stamp=at(2000, "o"), subject=Subject(user="alice")))
    store.expire(1000 + 40 * DAY)
    assert not store.records
    pod = Pod(store, [RISKY], tokens, name="later")
    pod.now = 1000 + 40 * DAY
    answer = await pod.check(lasting(tokens, "t1", days=90))
    assert answer.verdict is Verdict.STEP_UP
    assert [reason.policy for reason in answer.reasons] == ["history-expired"]
    fresh = lasting(tokens, "t2", days=90, auth_time=int(pod.now) - 5)
    assert (await pod.check(fresh)).verdict is Verdict.ALLOW


async def test_a_session_put_out_of_the_view_while_its_device_is_read_follows_nothing() -> None:
    store, tokens = MemoryStore(), Tokens()
    pod = Pod(store, [RISKY], tokens)
    await pod.check(tokens.issue("t1"))
    live = pod.view.find("", "alice", "s1")
    assert live is not None
    followed, go_on = trio.Event(), trio.Event()
    follow = pod.news.follow

    async def slowly(*channels: bytes) -> None:
        followed.set()
        await go_on.wait()
        await follow(*channels)

    pod.news.follow = slowly  # type: ignore[method-assign] # a slow server
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pod.view.open, "", "alice", "s1", "laptop")
        await followed.wait()
        pod.view.drop(live)
        go_on.set()
    assert pod.news.channels == {}
    assert not pod.view._records  # noqa: SLF001 - nothing is left behind


async def test_one_put_out_while_the_device_itself_is_being_read_leaves_nothing_either() -> None:
    store, tokens = MemoryStore(), Tokens()
    pod = Pod(store, [RISKY], tokens)
    await pod.check(tokens.issue("t1"))
    live = pod.view.find("", "alice", "s1")
    assert live is not None
    load = store.load

    async def meanwhile(*loads: object) -> object:
        pod.view.drop(live)
        return await load(*loads)  # type: ignore[arg-type] # handed on

    store.load = meanwhile  # type: ignore[assignment,method-assign] # at just this moment
    await pod.view.open("", "alice", "s1", "laptop")
    assert pod.news.channels == {}
    assert not pod.view._records  # noqa: SLF001 - likewise


async def test_a_record_that_the_store_refuses_holds_up_no_other() -> None:
    store, tokens = MemoryStore(), Tokens()
    pod = Pod(store, [RISKY], tokens)
    for number in range(3):
        await pod.check(tokens.issue(f"t{number}", user=f"u{number}", session=f"s{number}"))
    refused = pod.names.user_record(digest("", "u1"))
    store.refused.add(refused)
    await pod.settle()
    assert not pod.view.has_unsaved
    assert [one.where for one in pod.telemetry.seen if isinstance(one, WorkerFailed)] == ["saver"]
    for number in (0, 2):
        assert pod.names.user_record(digest("", f"u{number}")) in store.records
    await pod.reconnect()
    assert pod.view.find("", "u1", "s1") is None
    assert pod.view.find("", "u0", "s0") is not None
    assert (await pod.check("t1")).error == "unavailable"
    assert (await pod.check("t0")).verdict is Verdict.ALLOW
