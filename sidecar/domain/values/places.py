"""Places, and the sign-ins that prove them.

A sign-in proves what came with it, and nothing coarser: an address with its coordinates and its
network, the country, the kinds of anonymizer, the device, the user agent. Two sightings are at one
place where their coordinates lie within their accuracy radius of each other *and* their network is
the same. What is not known is never taken for the same: without an autonomous system it is the
prefix of the address that must be the same, and so it is without coordinates.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from sidecar.domain.facts.fact_kinds import PlaceProven
from sidecar.domain.policy.conditional_access import Circumstance
from sidecar.domain.session.state import ANONYMIZER, PLACE, Remembered, State, TravelHeld
from sidecar.domain.values.address import parse, within
from sidecar.domain.values.assurance import Authentication
from sidecar.domain.values.location import Place, distance_km
from sidecar.domain.values.stamp import MICROSECONDS

SAME_PLACE_KM = 100.0
"""However imprecise a database is: what is farther apart is not one place."""

NO_ANONYMIZER = "none"

_PREFIX_BYTES = {4: 3, 16: 6}
"""Of an address whose network is not known: a /24, or a /48."""


@lru_cache(maxsize=16384)
def _prefix(ip: str) -> str:
    address = parse(ip)
    if address is None:
        return ip
    return address.packed[: _PREFIX_BYTES[len(address.packed)]].hex()


def network(ip: str, place: Place) -> str:
    """Return the network of an address: its autonomous system, else its prefix."""
    return f"AS{place.asn}" if place.asn else f"net {_prefix(ip)}"


@lru_cache(maxsize=16384)
def label(ip: str, place: Place) -> str:
    """Return a place in words.

    Its country, its network, its coordinates. Different places differ.
    """
    words = [place.country or "unknown", network(ip, place)]
    if place.latitude is not None and place.longitude is not None:
        words.append(f"{place.latitude:.2f},{place.longitude:.2f}")
    elif place.asn:
        words.append(f"net {_prefix(ip)}")
    return " ".join(words)


def is_same(one_ip: str, one: Place, other_ip: str, other: Place) -> bool:
    """Return whether who proved to be at `one` has proven to be at `other`."""
    if one.country != other.country or (one.asn or 0) != (other.asn or 0):
        return False
    if not one.asn and _prefix(one_ip) != _prefix(other_ip):
        return False
    apart = distance_km(one, other)
    if apart is None:
        nowhere = one.latitude is None and other.latitude is None
        return nowhere and _prefix(one_ip) == _prefix(other_ip)
    if other.accuracy_km > max(one.accuracy_km, SAME_PLACE_KM):
        return False
    return apart <= min(max(one.accuracy_km, other.accuracy_km), SAME_PLACE_KM)


UNKNOWN = "unknown ("
"""Begins what stands for a country, region or network that no database has: named by its place,
since two of them are not the same."""


def values(ip: str, place: Place) -> Iterator[tuple[Circumstance, str]]:
    """Yield what the databases say of an address, by circumstance."""
    for circumstance, value in (
        (Circumstance.COUNTRY, place.country),
        (Circumstance.REGION, place.region),
        (Circumstance.ASN, str(place.asn) if place.asn else ""),
    ):
        yield circumstance, value or f"{UNKNOWN}{label(ip, place)})"


class SeenAs(NamedTuple):
    """A circumstance, and what it is by a sighting. `is_unknown`: no database says it."""

    circumstance: str
    value: str
    is_unknown: bool


@lru_cache(maxsize=16384)
def seen_as(ip: str, place: Place, ipv6_prefix: int) -> tuple[SeenAs, ...]:
    """Return what a sighting shows of where the session is, but for the segment.

    Sessions come from few places again and again: what they show is kept once for all of them.
    """
    return (
        SeenAs(Circumstance.IP, within(ip, ipv6_prefix), is_unknown=False),
        *(SeenAs(name, value, value.startswith(UNKNOWN)) for name, value in values(ip, place)),
        SeenAs(PLACE, label(ip, place), is_unknown=False),
        SeenAs(ANONYMIZER, ",".join(place.anonymizer) or NO_ANONYMIZER, is_unknown=False),
    )


def circumstances(ip: str, place: Place, ipv6_prefix: int) -> Iterator[str]:
    """Yield what an address and its place say, each as `State.proven` names it.

    But for the segment.
    """
    yield f"{Circumstance.IP}={within(ip, ipv6_prefix)}"
    for name, value in values(ip, place):
        yield f"{name}={value}"
    for kind in place.anonymizer or (NO_ANONYMIZER,):
        yield f"{ANONYMIZER}={kind}"


def remembered(state: State) -> Iterator[Remembered]:
    """Yield what an earlier session's proofs still are worth in this one.

    It must be on the device on which they were made; and what voids sign-ins, or changes what the
    user signs in with, voids the proofs from before.
    """
    if not state.remembered or not state.on:
        return
    for one in state.remembered.values():
        kind, _, device = one.device.partition(":")
        if one.device not in state.on or (kind == "id" and device != state.device):
            continue
        voided = max(
            state.credentials_changed,
            *(
                held.since or 0
                for key in ("user|", f"user|{state.device}", f"device|{state.device}")
                if (held := state.revocations.get(key)) is not None
            ),
            0,
        )
        if one.authentication.auth_time * MICROSECONDS > voided:
            yield one


def sign_ins_of(state: State, circumstance: str) -> tuple[Authentication, ...]:
    """Return the sign-ins that came with this circumstance, here or in an earlier session."""
    if not state.remembered:
        return state.proven.get(circumstance, ())
    before = tuple(o.authentication for o in remembered(state) if circumstance in o.circumstances)
    return (*state.proven.get(circumstance, ()), *before)


def sign_ins_at(state: State, ip: str, place: Place) -> tuple[Authentication, ...]:
    """Return the sign-ins that came from this place, here or in an earlier session."""
    if not (state.proven_places or state.remembered):
        return ()
    found = [
        auth
        for held in state.proven_places.values()
        if is_same(held.ip, held.place, ip, place)
        for auth in held.sign_ins
    ]
    found += [
        one.authentication for one in remembered(state) if is_same(one.ip, one.place, ip, place)
    ]
    return tuple(found)


def proven_sites(state: State) -> Iterator[tuple[str, Place, tuple[Authentication, ...]]]:
    """Addresses from which sign-ins came, each with its place and those."""
    for held in state.proven_places.values():
        yield held.ip, held.place, held.sign_ins
    for one in remembered(state):
        yield one.ip, one.place, (one.authentication,)


def ends(state: State, journey: TravelHeld) -> tuple[tuple[Authentication, ...], ...]:
    """Return the sign-ins that came from where a journey began, and those from where it ended."""
    origin, destination = journey.origin, journey.destination
    return (
        sign_ins_at(state, origin.ip, origin.place),
        sign_ins_at(state, destination.ip, destination.place),
    )


def is_proven(state: State, journey: TravelHeld) -> bool:
    """Return whether any sign-in at all came with a journey, or from both of its ends."""
    if journey.proven_by:
        return True
    return bool(state.proven_places or state.remembered) and all(ends(state, journey))


def proof_key(fact: PlaceProven) -> str:
    """Return what a remembered proof is of: of two of one key the later counts."""
    auth = fact.authentication
    return "\0".join((fact.device, label(fact.ip, fact.place), auth.acr, *auth.amr))


def here(state: State) -> str:
    """Return the circumstance that stands for where the session is; empty: it was not seen."""
    return f"{PLACE}={label(state.ip, state.location)}" if state.ip else ""
