"""Scenarios acted out: each check answered by the daemon's own evaluator, and held to the file."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from sidecar.domain.evaluation.evaluator import Evaluator
from sidecar.domain.explanation.explanation import Explanation
from sidecar.domain.session.presented import Alone, always_alone
from sidecar.domain.session.scene import CalledFrom
from sidecar.domain.values.location import Place
from sidecar.domain.values.namespaces import NO_NAMESPACES, Namespaces
from sidecar.tuning.scenario.files import Scenario, Step
from sidecar.tuning.scenario.simulation import Described, Simulation
from sidecar.tuning.scenario.then import Check, Expected
from sidecar.tuning.scenario.when import Action, SignInStep

ContextsOf = Callable[[str, str, str], tuple[str, ...]]
"""From a call's method, host and path to the contexts of its routes."""


class Stage(NamedTuple):
    """The set-up that scenarios are acted out on: policies, places, routes, app, issuers.

    `alone` says whether calls are judged by their own token alone.
    """

    evaluator: Evaluator
    place_of: Callable[[str], Place]
    contexts_of: ContextsOf
    app: str = ""
    namespaces: Namespaces = NO_NAMESPACES
    alone: Alone = always_alone

    def whose(self, described: Described) -> Described:
        """Return a session that says whose names its are: where there is one issuer, that one's."""
        named = self.namespaces.named(described.issuer) or self.namespaces.sole()
        return msgspec.structs.replace(described, issuer=named or described.issuer)

    def of_issuer(self, action: Action) -> Action:
        """Return an action that says whose names it means as the sessions say theirs."""
        if isinstance(action, SignInStep) or not action.subject.issuer:
            return action
        named = self.namespaces.named(action.subject.issuer) or action.subject.issuer
        subject = msgspec.structs.replace(action.subject, issuer=named)
        return msgspec.structs.replace(action, subject=subject)


class Difference(NamedTuple):
    """An expectation that was not met."""

    what: str
    expected: str
    got: str


class PlayedCheck(NamedTuple):
    """A check and its answer; no differences: as expected."""

    step: Step
    check: Check
    explanation: Explanation
    differences: tuple[Difference, ...]


class Played(NamedTuple):
    """A scenario and all its checks."""

    scenario: Scenario
    checks: tuple[PlayedCheck, ...]

    @property
    def failed(self) -> tuple[PlayedCheck, ...]:
        """The checks that were not answered as expected."""
        return tuple(checked for checked in self.checks if checked.differences)


def play(scenario: Scenario, stage: Stage) -> Played:
    """Act a scenario out, to its end even where expectations are not met."""
    simulation = Simulation(stage.evaluator, placed(scenario.places, stage.place_of), stage.alone)
    for name, described in scenario.sessions:
        simulation.begin(name, stage.whose(described), scenario.start)
    checks = []
    for step in scenario.steps:
        for action in step.actions:
            act(simulation, stage.of_issuer(action), step.time)
        for check in step.checks:
            explanation = _ask(simulation, check, step.time, stage)
            checks.append(
                PlayedCheck(step, check, explanation, _differences(check.expected, explanation))
            )
    return Played(scenario, tuple(checks))


def placed(
    places: Mapping[str, Place], otherwise: Callable[[str], Place]
) -> Callable[[str], Place]:
    """Return a look-up in which these places come first."""

    def place_of(ip: str) -> Place:
        found = places.get(ip)
        return otherwise(ip) if found is None else found

    return place_of


def act(simulation: Simulation, action: Action, now: float) -> None:
    """Have one thing happen."""
    if isinstance(action, SignInStep):
        simulation.see(action.session, now, ip=action.ip)
        simulation.sign_in(action.session, action.authentication, now)
    else:
        simulation.take(action)


def _ask(simulation: Simulation, check: Check, now: float, stage: Stage) -> Explanation:
    if check.ip or check.user_agent:
        simulation.see(check.session, now, check.ip, check.user_agent)
    contexts = frozenset(check.contexts)
    if check.path:
        contexts |= frozenset(stage.contexts_of(check.method, check.host, check.path))
    app = check.app or stage.app
    comes = CalledFrom("") if check.addressless else None
    return simulation.call(check.session, contexts, now, app, comes, token=check.token)


def _differences(expected: Expected, got: Explanation) -> tuple[Difference, ...]:
    would = frozenset(
        one.policy for one in got.policies if one.outcome.fires and one.state == "report-only"
    )
    compared: Sequence[tuple[str, object, object]] = (
        ("verdict", expected.verdict, got.verdict),
        ("acr_values", expected.acr_values, got.acr_values),
        ("max_age", expected.max_age, got.max_age),
        ("reasons", expected.reasons, frozenset(got.reasons)),
        ("would", expected.would, would),
        ("pending", expected.pending, got.pending),
    )
    return tuple(
        Difference(what, _words(wanted), _words(found))
        for what, wanted, found in compared
        if wanted is not None and wanted != found
    )


def _words(value: object) -> str:
    match value:
        case frozenset():
            return ", ".join(sorted(map(str, value))) or "none"
        case tuple():
            return " ".join(map(str, value)) or "none"
        case bool():
            return "true" if value else "false"
        case None:
            return "none"
        case _:
            return str(value)
