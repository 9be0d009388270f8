"""Rows of decisions in one process: facts, folds, standings, explanations, beside policy engines.

The peers are given as many policies of the same grain: a few attributes of the session against
constants, and a verdict; ours besides keep marks, proofs and reasons. All agree on the verdict.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from benchmarks import evaluator as plain
from benchmarks.engine.figures import Figure, Goal
from benchmarks.engine.stage import Stage, in_turn
from sidecar.domain.evaluation.decision import AccessRequest, decide
from sidecar.domain.explanation.explain import explain_call
from sidecar.domain.facts.fact_kinds import Sighted
from sidecar.domain.values.stamp import MICROSECONDS, Stamp

COUNTS = (5, 20, 100, 500)
ENGINES = ("casbin", "cedarpy", "regopy")
NOW = plain.START + 1800


def spent(once: Callable[[], object], seconds: float) -> float:
    """Return the microseconds of processor time that one takes."""
    times = 1
    while True:
        begun = time.process_time()
        for _ in range(times):
            once()
        took = time.process_time() - begun
        if took >= seconds / 8:
            return took / times * 1e6
        times *= 2


def decided(stage: Stage) -> Iterator[Figure]:
    """Measure a decision with the standing at hand, and the fold of a session."""
    seconds = stage.sizes.seconds
    at_hand: dict[int, list[float]] = {}
    for count in (20, 500):
        rules, state = _session(count)
        standing = rules.standing(state, NOW * MICROSECONDS)
        request = AccessRequest("app", plain.CONTEXTS, NOW)
        ladder = rules.world.ladder
        once = partial(decide, standing, request, ladder)
        at_hand[count] = in_turn(stage.sizes.rounds, {"": partial(spent, once, seconds)})[""]
    yield Figure(
        "decide, standing at hand, 20 policies",
        "us",
        at_hand[20],
        {},
        (Goal(2),),
    )
    yield Figure(
        "decide, standing at hand, 500 policies",
        "us",
        at_hand[500],
        {"20 policies": at_hand[20]},
        (Goal(1.1, "20 policies"),),
    )
    rules, _ = _session(20)
    known = plain.facts()
    folds = in_turn(
        stage.sizes.rounds, {"": lambda: spent(lambda: rules.fold("s", known), seconds)}
    )[""]
    yield Figure("fold of a session from its facts, 20 policies", "us", folds, {}, (Goal(60),))
    rules, state = _session(20)
    both = in_turn(
        stage.sizes.rounds,
        {
            "explained": lambda: spent(
                lambda: explain_call(rules, state, "app", plain.CONTEXTS, NOW), seconds
            ),
            "plain evaluation": lambda: spent(_one_fact(20), seconds),
        },
    )
    yield Figure(
        "explanation, 20 policies",
        "us",
        both["explained"],
        {"plain evaluation": both["plain evaluation"]},
        (Goal(3, "plain evaluation"),),
    )


def facts(stage: Stage) -> Iterator[Figure]:
    """Measure one fact, the standing after it, and a decision, for more and more policies."""
    at_20: list[float] = []
    for count in COUNTS:
        asked: dict[str, Callable[[], float]] = {
            name: partial(spent, once, stage.sizes.seconds)
            for name, once in {"ours": _one_fact(count), **_engines(count)}.items()
        }
        found = in_turn(stage.sizes.rounds, asked)
        ours = found.pop("ours")
        goals = [Goal(0.5, min(found, key=lambda name: min(found[name])))] if found else []
        beside: dict[str, list[float]] = dict(found)
        if count == 20:
            at_20 = ours
        if count == 500:
            beside["20 policies"] = at_20
            goals.append(Goal(3, "20 policies"))
        name = f"one fact, standing, decide: {count} policies"
        yield Figure(name, "us", ours, beside, tuple(goals))


def _session(count: int) -> tuple[Any, Any]:
    rules = plain.evaluator(count)
    return rules, rules.fold("s", plain.facts())


def _one_fact(count: int) -> Callable[[], object]:
    rules, state = _session(count)
    ladder = rules.world.ladder
    request = AccessRequest("app", plain.CONTEXTS, NOW)
    last = Sighted(
        stamp=Stamp((plain.START + 1700) * MICROSECONDS, "last"),
        ip="198.51.100.1",
        place=plain.AWAY,
    )

    def once() -> object:
        after = rules.advance("s", state, [last])
        assert after is not None
        return decide(rules.standing(after, NOW * MICROSECONDS), request, ladder)

    return once


SESSION: Mapping[str, Any] = {
    "network": "office",
    "country": "US",
    "risk": 20,
    "compliant": True,
    "known": True,
    "score": 10,
}
"""What a peer is asked about: no policy below is against it, so each has to look at all of them."""


def _tests(count: int) -> list[tuple[str, str, Any]]:
    """Return so many policies as (attribute, comparison, constant)."""
    kinds = (
        ("network", "==", "restricted"),
        ("country", "==", "XX"),
        ("risk", ">=", 70),
        ("compliant", "==", False),
        ("known", "==", False),
        ("score", ">=", 40),
    )
    return [kinds[n % len(kinds)] for n in range(count)]


def _engines(count: int) -> dict[str, Callable[[], object]]:
    """Return what asks each engine that is installed, once it has agreed with the others."""
    found: dict[str, Callable[[], object]] = {}
    for name in ENGINES:
        try:
            once = {"casbin": _casbin, "cedarpy": _cedar, "regopy": _rego}[name](count)
        except ImportError:
            continue
        if once() is not True:
            raise SystemExit(f"{name} does not allow what all others do")
        found[name] = once
    return found


def _spelled(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)


def _cedar(count: int) -> Callable[[], object]:
    import cedarpy  # noqa: PLC0415 - a peer that may not be there

    lines = ['permit(principal, action == Action::"c1", resource);']
    lines += [
        f'forbid(principal, action == Action::"c1", resource)'
        f" when {{ context.{name} {sign} {_spelled(value)} }};"
        for name, sign, value in _tests(count)
    ]
    policies = cedarpy.PolicySet.from_str("\n".join(lines))  # read once, as ours are
    request = {
        "principal": 'User::"ada"',
        "action": 'Action::"c1"',
        "resource": 'App::"payroll"',
        "context": dict(SESSION),
    }
    entities = cedarpy.Entities.from_json_str("[]")
    return lambda: cedarpy.is_authorized(request, policies, entities).allowed


def _casbin(count: int) -> Callable[[], object]:
    import casbin  # noqa: PLC0415 - a peer that may not be there
    from casbin.model import Model  # noqa: PLC0415 - likewise

    model = Model()
    model.load_model_from_text(
        "[request_definition]\nr = sub, ctx\n[policy_definition]\np = ctx, attr, value, eft\n"
        "[policy_effect]\ne = !some(where (p.eft == deny))\n[matchers]\n"
        "m = r.ctx == p.ctx && against(r.sub, p.attr, p.value)\n"
    )
    enforcer = casbin.Enforcer(model)
    enforcer.add_function("against", _against)
    rules = [
        ["c1", name, f"{sign}{value}{at}", "deny"]
        if isinstance(value, str)
        else ["c1", name, f"{sign}{value}", "deny"]
        for at, (name, sign, value) in enumerate(_tests(count))
    ]
    enforcer.add_policies(rules)
    subject = dict(SESSION)
    return lambda: enforcer.enforce(subject, "c1")


def _against(subject: Mapping[str, Any], name: str, said: str) -> bool:
    sign, value = said[:2], said[2:]
    return float(subject[name]) >= float(value) if sign == ">=" else str(subject[name]) == value


def _rego(count: int) -> Callable[[], object]:
    import json  # noqa: PLC0415 - only where it is asked

    from regopy import Interpreter  # noqa: PLC0415 - a peer that may not be there

    rules = "\n".join(
        f"denied if input.{name} {sign} {_spelled(value)}" for name, sign, value in _tests(count)
    )
    module = (
        f"package bench\nimport rego.v1\ndefault denied := false\n{rules}\nallow if not denied\n"
    )
    engine = Interpreter()
    engine.add_module("bench", module)
    bundle = engine.build("data.bench.allow", [])
    engine.set_input_term(json.dumps(dict(SESSION)))
    return lambda: _is_true(engine.query_bundle(bundle))


def _is_true(output: Any) -> bool:
    return "true" in str(output)
