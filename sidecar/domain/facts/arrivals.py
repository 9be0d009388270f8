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

from sidecar.domain.facts.facts import Seen
from sidecar.domain.session.state import ARRIVALS_BOUND, Sighting, State, TravelHeld
from sidecar.domain.values import places
from sidecar.domain.values.location import NotEvaluable, Waypoint, travel
from sidecar.domain.values.stamp import MICROSECONDS

OWN, OTHER = "own", "other"
CARRIED = "|carrier"
"""Whose last placed sightings are kept; those at a carrier's egress apart, since they say less."""
HEARSAY = "|told"
"""Marks the places that are hearsay; the value lies in stores already, and stays."""


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
    if hearsay:
        whose += HEARSAY
    else:
        for doubtful in (whose + HEARSAY, whose + HEARSAY + CARRIED):
            state.placed.pop(doubtful, None)
    if sighting.place.carrier:
        state.placed[whose + CARRIED] = sighting
    else:
        state.placed[whose] = sighting
        state.placed.pop(whose + CARRIED, None)


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
    shown, doubtful = _placed(state, OWN), _placed(state, OWN + HEARSAY)
    before = (doubtful or shown) if hearsay else shown
    own = _journeys(before, arrived, least_distance_km)
    newest = max((one.moment for one in before), default=0)
    groups = [own] if hearsay else [own, _journeys(doubtful, arrived, least_distance_km)]
    for whose in (OTHER, OTHER + HEARSAY):
        siblings = [one for one in _placed(state, whose) if one.moment > newest]
        groups.append(_journeys(siblings, arrived, least_distance_km))
    stays = hearsay or not own or own[0].speed == 0 or _rests_with_carrier(state, arrived)
    fastest = [max(each, key=_speed) for each in groups if each]
    found = [one for one in fastest if one.speed]
    state.arrivals = (*(state.arrivals if stays else ()), *found)[-ARRIVALS_BOUND:]
    _keep_placed(state, OWN, arrived, hearsay=hearsay)


def _placed(state: State, whose: str) -> list[Sighting]:
    """Return the last placed sightings of these, the latest first."""
    found = [state.placed[one] for one in (whose + CARRIED, whose) if one in state.placed]
    return sorted(found, key=_moment, reverse=True)


def _moment(sighting: Sighting) -> int:
    return sighting.moment


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
) -> list[TravelHeld]:
    """Return the journeys from these sightings of which anything can be said."""
    found = []
    for origin in origins:
        seconds = (arrived.moment - origin.moment) / MICROSECONDS
        start, end = Waypoint(origin.place, origin.ip), Waypoint(arrived.place, arrived.ip)
        journey = travel(start, end, seconds, least_distance_km)
        if isinstance(journey, NotEvaluable):
            continue
        text = (
            f"{journey.distance:.0f} km in {journey.hours:.2f} h, "
            f"{places.label(origin.ip, origin.place)} to "
            f"{places.label(arrived.ip, arrived.place)}"
        )
        measured = (journey.speed, journey.distance, journey.hours, arrived.moment)
        found.append(TravelHeld(*measured, origin, arrived, text))
    return found


def _speed(journey: TravelHeld) -> float:
    return journey.speed
