"""Whoever has encoded facts has the same facts as whoever decodes them."""

from collections.abc import Sequence
from typing import get_args

import pytest

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
    SetAside,
    ShownWith,
    Sighted,
    SignalRaised,
    SignedIn,
    Spent,
    StepUpAsked,
)
from sidecar.domain.facts.memberships import GROUPS, TokenMemberships
from sidecar.domain.policy.conditional_access import RiskLevel
from sidecar.domain.values.assurance import Authentication
from sidecar.domain.values.lattice import join
from sidecar.domain.values.location import Place
from sidecar.domain.values.stamp import at
from sidecar.wire.store.entries import (
    Encoded,
    Identified,
    KeptUntil,
    Moved,
    OwnedBy,
    Said,
    UsedIn,
    encode,
)
from sidecar.wire.store.records import decode_facts

WHEN = at(1_000, "e")
BERLIN = Place(country="DE", latitude=52.5, longitude=13.4)
SEEN = Seen(stamp=WHEN, source="idp", session="s", ip="192.0.2.1", place=BERLIN)
IN = SignedIn(
    stamp=WHEN,
    authentication=Authentication(999, "mfa", ("pwd", "otp")),
    shown_with=ShownWith("192.0.2.1", BERLIN, "laptop", "key", "Firefox", made_there=True),
)
FACTS: Sequence[Fact] = (
    Sighted(stamp=WHEN, ip="192.0.2.1", place=BERLIN),
    AgentSeen(stamp=WHEN, user_agent="Firefox größer"),
    DeviceBound(stamp=WHEN, source="mdm", device="laptop"),
    IN,
    ContextsShown(stamp=WHEN, contexts=("c1",), second=999),
    AssuranceLowered(stamp=WHEN, level="mfa"),
    ClaimsSeen(stamp=WHEN, scope=Scope.SESSION, claims=(("dept", ("a", "b")),), issued_at=998),
    MembershipsShown(stamp=WHEN, memberships=((GROUPS, TokenMemberships(("x",), True, 1, 2)),)),
    NetworkReported(stamp=WHEN, network="restricted", device="laptop"),
    RiskReported(stamp=WHEN, source="a b@c", scope=Scope.USER, level=RiskLevel.HIGH),
    SignalRaised(stamp=WHEN, scope=Scope.USER, name="odd", weight=60.0),
    ComplianceReported(stamp=WHEN, device="laptop", compliant=False),
    Revoked(stamp=WHEN, scope=Scope.USER),
    Revoked(stamp=WHEN, source="idp", scope=Scope.USER, device="laptop"),
    StepUpAsked(stamp=WHEN, scope=Scope.SESSION, contexts=("c1",), control="mfa", max_age=5),
    MarksCleared(stamp=WHEN, scope=Scope.SESSION, reason="known"),
    Spent(stamp=WHEN, auth_time=999, token="t"),
    SEEN,
    PlaceProven(
        stamp=WHEN,
        device="id:laptop",
        ip="192.0.2.1",
        place=BERLIN,
        authentication=IN.authentication,
    ),
)


def test_every_kind_of_fact_is_among_these() -> None:
    assert {type(one) for one in FACTS} | {SetAside} == set(get_args(Fact))


@pytest.mark.parametrize("said", [*FACTS, Moved(SEEN)], ids=lambda one: type(one).__name__)
def test_what_was_encoded_is_what_is_decoded(said: Fact | Moved) -> None:
    encoded = encode((said,))
    decoded, broken = decode_facts(encoded.fields)
    assert not broken
    assert encoded.facts_in(encoded.fields) == [said.seen if isinstance(said, Moved) else said]
    assert set(map(repr, decoded)) == set(map(repr, encoded.facts_in(encoded.fields)))


def test_of_several_facts_those_that_grow_a_record_are_known() -> None:
    before, after = encode(FACTS[:5]), encode(FACTS)
    record = join(before.fields, after.fields)
    grown = [field for field in record if field not in before.fields]
    assert [one for one in FACTS if one in after.facts_in(grown)] == list(FACTS[5:])


def test_notes_are_fields_and_no_facts() -> None:
    notes: Sequence[Said] = (
        Identified("", "ada", "s1", "laptop"),
        UsedIn("payroll"),
        OwnedBy("ada", shown=True),
        KeptUntil(5),
    )
    assert encode(notes) == Encoded(
        {
            b"who:i": b"",
            b"who:u": b"ada",
            b"who:s": b"s1",
            b"who:d": b"laptop",
            b"app:payroll": b"1",
            b"owner:ada": b"1",
            b"keep:until": b"0000000000000005",
        },
        {},
    )
