"""What several first checks wait for is brought together; each is decided as if it came alone."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
import trio
import trio.testing

from sidecar.domain.evaluation.decision import Verdict
from sidecar.domain.facts.signal import SessionRevoked, Subject
from sidecar.domain.policy.conditional_access import RiskLevel, UserRisk
from sidecar.domain.values.stamp import at
from sidecar.service.ports.calls import Call, StoreRefused
from sidecar.service.ports.store import Load, Loaded
from sidecar.wire.store.keys import session_name
from tests.domain.scenes import policy
from tests.service.memory import MemoryStore, Pod, Tokens

RISKY = policy(UserRisk(RiskLevel.HIGH), name="risky")
COUNT = 5


class Crowd:
    """A pod, and calls of sessions that it does not know yet."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        tokens = Tokens()
        self.pod = Pod(MemoryStore(), [RISKY], tokens)
        self.calls = [
            Call(tokens.issue(f"t{n}", session=f"s{n}", user=f"u{n}"), frozenset({"c1"}))
            for n in range(COUNT)
        ]
        self.asked: list[str] = []
        self.meanwhile: Callable[[], Any] | None = None
        follow, load = self.pod.news.follow, self.pod.store.load

        async def following(*channels: bytes) -> None:
            self.asked.append(f"follow {len(channels)}")
            await follow(*channels)

        async def loading(*loads: Load) -> list[Loaded]:
            self.asked.append("load")
            if self.meanwhile is not None:
                await self.meanwhile()
            return await load(*loads)

        monkeypatch.setattr(self.pod.news, "follow", following)
        monkeypatch.setattr(self.pod.store, "load", loading)

    async def verdicts(self) -> list[Verdict]:
        return [(await self.pod.checker.check(call)).verdict for call in self.calls]


@pytest.fixture
def crowd(monkeypatch: pytest.MonkeyPatch) -> Crowd:
    return Crowd(monkeypatch)


async def test_all_are_followed_at_once_and_then_read_at_once(crowd: Crowd) -> None:
    await crowd.pod.checker.gather(crowd.calls)
    assert crowd.asked == [f"follow {COUNT}", "load"]
    assert len(crowd.pod.view) == COUNT
    assert await crowd.verdicts() == [Verdict.ALLOW] * COUNT
    assert len(crowd.asked) == 2


async def test_what_is_gathered_twice_or_is_there_is_asked_for_once(crowd: Crowd) -> None:
    await crowd.pod.checker.gather([*crowd.calls, *crowd.calls])
    await crowd.pod.checker.gather(crowd.calls)
    assert crowd.asked == [f"follow {COUNT}", "load"]


async def test_a_check_waits_for_what_is_gathered_already(crowd: Crowd) -> None:
    go_on = trio.Event()
    crowd.meanwhile = go_on.wait
    async with trio.open_nursery() as nursery:
        await nursery.start(crowd.pod.checker.gather, crowd.calls)
        nursery.start_soon(crowd.verdicts)
        await trio.testing.wait_all_tasks_blocked()
        assert crowd.asked == [f"follow {COUNT}", "load"]
        go_on.set()
    assert len(crowd.asked) == 2


async def test_a_session_that_is_revoked_while_it_is_read_is_revoked(crowd: Crowd) -> None:
    other = Pod(crowd.pod.store, [RISKY], crowd.pod.tokens, name="b")

    async def revoke() -> None:
        crowd.meanwhile = None
        subject = Subject(session="s2", user="u2")
        await other.intake.accept(SessionRevoked(stamp=at(1000, "r"), subject=subject))

    crowd.meanwhile = revoke
    await crowd.pod.checker.gather(crowd.calls)
    verdicts = await crowd.verdicts()
    assert verdicts[2] is Verdict.DENY
    assert verdicts.count(Verdict.ALLOW) == COUNT - 1


async def test_one_that_is_refused_keeps_none_of_the_others_waiting(crowd: Crowd) -> None:
    refused = msgspec.structs.replace(crowd.calls[1], token="forged")
    await crowd.pod.checker.gather([refused, *crowd.calls])
    assert crowd.asked == [f"follow {COUNT}", "load"]
    assert (await crowd.pod.checker.check(refused)).error == "invalid_token"


async def test_where_the_store_is_away_each_check_says_so_itself(crowd: Crowd) -> None:
    crowd.pod.store.away = True
    await crowd.pod.checker.gather(crowd.calls)
    assert len(crowd.pod.view) == 0
    assert crowd.pod.news.channels == {}
    answer = await crowd.pod.checker.check(crowd.calls[0])
    assert answer.verdict is not Verdict.ALLOW
    crowd.pod.store.away = False
    assert await crowd.verdicts() == [Verdict.ALLOW] * COUNT


async def test_a_record_that_the_store_refuses_is_only_its_own_sessions_trouble(
    crowd: Crowd,
) -> None:
    spoilt = crowd.pod.names.session_record(session_name("", "u3", "s3"))
    load = crowd.pod.store.load

    async def refusing(*loads: Load) -> list[Loaded]:
        if any(one.key == spoilt for one in loads):
            raise StoreRefused("WRONGTYPE")
        return await load(*loads)

    crowd.pod.store.load = refusing  # type: ignore[method-assign] # a spoilt record
    await crowd.pod.checker.gather(crowd.calls)
    assert len(crowd.pod.view) == 0
    verdicts = await crowd.verdicts()
    assert verdicts.count(Verdict.ALLOW) == COUNT - 1
    assert verdicts[3] is not Verdict.ALLOW


async def test_gathering_that_is_given_up_leaves_nothing_behind(crowd: Crowd) -> None:
    crowd.meanwhile = trio.sleep_forever
    async with trio.open_nursery() as nursery:
        await nursery.start(crowd.pod.checker.gather, crowd.calls)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert crowd.pod.news.channels == {}
    assert not crowd.pod.view._records  # noqa: SLF001 - nothing is left behind
    crowd.meanwhile = None
    assert await crowd.verdicts() == [Verdict.ALLOW] * COUNT


async def test_a_view_that_is_smaller_than_the_crowd_still_answers_all(crowd: Crowd) -> None:
    crowd.pod.view.limit = 2
    await crowd.pod.checker.gather(crowd.calls)
    assert len(crowd.pod.view) == 2
    assert await crowd.verdicts() == [Verdict.ALLOW] * COUNT
