"""Named locations and strengths as exports have them: held against the same interpreter."""

import ipaddress
import random
from collections.abc import Iterator, Mapping
from typing import Any

from tests.entra.graph_clauses import BLOCK, MFA
from tests.entra.graph_policies import PLAIN, guid
from tests.entra.graph_worlds import Held, differences_of, held

NETWORKS = (
    *("0.0.0.0/0", "::/0", "192.0.2.0/24", "192.0.2.77/24", "192.0.2.77/32", "192.0.2.77"),
    *("255.255.255.255/32", "0.0.0.0/32", "10.0.0.0/8", "128.0.0.0/1", "2001:db8::/32"),
    *("2001:DB8::1/128", "2001:db8::1", "fe80::/10", "2001:0db8:0000::/48"),
)
ENDS = (
    *(("192.0.2.1", "192.0.2.1"), ("192.0.2.1", "192.0.3.4"), ("0.0.0.0", "255.255.255.255")),
    *(("2001:db8::1", "2001:db8::ffff"), ("198.51.100.254", "198.51.101.1")),
)
WRONG = (
    *({"cidrAddress": text} for text in ("", "office", "192.0.2.0/33", "192.0.2", "1.2.3.4/-1")),
    *({"cidrAddress": text} for text in ("010.0.0.1/8", "192.0.2.0/24 ", "fe80::1%eth0/64")),
    *({"lowerAddress": a, "upperAddress": b} for a, b in (("192.0.2.9", "192.0.2.1"), ("", ""))),
    {"lowerAddress": "192.0.2.1", "upperAddress": "2001:db8::1"},
    {"lowerAddress": "fe80::1%eth0", "upperAddress": "fe80::9%eth0"},
)
COUNTRIES = (["DE"], ["de", "DE"], ["US", "FR"], ["XK"], ["KP", "DE", "FR", "US"])
NO_COUNTRIES = (["UK"], ["EU"], ["DEU"], ["Germany"], ["ZZ", "DE"], [""])
COMBINATIONS: tuple[list[str], ...] = (
    *(["fido2"], ["password, sms"], ["sms,password"], ["password"], ["sms", "fido2"]),
    *(["windowsHelloForBusiness", "fido2", "x509CertificateMultiFactor"], []),
    *(["deviceBasedPush", "fido2"], ["federatedMultiFactor"], ["federatedSingleFactor"]),
)


def _locations() -> Iterator[dict[str, Any]]:
    for cidr in NETWORKS:
        yield {"ipRanges": [{"cidrAddress": cidr}]}
        yield {"ipRanges": [{"cidrAddress": cidr}, {"cidrAddress": "203.0.113.0/25"}]}
    for lower, upper in ENDS:
        yield {"ipRanges": [{"lowerAddress": lower, "upperAddress": upper}]}
    for written in (*COUNTRIES, []):
        for unknown in (True, False, None):
            yield {"countriesAndRegions": written, "includeUnknownCountriesAndRegions": unknown}
    yield {"countriesAndRegions": ["DE"], "countryLookupMethod": "authenticatorAppGps"}
    yield {"ipRanges": {"cidrAddress": "192.0.2.0/24"}}
    yield {"countriesAndRegions": "DE"}


def _wrong() -> Iterator[dict[str, Any]]:
    for each in WRONG:
        yield {"ipRanges": [each]}
        yield {"ipRanges": [{"cidrAddress": "192.0.2.0/24"}, each]}
    for written in NO_COUNTRIES:
        yield {"countriesAndRegions": written}


def _policies(own: str, number: int) -> Iterator[dict[str, Any]]:
    for included, excluded, grants in (([own], [], MFA), (["All"], [own], BLOCK)):
        locations = {"includeLocations": included, "excludeLocations": excluded}
        yield {
            "id": guid(3, number),
            "displayName": f"P{number} {'in' if excluded == [] else 'out'}",
            "state": "enabled",
            "conditions": {**PLAIN, "locations": locations},
            "grantControls": grants,
        }
        number += 1000


def world_of(locations: Iterator[Mapping[str, Any]]) -> Held:
    """Each location, with a policy for it and one for everywhere else."""
    objects: list[dict[str, Any]] = []
    for number, each in enumerate(locations):
        own = guid(4, number)
        objects.append({"id": own, "displayName": "Office", "isTrusted": False, **each})
        objects += _policies(own, number)
    return held(objects)


def test_a_named_location_holds_the_addresses_that_it_held() -> None:
    world = world_of(_locations())
    assert len(world.enabled) > 60
    assert list(differences_of(world, sign_ins=25)) == []


def test_a_location_with_a_part_that_cannot_be_read_enforces_nothing() -> None:
    assert world_of(_wrong()).enabled == ()


def test_networks_of_a_range_hold_its_ends_and_nothing_beside() -> None:
    chance = random.Random(7)
    ranges = []
    for _ in range(40):
        low = chance.randrange(2**32 - 5000)
        ends = (low, low + chance.choice((0, 1, 2, 255, 256, 4999)))
        lower, upper = (str(ipaddress.IPv4Address(end)) for end in ends)
        ranges.append({"ipRanges": [{"lowerAddress": lower, "upperAddress": upper}]})
    assert list(differences_of(world_of(iter(ranges)), sign_ins=10)) == []


def test_a_strength_asks_for_its_combinations_whatever_their_order_and_spaces() -> None:
    objects: list[dict[str, Any]] = []
    for number, allowed in enumerate(COMBINATIONS):
        own = guid(8, number)
        strength = {"id": own, "displayName": f"S{number // 2}", "allowedCombinations": allowed}
        grants = {"operator": "OR", "builtInControls": [], "authenticationStrength": {"id": own}}
        policy = {"id": guid(9, number), "displayName": f"P{number}", "state": "enabled"}
        objects += [strength, {**policy, "conditions": PLAIN, "grantControls": grants}]
    world = held(objects)
    assert len(world.enabled) == len(COMBINATIONS) - 1
    assert list(differences_of(world, sign_ins=40)) == []
    asked = [one.policy.grant.alternatives for one in world.result.imported]
    assert asked[1] == asked[2]
    assert asked[5] == (frozenset({"phishing-resistant"}),)
