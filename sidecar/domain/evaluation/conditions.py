"""Conditions, compiled: each becomes a test, a function from a scene to a finding.

A *finding* is whether the condition holds and the causes that make it so - or, where it does not
hold, what keeps it from holding, so that `not` needs nothing else. Beside its test each condition
has what it takes to explain it (`ConditionCheck`): the explanation asks the same tests that decide.
"""

import datetime as dt
import zoneinfo
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import assert_never

from sidecar.domain.evaluation import place_conditions, risk_conditions
from sidecar.domain.facts.precedence import (
    CLAIMS_CHANGE,
    COMPLIANCE_CHANGE,
    COMPLIANT,
    NOT_COMPLIANT,
    claim_words,
    words_that_count,
)
from sidecar.domain.policy.conditional_access import (
    All,
    Anonymizer,
    AnyOf,
    Asns,
    Changed,
    Circumstance,
    Claims,
    Condition,
    Countries,
    Device,
    Locations,
    Networks,
    Not,
    Score,
    SessionRisk,
    Signals,
    TimeOfDay,
    TravelSpeed,
    UserRisk,
    key_of,
)
from sidecar.domain.session.scene import (
    ConditionCheck,
    Finding,
    Found,
    Holds,
    Needs,
    Scene,
    Test,
)
from sidecar.domain.session.state import Cause, ClaimSaid, said_by
from sidecar.domain.sources.source import ITSELF
from sidecar.domain.values.stamp import MICROSECONDS

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


@lru_cache(4096)
def compile_condition(  # noqa: C901, PLR0912 - one case a kind
    condition: Condition, *, inverted: bool = False
) -> ConditionCheck:
    """Return the test for a condition, and what explains it.

    `inverted`: it stands below a `not`. Conditions that are equal share theirs, so that what is
    found of one in a scene is found of all.
    """
    match condition:
        case All():
            parts = tuple(compile_condition(c, inverted=inverted) for c in condition.conditions)
            test = _all(parts)
            return ConditionCheck(key_of(All), test, "all of these", _nothing, parts, joined=all)
        case AnyOf():
            parts = tuple(compile_condition(c, inverted=inverted) for c in condition.conditions)
            test = _any(parts)
            return ConditionCheck(key_of(AnyOf), test, "any of these", _nothing, parts, joined=any)
        case Not():
            inner = compile_condition(condition.condition, inverted=not inverted)
            test, asks = _not(inner.test), "this does not hold"
            return ConditionCheck(key_of(Not), test, asks, _nothing, (inner,), joined=_none)
        case Changed():
            return place_conditions.changed(condition, inverted=inverted)
        case Locations():
            return place_conditions.locations(condition, inverted=inverted)
        case Networks():
            return place_conditions.networks(condition.selection, inverted=inverted)
        case Countries():
            return place_conditions.countries(condition.selection)
        case Asns():
            return place_conditions.asns(condition.selection)
        case Anonymizer():
            return place_conditions.anonymizer(condition)
        case TravelSpeed():
            return place_conditions.travel_speed(condition.at_least)
        case Device():
            return _device(condition, inverted=inverted)
        case UserRisk():
            return risk_conditions.user_risk(condition.at_least, loosens=inverted)
        case SessionRisk():
            return risk_conditions.session_risk(
                condition.at_least, loosens=inverted, reported_only=condition.reported
            )
        case Score():
            return risk_conditions.score(condition.at_least, loosens=inverted)
        case Signals():
            return risk_conditions.signals(condition, loosens=inverted)
        case Claims():
            return _claims(condition, inverted=inverted)
        case TimeOfDay():
            return _time_of_day(condition)
        case _:
            assert_never(condition)


def is_timed(condition: Condition | None) -> bool:
    """Return whether the condition can change its mind without any new fact, as time goes by."""
    match condition:
        case All() | AnyOf():
            return any(is_timed(c) for c in condition.conditions)
        case Not():
            return is_timed(condition.condition)
        case SessionRisk():
            return not condition.reported
        case Score() | Signals() | TimeOfDay():
            return True
        case _:
            return False


def is_strict(condition: Condition | None) -> bool:
    """Return whether the condition asks for the call's own address."""
    match condition:
        case All() | AnyOf():
            return any(is_strict(c) for c in condition.conditions)
        case Not():
            return is_strict(condition.condition)
        case Locations():
            return condition.strict
        case _:
            return False


def _nothing(_scene: Scene) -> str:
    return ""


def _none(held: Iterable[bool]) -> bool:
    return not any(held)


def _all(parts: tuple[ConditionCheck, ...]) -> Test:
    tests = tuple(part.test for part in parts)

    def test(scene: Scene, needs: Needs) -> Finding:
        found: list[Cause] = []
        against: list[Cause] = []
        holds = True
        for one in tests:
            finding = one(scene, needs)
            if finding.holds:
                found.extend(finding.causes)
            else:
                holds = False
                against.extend(finding.causes)
        return Finding(holds, tuple(found if holds else against))

    return test


def _any(parts: tuple[ConditionCheck, ...]) -> Test:
    tests = tuple(part.test for part in parts)

    def test(scene: Scene, needs: Needs) -> Finding:
        found: list[Cause] = []
        against: list[Cause] = []
        holds = False
        for one in tests:
            finding = one(scene, needs)
            if finding.holds:
                holds = True
                found.extend(finding.causes)
            else:
                against.extend(finding.causes)
        return Finding(holds, tuple(found if holds else against))

    return test


def _not(inner: Test) -> Test:
    def test(scene: Scene, needs: Needs) -> Finding:
        finding = inner(scene, needs)
        return Finding(not finding.holds, finding.causes)

    return test


def _device(condition: Device, *, inverted: bool) -> ConditionCheck:
    """Return whether the session's device is (not) compliant, (not) known.

    To ask whether it is compliant is to ask for what is well: what anybody else says may keep that
    from holding only where this tightens. Of a device that is not known the same is true.
    """
    asked = []
    if condition.compliant is not None:
        asked.append("compliant" if condition.compliant else "not compliant")
    if condition.known is not None:
        asked.append("known" if condition.known else "not known")
    by_known = inverted == condition.known
    loosens = by_known if condition.compliant is None else inverted == (not condition.compliant)

    def value(scene: Scene) -> str:
        return f"{scene.state.device or 'unknown'}: {scene.compliance or 'unreported'}"

    def test(scene: Scene, _needs: Needs) -> Finding:
        seen = scene.seen_by(loosens=loosens)
        compliance = seen.compliance
        holds = True
        if condition.known is not None:
            device = scene.seen_by(loosens=by_known).state.device
            holds = bool(device) == condition.known
        if condition.compliant is not None:
            wanted = COMPLIANT if condition.compliant else NOT_COMPLIANT
            holds = holds and compliance == wanted
        return Finding(holds, _device_causes(seen, compliance, condition))

    def found(*, wanted: bool) -> Found:
        def of_kind(scene: Scene, needs: Needs) -> tuple[Cause, ...] | None:
            if holds(scene, needs) is not wanted:
                return None
            seen = scene.loosening if loosens else scene
            return _device_causes(seen, seen.compliance, condition)

        return of_kind

    holds = _device_holds(condition, by_known=by_known, loosens=loosens)
    both = (found(wanted=True), found(wanted=False))
    return ConditionCheck(key_of(Device), test, " and ".join(asked), value, (), holds, False, both)


def _device_holds(condition: Device, *, by_known: bool, loosens: bool) -> Holds:
    wanted = COMPLIANT if condition.compliant else NOT_COMPLIANT

    def holds(scene: Scene, _needs: Needs) -> bool:
        if condition.known is not None:
            device = scene.seen_by(loosens=by_known).state.device
            if bool(device) != condition.known:
                return False
        return condition.compliant is None or scene.seen_by(loosens=loosens).compliance == wanted

    return holds


def _device_causes(scene: Scene, compliance: str, condition: Device) -> tuple[Cause, ...]:
    """Return what is said of the device: a cause by each source that says what it is taken for.

    Where nobody says it who may loosen, what they leave it at stays a cause beside those, of a
    condition that asks for a compliant device: it would be one without the others.
    """
    state, sources = scene.state, scene.world.sources
    device = state.device
    name = device or "unknown"
    words = state.compliance.get(device)
    if compliance and words is not None and len(words) == 1:
        ((source, said),) = words.items()  # it is what the device is taken for
        if not (condition.compliant and source != ITSELF):
            value = f"{name}: {said.value}"
            return (Cause("device", value, said.since, COMPLIANCE_CHANGE, "", source),)
    causes = [
        Cause("device", f"{name}: {said.value}", said.since, COMPLIANCE_CHANGE, source=source)
        for source, said in words_that_count(
            state.compliance.get(state.device, {}), COMPLIANCE_CHANGE, sources
        )
        if said.value == compliance
        and (compliance == NOT_COMPLIANT or sources.loosens(source, COMPLIANCE_CHANGE))
    ]
    if not causes or (condition.compliant and not scene.loosening.compliance):
        since = scene.since(Circumstance.DEVICE)
        causes.append(Cause("device", f"{name}: unreported", since, COMPLIANCE_CHANGE))
    return tuple(causes)


def _claims(condition: Claims, *, inverted: bool) -> ConditionCheck:
    """Test claims for these values: by what any source says, or below a `not` by what all say.

    So the policy is as strict as the strictest of them makes it.
    """

    def test(scene: Scene, _needs: Needs) -> Finding:
        seen = scene.seen_by(loosens=inverted)
        found: list[Cause] = []
        against: list[Cause] = []
        for name, wanted in condition.required:
            has: list[Cause] = []
            lacks: list[Cause] = []
            for source, said in _said_of(seen, name):
                value = f"{name}: {','.join(said.values)}"
                cause = Cause("claim", value, said.since, CLAIMS_CHANGE, source=source)
                (lacks if wanted.isdisjoint(said.values) else has).append(cause)
            holds = not lacks if inverted else bool(has)
            (found if holds else against).extend(has if holds else lacks)
        return Finding(not against, tuple(against or found))

    def value(scene: Scene) -> str:
        return "; ".join(
            f"{name}: {_words(said)}{said_by(source)}"
            for name, _ in condition.required
            for source, said in _said_of(scene, name)
        )

    asks = "; ".join(f"{name}: {' or '.join(sorted(v))}" for name, v in condition.required)
    return ConditionCheck(key_of(Claims), test, asks, value)


def _said_of(scene: Scene, name: str) -> Sequence[tuple[str, ClaimSaid]]:
    """Return what is said of a claim; where nobody says anything, that it has no value."""
    return claim_words(scene.state, name, scene.world.sources) or ((ITSELF, _UNKNOWN),)


_UNKNOWN = ClaimSaid((), None, 0)
"""What is said of a claim where nobody says anything."""


def _words(said: ClaimSaid) -> str:
    return "unknown" if said is _UNKNOWN else ",".join(said.values) or "none"


def _time_of_day(condition: TimeOfDay) -> ConditionCheck:
    zone = zoneinfo.ZoneInfo(condition.timezone)

    def local(scene: Scene) -> dt.datetime:
        return dt.datetime.fromtimestamp(scene.now // MICROSECONDS, zone)

    def test(scene: Scene, _needs: Needs) -> Finding:
        begins = _window_begin(local(scene), condition)
        if begins is None:
            return Finding(False, ())
        value = f"since {begins:%Y-%m-%d %H:%M %Z}"
        since = int(begins.timestamp()) * MICROSECONDS
        return Finding(True, (Cause("time_of_day", value, since, "policy"),))

    def value(scene: Scene) -> str:
        return f"{local(scene):%a %Y-%m-%d %H:%M %Z}"

    return ConditionCheck(key_of(TimeOfDay), test, _window(condition), value)


def _window(window: TimeOfDay) -> str:
    start, end = divmod(window.start, 60), divmod(window.end, 60)
    days = "" if len(window.days) == 7 else " ".join(_DAYS[day] for day in sorted(window.days))
    hours = f"{start[0]:02}:{start[1]:02} to {end[0]:02}:{end[1]:02}"
    return " ".join(part for part in (hours, days, window.timezone) if part)


def _window_begin(local: dt.datetime, window: TimeOfDay) -> dt.datetime | None:
    """Return when the window that `local` lies in began; None where it lies in none."""
    minute = local.hour * 60 + local.minute
    over_midnight = window.end <= window.start
    day = local.date()
    if over_midnight and minute < window.end:
        day -= dt.timedelta(days=1)
    elif minute < window.start or (not over_midnight and minute >= window.end):
        return None
    if day.weekday() not in window.days:
        return None
    start = dt.time(window.start // 60, window.start % 60, tzinfo=local.tzinfo)
    return dt.datetime.combine(day, start)
