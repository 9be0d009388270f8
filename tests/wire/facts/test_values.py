"""Values of facts: whatever is written is read again, in whichever order it is joined."""

import string
from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.domain.facts.fact_kinds import (
    AgentSeen,
    AssuranceLowered,
    ClaimsSeen,
    ComplianceReported,
    ContextsShown,
    DeviceBound,
    Fact,
    MarksCleared,
    MembershipsShown,
    NetworkReported,
    PlaceProven,
    Revoked,
    RiskReported,
    Scope,
    Seen,
    ShownWith,
    Sighted,
    SignalRaised,
    SignedIn,
    Spent,
    StepUpAsked,
)
from sidecar.domain.facts.memberships import TokenMemberships
from sidecar.domain.policy.conditional_access import RiskLevel
from sidecar.domain.values.assurance import Authentication
from sidecar.domain.values.lattice import Record, join_all
from sidecar.domain.values.location import Place
from sidecar.domain.values.stamp import Stamp
from sidecar.wire.facts.codes import ACR, AMR
from sidecar.wire.facts.sightings import read_where, written_where
from sidecar.wire.facts.values import HEAD
from sidecar.wire.store.entries import Moved, Said, Together, encode
from sidecar.wire.store.keys import digest
from sidecar.wire.store.records import decode_facts, stamp_of

WORDS = st.sampled_from(["", "mfa", "user", "größer", "a:b@c/d", "x" * 70])
NAMES = st.one_of(
    st.sampled_from(["laptop", "größer", "a:b"]), st.text(string.printable, min_size=1)
)
IDS = st.text(string.ascii_letters + "-_:é", max_size=12)
STAMPS = st.builds(Stamp, st.integers(1, 10**16 - 1), IDS)
SOURCES = st.sampled_from(["", "idp", "local:app", "a b@c", "größer"])
SECONDS = st.integers(0, 10**10)
PLACES = st.one_of(
    st.just(Place()),
    st.builds(
        Place,
        country=st.sampled_from(["", "DE"]),
        city=WORDS,
        asn=st.integers(0, 2**32 - 1),
        latitude=st.none() | st.floats(-90, 90),
        longitude=st.none() | st.floats(-180, 180),
        accuracy_km=st.sampled_from([0.0, 20.0]),
        anonymizer=st.sampled_from([(), ("vpn",), ("tor", "vpn")]),
        meaningless=st.booleans(),
        build=st.integers(0, 2**40),
        carrier=st.booleans(),
    ),
)
IPS = st.one_of(
    st.just(""),
    st.ip_addresses().map(str),
    st.sampled_from(["::ffff:192.0.2.1", "fe80::1%eth0", "2001:DB8::1", "10.0.0.01", "no address"]),
)
SIGN_INS = st.builds(
    Authentication,
    SECONDS,
    st.one_of(WORDS, st.sampled_from(["single-factor", "phr"])),
    st.lists(st.sampled_from(["pwd", "otp", "hwk", "own"]), max_size=3).map(tuple),
    st.sampled_from(["", "mfa"]),
)
CAME = st.builds(ShownWith, IPS, PLACES, WORDS, WORDS, WORDS, made_there=st.booleans())
MEMBERSHIPS = st.builds(
    TokenMemberships,
    st.none() | st.lists(NAMES, max_size=3).map(tuple),
    st.booleans(),
    SECONDS,
    SECONDS,
    st.sampled_from(["included", "excluded", "deny"]),
)
CLAIMS = st.lists(st.tuples(WORDS, st.lists(WORDS, max_size=2).map(tuple)), max_size=3).map(tuple)
SCOPES = st.sampled_from(list(Scope))


def facts_with(
    stamps: st.SearchStrategy[Stamp], sources: st.SearchStrategy[str]
) -> Sequence[st.SearchStrategy[Fact]]:
    said = {"stamp": stamps, "source": sources}
    return (
        st.builds(Sighted, ip=IPS, place=PLACES, **said),
        st.builds(AgentSeen, user_agent=WORDS, **said),
        st.builds(DeviceBound, device=NAMES, **said),
        st.builds(
            SignedIn, authentication=SIGN_INS, everywhere=st.booleans(), shown_with=CAME, **said
        ),
        st.builds(ClaimsSeen, scope=SCOPES, claims=CLAIMS, issued_at=SECONDS, **said),
        st.builds(
            MembershipsShown,
            memberships=st.lists(
                st.tuples(st.sampled_from(["groups", "roles", "own"]), MEMBERSHIPS), max_size=2
            ).map(tuple),
            **said,
        ),
        st.builds(ContextsShown, contexts=st.just(("c1",)), second=SECONDS, **said),
        st.builds(AssuranceLowered, level=WORDS, **said),
        st.builds(NetworkReported, network=NAMES, device=WORDS, **said),
        st.builds(RiskReported, scope=SCOPES, level=st.sampled_from(RiskLevel), **said),
        st.builds(SignalRaised, scope=SCOPES, name=NAMES, weight=st.floats(0, 100), **said),
        st.builds(ComplianceReported, device=NAMES, compliant=st.booleans(), **said),
        st.builds(Revoked, scope=SCOPES, reason=WORDS, device=WORDS, **said),
        st.builds(StepUpAsked, scope=SCOPES, max_age=st.integers(-1, 10**6), **said),
        st.builds(MarksCleared, scope=SCOPES, reason=WORDS, **said),
        st.builds(Spent, auth_time=SECONDS, token=NAMES, stamp=stamps),
        st.builds(
            Seen, session=NAMES.map(digest) | NAMES, ip=IPS, place=PLACES, **said
        ),
        st.builds(
            PlaceProven, device=NAMES, ip=IPS, place=PLACES, authentication=SIGN_INS, **said
        ),
    )  # fmt: skip


SHOWN, CLAIMED = 4, 6
"""The first of these kinds are written together where one call shows them, and so are the next."""

FACTS = st.one_of(*facts_with(STAMPS, SOURCES))


def moved(fact: Fact) -> Said:
    return Moved(fact) if isinstance(fact, Seen) else fact


def read(record: Record) -> set[str]:
    facts, broken = decode_facts(record)
    assert not broken
    return set(map(repr, facts))


@given(fact=FACTS)
def test_what_is_written_is_read_again(fact: Fact) -> None:
    assert read(encode([fact]).fields) == {repr(fact)}
    assert read(encode([moved(fact)]).fields) == {repr(fact)}


@given(data=st.data())
def test_what_one_call_shows_is_read_again_whatever_it_is(data: st.DataObject) -> None:
    stamp = data.draw(STAMPS)
    kinds = facts_with(st.just(stamp), st.just(""))[:11]
    chosen = data.draw(st.lists(st.sampled_from(range(len(kinds))), min_size=1, unique=True))
    facts = [data.draw(kinds[one]) for one in chosen]
    encoded = encode([Together(tuple(facts))])
    assert read(encoded.fields) == set(map(repr, facts))
    assert set(map(repr, encoded.facts_in(encoded.fields))) == set(map(repr, facts))
    shown, claimed = (
        sum(one < SHOWN for one in chosen),
        sum(SHOWN <= one < CLAIMED for one in chosen),
    )
    assert sum(len(some) for some in encoded.facts.values() if len(some) > 1) == (
        (shown if shown > 1 else 0) + (claimed if claimed > 1 else 0)
    )


@given(facts=st.lists(FACTS, max_size=8), data=st.data())
def test_joins_in_any_order_and_number_give_equal_records(
    facts: list[Fact], data: st.DataObject
) -> None:
    records = [encode([moved(fact)]).fields for fact in facts]
    joined = join_all(records)
    again = data.draw(st.permutations(records)) + data.draw(
        st.lists(st.sampled_from(records or [{}]))
    )
    assert join_all(again) == joined
    assert join_all([joined, *again]) == joined


@given(data=st.data())
def test_more_than_a_group_holds_leaves_the_latest_in_whatever_order_they_come(
    data: st.DataObject,
) -> None:
    stamps = data.draw(st.lists(STAMPS, min_size=33, max_size=40, unique_by=lambda one: one.time))
    facts = [NetworkReported(stamp=stamp, network=f"n{n % 3}") for n, stamp in enumerate(stamps)]
    latest = sorted(facts, key=lambda fact: fact.stamp)[-32:]
    records = [encode([fact]).fields for fact in facts]
    assert read(join_all(records)) == read(join_all(reversed(records))) == set(map(repr, latest))


@given(older=STAMPS, newer=STAMPS, session=NAMES)
def test_of_two_sightings_of_a_session_the_later_stays(
    older: Stamp, newer: Stamp, session: str
) -> None:
    seen = [
        Seen(stamp=one, session=session, ip="192.0.2.1", place=Place()) for one in (older, newer)
    ]
    joined = join_all(encode([one]).fields for one in seen)
    assert read(joined) == {repr(max(seen, key=lambda one: one.stamp))}


@given(fact=FACTS, junk=st.binary(max_size=40))
def test_the_moment_of_a_damaged_fact_is_known_by_what_is_left_of_it(
    fact: Fact, junk: bytes
) -> None:
    for field, value in encode([fact]).fields.items():
        assert stamp_of(field, value[:HEAD] + b"\xc1" + junk).time == fact.stamp.time


@given(fact=FACTS, cut=st.integers(0, 200), junk=st.binary(max_size=8))
def test_a_damaged_value_is_set_aside_or_read_and_never_an_error(
    fact: Fact, cut: int, junk: bytes
) -> None:
    for field, value in encode([fact]).fields.items():
        facts, broken = decode_facts({field: value[:cut] + junk})
        assert bool(facts) != bool(broken)


@pytest.mark.parametrize("numbered", [ACR, AMR])
def test_a_number_that_only_a_later_version_knows_is_refused(numbered: object) -> None:
    with pytest.raises(ValueError, match="stands for no word"):
        numbered.read(10_000)  # type: ignore[attr-defined] # a table


@given(ip=IPS, place=PLACES)
def test_an_address_and_its_place_are_written_as_they_are(ip: str, place: Place) -> None:
    assert read_where(bytes(written_where(ip, place))) == (ip, place)
    assert msgspec.msgpack.decode(written_where("192.0.2.1", Place())) == 0xC0000201
