"""`what-if`: a described session, a call, and what happens to it after the sign-in."""

from collections.abc import Sequence

import msgspec

from sidecar.domain.explanation.explanation import Explanation
from sidecar.domain.values.location import Place
from sidecar.tuning.scenario.play import Stage, act
from sidecar.tuning.scenario.session_changes import (
    SESSION,
    ChangeFrame,
    InvalidChange,
    pause_of,
    read_change,
)
from sidecar.tuning.scenario.simulation import Described, Simulation


class WhatIfQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """A question: who signs in at `at` (seconds), where addresses are, what follows, what is asked.

    `thens` are changes in words (`tuning.scenario.session_changes`); `place` overrides where the
    first address is.
    """

    described: Described
    at: float
    app: str = ""
    contexts: tuple[str, ...] = ()
    method: str = ""
    host: str = ""
    path: str = ""
    place: Place | None = None
    thens: tuple[str, ...] = ()


class WhatIfAnswer(msgspec.Struct, frozen=True):
    """The answer to the call after a change; empty: after the sign-in."""

    change: str
    explanation: Explanation


def answer(question: WhatIfQuestion, stage: Stage) -> Sequence[WhatIfAnswer]:
    """Return one answer after the sign-in, and one after each change. Raises `InvalidChange`."""
    places: dict[str, Place] = {}
    if question.place is not None and question.described.ip:
        places[question.described.ip] = question.place

    def place_of(ip: str) -> Place:
        found = places.get(ip)
        return stage.place_of(ip) if found is None else found

    simulation = Simulation(stage.evaluator, place_of, stage.alone)
    contexts = frozenset(question.contexts)
    if question.path:
        contexts |= frozenset(stage.contexts_of(question.method, question.host, question.path))
    app = question.app or stage.app

    def ask(change: str, now: float) -> WhatIfAnswer:
        return WhatIfAnswer(change, simulation.explain(SESSION, contexts, now, app))

    now = question.at
    described = stage.whose(question.described)
    simulation.begin(SESSION, described, now)
    answers = [ask("", now)]
    for number, text in enumerate(question.thens, 1):
        try:
            now += pause_of(text)
            change = read_change(text, ChangeFrame(described, now, place_of, number))
        except InvalidChange as error:
            raise InvalidChange(f"--then {text[:64]}: {error}") from None
        places.update(change.places)
        for action in change.actions:
            act(simulation, action, now)
        answers.append(ask(text, now))
    return answers
