"""The policy sets of a replay, with the thresholds that `--threshold` varies."""

import re
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from sidecar.cli.exit_status import Stop
from sidecar.cli.socket_options import plain
from sidecar.daemon.configuration.files import Configuration
from sidecar.domain.evaluation.incremental import IncrementalEvaluator
from sidecar.domain.policy.conditional_access import Policy, PolicyState, RiskLevel
from sidecar.domain.session.risk import Thresholds
from sidecar.tuning.replay.run import RISK, CurveOf, PolicySet, Variant
from sidecar.tuning.replay.thresholds import (
    Threshold,
    ThresholdKind,
    Value,
    thresholds_of,
    with_threshold,
)
from sidecar.wire.yaml.structs import suggestion

STEPS = 9
MOST_STEPS = 101
USUAL = {
    ThresholdKind.SCORE: (10.0, 90.0),
    ThresholdKind.TRAVEL_SPEED: (300.0, 1500.0),
    ThresholdKind.SIGNALS: (5.0, 85.0),
}
"""The range of a threshold where none is given."""

LEVELS = (f"{RISK}.medium", f"{RISK}.high")
_SPELLED = re.compile(r"([^=]+)(?:=([^=./]+(?:\.[0-9]+)?)\.\.([^=/]+)(?:/([0-9]{1,4}))?)?")


class Wanted(NamedTuple):
    """A request of `--threshold`: whose threshold, and from where to where in how many steps."""

    name: str
    begins: str
    ends: str
    steps: int
    spelled: str

    def stop(self, message: str) -> Stop:
        """Return the end of the command, for what is wrong with it."""
        return Stop(f"sidecar replay: --threshold {plain(self.spelled)}: {message}")


def policy_sets(
    found: Sequence[tuple[str, Configuration]], thresholds: Sequence[str]
) -> tuple[PolicySet, ...]:
    """Return the sets to replay under.

    A threshold must be one of the first set's. Raises `Stop`.
    """
    wanted = [_wanted(spelled) for spelled in thresholds]
    sets: list[PolicySet] = []
    for name, configuration in found:
        sets.append(_set(name, configuration, wanted, required=not sets))
    return tuple(sets)


def _wanted(spelled: str) -> Wanted:
    match = _SPELLED.fullmatch(spelled)
    if match is None:
        message = "must be POLICY, POLICY=FROM..TO or POLICY=FROM..TO/STEPS"
        raise Stop(f"sidecar replay: --threshold {plain(spelled)}: {message}")
    steps = int(match[4]) if match[4] else STEPS
    wanted = Wanted(match[1], match[2] or "", match[3] or "", steps, spelled)
    if not 2 <= steps <= MOST_STEPS:
        raise wanted.stop(f"must have 2 to {MOST_STEPS} steps")
    return wanted


def _set(
    name: str, configuration: Configuration, wanted: Sequence[Wanted], *, required: bool
) -> PolicySet:
    evaluator = configuration.evaluator
    world = evaluator.world
    policies = configuration.policies
    curves: list[CurveOf] = []
    variants: list[Variant] = []
    shadows: list[Policy] = []
    known = {policy.id: policy for policy in policies}
    for one in wanted:
        if one.name in LEVELS:
            curve, varied = _risk(one, configuration, len(curves))
            curves.append(curve)
            variants += varied
            continue
        policy = known.get(one.name)
        if policy is None:
            if required:
                hint = suggestion(one.name, [*known, *LEVELS])
                raise one.stop(f"there is no policy {one.name!r}{hint}")
            continue
        threshold = _threshold(one, policy)
        for value in _values(one, threshold):
            shadow = f"{policy.id} at {value}"
            other = with_threshold(policy, threshold.kind, value)
            evaluation = IncrementalEvaluator.over(
                evaluator, [other if p is policy else p for p in policies], world
            )
            variants.append(Variant(len(curves), value, evaluation, policy.id, shadow))
            shadows.append(with_threshold(policy, threshold.kind, value, shadow))
        tried = policy.state is PolicyState.REPORT_ONLY
        curves.append(CurveOf(policy.id, threshold.kind, threshold.current, tried))
    return PolicySet(
        name,
        IncrementalEvaluator.over(evaluator, policies, world),
        policies,
        configuration.routes,
        configuration.settings.app.id,
        tuple(curves),
        tuple(variants),
        IncrementalEvaluator.over(evaluator, shadows, world) if shadows else None,
        configuration.settings.is_alone,
        configuration.settings.aliases,
    )


def _threshold(wanted: Wanted, policy: Policy) -> Threshold:
    if policy.state is PolicyState.DISABLED:
        raise wanted.stop("the policy is disabled")
    found = thresholds_of(policy)
    if not found:
        numbers = ", ".join(kind for kind in ThresholdKind if not kind.is_level)
        raise wanted.stop(f"the policy has no {numbers} or risk condition")
    return found[0]


def _values(wanted: Wanted, threshold: Threshold) -> tuple[Value, ...]:
    """Return the values to try; the present one is always among them."""
    if threshold.kind.is_level:
        levels = list(RiskLevel)
        begins, ends = wanted.begins or levels[0].value, wanted.ends or levels[-1].value
        if begins not in levels or ends not in levels:
            raise wanted.stop("must be from low, medium or high to another")
        low, high = RiskLevel(begins).height, RiskLevel(ends).height
        chosen = [v for v in levels if low <= v.height <= high or v == threshold.current]
        return tuple(chosen)
    usual = USUAL[threshold.kind]
    return _numbers(wanted, usual, float(threshold.current))


def _numbers(wanted: Wanted, usual: tuple[float, float], current: float) -> tuple[float, ...]:
    begins, ends = usual
    if wanted.begins:
        try:
            begins, ends = float(wanted.begins), float(wanted.ends)
        except ValueError:
            raise wanted.stop("must be from a number to another") from None
    if not 0 <= begins < ends <= 1e6:
        raise wanted.stop("must be from a number to a greater one")
    step = (ends - begins) / (wanted.steps - 1)
    return tuple(sorted({current, *(round(begins + i * step, 3) for i in range(wanted.steps))}))


def _risk(
    wanted: Wanted, configuration: Configuration, curve: int
) -> tuple[CurveOf, list[Variant]]:
    """Return where a risk level begins.

    Every policy may depend on it, so sessions share nothing.
    """
    evaluator = configuration.evaluator
    rating = evaluator.world.rating
    kind = wanted.name.partition(".")[2]
    current: float = getattr(rating.thresholds, kind)
    variants = []
    for value in _numbers(wanted, (10.0, 90.0), current):
        thresholds = msgspec.structs.replace(rating.thresholds, **{kind: value})
        if not _is_sound(thresholds):
            continue
        world = evaluator.world._replace(
            rating=msgspec.structs.replace(rating, thresholds=thresholds)
        )
        evaluation = IncrementalEvaluator.over(evaluator, configuration.policies, world)
        variants.append(Variant(curve, value, evaluation))
    return CurveOf(RISK, kind, current), variants


def _is_sound(thresholds: Thresholds) -> bool:
    return thresholds.medium <= thresholds.high
