"""Relocation: a session is seen elsewhere, at its old address, by new location data."""

from collections.abc import Callable, Iterable

import msgspec

from sidecar.domain.facts.fact_kinds import Sighted
from sidecar.domain.values.location import Place
from sidecar.domain.values.stamp import Stamp


def relocated(
    seen: Iterable[Sighted], place_of: Callable[[str], Place], stamp: Stamp
) -> Sighted | None:
    """Return a sighting at the last address of a session, if the data has another place for it.

    Another build that says the same is no move, and a sidecar without data knows of none.
    """
    last = max(seen, key=lambda fact: fact.stamp, default=None)
    if last is None or stamp <= last.stamp:
        return None
    place = place_of(last.ip)
    same = msgspec.structs.replace(place, build=last.place.build) == last.place
    if same or place == Place():
        return None
    return Sighted(stamp=stamp, ip=last.ip, place=place)
