import pytest
import trio

from sidecar.service.console.feed import EACH, FOLLOWERS, LATEST, WAITING, Feed
from sidecar.service.observations.observations import (
    EventOutcome,
    EventTaken,
    Marked,
    RevokedSession,
)
from sidecar.service.observations.operator import ActOutcome, OperatorActed
from sidecar.service.ports.calls import Overloaded, Reason, StandingChange


def marked(session: str = "s-1", *, again: bool = False, report_only: bool = False) -> Marked:
    return Marked(
        session=session,
        subject="ada",
        policy="p",
        signal="x",
        text="why",
        since=1.0,
        again=again,
        report_only=report_only,
    )


async def test_what_happens_is_handed_to_all_who_follow_and_kept_for_who_comes_later() -> None:
    feed = Feed(lambda: 7.0)
    async with feed.follow("ada") as one, feed.follow("bob") as other:
        feed.hear(marked())
        for channel in (one, other):
            item = await channel.receive()
            assert (item.kind, item.session, item.user, item.policy, item.time) == (
                *("marked", "s-1", "ada", "p"),
                7.0,
            )
    assert len(feed) == 0
    assert [item.kind for item in feed.latest] == ["marked"]


async def test_who_does_not_read_is_dropped_and_keeps_nobody_waiting() -> None:
    feed = Feed(lambda: 0.0)
    async with feed.follow("slow") as slow, feed.follow("quick") as quick:
        for number in range(WAITING + 1):
            feed.hear(marked(f"s-{number}"))
            assert (await quick.receive()).session == f"s-{number}"
        heard = [await slow.receive() for _ in range(WAITING)]
        assert heard[-1].session == f"s-{WAITING - 1}"
        with pytest.raises(trio.EndOfChannel):
            await slow.receive()
        assert len(feed) == 1
    assert len(feed.latest) == LATEST


async def test_no_more_may_follow_than_there_is_room_for() -> None:
    feed = Feed(lambda: 0.0)
    async with trio.open_nursery() as nursery:

        async def stay(name: str, *, task_status: trio.TaskStatus[None]) -> None:
            async with feed.follow(name):
                task_status.started()
                await trio.sleep_forever()

        for number in range(FOLLOWERS):
            await nursery.start(stay, f"operator-{number // EACH}")
        for name in ("operator-0", "another"):
            with pytest.raises(Overloaded):
                async with feed.follow(name):
                    pass
        nursery.cancel_scope.cancel()
    async with feed.follow("another"):
        assert len(feed) == 1


def test_what_was_said_before_or_was_not_taken_is_left_out() -> None:
    feed = Feed(lambda: 0.0)
    feed.hear(marked(again=True))
    feed.hear(EventTaken(type="risk-signal", outcome=EventOutcome.INVALID))
    before = len(feed.latest)
    assert before == 0
    feed.hear(marked(report_only=True))
    feed.hear(RevokedSession(session="s", subject="ada", reason="stolen"))
    feed.hear(EventTaken(type="risk-signal", outcome=EventOutcome.SPOOLED, source="mdm"))
    feed.hear(
        OperatorActed(
            act="mark", on="session", outcome=ActOutcome.DONE, operator="bob", reason="why"
        )
    )
    assert [(item.kind, item.text) for item in feed.latest[::-1]] == [
        ("would-be-marked", "why"),
        ("revoked", "stolen"),
        ("signal", "risk-signal was taken by mdm"),
        ("act", "mark of a session by bob: done (why)"),
    ]


def test_a_change_of_a_standing_says_why() -> None:
    change = StandingChange("s-1", "step_up", ("c1",), (Reason("p", "x", "country: PT"),))
    feed = Feed(lambda: 0.0)
    item = feed.item_of(change)
    assert (item.kind, item.text) == ("standing", "stands step-up: p: country: PT")
