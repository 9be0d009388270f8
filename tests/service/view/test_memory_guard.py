import gc

import msgspec
import pytest
import trio

from sidecar.domain.evaluation.decision import Verdict
from sidecar.domain.policy.conditional_access import Assignment, Principals, RiskLevel, UserRisk
from sidecar.service.observations.observations import DaemonEvent, Observation
from sidecar.service.view.memory_guard import LEAST, MemoryGuard
from sidecar.wire.routes.routes import Routes
from tests.domain.scenes import policy
from tests.service.memory import SETTINGS, MemoryStore, Pod, Tokens
from tests.stories.running import unique

MOST = 1000


class Kept:
    def __init__(self, limit: int, held: int) -> None:
        self.limit = limit
        self.held = held

    def __len__(self) -> int:
        return min(self.held, self.limit)


class Notes:
    def __init__(self) -> None:
        self.seen: list[Observation] = []

    def record(self, observation: Observation) -> None:
        self.seen.append(observation)

    def checked(self, verdict: str, context: str, seconds: float) -> None:
        """Do nothing: no checks are made here."""


class Guarded:
    def __init__(self, *kept: Kept) -> None:
        self.resident = 0
        self.telemetry = Notes()
        self.guard = MemoryGuard(
            kept, most=MOST, resident=lambda: self.resident, telemetry=self.telemetry
        )

    def look(self, resident: int) -> None:
        self.resident = resident
        self.guard.look(MOST)


async def test_near_the_limit_fewer_are_kept_and_never_fewer_than_a_few() -> None:
    sessions, tokens = Kept(limit=5000, held=1600), Kept(limit=4000, held=9999)
    guarded = Guarded(sessions, tokens)
    guarded.look(899)
    assert (sessions.limit, tokens.limit) == (5000, 4000)
    guarded.look(901)
    assert (sessions.limit, tokens.limit) == (1400, 3500)
    for more in range(0, 99, 6):
        guarded.look(901 + more)
    assert (sessions.limit, tokens.limit) == (162, 410)
    for _ in range(99):
        guarded.look(MOST + 1)
    assert (sessions.limit, tokens.limit) == (LEAST, LEAST)
    (seen,) = guarded.telemetry.seen  # once a minute
    assert seen == DaemonEvent(
        event="memory-short",
        fields={"resident_bytes": 901, "limit_bytes": MOST, "sessions": 1400},
        warning=True,
    )


async def test_where_what_comes_fits_into_what_was_let_go_no_fewer_are_kept() -> None:
    sessions = Kept(limit=5000, held=5000)
    guarded = Guarded(sessions)
    guarded.look(950)
    for _ in range(9):
        guarded.look(955)
    assert sessions.limit == 4375
    guarded.look(956)
    assert sessions.limit == 3828
    guarded.look(899)
    guarded.look(950)
    assert sessions.limit == 3349


async def test_with_memory_to_spare_again_as_many_are_kept_as_at_the_start() -> None:
    sessions = Kept(limit=5000, held=5000)
    guarded = Guarded(sessions)
    guarded.look(999)
    guarded.look(800)
    assert sessions.limit == 4375
    for _ in range(9):
        guarded.look(700)
    assert sessions.limit == 5000


@pytest.mark.parametrize("most", [None, 10])
async def test_without_a_limit_nobody_looks(most: int | None, autojump_clock: object) -> None:
    looks: list[int] = []

    def resident() -> int:
        looks.append(1)
        return 0

    guard = MemoryGuard((Kept(1, 1),), most=most, resident=resident, telemetry=Notes())
    with trio.move_on_after(10.5):
        async with trio.open_nursery() as nursery:
            await nursery.start(guard.run)
    assert len(looks) == (0 if most is None else 10)


def test_another_limit_counts_at_once_and_is_as_far_as_it_grows_again() -> None:
    sessions, tokens = Kept(limit=5000, held=1600), Kept(limit=4000, held=9999)
    guarded = Guarded(sessions, tokens)
    guarded.guard.replace((800, 6000))
    assert (sessions.limit, tokens.limit) == (800, 6000)
    guarded.look(0)
    assert (sessions.limit, tokens.limit) == (800, 6000)


async def test_what_nobody_uses_is_freed_before_anything_else_leaves_and_seldom() -> None:
    sessions = Kept(limit=5000, held=1600)
    guarded = Guarded(sessions)
    reclaimed = 0

    def reclaim() -> None:
        nonlocal reclaimed
        reclaimed += 1
        guarded.resident = 800

    guard = MemoryGuard(
        (sessions,),
        most=MOST,
        resident=lambda: guarded.resident,
        telemetry=guarded.telemetry,
        reclaim=reclaim,
    )
    guarded.resident = 950
    guard.look(MOST)
    assert (reclaimed, sessions.limit) == (1, 5000)
    guarded.resident = 950
    guard.look(MOST)
    assert (reclaimed, sessions.limit) == (1, 1400)


def lists_with(name: str) -> int:
    """Return how many sets of names there are that have this one."""
    gc.collect()
    return sum(type(one) in {frozenset, set} and name in one for one in gc.get_objects())


async def test_what_is_let_go_for_want_of_memory_is_held_by_nobody() -> None:
    tokens = Tokens()
    staff = Assignment(Principals(groups=frozenset({"staff"})))
    for_staff = msgspec.structs.replace(policy(UserRisk(RiskLevel.HIGH)), users=staff)
    pod = Pod(MemoryStore(), [for_staff], tokens)
    rare = unique("group")
    for number in range(8):
        groups = frozenset({"staff", rare, *(f"{number} {one}" for one in range(150))})
        shown = tokens.issue(f"t{number}", user=f"u{number}", session=f"s{number}", groups=groups)
        del groups
        assert (await pod.check(shown)).verdict is Verdict.ALLOW
    await pod.settle()
    assert lists_with(rare) >= 8
    tokens.known.clear()
    pod.view.limit = pod.checker.kept_answers.limit = 1
    await pod.check(tokens.issue("last", user="last", session="last"))
    await pod.sweeper.sweep()
    assert lists_with(rare) == 0


async def test_what_is_kept_by_another_configuration_is_guarded_as_before() -> None:
    tokens = Tokens()
    pod = Pod(MemoryStore(), [policy(UserRisk(RiskLevel.HIGH))], tokens)
    guard = MemoryGuard(
        (pod.checker.kept_answers, pod.view.kept_folds),
        most=MOST,
        resident=lambda: 2 * MOST,
        telemetry=Notes(),
    )
    shown = [tokens.issue(f"t{n}", user=f"u{n}", session=f"s{n}") for n in range(3 * LEAST)]
    pod.checker.replace(SETTINGS, Routes(SETTINGS.routes))
    for one in shown:
        assert (await pod.check(one)).verdict is Verdict.ALLOW
    await pod.settle()
    pod.view.limit = 1
    for _ in range(2):
        for one in shown:
            await pod.check(one)
            await pod.settle()
    assert len(pod.checker.kept_answers) == len(shown)
    assert len(pod.view.kept_folds) > 2 * LEAST
    for _ in range(20):
        guard.look(MOST)
    assert len(pod.checker.kept_answers) <= LEAST
    assert len(pod.view.kept_folds) <= LEAST
