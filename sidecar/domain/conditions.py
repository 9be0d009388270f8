"""Conditions, compiled: each becomes a function from a scene to a finding.

A *finding* is whether the condition holds and the causes that make it so - or, where it does not
hold, what keeps it from holding, so that `not` and the explanation need nothing else.
"""

import datetime as dt
import zoneinfo
from collections.abc import Callable
from typing import assert_never

from sidecar.domain.location import Place
from sidecar.domain.policy import (
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
    RiskLevel,
    Score,
    Selection,
    SessionRisk,
    Signals,
    TimeOfDay,
    TravelSpeed,
    UserRisk,
)
from sidecar.domain.risk import decayed, terms_of
from sidecar.domain.scene import Finding, Scene, Test
from sidecar.domain.stamp import MICROSECONDS
from sidecar.domain.state import PLACE, Cause, RiskHeld


def compile_condition(condition: Condition) -> Test:  # noqa: C901, PLR0912 - one case a kind
    """The function for a condition."""
    match condition:
        case All():
            return _all(tuple(compile_condition(c) for c in condition.conditions))
        case AnyOf():
            return _any(tuple(compile_condition(c) for c in condition.conditions))
        case Not():
            return _not(compile_condition(condition.condition))
        case Changed():
            return _changed(tuple(c.value for c in condition.circumstances))
        case Locations():
            return _locations(condition.selection)
        case Networks():
            return _networks(condition.selection)
        case Countries():
            return _placed(Circumstance.COUNTRY, condition.selection, _country)
        case Asns():
            return _placed(Circumstance.ASN, condition.selection, _asn)
        case Anonymizer():
            return _anonymizer(condition)
        case TravelSpeed():
            return _travel_speed(condition.at_least)
        case Device():
            return _device(condition)
        case UserRisk():
            return _user_risk(condition.at_least)
        case SessionRisk():
            return _session_risk(condition.at_least)
        case Score():
            return _score(condition.at_least)
        case Signals():
            return _signals(condition)
        case Claims():
            return _claims(condition)
        case TimeOfDay():
            return _time_of_day(condition)
        case _:
            assert_never(condition)


def is_timed(condition: Condition | None) -> bool:
    """Whether the condition can change its mind without any new fact, as time goes by."""
    match condition:
        case All() | AnyOf():
            return any(is_timed(c) for c in condition.conditions)
        case Not():
            return is_timed(condition.condition)
        case SessionRisk() | Score() | Signals() | TimeOfDay():
            return True
        case _:
            return False


def _all(tests: tuple[Test, ...]) -> Test:
    def test(scene: Scene, needs: int) -> Finding:
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


def _any(tests: tuple[Test, ...]) -> Test:
    def test(scene: Scene, needs: int) -> Finding:
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
    def test(scene: Scene, needs: int) -> Finding:
        finding = inner(scene, needs)
        return Finding(not finding.holds, finding.causes)

    return test


_SIGNAL_OF = {
    Circumstance.NETWORK: "network-change",
    Circumstance.DEVICE: "session-established",
}


def _changed(circumstances: tuple[str, ...]) -> Test:
    signals = [(c, _SIGNAL_OF.get(Circumstance(c), "session-presented")) for c in circumstances]

    def test(scene: Scene, needs: int) -> Finding:
        state = scene.state
        found: list[Cause] = []
        against: list[Cause] = []
        for circumstance, signal in signals:
            held = state.circumstances.get(circumstance)
            if held is None:
                continue
            key = f"{circumstance}={held.value}"
            cause = Cause(circumstance, held.value, held.since, signal, key)
            if held.value == state.baseline.get(circumstance) or scene.proven(key, needs):
                against.append(cause)
            else:
                found.append(cause)
        return Finding(bool(found), tuple(found or against))

    return test


def _selects(selection: Selection, names: frozenset[str]) -> bool:
    included = selection.include is None or not selection.include.isdisjoint(names)
    return included and selection.exclude.isdisjoint(names)


def _locations(selection: Selection) -> Test:
    wanted = (selection.include or frozenset()) | selection.exclude

    def test(scene: Scene, _needs: int) -> Finding:
        state = scene.state
        names = scene.world.locations_of(state.ip, state.location) if state.ip else frozenset()
        inside = ",".join(sorted(names & wanted)) or f"outside ({scene.place.partition('=')[2]})"
        cause = Cause("location", inside, scene.since(PLACE), "session-presented", scene.place)
        return Finding(_selects(selection, names), (cause,))

    return test


def _networks(selection: Selection) -> Test:
    def test(scene: Scene, _needs: int) -> Finding:
        held = scene.state.circumstances.get(Circumstance.NETWORK)
        name = held.value if held else ""
        circumstance = f"{Circumstance.NETWORK}={name}" if name else scene.place
        cause = Cause(
            Circumstance.NETWORK,
            name or "none",
            held.since if held else None,
            "network-change",
            circumstance,
        )
        return Finding(_selects(selection, frozenset({name} if name else ())), (cause,))

    return test


def _country(place: Place) -> str:
    return place.country


def _asn(place: Place) -> str:
    return str(place.asn) if place.asn else ""


def _placed(kind: str, selection: Selection, value_of: Callable[[Place], str]) -> Test:
    def test(scene: Scene, _needs: int) -> Finding:
        value = value_of(scene.state.location)
        circumstance = f"{kind}={value}" if value else scene.place
        since = scene.since(kind if value else PLACE)
        cause = Cause(kind, value or "unknown", since, "session-presented", circumstance)
        return Finding(_selects(selection, frozenset({value} if value else ())), (cause,))

    return test


def _anonymizer(condition: Anonymizer) -> Test:
    def test(scene: Scene, _needs: int) -> Finding:
        flags = frozenset(scene.state.location.anonymizer)
        shown = flags & condition.kinds if condition.kinds else flags
        cause = Cause(
            "anonymizer",
            ",".join(sorted(shown)) or "none",
            scene.since(Circumstance.IP),
            "session-presented",
            scene.place,
        )
        return Finding(bool(shown) == condition.present, (cause,))

    return test


def _travel_speed(at_least: float) -> Test:
    def test(scene: Scene, _needs: int) -> Finding:
        travel = scene.state.travel
        if travel is None:
            return Finding(False, ())
        value = f"{travel.distance:.0f} km in {travel.hours:.2f} h"
        cause = Cause("travel", value, travel.since, "session-presented", scene.place)
        return Finding(travel.speed >= at_least, (cause,))

    return test


def _device(condition: Device) -> Test:
    def test(scene: Scene, _needs: int) -> Finding:
        state = scene.state
        device = state.device
        held = state.compliance.get(device) if device else None
        holds = True
        if condition.known is not None:
            holds = bool(device) == condition.known
        if condition.compliant is not None:
            wanted = "compliant" if condition.compliant else "not-compliant"
            holds = holds and held is not None and held.value == wanted
        cause = Cause(
            "device",
            f"{device or 'unknown'}: {held.value if held else 'unreported'}",
            held.since if held else scene.since(Circumstance.DEVICE),
            "device-compliance-change",
        )
        return Finding(holds, (cause,))

    return test


def _reached(kind: str, held: RiskHeld | None, at_least: RiskLevel) -> Finding:
    """A cause for every level reached from `at_least` up, so that a rise is news and a fall not."""
    level = held.level if held else RiskLevel.LOW
    if held is None or level.height < at_least.height:
        since = None if held is None else held.medium_since
        return Finding(False, (Cause(kind, level, since, "risk-level-change"),))
    causes = []
    for reached, since in (
        (RiskLevel.LOW, None),
        (RiskLevel.MEDIUM, held.medium_since),
        (RiskLevel.HIGH, held.high_since),
    ):
        if at_least.height <= reached.height <= level.height:
            causes.append(Cause(kind, reached, since, "risk-level-change"))
    return Finding(True, tuple(causes))


def _user_risk(at_least: RiskLevel) -> Test:
    def test(scene: Scene, _needs: int) -> Finding:
        return _reached("user_risk", scene.state.user_risk, at_least)

    return test


def _session_risk(at_least: RiskLevel) -> Test:
    def test(scene: Scene, _needs: int) -> Finding:
        reported = _reached("session_risk", scene.state.session_risk, at_least)
        if reported.holds or scene.level.height < at_least.height:
            return reported
        return Finding(True, (_score_cause(scene, "session_risk", f"score {scene.level}"),))

    return test


def _score_cause(scene: Scene, kind: str, value: str) -> Cause:
    terms = terms_of(scene.state, scene.now, scene.world.rating)
    latest = max(terms, key=lambda term: (term.since, term.name), default=None)
    if latest is None:
        return Cause(kind, value, None, "policy")
    since = round(latest.since * MICROSECONDS) or None
    return Cause(kind, value, since, latest.signal)


def _score(at_least: float) -> Test:
    value = f"at least {at_least:g}"

    def test(scene: Scene, _needs: int) -> Finding:
        holds = scene.score >= at_least
        shown = value if holds else f"below {at_least:g}"
        return Finding(holds, (_score_cause(scene, "score", shown),))

    return test


def _signals(condition: Signals) -> Test:
    def test(scene: Scene, _needs: int) -> Finding:
        found = []
        rating = scene.world.rating
        for held in scene.state.signals.values():
            if held.name not in condition.include or not scene.state.concerns(held.device):
                continue
            weight, half_life = rating.of_signal(held.name, held.weight, held.half_life)
            age = (scene.now - held.since) / MICROSECONDS
            if decayed(weight, half_life, age) >= condition.at_least:
                when = _clock(held.since)
                signal = held.name if held.name == "credential-change" else "risk-signal"
                found.append(Cause("signal", f"{held.name} at {when}", held.since, signal))
        return Finding(bool(found), tuple(found))

    return test


def _claims(condition: Claims) -> Test:
    def test(scene: Scene, _needs: int) -> Finding:
        found: list[Cause] = []
        against: list[Cause] = []
        for name, wanted in condition.required:
            values, since = scene.state.claims.get(name, ((), None))
            shown = ",".join(values)
            cause = Cause("claim", f"{name}: {shown}", since, "token-claims-change")
            (against if wanted.isdisjoint(values) else found).append(cause)
        return Finding(not against, tuple(against or found))

    return test


def _time_of_day(condition: TimeOfDay) -> Test:
    zone = zoneinfo.ZoneInfo(condition.timezone)

    def test(scene: Scene, _needs: int) -> Finding:
        local = dt.datetime.fromtimestamp(scene.now // MICROSECONDS, zone)
        begins = _window_begin(local, condition)
        if begins is None:
            return Finding(False, ())
        value = f"since {begins:%Y-%m-%d %H:%M %Z}"
        since = int(begins.timestamp()) * MICROSECONDS
        return Finding(True, (Cause("time_of_day", value, since, "policy"),))

    return test


def _window_begin(local: dt.datetime, window: TimeOfDay) -> dt.datetime | None:
    """When the window that `local` lies in began; None where it lies in none."""
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


def _clock(moment: int) -> str:
    seconds = dt.datetime.fromtimestamp(moment // MICROSECONDS, dt.UTC)
    return f"{seconds:%Y-%m-%dT%H:%M:%S}.{moment % MICROSECONDS:06d}Z"
