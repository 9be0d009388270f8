"""What an app reads in the table is what a check would answer at that moment, or nothing."""

import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import msgspec
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.domain.evaluation.decision import Verdict
from sidecar.domain.evaluation.incremental import IncrementalEvaluator
from sidecar.domain.facts.signal import RiskLevelChange, Subject
from sidecar.domain.policy.conditional_access import Policy, Principals, RiskLevel
from sidecar.domain.session.fold import Surroundings
from sidecar.domain.values.loss import ALL_SLOTS, Floor, Floors
from sidecar.domain.values.stamp import at
from sidecar.service.observations.observations import BreakGlassUsed, ReportedOnly
from sidecar.service.observations.shared_table import (
    CallPublished,
    PublishOutcome,
    RenewalCause,
    SharedTableRenewed,
)
from sidecar.service.ports.calls import Call
from sidecar.service.shared_table import publisher
from sidecar.wire.settings.settings import App, Context, Log, SharedTable
from sidecar.wire.settings.tokens import Binding, Possession
from sidecar.wire.shared_table import layout
from tests.domain.scenes import AWAY, HOME, WORLD, network_of
from tests.service.checks.call_histories import (
    CONTEXTS,
    EVENTS,
    EVENTS_BY_NAME,
    POLICIES,
    RISKY,
    STEPS,
    Asked,
    call_of,
    tokens_shown,
)
from tests.service.memory import SETTINGS, Pod
from tests.service.shared_table.stage import Stage, staged

SETTINGS_OF = (
    SETTINGS,
    msgspec.structs.replace(SETTINGS, app=App(id="")),
    msgspec.structs.replace(SETTINGS, log=Log(checks=True)),
)
T = TypeVar("T")
CALL = Call("plain", frozenset({"c1"}), ip=HOME, user_agent="Firefox")


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with staged(Stage(tmp_path / "table", (RISKY,), tokens_shown())) as one:
        yield one


class Acted:
    """A pod and its app to which things happen; it counts what the app found."""

    def __init__(self, stage: Stage, rules: tuple[Policy, ...]) -> None:
        self.stage, self.pod, self.rules = stage, stage.pod, rules
        self.found: Counter[bool] = Counter()
        self.turn = itertools.count(1)
        self.is_alive = True
        self.recent: list[Call] = []
        self.deaf_since: float | None = None

    async def act(self, step: object) -> None:  # noqa: C901, PLR0912 - a table of steps
        pod = self.pod
        match step:
            case Asked():
                call = call_of(step)
                for _ in range(3):
                    await self.ask(call)
                self.recent = [*(one for one in self.recent if one != call), call][-3:]
            case float():
                pod.now += step
            case "policies":
                self.rules = (*self.rules[1:], self.rules[0])
                spared = {"": Principals(users=frozenset({"alice"}))}
                world = WORLD._replace(break_glass=spared if next(self.turn) % 3 == 0 else {})
                rules = self.rules[len(self.rules) // 2 :]
                pod.view.use(IncrementalEvaluator(rules, world, Surroundings("", network_of)))
            case "settings":
                self.stage.replace(SETTINGS_OF[next(self.turn) % len(SETTINGS_OF)])
            case "stale" | "fresh":
                self.deaf_since = pod.now if step == "stale" else None
            case "evict":
                for live in pod.view:
                    pod.view.drop(live)
            case "silent" | "alive":
                self.is_alive = step == "alive"
            case "clock":
                self.stage.since_boot += 3.0
            case _:
                assert callable(step)
                await pod.intake.accept(step(pod.now))
        self.fall_behind()
        # Most of what an app asks it has asked before: what has become of that since?
        for call in self.recent:
            await self.ask(call)
        pod.now += 0.25
        self.fall_behind()
        if self.is_alive:
            await self.stage.keep()

    def fall_behind(self) -> None:
        """Have the view fall behind as time passes, where it does, and never at once."""
        self.pod.news.stale = 0.0 if self.deaf_since is None else self.pod.now - self.deaf_since

    async def ask(self, call: Call) -> None:
        """Look into the table, and have the call judged: what the one says, the other does."""
        pod, allowed = self.pod, self.stage.allows(call)
        self.found[allowed] += 1
        pod.telemetry.seen.clear()
        versions = [live.version for live in pod.view]
        answer = await self.stage.check(call)
        if allowed:
            assert answer.verdict is Verdict.ALLOW
            assert not answer.pending
            assert [live.version for live in pod.view] == versions
            assert not pod.telemetry.of(ReportedOnly)
            assert not pod.telemetry.of(BreakGlassUsed)


USUAL = st.builds(
    Asked,
    st.sampled_from(("plain", "stronger")),
    st.sampled_from(CONTEXTS),
    st.sampled_from(("", HOME)),
    st.just(""),
    st.just(""),
    st.just(value=False),
)
MORE = st.one_of(
    USUAL,
    EVENTS,
    st.sampled_from(("silent", "alive", "alive", "fresh", "clock")),
    st.sampled_from((0.25, 1.0)),
    STEPS,
)
STORIES = st.lists(MORE, max_size=12).flatmap(
    lambda steps: USUAL.map(lambda first: [first, *steps])
)


def played(directory: Path, rules: list[Policy], steps: list[object]) -> Counter[bool]:
    path = directory / "table"
    with staged(Stage(path, tuple(rules), tokens_shown())) as stage:
        acted = Acted(stage, tuple(rules))

        async def play() -> None:
            await stage.keep()
            for step in steps:
                await acted.act(step)

        trio.run(play)
        return acted.found


RULES = st.lists(st.sampled_from(POLICIES), unique=True, min_size=1, max_size=5)


@given(RULES, STORIES)
@settings(max_examples=80, deadline=None)
def test_what_the_table_lets_pass_a_check_lets_pass_at_the_same_moment(
    tmp_path_factory: pytest.TempPathFactory, rules: list[Policy], steps: list[object]
) -> None:
    played(tmp_path_factory.getbasetemp(), rules, steps)


@pytest.mark.long
@given(RULES, st.lists(STORIES, max_size=4).map(lambda all_: [*itertools.chain(*all_)]))
@settings(max_examples=4000, deadline=None)
def test_what_the_table_lets_pass_a_check_lets_pass_in_many_histories(
    tmp_path_factory: pytest.TempPathFactory, rules: list[Policy], steps: list[object]
) -> None:
    played(tmp_path_factory.getbasetemp(), rules, steps)


@pytest.mark.parametrize("contexts", CONTEXTS)
@pytest.mark.parametrize("agent", ["", "Firefox"])
def test_the_second_of_two_calls_is_in_the_table(tmp_path: Path, contexts: str, agent: str) -> None:
    call = Asked("plain", contexts, HOME, agent, "", dpop=False)
    found = played(tmp_path, [*POLICIES[:4]], [call])
    assert found == {False: 1, True: 3}


def risk(second: float) -> RiskLevelChange:
    return RiskLevelChange(
        stamp=at(second, f"r{second}"), subject=Subject("alice"), level=RiskLevel.HIGH
    )


def seen(stage: Stage, kind: type[T]) -> list[T]:
    return [one for one in stage.pod.telemetry.seen if isinstance(one, kind)]


async def passed(stage: Stage, call: Call = CALL) -> None:
    """Have a call pass, so that the app finds it."""
    await stage.keep()
    assert (await stage.check(call)).verdict is Verdict.ALLOW
    assert stage.allows(call)


async def test_a_mark_is_in_the_table_before_its_event_is_acknowledged(stage: Stage) -> None:
    await passed(stage)
    await stage.pod.intake.accept(risk(1000.0))
    assert not stage.allows(CALL)


async def test_news_of_another_sidecar_take_a_call_back_as_they_are_heard(stage: Stage) -> None:
    await passed(stage)
    live = next(iter(stage.pod.view))
    other = Pod(stage.pod.store, (RISKY,), stage.pod.tokens, name="b")
    await other.intake.accept(risk(1000.0))
    assert not stage.allows(CALL)
    assert live.published is None


@pytest.mark.parametrize(
    "call",
    [
        Call("stronger", frozenset({"c1"}), ip=HOME, user_agent="Firefox"),
        msgspec.structs.replace(CALL, ip=AWAY),
        msgspec.structs.replace(CALL, user_agent="curl"),
        msgspec.structs.replace(CALL, contexts=frozenset({"c2"})),
        msgspec.structs.replace(CALL, contexts=frozenset({"c1", "c2"})),
        msgspec.structs.replace(CALL, contexts=frozenset({"c9"})),
        msgspec.structs.replace(CALL, contexts=frozenset()),
    ],
    ids=lambda call: f"{call.token} {sorted(call.contexts)} {call.ip} {call.user_agent}",
)
async def test_another_call_than_the_one_that_passed_is_asked(stage: Stage, call: Call) -> None:
    await passed(stage)
    assert not stage.allows(call)


async def test_a_call_whose_text_another_call_could_have_is_not_in_the_table(stage: Stage) -> None:
    await passed(stage)
    odd = msgspec.structs.replace(CALL, user_agent="x\0y")
    for _ in range(2):
        assert (await stage.check(odd)).verdict is Verdict.ALLOW
    assert not stage.allows(odd)
    assert not stage.allows(msgspec.structs.replace(CALL, ip=f"{HOME}\0x", user_agent="y"))


async def test_two_clients_of_a_session_are_both_in_the_table(stage: Stage) -> None:
    await passed(stage)
    other = msgspec.structs.replace(CALL, token="apps")
    await stage.check(other)
    await passed(stage, other)
    await passed(stage)
    assert stage.publisher.live == 2


async def test_each_text_of_one_token_is_in_the_table(stage: Stage) -> None:
    """An issuer that signs the same twice gives two texts; they are one token to whoever checks."""
    await passed(stage)
    known = stage.pod.tokens.known
    known["signed again"] = known[CALL.token]
    again = msgspec.structs.replace(CALL, token="signed again")
    assert not stage.allows(again)
    await passed(stage, again)
    await passed(stage)


async def test_a_call_that_is_judged_without_waiting_is_in_the_table_too(stage: Stage) -> None:
    await passed(stage)
    again = msgspec.structs.replace(CALL, contexts=frozenset({"c2"}))
    assert stage.pod.checker.check_at_once(again) is None
    assert stage.pod.checker.judge_at_once(again)
    assert stage.allows(again)
    assert stage.pod.checker.check_at_once(again) is not None


@pytest.mark.parametrize("after", [301.0, 3600.0])
async def test_what_calls_show_is_recorded_again_after_a_while(stage: Stage, after: float) -> None:
    """By `sessions.seen_interval`, and never beyond the token's own end."""
    await passed(stage)
    stage.pod.now += after
    await stage.keep()
    assert not stage.allows(CALL)


async def test_a_token_is_in_the_table_no_longer_than_it_is_valid(stage: Stage) -> None:
    stage.pod.now = 999 + 3600 - 10.0
    await passed(stage)
    stage.pod.now += 9.5
    await stage.keep()
    assert stage.allows(CALL)
    stage.pod.now += 0.5
    assert not stage.allows(CALL)


async def test_without_a_sign_of_life_the_table_is_believed_for_two_seconds(stage: Stage) -> None:
    await passed(stage)
    stage.pod.now += publisher.PATIENCE
    assert stage.allows(CALL)
    stage.pod.now += 0.01
    assert not stage.allows(CALL)
    await stage.keep()
    assert stage.allows(CALL)


@pytest.mark.parametrize(("contexts", "passes"), [({"c1"}, False), (set(), True)])
async def test_a_view_that_lags_decides_routine_calls_alone(
    stage: Stage, contexts: set[str], passes: bool
) -> None:
    call = msgspec.structs.replace(CALL, contexts=frozenset(contexts))
    await passed(stage, call)
    stage.pod.news.stale = SETTINGS.sessions.max_staleness + 0.01
    await stage.keep()
    assert stage.allows(call) is passes


def dropped(stage: Stage) -> None:
    for live in stage.pod.view:
        stage.pod.view.drop(live)


def policies(stage: Stage) -> None:
    stage.pod.view.use(IncrementalEvaluator((), WORLD, Surroundings("", network_of)))


def logged(stage: Stage) -> None:
    stage.replace(SETTINGS_OF[2])


def crowded(stage: Stage) -> None:
    stage.pod.view.limit = 0


def lost(stage: Stage) -> None:
    stage.pod.view.lose(Floors((Floor(0, ALL_SLOTS - 1, 999_000_000),)), lambda _: False)


def withdrawn_key(stage: Stage) -> None:
    stage.publisher.use_keys("https://id.example", 2)


@pytest.mark.parametrize("act", [dropped, policies, logged, crowded, lost, withdrawn_key])
async def test_what_has_to_be_decided_anew_is_asked(
    stage: Stage, act: Callable[[Stage], None]
) -> None:
    await passed(stage)
    act(stage)
    assert not stage.allows(CALL)
    await stage.keep()
    assert not stage.allows(CALL)


async def test_another_table_begins_after_a_change_of_policies_or_settings(stage: Stage) -> None:
    await passed(stage)
    policies(stage)
    await passed(stage)
    stage.replace(msgspec.structs.replace(SETTINGS, contexts={"c1": Context(name="Pay")}))
    await passed(stage)
    causes = [one.cause for one in seen(stage, SharedTableRenewed)]
    assert causes == [RenewalCause.STARTED, RenewalCause.POLICIES, RenewalCause.SETTINGS]


async def test_a_clock_that_is_set_ends_the_table(stage: Stage) -> None:
    await passed(stage)
    stage.since_boot -= 60.0  # the wall clock went ahead by a minute
    assert not stage.allows(CALL)
    await stage.keep()
    assert not stage.allows(CALL)
    await passed(stage)


@pytest.mark.parametrize(
    "changed",
    [
        {"log": Log(checks=True)},
        {
            "tokens": msgspec.structs.replace(
                SETTINGS.tokens, binding=Binding(possession=Possession.REQUIRE)
            )
        },
    ],
    ids=["logged", "bound"],
)
async def test_where_each_call_leaves_a_trace_there_is_no_table(
    stage: Stage, changed: dict[str, object]
) -> None:
    stage.replace(msgspec.structs.replace(SETTINGS, **changed))
    await stage.keep()
    await stage.check(CALL)
    await stage.check(CALL)
    assert not stage.allows(CALL)
    assert not stage.path.exists()


async def test_calls_that_find_no_place_are_asked_and_then_a_larger_table_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publisher, "FEWEST_SLOTS", 32)
    with staged(Stage(tmp_path / "table", (RISKY,), tokens_shown())) as stage:
        calls = [of_session(stage, number) for number in range(64)]
        await stage.keep()
        for call in calls:
            await stage.check(call)
        assert {one.outcome for one in seen(stage, CallPublished)} == set(PublishOutcome)
        assert 16 < sum(map(stage.allows, calls)) <= 32
        assert stage.path.stat().st_size == layout.size_of(32)
        stage.pod.now += publisher.LEAST_LIFE
        await stage.keep()
        await stage.check(of_session(stage, 64))
        await passed(stage, of_session(stage, 65))
        causes = [one.cause for one in seen(stage, SharedTableRenewed)]
        assert causes == [RenewalCause.STARTED, RenewalCause.FULL]
        assert stage.path.stat().st_size >= layout.size_of(64)


async def test_places_of_calls_that_nobody_makes_any_more_are_given_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publisher, "FEWEST_SLOTS", 32)
    with staged(Stage(tmp_path / "table", (RISKY,), tokens_shown())) as stage:
        for number in range(100):
            stage.pod.now += 1.0
            await stage.keep()
            await stage.check(msgspec.structs.replace(CALL, user_agent=f"agent {number}"))
        assert stage.path.stat().st_size == layout.size_of(32)
        await stage.keep()
        await stage.check(CALL)  # which may have been the last that found a place
        await passed(stage)


def of_session(stage: Stage, number: int) -> Call:
    """Return a call of another user's session."""
    stage.pod.tokens.issue(f"t{number}", user=f"u{number}", session=f"s{number}")
    return msgspec.structs.replace(CALL, token=f"t{number}")


async def test_sessions_that_share_a_record_are_taken_back_though_they_are_folded_later(
    stage: Stage,
) -> None:
    calls = []
    await stage.keep()
    for number in range(20):
        stage.pod.tokens.issue(f"t{number}", session=f"s{number}")
        calls.append(msgspec.structs.replace(CALL, token=f"t{number}"))
        await passed(stage, calls[-1])
    await stage.pod.intake.accept(risk(1000.0))
    assert not any(map(stage.allows, calls))


async def test_an_expiry_by_time_alone_is_no_pass(tmp_path: Path) -> None:
    young = POLICIES[7]
    with staged(Stage(tmp_path / "table", (young,), tokens_shown())) as stage:
        call = msgspec.structs.replace(CALL, contexts=frozenset({"c2"}))
        await passed(stage, call)
        stage.pod.now = 999 + 60 - 0.1
        await stage.keep()
        await passed(stage, call)
        stage.pod.now = 999 + 60.5
        await stage.keep()
        assert not stage.allows(call)


def test_a_table_of_a_score_holds_as_long_as_a_check_would_not_look_again(tmp_path: Path) -> None:
    call = Asked("plain", "c1", HOME, "", "", dpop=False)
    found = played(tmp_path, [POLICIES[4]], [call, 0.5, call, EVENTS_BY_NAME["odd"], call, 1.0])
    assert found[True] >= 4


async def test_the_table_is_off_where_nothing_enables_it() -> None:
    assert not SharedTable().enabled
