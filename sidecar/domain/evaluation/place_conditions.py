"""Conditions on where a session is and what of its surroundings changed. See `conditions`."""

from collections.abc import Callable, Iterator
from typing import TypeAlias

from sidecar.domain.facts import segments
from sidecar.domain.facts.precedence import NETWORK_CHANGE
from sidecar.domain.policy.conditional_access import (
    Anonymizer,
    Changed,
    Circumstance,
    Locations,
    Networks,
    Selection,
    TravelSpeed,
    key_of,
)
from sidecar.domain.session.scene import (
    JOURNEY,
    LOCATION,
    ConditionCheck,
    Finding,
    Found,
    Holds,
    Needs,
    Scene,
    Test,
)
from sidecar.domain.session.state import ANONYMIZER, PLACE, Cause, said_by
from sidecar.domain.values.location import Place
from sidecar.domain.values.places import NO_ANONYMIZER

_JOURNEYS = JOURNEY + "="
_NO_ANONYMIZER = f"{ANONYMIZER}={NO_ANONYMIZER}"
_NETWORK = Circumstance.NETWORK
_SIGNAL_OF = {Circumstance.DEVICE: "session-established"}


def changed(condition: Changed, *, inverted: bool) -> ConditionCheck:
    """Return whether any of these circumstances is neither the baseline's nor proven since."""
    names = tuple(c.value for c in condition.circumstances)
    each = tuple(_changed_one(name, inverted=inverted) for name in names)
    if len(each) == 1:
        return each[0]
    test = _changed(names, inverted=inverted)
    asks = f"any of {', '.join(names)} changed"
    holds = _has_changed(names, inverted=inverted)
    found = _changed_found(names, inverted=inverted)
    return ConditionCheck(key_of(Changed), test, asks, _silent, each, holds, True, found, any)


def _silent(_scene: Scene) -> str:
    return ""


def _changed_one(name: str, *, inverted: bool) -> ConditionCheck:
    def value(scene: Scene) -> str:
        baseline = scene.state.baseline.get(name)
        words = []
        for cause, is_new in _circumstances(scene, name):
            start = f"at the start {baseline or 'none'}" if is_new else "as at the start"
            words.append(f"{cause.value or 'none'}{said_by(cause.source)}, {start}")
        return "; ".join(words) or "unknown"

    test = _changed((name,), inverted=inverted)
    holds = _has_changed((name,), inverted=inverted)
    asks = f"{name} changed"
    found = _changed_found((name,), inverted=inverted)
    return ConditionCheck(key_of(Changed), test, asks, value, (), holds, True, found)


def _circumstances(scene: Scene, name: str) -> Iterator[tuple[Cause, bool]]:
    """Yield each value of a circumstance as a cause, and whether it is new since the start."""
    state = scene.state
    if name == Circumstance.NETWORK:
        for source, said, is_new in segments.changes(state, scene.world.sources):
            key = segments.circumstance_of(source, said.value)
            alone = source or scene.said_alone_by(name)
            yield Cause(name, said.value, said.since, NETWORK_CHANGE, key, alone), is_new
        return
    held = state.circumstances.get(name)
    if held is not None:
        signal = _SIGNAL_OF.get(Circumstance(name), "session-presented")
        alone = scene.said_alone_by(name)
        cause = Cause(name, held.value, held.since, signal, f"{name}={held.value}", alone)
        yield cause, not state.began_with(name, held.value)


def _changed(names: tuple[str, ...], *, inverted: bool) -> Test:
    signals = {
        name: _SIGNAL_OF.get(Circumstance(name), "session-presented")
        for name in names
        if name != _NETWORK
    }

    def test(scene: Scene, needs: Needs) -> Finding:
        seen = scene.loosening if inverted else scene
        state = seen.state
        found: list[Cause] = []
        against: list[Cause] = []
        for name in names:
            signal = signals.get(name)
            if signal is None:
                for cause, is_new in _circumstances(seen, name):
                    new = is_new and not seen.proven(cause.circumstance, needs)
                    (found if new else against).append(cause)
                continue
            held = state.circumstances.get(name)  # as in `_circumstances`, of which this is most
            if held is not None:
                value = held.value
                key = name + "=" + value
                cause = Cause(name, value, held.since, signal, key, state.hearsay.get(name, ""))
                new = not state.began_with(name, value) and not seen.proven(key, needs)
                (found if new else against).append(cause)
        return Finding(bool(found), tuple(found or against))

    return test


def _has_changed(names: tuple[str, ...], *, inverted: bool) -> Holds:
    """Return what `_changed` finds, without the causes."""
    plain = tuple(name for name in names if name != Circumstance.NETWORK)
    by_segment = len(plain) < len(names)

    def holds(scene: Scene, needs: Needs) -> bool:
        seen = scene.seen_by(loosens=inverted)
        state = seen.state
        for name in plain:
            held = state.circumstances.get(name)
            if (
                held is not None
                and not state.began_with(name, held.value)
                and not seen.proven(f"{name}={held.value}", needs)
            ):
                return True
        return by_segment and any(
            is_new and not seen.proven(cause.circumstance, needs)
            for cause, is_new in _circumstances(seen, Circumstance.NETWORK)
        )

    return holds


def _changed_found(names: tuple[str, ...], *, inverted: bool) -> tuple[Found, Found] | None:
    """Return what finds the causes of `_changed`, of those of one kind alone."""
    if _NETWORK in names:
        return None
    asked = tuple(
        (name, name + "=", _SIGNAL_OF.get(Circumstance(name), "session-presented"))
        for name in names
    )
    return _that_changed(asked, inverted=inverted), _that_did_not(asked, inverted=inverted)


_Asked: TypeAlias = tuple[tuple[str, str, str], ...]
"""Circumstances, each with what its proofs begin with, and the events that bring it."""


def _that_changed(asked: _Asked, *, inverted: bool) -> Found:
    def changed(scene: Scene, needs: Needs) -> tuple[Cause, ...] | None:
        seen = scene.loosening if inverted else scene
        state = seen.state
        known, baseline, witnessed = state.circumstances, state.baseline, state.witnessed
        causes: tuple[Cause, ...] | None = None
        for name, begins, signal in asked:
            held = known.get(name)
            if held is None:
                continue
            value = held.value
            if value == baseline.get(name) == witnessed.get(name, value):
                continue  # as it began (`State.began_with`)
            key = begins + value
            if not seen.proven(key, needs):
                cause = Cause(name, value, held.since, signal, key, state.hearsay.get(name, ""))
                causes = (cause,) if causes is None else (*causes, cause)
        return causes

    return changed


def _that_did_not(asked: _Asked, *, inverted: bool) -> Found:
    def did_not(scene: Scene, needs: Needs) -> tuple[Cause, ...] | None:
        seen = scene.loosening if inverted else scene
        state = seen.state
        causes: tuple[Cause, ...] = ()
        for name, begins, signal in asked:
            held = state.circumstances.get(name)
            if held is None:
                continue
            value = held.value
            key = begins + value
            if not state.began_with(name, value) and not seen.proven(key, needs):
                return None
            alone = state.hearsay.get(name, "")
            causes = (*causes, Cause(name, value, held.since, signal, key, alone))
        return causes

    return did_not


def _found_where(holds: Holds, where: Callable[[Scene], Cause]) -> tuple[Found, Found]:
    """Return what finds the one cause that there is, whether it holds or not."""

    def holding(scene: Scene, needs: Needs) -> tuple[Cause, ...] | None:
        return (where(scene),) if holds(scene, needs) else None

    def not_holding(scene: Scene, needs: Needs) -> tuple[Cause, ...] | None:
        return None if holds(scene, needs) else (where(scene),)

    return holding, not_holding


def _selects(selection: Selection, names: frozenset[str]) -> bool:
    included = selection.include is None or not selection.include.isdisjoint(names)
    return included and selection.exclude.isdisjoint(names)


def _asks(selection: Selection) -> str:
    include = "any" if selection.include is None else " or ".join(sorted(selection.include))
    exclude = " or ".join(sorted(selection.exclude))
    return f"{include} but {exclude}" if exclude else include


NO_ADDRESS = "the call came without an address"


def locations(condition: Locations, *, inverted: bool) -> ConditionCheck:
    """Return whether the address lies in (or outside of) named locations.

    Where a strict one asks for the address of a call that has none, it is answered as a policy
    needs it to hold: what is not known may not pass.
    """
    selection = condition.selection
    wanted = (selection.include or frozenset()) | selection.exclude

    def test(scene: Scene, needs: Needs) -> Finding:
        return Finding(holds(scene, needs), (where(scene),))

    def where(scene: Scene) -> Cause:
        if condition.strict and scene.addressless:
            return Cause("location", NO_ADDRESS, scene.now, "policy")
        names = scene.locations
        inside = ",".join(sorted(names & wanted)) if names else ""
        place = scene.place
        return Cause(
            "location",
            inside or _nowhere_else("outside", place),
            scene.since(PLACE),
            "session-presented",
            f"{LOCATION}={inside}" if inside else place,
            scene.said_alone_by(PLACE),
        )

    def value(scene: Scene) -> str:
        if condition.strict and scene.addressless:
            return NO_ADDRESS
        return f"{', '.join(sorted(scene.locations)) or 'none'} ({scene.state.ip or 'no address'})"

    def holds(scene: Scene, _needs: Needs) -> bool:
        if condition.strict and scene.addressless:
            return not inverted
        return _selects(selection, scene.locations)

    strictly = ", by the call's own address" if condition.strict else ""
    asks = _asks(selection) + strictly
    found = _found_where(holds, where)
    return ConditionCheck(key_of(Locations), test, asks, value, (), holds, True, found)


def _nowhere_else(word: str, here: str) -> str:
    """Name what has no name of its own by where it is: two such are not the same."""
    place = here.partition("=")[2]
    return f"{word} ({place})" if place else word


def networks(selection: Selection, *, inverted: bool) -> ConditionCheck:
    """Return whether the session's network segment is one of these (or none of those).

    By any source's word, or below a `not` by that of all who may say so: so the policy is as strict
    as the strictest of them makes it.
    """

    def test(scene: Scene, _needs: Needs) -> Finding:
        seen = scene.seen_by(loosens=inverted)
        found: list[Cause] = []
        against: list[Cause] = []
        for source, said in segments.segments(seen.state, seen.world.sources):
            name = said.value
            key = segments.circumstance_of(source, name) if name else seen.place
            since = said.since
            if not name:
                since = max(since or 0, seen.since(PLACE) or 0) or None
            named = name or _nowhere_else("none", seen.place)
            alone = source or seen.said_alone_by(_NETWORK if name else PLACE)
            cause = Cause(_NETWORK, named, since, NETWORK_CHANGE, key, alone)
            names = frozenset({name} if name else ())
            (found if _selects(selection, names) else against).append(cause)
        holds = not against if inverted else bool(found)
        return Finding(holds, tuple(found if holds else against))

    def value(scene: Scene) -> str:
        return ", ".join(
            f"{said.value or 'none'}{said_by(source)}"
            for source, said in segments.segments(scene.state, scene.world.sources)
        )

    def holds(scene: Scene, _needs: Needs) -> bool:
        seen = scene.seen_by(loosens=inverted)
        state = seen.state
        if not state.segments and not state.device_network:  # as `segments` finds it then
            held = state.circumstances.get(_NETWORK)
            name = held.value if held is not None else ""
            return name in selection if name else selection.include is None
        named = (said.value for _, said in segments.segments(state, seen.world.sources))
        chosen = (name in selection if name else selection.include is None for name in named)
        return all(chosen) if inverted else any(chosen)

    return ConditionCheck(key_of(Networks), test, _asks(selection), value, holds=holds)


def countries(selection: Selection) -> ConditionCheck:
    """Return whether the address's country is one of these."""
    return _placed("countries", Circumstance.COUNTRY, selection, _country)


def asns(selection: Selection) -> ConditionCheck:
    """Return whether the address's autonomous system is one of these."""
    return _placed("asns", Circumstance.ASN, selection, _asn)


def _country(place: Place) -> str:
    return place.country


def _asn(place: Place) -> str:
    return str(place.asn) if place.asn else ""


def _placed(
    name: str, kind: Circumstance, selection: Selection, value_of: Callable[[Place], str]
) -> ConditionCheck:
    def test(scene: Scene, _needs: Needs) -> Finding:
        return Finding(holds(scene, _needs), (where(scene),))

    def where(scene: Scene) -> Cause:
        value = value_of(scene.state.location)
        circumstance = begins + value if value else scene.place
        held = kind if value else PLACE
        named = value or _nowhere_else("unknown", scene.place)
        alone = scene.said_alone_by(held)
        return Cause(kind, named, scene.since(held), "session-presented", circumstance, alone)

    def value(scene: Scene) -> str:
        return value_of(scene.state.location) or "unknown"

    def holds(scene: Scene, _needs: Needs) -> bool:
        value = value_of(scene.state.location)
        return value in selection if value else takes_unknown

    # Nothing is left out that is not named: what has no name is taken in where everything is.
    takes_unknown = selection.include is None
    begins = f"{kind}="

    def found(*, wanted: bool) -> Found:
        include, exclude = selection.include, selection.exclude

        def of_kind(scene: Scene, _needs: Needs) -> tuple[Cause, ...] | None:
            state = scene.state
            value = value_of(state.location)
            if not value:
                return (where(scene),) if takes_unknown is wanted else None
            if ((include is None or value in include) and value not in exclude) is not wanted:
                return None
            held = state.circumstances.get(kind)
            since = None if held is None else held.since
            alone = state.hearsay.get(kind, "")
            return (Cause(kind, value, since, "session-presented", begins + value, alone),)

        return of_kind

    both = (found(wanted=True), found(wanted=False))
    return ConditionCheck(name, test, _asks(selection), value, (), holds, True, both)


def anonymizer(condition: Anonymizer) -> ConditionCheck:
    """Return whether the address is (or is not) an anonymizer."""

    def test(scene: Scene, _needs: Needs) -> Finding:
        flags = scene.state.location.anonymizer
        shown = condition.kinds.intersection(flags) if condition.kinds else frozenset(flags)
        since, alone = scene.since(ANONYMIZER), scene.said_alone_by(ANONYMIZER)
        kinds = sorted(shown) if shown else (NO_ANONYMIZER,)
        causes = tuple(
            [
                Cause("anonymizer", kind, since, "session-presented", f"{ANONYMIZER}={kind}", alone)
                for kind in kinds
            ]
        )
        return Finding(bool(shown) == condition.present, causes)

    def value(scene: Scene) -> str:
        return ", ".join(sorted(scene.state.location.anonymizer)) or "none"

    def holds(scene: Scene, _needs: Needs) -> bool:
        flags = scene.state.location.anonymizer
        shown = not condition.kinds.isdisjoint(flags) if condition.kinds else bool(flags)
        return shown == condition.present

    def found(*, wanted: bool) -> Found:
        def of_kind(scene: Scene, needs: Needs) -> tuple[Cause, ...] | None:
            state = scene.state
            if state.location.anonymizer:
                return test(scene, needs).causes if holds(scene, needs) is wanted else None
            if condition.present is wanted:
                return None
            held = state.circumstances.get(ANONYMIZER)
            since = None if held is None else held.since
            alone = state.hearsay.get(ANONYMIZER, "")
            kind, shows = "anonymizer", "session-presented"
            return (Cause(kind, NO_ANONYMIZER, since, shows, _NO_ANONYMIZER, alone),)

        return of_kind

    asks = (" or ".join(sorted(condition.kinds)) or "any") if condition.present else "none"
    both = (found(wanted=True), found(wanted=False))
    return ConditionCheck(key_of(Anonymizer), test, asks, value, (), holds, True, both)


def travel_speed(at_least: float) -> ConditionCheck:
    """Return whether the session got where it is at this speed or faster."""

    def test(scene: Scene, _needs: Needs) -> Finding:
        arrivals = scene.state.arrivals
        if not arrivals:
            return Finding(False, ())
        fast = [one for one in arrivals if one.speed >= at_least]
        causes = [
            Cause("travel", one.text, one.since, "session-presented", f"{JOURNEY}={one.text}")
            for one in fast or arrivals
        ]
        return Finding(bool(fast), tuple(causes))

    def value(scene: Scene) -> str:
        travel = scene.state.travel
        if travel is None:
            return "no journey"
        return f"{travel.speed:.0f} km/h ({travel.distance:.0f} km in {travel.hours:.2f} h)"

    def holds(scene: Scene, _needs: Needs) -> bool:
        arrivals = scene.state.arrivals
        return bool(arrivals) and any(one.speed >= at_least for one in arrivals)

    def fast(scene: Scene, _needs: Needs) -> tuple[Cause, ...] | None:
        found = [
            Cause("travel", one.text, one.since, "session-presented", _JOURNEYS + one.text)
            for one in scene.state.arrivals
            if one.speed >= at_least
        ]
        return tuple(found) if found else None

    def slow(scene: Scene, needs: Needs) -> tuple[Cause, ...] | None:
        return None if holds(scene, needs) else test(scene, needs).causes

    asks = f"at least {at_least:g} km/h"
    return ConditionCheck(key_of(TravelSpeed), test, asks, value, (), holds, True, (fast, slow))
