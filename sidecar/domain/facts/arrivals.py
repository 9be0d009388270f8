"""Journeys: a sighting that is placed is held against the last ones that were.

Most addresses have coordinates that say something of their user. Those that do not (a private
network, one that no database lists, an anonymizer, a relay) end no journey and begin none, so that
they cannot come between two that do. A mobile carrier's egress says in which country its user is,
and is kept beside the last place that says more.

What a source that may not loosen says (hearsay) is kept apart until the next sighting that is
shown. It begins and ends journeys like any, and so tightens. It takes none away: a shown sighting
is held against the last shown one as well, whatever hearsay lies between them.
"""

from collections.abc import Sequence

from sidecar.domain.facts.fact_kinds import Seen
from sidecar.domain.session.state import ARRIVALS_BOUND, Sighting, State, TravelHeld
from sidecar.domain.values import places
from sidecar.domain.values.location import NotEvaluable, Travel, Waypoint, travel
from sidecar.domain.values.stamp import MICROSECONDS

OWN, OTHER = "own", "other"
CARRIED = "|carrier"
"""Whose last placed sightings are kept; those at a carrier's egress apart, since they say less."""
HEARSAY = "|told"
"""Marks the places that are hearsay; the value lies in stores already, and stays."""

OWN_CARRIED, OWN_HEARSAY, OWN_HEARSAY_CARRIED = (
    OWN + CARRIED,
    OWN + HEARSAY,
    OWN + HEARSAY + CARRIED,
)
_HEARSAY_OF = {one: (one + HEARSAY, one + HEARSAY + CARRIED) for one in (OWN, OTHER)}
_SIBLINGS = ((OTHER + CARRIED, OTHER), (OTHER + HEARSAY + CARRIED, OTHER + HEARSAY))
"""By whose shown word, and by whose hearsay: at a carrier's egress, and elsewhere."""


def see(state: State, fact: Seen, moment: int, session: str, *, hearsay: bool = False) -> None:
    """Take up where the user was seen, in this session or another."""
    sighting = Sighting(fact.ip, fact.place, moment)
    if fact.session != session:
        state.elsewhere = sighting
        _keep_placed(state, OTHER, sighting, hearsay=hearsay)
    elif hearsay:
        return  # the session's own facts say it
    elif state.own is not None and state.own.ip == fact.ip:
        state.own = sighting
        for whose in (OWN, OWN + CARRIED):
            held = state.placed.get(whose)
            if held is not None and held.ip == fact.ip:
                state.placed[whose] = sighting


def _keep_placed(state: State, whose: str, sighting: Sighting, *, hearsay: bool) -> None:
    """Keep what the next journey is held against: sightings without a place leave it alone."""
    if not sighting.place.is_placed:
        return
    placed = state.placed
    if hearsay:
        whose += HEARSAY
    else:
        for doubtful in _HEARSAY_OF[whose]:
            placed.pop(doubtful, None)
    if sighting.place.carrier:
        placed[whose + CARRIED] = sighting
    else:
        placed[whose] = sighting
        placed.pop(whose + CARRIED, None)


def arrive(
    state: State, arrived: Sighting, least_distance_km: float, *, hearsay: bool = False
) -> None:
    """Hold a sighting against the last placed ones, whatever lay between.

    Of the session's own the fastest journey counts; so does that of its siblings, where they were
    seen since. What cannot be known does not excuse an earlier arrival, and who is still at the
    place of that arrival has not arrived anew.
    """
    if not arrived.place.is_placed:
        return
    placed = state.placed
    shown = _latest_first(placed.get(OWN_CARRIED), placed.get(OWN))
    doubtful = _latest_first(placed.get(OWN_HEARSAY_CARRIED), placed.get(OWN_HEARSAY))
    before = (doubtful or shown) if hearsay else shown
    own = _journeys(before, arrived, least_distance_km)
    groups = [own]
    if doubtful and not hearsay:
        groups.append(_journeys(doubtful, arrived, least_distance_km))
    if len(placed) > len(shown) + len(doubtful):
        newest = max((one.moment for one in before), default=0)
        for carried, whose in _SIBLINGS:
            of_them = _latest_first(placed.get(carried), placed.get(whose))
            siblings = [one for one in of_them if one.moment > newest]
            if siblings:
                groups.append(_journeys(siblings, arrived, least_distance_km))
    stays = hearsay or not own or own[0][0].speed == 0 or _rests_with_carrier(state, arrived)
    fastest = [max(each, key=_speed) if len(each) > 1 else each[0] for each in groups if each]
    found = [_held(journey, origin, arrived) for journey, origin in fastest if journey.speed]
    if found or not stays:
        state.arrivals = (*(state.arrivals if stays else ()), *found)[-ARRIVALS_BOUND:]
    _keep_placed(state, OWN, arrived, hearsay=hearsay)


def _latest_first(one: Sighting | None, other: Sighting | None) -> tuple[Sighting, ...]:
    """Return those of two sightings that there are, the latest first."""
    if one is None:
        return () if other is None else (other,)
    if other is None:
        return (one,)
    return (one, other) if one.moment >= other.moment else (other, one)


def _rests_with_carrier(state: State, arrived: Sighting) -> bool:
    """Return whether a carrier handed the session on last, in the country where one does now."""
    last = state.placed.get(OWN + CARRIED)
    return (
        last is not None
        and arrived.place.carrier
        and last.place.country == arrived.place.country != ""
    )


def _journeys(
    origins: Sequence[Sighting], arrived: Sighting, least_distance_km: float
) -> list[tuple[Travel, Sighting]]:
    """Return the journeys from these sightings of which anything can be said, with their origin."""
    found: list[tuple[Travel, Sighting]] = []
    if not origins:
        return found
    end = Waypoint(arrived.place, arrived.ip)
    for origin in origins:
        seconds = (arrived.moment - origin.moment) / MICROSECONDS
        journey = travel(Waypoint(origin.place, origin.ip), end, seconds, least_distance_km)
        if not isinstance(journey, NotEvaluable):
            found.append((journey, origin))
    return found


def _held(journey: Travel, origin: Sighting, arrived: Sighting) -> TravelHeld:
    text = (
        f"{journey.distance:.0f} km in {journey.hours:.2f} h, "
        f"{places.label(origin.ip, origin.place)} to "
        f"{places.label(arrived.ip, arrived.place)}"
    )
    measured = (journey.speed, journey.distance, journey.hours, arrived.moment)
    return TravelHeld(*measured, origin, arrived, text)


def _speed(journey: tuple[Travel, Sighting]) -> float:
    return journey[0].speed
