"""A recording to replay, made up: users, offices, mobile networks, travellers and attackers.

Usage: python -m benchmarks.recordings OCCURRENCES > recording.ndjson
Without a number it prints how fast they are made.

The same seed gives the same recording. Addresses are those reserved for documentation and private
use; each sighting has its place, so that no geography database is needed. Attacks are labelled.
"""

import heapq
import json
import random
import sys
import time
from collections.abc import Iterator
from itertools import islice
from typing import Any, NamedTuple

BEGINS = 1_789_948_800
"""2026-09-21T00:00:00Z, a Monday."""

MADE = 50_000

Line = dict[str, Any]


class Site(NamedTuple):
    """Where an address is, and the first part of addresses there."""

    prefix: str
    place: Line


def _site(prefix: str, country: str, asn: int, latitude: float, longitude: float) -> Site:
    place = {
        "country": country,
        "region": f"{country}-1",
        "asn": asn,
        "latitude": latitude,
        "longitude": longitude,
        "accuracy_km": 20.0,
    }
    return Site(prefix, place)


def _carrier(prefix: str, country: str, asn: int, latitude: float, longitude: float) -> Site:
    """Where a mobile carrier hands its users' traffic on, as databases of connection types say."""
    site = _site(prefix, country, asn, latitude, longitude)
    return Site(prefix, {**site.place, "carrier": True})


OFFICES = (
    _site("203.0.113.", "DE", 64496, 52.52, 13.40),
    _site("203.0.113.", "NO", 64496, 59.91, 10.75),
    _site("203.0.113.", "SE", 64496, 59.33, 18.07),
)
HOMES = (
    _site("192.0.2.", "DE", 64500, 52.40, 13.07),
    _site("192.0.2.", "NO", 64501, 59.96, 11.05),
    _site("192.0.2.", "SE", 64502, 59.20, 17.83),
)
MOBILE = (
    _carrier("100.64.0.", "DE", 64505, 50.11, 8.68),
    _carrier("100.64.1.", "NO", 64506, 60.39, 5.32),
    _carrier("100.64.2.", "SE", 64507, 57.71, 11.97),
)
ABROAD = (
    _site("198.51.100.", "PT", 64510, 38.72, -9.14),
    _site("198.51.100.", "US", 64511, 40.71, -74.01),
    _site("198.51.100.", "SG", 64512, 1.35, 103.82),
)
HOSTILE = (
    _site("198.18.0.", "BR", 64520, -23.55, -46.63),
    _site("198.18.1.", "RU", 64521, 55.75, 37.62),
    _site("198.18.2.", "NL", 64522, 52.37, 4.90),
)
AGENTS = ("Mozilla/5.0 Firefox/149.0", "Mozilla/5.0 Chrome/155.0", "Mozilla/5.0 Mobile Safari/19.1")
ROUTINE = ("/", "/calendar", "/news", "/pay")
SENSITIVE = ("/pay/change", "/people/7/record")
ADMINISTRATION = "/admin/users"
GROUPS = ("finance", "engineering", "sales")


class Person:
    """Somebody with habits."""

    def __init__(self, number: int, dice: random.Random) -> None:
        self.name = f"user-{number:05}"
        self.country = dice.randrange(3)
        self.group = GROUPS[number % 3]
        self.device = f"laptop-{number:05}"
        self.is_mobile = dice.random() < 0.35
        self.is_traveller = dice.random() < 0.06
        self.is_admin = dice.random() < 0.04
        self.acr = "mfa" if dice.random() < 0.5 else "single-factor"
        self.agent = AGENTS[number % 2]
        self.host = 1 + number % 250
        self.sessions = 0


def recording(seed: int = 7, users: int = 500, *, carriers: bool = True) -> Iterator[Line]:
    """Occurrences in order, without end: each person's days, one after the other.

    `carriers`: databases know which addresses are a mobile carrier's.
    """
    lines = _recording(seed, users)
    return lines if carriers else map(_without_carrier, lines)


def _without_carrier(line: Line) -> Line:
    data = line["data"]
    if "place" not in data:
        return line
    place = {name: value for name, value in data["place"].items() if name != "carrier"}
    return {**line, "data": {**data, "place": place}}


def _recording(seed: int, users: int) -> Iterator[Line]:
    dice = random.Random(seed)
    people = [Person(number, dice) for number in range(users)]
    streams = [_life(person, random.Random(f"{seed}/{person.name}")) for person in people]
    heads: list[tuple[float, int, Line]] = []
    for at, stream in enumerate(streams):
        line = next(stream)
        heads.append((line["time"], at, line))
    heapq.heapify(heads)
    count = 0
    while True:
        _, at, line = heads[0]
        following = next(streams[at])
        heapq.heapreplace(heads, (following["time"], at, following))
        count += 1
        yield {**line, "id": f"r{count}"}


def _life(person: Person, dice: random.Random) -> Iterator[Line]:
    day = 0
    while True:
        begins = BEGINS + day * 86400 + 8 * 3600 + max(-25200.0, dice.gauss(0, 3600))
        if day % 7 in {5, 6} and dice.random() < 0.8:
            day += 1
            continue
        yield from sorted(_day(person, begins, dice), key=_time)
        day += 1


def _time(line: Line) -> float:
    return float(line["time"])


def _day(person: Person, begins: float, dice: random.Random) -> Iterator[Line]:
    person.sessions += 1
    session = f"{person.name}-s{person.sessions}"
    base = ABROAD[dice.randrange(3)] if person.is_traveller and dice.random() < 0.3 else None
    sites = [base or OFFICES[person.country]]
    if person.is_mobile:
        sites.append(MOBILE[person.country])
    elif dice.random() < 0.4:
        sites = [base or HOMES[person.country], sites[0]]
    at = begins
    yield _line(
        "session-established",
        at,
        person,
        session,
        {
            **_seen(sites[0], person.host, person.agent),
            "acr": person.acr,
            "auth_time": int(at) - 5,
            "app": "payroll",
            "exp": int(at) + 12 * 3600,
            "claims": {"groups": [person.group], "roles": ["admin"] if person.is_admin else []},
        },
        device=person.device,
    )
    calls = 12 + dice.randrange(25)
    for _ in range(calls):
        at += dice.expovariate(1 / 900)
        site = sites[dice.randrange(len(sites))] if dice.random() < 0.3 else sites[0]
        data = _seen(site, person.host, person.agent)
        data |= {"method": "POST", "path": _path(person, dice)}
        yield _line("session-presented", at, person, session, data)
    yield from _signals(person, session, begins, dice)
    if dice.random() < 0.004:
        yield from _attack(person, session, begins + dice.uniform(3600, 20000), dice)


def _path(person: Person, dice: random.Random) -> str:
    if person.is_admin and dice.random() < 0.2:
        return ADMINISTRATION
    return dice.choice(SENSITIVE if dice.random() < 0.12 else ROUTINE)


def _signals(person: Person, session: str, at: float, dice: random.Random) -> Iterator[Line]:
    when = at + dice.uniform(600, 20000)
    if dice.random() < 0.02:
        for status, later in (("not-compliant", 0.0), ("compliant", dice.uniform(600, 9000))):
            yield {
                "type": "device-compliance-change",
                "time": round(when + later, 3),
                "subject": {"device": person.device},
                "data": {"current_status": status},
            }
    if dice.random() < 0.015:
        level = dice.choice(("MEDIUM", "MEDIUM", "HIGH"))
        for current, later in ((level, 0.0), ("LOW", dice.uniform(3600, 20000))):
            yield {
                "type": "risk-level-change",
                "time": round(when + later, 3),
                "subject": {"user": person.name},
                "data": {"current_level": current},
            }
    if dice.random() < 0.03:
        weight = float(dice.randrange(10, 80))
        yield {
            "type": "risk-signal",
            "time": round(when, 3),
            "subject": {"session": session},
            "data": {"name": "odd-behaviour", "weight": weight, "half_life": 3600.0},
        }


def _attack(person: Person, session: str, at: float, dice: random.Random) -> Iterator[Line]:
    """A stolen session is used from elsewhere, with another agent."""
    site = HOSTILE[dice.randrange(3)]
    for _ in range(3 + dice.randrange(6)):
        data = _seen(site, dice.randrange(1, 250), AGENTS[2])
        data |= {"method": "POST", "path": dice.choice(SENSITIVE)}
        yield _line("session-presented", at, person, session, data) | {"label": "attack"}
        at += dice.expovariate(1 / 60)


def _seen(site: Site, host: int, agent: str) -> Line:
    return {"ip": f"{site.prefix}{host}", "user_agent": agent, "place": site.place}


def _line(  # noqa: PLR0913, PLR0917 - the parts of an event
    kind: str, at: float, person: Person, session: str, data: Line, device: str = ""
) -> Line:
    subject = {"user": person.name, "session": session}
    if device:
        subject["device"] = device
    return {
        "type": kind,
        "time": round(at, 3),
        "subject": subject,
        "data": data,
        "label": "legitimate",
    }


def main() -> None:
    if len(sys.argv) > 1:
        count = int(sys.argv[1])
        for line in islice(recording(users=max(20, count // 250)), count):
            print(json.dumps(line, separators=(",", ":")))
        return
    begun = time.perf_counter()
    made = sum(1 for _ in islice(recording(), MADE))
    print(f"{made / (time.perf_counter() - begun):,.0f} occurrences/s")


if __name__ == "__main__":
    main()
