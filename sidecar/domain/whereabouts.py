"""Conditions on where a session is and what of its surroundings changed. See `conditions`."""

from collections.abc import Callable

from sidecar.domain.location import Place
from sidecar.domain.places import NO_ANONYMIZER
from sidecar.domain.policy import Anonymizer, Changed, Circumstance, Locations, Selection
from sidecar.domain.scene import JOURNEY, LOCATION, Check, Finding, Needs, Scene, Test
from sidecar.domain.state import ANONYMIZER, PLACE, Cause

_SIGNAL_OF = {
    Circumstance.NETWORK: "network-change",
    Circumstance.DEVICE: "session-established",
}


def changed(condition: Changed) -> Check:
    """Whether any of these circumstances is neither the baseline's nor proven since."""
    names = tuple(c.value for c in condition.circumstances)
    each = tuple(_changed_one(name) for name in names)
    if len(each) == 1:
        return each[0]
    return Check("changed", _changed(names), f"any of {', '.join(names)} changed", _silent, each)


def _silent(_scene: Scene) -> str:
    return ""


def _changed_one(name: str) -> Check:
    def value(scene: Scene) -> str:
        held = scene.state.circumstances.get(name)
        if held is None:
            return "unknown"
        baseline = scene.state.baseline.get(name)
        if held.value == baseline:
            return f"{held.value or 'none'}, as at the start"
        return f"{held.value or 'none'}, at the start {baseline or 'none'}"

    return Check("changed", _changed((name,)), f"{name} changed", value)


def _changed(circumstances: tuple[str, ...]) -> Test:
    signals = [(c, _SIGNAL_OF.get(Circumstance(c), "session-presented")) for c in circumstances]

    def test(scene: Scene, needs: Needs) -> Finding:
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


def _asks(selection: Selection) -> str:
    include = "any" if selection.include is None else " or ".join(sorted(selection.include))
    exclude = " or ".join(sorted(selection.exclude))
    return f"{include} but {exclude}" if exclude else include


NO_ADDRESS = "the call came without an address"


def locations(condition: Locations, *, inverted: bool) -> Check:
    """Whether the address lies in (or outside of) named locations.

    Where a strict one asks for the address of a call that has none, it is answered as a policy
    needs it to hold: what is not known may not pass.
    """
    selection = condition.selection
    wanted = (selection.include or frozenset()) | selection.exclude

    def names_of(scene: Scene) -> frozenset[str]:
        state = scene.state
        return scene.world.locations_of(state.ip, state.location) if state.ip else frozenset()

    def test(scene: Scene, _needs: Needs) -> Finding:
        if condition.strict and scene.addressless:
            return Finding(not inverted, (Cause("location", NO_ADDRESS, scene.now, "policy"),))
        names = names_of(scene)
        inside = ",".join(sorted(names & wanted))
        cause = Cause(
            "location",
            inside or f"outside ({scene.place.partition('=')[2]})",
            scene.since(PLACE),
            "session-presented",
            f"{LOCATION}={inside}" if inside else scene.place,
        )
        return Finding(_selects(selection, names), (cause,))

    def value(scene: Scene) -> str:
        if condition.strict and scene.addressless:
            return NO_ADDRESS
        return f"{', '.join(sorted(names_of(scene))) or 'none'} ({scene.state.ip or 'no address'})"

    strictly = ", by the call's own address" if condition.strict else ""
    return Check("locations", test, _asks(selection) + strictly, value)


def networks(selection: Selection) -> Check:
    """Whether the session's network segment is one of these (or none of those)."""

    def test(scene: Scene, _needs: Needs) -> Finding:
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

    def value(scene: Scene) -> str:
        held = scene.state.circumstances.get(Circumstance.NETWORK)
        return held.value if held and held.value else "none"

    return Check("networks", test, _asks(selection), value)


def countries(selection: Selection) -> Check:
    """Whether the address's country is one of these."""
    return _placed("countries", Circumstance.COUNTRY, selection, _country)


def asns(selection: Selection) -> Check:
    """Whether the address's autonomous system is one of these."""
    return _placed("asns", Circumstance.ASN, selection, _asn)


def _country(place: Place) -> str:
    return place.country


def _asn(place: Place) -> str:
    return str(place.asn) if place.asn else ""


def _placed(
    name: str, kind: Circumstance, selection: Selection, value_of: Callable[[Place], str]
) -> Check:
    def test(scene: Scene, _needs: Needs) -> Finding:
        value = value_of(scene.state.location)
        circumstance = f"{kind}={value}" if value else scene.place
        since = scene.since(kind if value else PLACE)
        cause = Cause(kind, value or "unknown", since, "session-presented", circumstance)
        return Finding(_selects(selection, frozenset({value} if value else ())), (cause,))

    def value(scene: Scene) -> str:
        return value_of(scene.state.location) or "unknown"

    return Check(name, test, _asks(selection), value)


def anonymizer(condition: Anonymizer) -> Check:
    """Whether the address is (or is not) an anonymizer."""

    def test(scene: Scene, _needs: Needs) -> Finding:
        flags = frozenset(scene.state.location.anonymizer)
        shown = flags & condition.kinds if condition.kinds else flags
        since = scene.since(ANONYMIZER)
        causes = tuple(
            Cause("anonymizer", kind, since, "session-presented", f"{ANONYMIZER}={kind}")
            for kind in sorted(shown) or (NO_ANONYMIZER,)
        )
        return Finding(bool(shown) == condition.present, causes)

    def value(scene: Scene) -> str:
        return ", ".join(sorted(scene.state.location.anonymizer)) or "none"

    kinds = " or ".join(sorted(condition.kinds)) or "any"
    return Check("anonymizer", test, kinds if condition.present else "none", value)


def travel_speed(at_least: float) -> Check:
    """Whether the session got where it is at this speed or faster."""

    def test(scene: Scene, _needs: Needs) -> Finding:
        arrivals = scene.state.arrivals
        fast = tuple(one for one in arrivals if one.speed >= at_least)
        causes = tuple(
            Cause("travel", one.text, one.since, "session-presented", f"{JOURNEY}={one.text}")
            for one in fast or arrivals
        )
        return Finding(bool(fast), causes)

    def value(scene: Scene) -> str:
        travel = scene.state.travel
        if travel is None:
            return "no journey"
        return f"{travel.speed:.0f} km/h ({travel.distance:.0f} km in {travel.hours:.2f} h)"

    return Check("travel_speed", test, f"at least {at_least:g} km/h", value)
