"""What a sign-in proves: just what came with it (contract, "Meaning" 4)."""

import itertools
from collections.abc import Callable

import msgspec
import pytest

from sidecar.domain.evaluation.decision import AccessRequest, Verdict, decide
from sidecar.domain.evaluation.evaluator import Evaluator
from sidecar.domain.facts.fact_kinds import (
    DeviceBound,
    Fact,
    PlaceProven,
    Revoked,
    Scope,
    Seen,
    ShownWith,
    Sighted,
    SignalRaised,
    SignedIn,
)
from sidecar.domain.policy.conditional_access import (
    Anonymizer,
    Asns,
    Changed,
    Circumstance,
    Condition,
    Countries,
    Locations,
    Networks,
    Not,
    Policy,
    Selection,
    TravelSpeed,
)
from sidecar.domain.session.fold import Surroundings
from sidecar.domain.values.assurance import Authentication
from sidecar.domain.values.location import Place
from sidecar.domain.values.places import is_same, label
from sidecar.domain.values.stamp import MICROSECONDS
from tests.domain.scenes import LADDER, WORLD, policy
from tests.domain.scenes import stamp as at

DAY = 86400
NEW_YORK = Place(country="US", asn=7018, latitude=40.71, longitude=-74.01, accuracy_km=20)
LOS_ANGELES = Place(country="US", asn=7018, latitude=34.05, longitude=-118.24, accuracy_km=20)
LONDON = Place(country="GB", asn=2856, latitude=51.51, longitude=-0.13, accuracy_km=20)
TOR = msgspec.structs.replace(NEW_YORK, anonymizer=("tor",), meaningless=True)
LAN = Place()
CARRIER = Place(
    country="US", asn=20057, latitude=33.75, longitude=-84.39, accuracy_km=100, carrier=True
)
FAST = policy(TravelSpeed(900), name="fast", sticky=True)
BEHIND = policy(Anonymizer(present=True, kinds=frozenset({"tor", "vpn"})), name="behind")


def rules(*policies: Policy, **around: object) -> Evaluator:
    return Evaluator(policies, WORLD, Surroundings("", lambda _: "", **around))  # type: ignore[arg-type]


def seen(second: float, ip: str, place: Place, name: str = "") -> Sighted:
    return Sighted(stamp=at(second, name or f"e{second}"), ip=ip, place=place)


def elsewhere(second: float, ip: str, place: Place) -> Seen:
    return Seen(stamp=at(second, f"o{second}"), session="other", ip=ip, place=place)


def proof(  # noqa: PLR0917 - a sign-in, and what came with it
    second: float,
    made: int,
    ip: str = "",
    place: Place = LAN,
    acr: str = "mfa",
    device: str = "",
    *,
    made_there: bool = False,
) -> SignedIn:
    came = ShownWith(ip, place, device, made_there=made_there)
    return SignedIn(
        stamp=at(second, f"e{second}"), authentication=Authentication(made, acr), shown_with=came
    )


def verdict(judge: Evaluator, facts: list[Fact], now: float) -> Verdict:
    standing = judge.standing(judge.fold("s", facts), int(now * MICROSECONDS))
    return decide(standing, AccessRequest("app", frozenset({"c1"}), now), LADDER).verdict


START: list[Fact] = [seen(1000, "192.0.2.1", NEW_YORK), proof(1000, 999, "192.0.2.1", NEW_YORK)]


def test_from_coast_to_coast_in_a_second_on_one_operator_is_a_journey_that_asks() -> None:
    facts = [*START, seen(1001, "192.0.2.9", LOS_ANGELES)]
    assert verdict(rules(FAST), facts, 1002) is Verdict.STEP_UP


def test_a_tor_exit_of_the_same_operator_asks() -> None:
    facts = [*START, seen(1400, "192.0.2.9", TOR)]
    assert verdict(rules(BEHIND), facts, 1401) is Verdict.STEP_UP


def test_without_an_asn_database_a_whole_country_is_not_one_place() -> None:
    bare = [msgspec.structs.replace(one, asn=0) for one in (NEW_YORK, LOS_ANGELES)]
    facts: list[Fact] = [
        seen(1000, "192.0.2.1", bare[0]),
        proof(1000, 999, "192.0.2.1", bare[0]),
        seen(1001, "198.51.100.1", bare[1]),
    ]
    assert verdict(rules(FAST), facts, 1002) is Verdict.STEP_UP


@pytest.mark.parametrize("between", [LAN, TOR, CARRIER])
def test_what_lies_between_two_placed_sightings_does_not_blind_the_journey(between: Place) -> None:
    facts = [
        *START,
        seen(1001, "10.0.0.1", between),
        seen(1002, "192.0.2.9", LOS_ANGELES),
    ]
    assert verdict(rules(FAST), facts, 1003) is Verdict.STEP_UP


@pytest.mark.parametrize("between", [LAN, TOR])
def test_nor_does_what_a_sibling_shows_without_a_place(between: Place) -> None:
    facts: list[Fact] = [
        elsewhere(998, "192.0.2.1", NEW_YORK),
        elsewhere(999, "10.0.0.1", between),
        seen(1000, "198.51.100.1", LONDON),
        proof(1000, 1, "198.51.100.1", LONDON),
    ]
    assert verdict(rules(FAST), facts, 1001) is Verdict.STEP_UP


def test_a_second_session_far_away_with_an_hour_old_sign_in_asks() -> None:
    def second_session(made: int) -> list[Fact]:
        return [
            elsewhere(9999, "192.0.2.1", NEW_YORK),
            seen(10000, "198.51.100.1", LONDON),
            proof(10000, made, "198.51.100.1", LONDON),
        ]

    assert verdict(rules(FAST), second_session(10000 - 3600), 10001) is Verdict.STEP_UP
    assert verdict(rules(FAST), second_session(10000 - 60), 10001) is Verdict.ALLOW


@pytest.mark.parametrize(
    "condition",
    [
        Countries(Selection(frozenset({"US"}))),
        Asns(Selection(frozenset({"7018"}))),
        Not(Locations(Selection(frozenset({"home"})))),
        Anonymizer(present=True),
    ],
)
def test_an_old_sign_in_excuses_nothing_of_the_first_sighting(
    condition: Countries | Asns | Not | Anonymizer,
) -> None:
    judge = rules(policy(condition))

    def first(made: int) -> list[Fact]:
        return [seen(10000, "192.0.2.1", TOR), proof(10000, made, "192.0.2.1", TOR)]

    assert verdict(judge, first(10000 - 3600), 10001) is Verdict.STEP_UP
    assert verdict(judge, first(10000 - 60), 10001) is Verdict.ALLOW


def test_how_old_a_sign_in_may_be_that_belongs_to_its_call_is_configured() -> None:
    judge = rules(policy(Countries(Selection(frozenset({"US"})))), establish_within=30)
    for made, expected in ((9971, Verdict.ALLOW), (9969, Verdict.STEP_UP)):
        facts: list[Fact] = [
            seen(10000, "192.0.2.1", NEW_YORK),
            proof(10000, made, "192.0.2.1", NEW_YORK),
        ]
        assert verdict(judge, facts, 10001) is expected


@pytest.mark.parametrize(("made", "expected"), [(1101, Verdict.ALLOW), (1099, Verdict.STEP_UP)])
def test_who_signed_in_after_the_session_was_seen_elsewhere_is_not_asked_for_where_it_then_is(
    made: int, expected: Verdict
) -> None:
    facts = [
        *START,
        seen(1100, "192.0.2.2", NEW_YORK),
        seen(1200, "198.51.100.1", LONDON),
        proof(1200, made, "198.51.100.1", LONDON),
    ]
    assert verdict(rules(FAST), facts, 1201) is expected


def test_what_is_not_known_any_more_is_not_unchanged() -> None:
    moved = policy(Changed((Circumstance.COUNTRY,)))
    facts = [*START, seen(1100, "10.0.0.1", LAN)]
    assert verdict(rules(moved), facts, 1101) is Verdict.STEP_UP
    proven = [*facts, proof(1110, 1109, "10.0.0.1", LAN), seen(1200, "192.0.2.1", NEW_YORK)]
    assert verdict(rules(moved), [*proven, seen(1300, "10.0.0.2", LAN)], 1301) is Verdict.ALLOW
    assert verdict(rules(moved), [*proven, seen(1300, "10.9.0.1", LAN)], 1301) is Verdict.STEP_UP


def test_what_was_never_known_has_not_changed() -> None:
    moved = policy(Changed((Circumstance.COUNTRY, Circumstance.ASN)))
    facts: list[Fact] = [seen(1000, "192.0.2.1", LAN), seen(1100, "198.51.100.1", LAN)]
    assert verdict(rules(moved), facts, 1101) is Verdict.ALLOW


def test_a_proof_without_an_address_proves_no_place() -> None:
    moved = policy(Changed((Circumstance.IP,)))
    thief = [*START, seen(1100, "198.51.100.1", LONDON)]
    assert verdict(rules(moved), thief, 1101) is Verdict.STEP_UP
    said = [*thief, proof(1110, 1109)]
    assert "ip=198.51.100.1" not in rules(moved).fold("s", said).proven
    again = [*said, seen(1120, "192.0.2.1", NEW_YORK), seen(1130, "198.51.100.1", LONDON)]
    assert verdict(rules(moved), again, 1131) is Verdict.STEP_UP


def test_a_sign_in_that_says_where_it_was_made_proves_that_place_and_no_other() -> None:
    moved = policy(Changed((Circumstance.COUNTRY,)))
    in_london = proof(1110, 1109, "198.51.100.1", LONDON, made_there=True)
    facts = [*START, in_london, seen(5000, "198.51.100.1", LONDON)]
    assert verdict(rules(moved), facts, 5001) is Verdict.ALLOW
    in_new_york = proof(1110, 1109, "192.0.2.1", NEW_YORK, made_there=True)
    facts = [*START, in_new_york, seen(5000, "198.51.100.1", LONDON)]
    assert verdict(rules(moved), facts, 5001) is Verdict.STEP_UP


def test_showing_a_token_again_from_elsewhere_proves_nothing_more() -> None:
    facts = [
        *START,
        seen(1010, "198.51.100.1", LONDON),
        proof(1010, 999, "198.51.100.1", LONDON),
    ]
    assert "country=GB" not in rules(FAST).fold("s", facts).proven


def test_a_sign_in_that_came_without_an_address_still_proves_the_call_that_first_shows_it() -> None:
    facts = [*START, seen(1100, "198.51.100.1", LONDON), proof(1150, 1149)]
    state = rules(FAST).fold("s", [*facts, proof(1160, 1149, "198.51.100.1", LONDON)])
    assert "country=GB" in state.proven


def test_moving_back_and_forth_between_two_proven_places_does_not_ask() -> None:
    facts = [
        *START,
        seen(1100, "198.51.100.1", LONDON),
        proof(1110, 1109, "198.51.100.1", LONDON),
        seen(1200, "192.0.2.1", NEW_YORK),
        seen(1300, "198.51.100.1", LONDON),
    ]
    for count in range(4, len(facts) + 1):
        assert verdict(rules(FAST), facts[:count], 1301) is Verdict.ALLOW
    facts.append(seen(1400, "192.0.2.9", LOS_ANGELES))
    assert verdict(rules(FAST), facts, 1401) is Verdict.STEP_UP


def test_a_proof_of_the_destination_alone_does_not_excuse_another_journey_to_it() -> None:
    facts = [
        *START,
        seen(1100, "198.51.100.1", LONDON),
        proof(1110, 1109, "198.51.100.1", LONDON),
        seen(99999, "192.0.2.9", LOS_ANGELES),
        seen(100000, "198.51.100.1", LONDON),
    ]
    assert verdict(rules(FAST), facts, 100001) is Verdict.STEP_UP


def test_kinds_of_anonymizer_are_proven_one_by_one() -> None:
    both = msgspec.structs.replace(TOR, anonymizer=("tor", "vpn"))
    facts = [*START, seen(1400, "192.0.2.9", TOR), proof(1410, 1409, "192.0.2.9", TOR)]
    assert verdict(rules(BEHIND), facts, 1411) is Verdict.ALLOW
    again = [*facts, seen(1500, "192.0.2.1", NEW_YORK), seen(1600, "192.0.2.8", TOR)]
    assert verdict(rules(BEHIND), again, 1601) is Verdict.ALLOW
    more = [*facts, seen(1500, "192.0.2.1", NEW_YORK), seen(1600, "192.0.2.8", both)]
    assert verdict(rules(BEHIND), more, 1601) is Verdict.STEP_UP


def test_within_a_carriers_country_its_egress_is_no_journey_and_abroad_it_is() -> None:
    there = [*START, seen(1060, "192.0.2.9", CARRIER), seen(1120, "192.0.2.1", NEW_YORK)]
    assert verdict(rules(FAST), there, 1121) is Verdict.ALLOW
    abroad = msgspec.structs.replace(CARRIER, country="BR", latitude=-23.55, longitude=-46.63)
    assert verdict(rules(FAST), [*START, seen(1060, "192.0.2.9", abroad)], 1061) is Verdict.STEP_UP


REMEMBERING = {"remember": 30 * DAY * MICROSECONDS}


def remembered(device: str = "id:laptop", acr: str = "mfa") -> list[Fact]:
    """London and New York, proven in an earlier session on a device."""
    return [
        PlaceProven(
            stamp=at(DAY + n, f"p{n}"),
            device=device,
            ip=ip,
            place=place,
            authentication=Authentication(DAY + n, acr),
        )
        for n, (ip, place) in enumerate((("192.0.2.1", NEW_YORK), ("198.51.100.1", LONDON)))
    ]


def later(begins: int, device: str = "laptop") -> list[Fact]:
    """A session that is in New York and a minute later in London, with an old sign-in."""
    old = begins - 3600
    return [
        DeviceBound(stamp=at(begins), device=device),
        seen(begins, "192.0.2.1", NEW_YORK),
        proof(begins, old, "192.0.2.1", NEW_YORK, device=device),
        seen(begins + 60, "198.51.100.1", LONDON),
    ]


def test_places_that_a_user_has_proven_on_a_device_count_in_later_sessions_on_it() -> None:
    judge = rules(FAST, **REMEMBERING)
    session = later(2 * DAY)
    assert verdict(judge, session, 2 * DAY + 61) is Verdict.STEP_UP
    assert verdict(judge, [*remembered(), *session], 2 * DAY + 61) is Verdict.ALLOW


@pytest.mark.parametrize(
    ("facts", "begins", "device"),
    [
        (remembered("id:other"), 2 * DAY, "laptop"),
        (remembered(), 2 * DAY, ""),
        (remembered(acr="single-factor"), 2 * DAY, "laptop"),
        (remembered(), 40 * DAY, "laptop"),
        ([*remembered(), Revoked(stamp=at(DAY + 5), scope=Scope.USER)], 2 * DAY, "laptop"),
        (
            [*remembered(), Revoked(stamp=at(DAY + 5), scope=Scope.DEVICE, device="laptop")],
            2 * DAY,
            "laptop",
        ),
        (
            [
                *remembered(),
                SignalRaised(stamp=at(DAY + 5), scope=Scope.USER, name="credential-change"),
            ],
            2 * DAY,
            "laptop",
        ),
    ],
    ids=["other-device", "no-device", "weaker", "expired", "revoked", "device-revoked", "changed"],
)
def test_what_is_remembered_counts_for_no_more_than_it_is(
    facts: list[Fact], begins: int, device: str
) -> None:
    judge = rules(FAST, **REMEMBERING)
    session = later(begins, device)[0 if device else 1 :]
    assert verdict(judge, [*facts, *session], begins + 61) is not Verdict.ALLOW


@pytest.mark.parametrize(
    "revoked",
    [
        Revoked(stamp=at(DAY + 5), scope=Scope.DEVICE, device="laptop"),
        Revoked(stamp=at(DAY + 5), scope=Scope.USER, device="laptop"),
    ],
)
def test_a_revoked_device_proves_nothing_by_the_key_that_it_holds(revoked: Revoked) -> None:
    judge = rules(FAST, **REMEMBERING)
    begins = 2 * DAY
    (bound, home, signed, away) = later(begins)
    assert isinstance(signed, SignedIn)
    came = msgspec.structs.replace(signed.shown_with, key="jkt=k")
    session = [bound, home, msgspec.structs.replace(signed, shown_with=came), away]
    facts = [*remembered("key:jkt=k"), *session]
    assert verdict(judge, facts, begins + 61) is Verdict.ALLOW
    assert verdict(judge, [*facts, revoked], begins + 61) is Verdict.STEP_UP


def test_remembering_can_be_turned_off() -> None:
    facts = [*remembered(), *later(2 * DAY)]
    assert verdict(rules(FAST), facts, 2 * DAY + 61) is Verdict.STEP_UP


def test_a_device_that_is_reported_without_a_sign_in_is_not_known() -> None:
    judge = rules(FAST, **REMEMBERING)
    begins = 2 * DAY
    facts: list[Fact] = [
        seen(begins, "192.0.2.1", NEW_YORK),
        proof(begins, begins - 3600, "192.0.2.1", NEW_YORK),
        DeviceBound(stamp=at(begins + 1), device="laptop"),
        seen(begins + 60, "198.51.100.1", LONDON),
    ]
    assert verdict(judge, [*remembered(), *facts], begins + 61) is Verdict.STEP_UP


PLACES = (
    ("192.0.2.1", NEW_YORK),
    ("192.0.2.9", LOS_ANGELES),
    ("198.51.100.1", LONDON),
    ("198.51.100.1", LAN),
    ("203.0.113.1", Place(country="US")),
    ("203.0.113.1", Place(country="US", asn=7018)),
    ("192.0.2.1", Place(country="US", latitude=37.75, longitude=-97.82, accuracy_km=1000)),
    ("192.0.2.1", msgspec.structs.replace(NEW_YORK, asn=0)),
)


def test_different_places_have_different_names() -> None:
    for (ip, place), (other_ip, other) in itertools.combinations(PLACES, 2):
        assert not is_same(ip, place, other_ip, other)
        assert not is_same(other_ip, other, ip, place)
        assert label(ip, place) != label(other_ip, other)


def test_within_the_radius_and_in_the_network_it_is_the_same_place() -> None:
    near = msgspec.structs.replace(NEW_YORK, latitude=40.8)
    assert is_same("192.0.2.1", NEW_YORK, "203.0.113.1", near)
    assert not is_same("192.0.2.1", NEW_YORK, "203.0.113.1", msgspec.structs.replace(near, asn=1))
    vague = msgspec.structs.replace(NEW_YORK, accuracy_km=1000)
    assert not is_same("192.0.2.1", NEW_YORK, "203.0.113.1", vague)


def _at(country: str, asn: int, latitude: float, *flags: str, region: str = "") -> Place:
    return Place(
        country=country,
        region=region,
        asn=asn,
        latitude=latitude,
        longitude=10.0,
        accuracy_km=20,
        anonymizer=flags,
        meaningless=bool(flags),
    )


NEUTRAL = ("192.0.2.1", _at("SE", 1, 60.0))
SPOTS = (
    ("198.51.100.1", _at("DE", 2, 50.0, region="DE-A")),
    ("198.51.100.2", _at("DE", 2, 45.0, region="DE-B")),
    ("198.51.100.3", _at("DE", 3, 50.0)),
    ("198.51.100.4", _at("PT", 2, 40.0)),
    ("198.51.100.5", _at("DE", 2, 50.0, "tor")),
    ("198.51.100.6", _at("DE", 2, 50.0, "vpn")),
    ("198.51.100.7", _at("DE", 2, 50.0, "tor", "vpn")),
    ("203.0.113.1", Place(country="DE")),
    ("203.0.114.1", Place(country="DE")),
    ("203.0.115.1", Place(country="DE", asn=2)),
    ("10.0.0.1", Place()),
    ("10.1.0.1", Place()),
)
TORS = frozenset({"tor", "vpn"})
LOOKED_AT: tuple[tuple[Condition, Callable[[str, Place], object]], ...] = (
    (Changed((Circumstance.IP,)), lambda ip, _: ip),
    (Changed((Circumstance.COUNTRY,)), lambda ip, place: place.country or label(ip, place)),
    (Changed((Circumstance.REGION,)), lambda ip, place: place.region or label(ip, place)),
    (Changed((Circumstance.ASN,)), lambda ip, place: place.asn or label(ip, place)),
    (Changed((Circumstance.NETWORK,)), lambda ip, _: segment(ip)),
    (Countries(Selection(None, frozenset({"SE"}))), lambda ip, place: place.country or ip),
    (Asns(Selection(None, frozenset({"1"}))), lambda ip, place: place.asn or ip),
    (Networks(Selection(None, frozenset({"home"}))), lambda ip, _: segment(ip) or ip),
    (Not(Locations(Selection(frozenset({"trusted"})))), label),
    (Locations(Selection(None, frozenset({"trusted"}))), label),
    (
        Anonymizer(present=True, kinds=TORS),
        lambda _, place: frozenset(place.anonymizer) & TORS,
    ),
    (TravelSpeed(1), lambda _, place: place.latitude),
)


def segment(ip: str) -> str:
    named = {"192.0.2": "home", "198.51.100": "lab", "203.0.113": "shop"}
    return named.get(ip.rpartition(".")[0], "")


def _is_part(some: object, more: object) -> bool:
    """Whether all kinds of the one were among those of the other."""
    return isinstance(some, frozenset) and isinstance(more, frozenset) and some < more


@pytest.mark.parametrize(("condition", "value"), LOOKED_AT)
def test_what_one_value_has_proven_excuses_no_other(
    condition: Condition, value: Callable[[str, Place], object]
) -> None:
    judge = Evaluator([policy(condition)], WORLD, Surroundings("", segment))
    begin: list[Fact] = [seen(1000, *NEUTRAL), proof(1000, 999, *NEUTRAL)]
    asked = 0
    for one, other in itertools.product(SPOTS, repeat=2):
        proven = [*begin, seen(2000, *one), proof(2010, 2009, *one)]
        facts = [*proven, seen(3000, *other)]
        before = judge.fold("s", proven).activations["p"]
        after = judge.fold("s", facts).activations["p"]
        unplaced = not (one[1].is_placed and other[1].is_placed)
        if not after.holds or (unplaced and isinstance(condition, TravelSpeed)):
            continue
        fresh = {cause.key for cause in after.causes} - {cause.key for cause in before.causes}
        if value(*one) == value(*other):
            assert verdict(judge, facts, 3001) is Verdict.ALLOW, (one, other)
        elif not _is_part(value(*other), value(*one)):
            asked += 1
            assert fresh, (one, other)
            assert verdict(judge, facts, 3001) is Verdict.STEP_UP, (one, other)
    assert asked


MOVED = policy(Changed((Circumstance.IP,)), name="moved")
V6, SAME_NETWORK, OTHER_NETWORK = "2001:db8::1", "2001:db8::a:b", "2001:db8:0:1::1"


def test_an_address_of_the_same_ipv6_network_is_no_change_where_the_network_counts() -> None:
    start: list[Fact] = [seen(1000, V6, NEW_YORK), proof(1000, 999, V6, NEW_YORK)]
    by_network, exact = rules(MOVED, ipv6_prefix=64), rules(MOVED)
    within = [*start, seen(1400, SAME_NETWORK, NEW_YORK)]
    assert verdict(by_network, within, 1401) is Verdict.ALLOW
    assert verdict(exact, within, 1401) is Verdict.STEP_UP
    beyond = [*start, seen(1400, OTHER_NETWORK, NEW_YORK)]
    assert verdict(by_network, beyond, 1401) is Verdict.STEP_UP
    back = [*beyond, proof(1402, 1402, OTHER_NETWORK, NEW_YORK)]
    assert verdict(by_network, back, 1403) is Verdict.ALLOW
    returned = [*back, seen(1500, "2001:db8:0:1::2", NEW_YORK), seen(1600, SAME_NETWORK, NEW_YORK)]
    assert verdict(by_network, returned, 1601) is Verdict.ALLOW, "both networks are proven"


def test_an_ipv4_address_counts_whole_whatever_the_prefix() -> None:
    facts = [*START, seen(1400, "192.0.2.2", NEW_YORK)]
    assert verdict(rules(MOVED, ipv6_prefix=64), facts, 1401) is Verdict.STEP_UP
