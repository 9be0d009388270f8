"""Pods to which random histories happen, and what they answer."""

import itertools
from collections import Counter

import msgspec

from sidecar.domain.evaluation.incremental import IncrementalEvaluator
from sidecar.domain.policy.conditional_access import (
    Policy,
    Principals,
)
from sidecar.domain.session.fold import Surroundings
from sidecar.service.observations.observations import (
    BreakGlassUsed,
    Checked,
    ReportedOnly,
)
from sidecar.service.ports.calls import Answer, Call
from sidecar.wire.routes.routes import Routes
from sidecar.wire.settings.settings import ChallengeStyle
from tests.domain.scenes import WORLD, network_of
from tests.service.checks.call_histories import (
    Asked,
    call_of,
    settings_of,
    tokens_shown,
)
from tests.service.memory import SETTINGS, MemoryStore, Pod

SETTINGS_OF = tuple(
    settings_of(style, app, logs=logs)
    for style in ChallengeStyle
    for app, logs in (("payroll", True), ("", False))
)


def started(rules: tuple[Policy, ...]) -> Pod:
    pod = Pod(MemoryStore(), rules, tokens_shown(), SETTINGS_OF[0])
    pod.checker.replace(SETTINGS_OF[0], Routes(SETTINGS.routes))
    return pod


class Acted:
    """One pod to which things happen; it counts how calls were answered."""

    def __init__(self, rules: tuple[Policy, ...]) -> None:
        self.pod = started(rules)
        self.rules = rules
        self.outcomes: Counter[str] = Counter()
        self.turn = itertools.count(1)

    async def act(self, step: object) -> None:
        pod = self.pod
        match step:
            case Asked():
                for _ in range(2):
                    await self.ask(call_of(step))
            case float():
                pod.now += step
            case "policies":
                self.rules = (*self.rules[1:], self.rules[0])
                spared = {"": Principals(users=frozenset({"alice"}))}
                world = WORLD._replace(break_glass=spared if next(self.turn) % 3 == 0 else {})
                around = Surroundings("", network_of)
                pod.view.use(
                    IncrementalEvaluator(self.rules[len(self.rules) // 2 :], world, around)
                )
            case "settings":
                settings = SETTINGS_OF[next(self.turn) % len(SETTINGS_OF)]
                pod.checker.replace(settings, Routes(SETTINGS.routes))
            case "stale" | "fresh":
                pod.news.stale = 60.0 if step == "stale" else 0.0
            case "evict":
                for live in pod.view:
                    pod.view.drop(live)
            case _:
                assert callable(step)
                await pod.intake.accept(step(pod.now))
        pod.now += 0.25

    async def ask(self, call: Call) -> None:
        """Ask at once, and have it judged: nothing may differ, and nothing be new."""
        pod = self.pod
        pod.telemetry.seen.clear()
        repeated = pod.checker.check_at_once(call)
        at_once, versions = self.recorded(), [live.version for live in pod.view]
        judged = await pod.checker.judge(call)
        assert judged.id
        if repeated is None:
            assert not at_once
            self.outcomes["judged"] += 1
            return
        self.outcomes[repeated.answer.verdict] += 1
        assert repeated.answer == unnamed(judged)
        assert repeated.id != judged.id
        assert self.recorded() == at_once * 2
        assert [live.version for live in pod.view] == versions
        assert not pod.telemetry.of(ReportedOnly)
        assert not pod.telemetry.of(BreakGlassUsed)

    def recorded(self) -> list[object]:
        """Return what was recorded, without what no two checks have in common."""
        return [
            msgspec.structs.replace(one, id="", seconds=0.0) if isinstance(one, Checked) else one
            for one in self.pod.telemetry.seen
        ]


def unnamed(answer: Answer) -> Answer:
    return msgspec.structs.replace(answer, id="")


class Judging(Acted):
    """One pod whose calls are judged, without waiting where that can be; it keeps the answers."""

    def __init__(self, rules: tuple[Policy, ...], *, at_once: bool) -> None:
        super().__init__(rules)
        self.at_once = at_once
        self.answers: list[tuple[Answer, list[object]]] = []

    async def ask(self, call: Call) -> None:
        pod = self.pod
        pod.telemetry.seen.clear()
        answer = pod.checker.judge_at_once(call) if self.at_once else None
        if answer is None:
            assert not pod.telemetry.of(Checked)
            answer = await pod.checker.judge(call)
        else:
            self.outcomes["at once"] += 1
        assert answer.id
        self.answers.append((unnamed(answer), self.recorded()))
