"""The ruling on what a source may say, by the description of words."""

from typing import Any

import pytest

from sidecar.domain.facts.fact_kinds import ACTS, SIGNALS
from sidecar.domain.facts.signal import (
    AssuranceLevelChange,
    DeviceComplianceChange,
    OperatorClear,
    OperatorMark,
    RiskLevelChange,
    SessionEstablished,
    SessionPresented,
    SessionRevoked,
    Signal,
    Subject,
    TokenClaimsChange,
)
from sidecar.domain.policy.conditional_access import RiskLevel
from sidecar.domain.sources.authority import (
    LONGEST_UNKNOWN_LIFE,
    WORDS,
    CountsAsSaid,
    KnownSubject,
    NotAllowed,
    OwnWordOnly,
    depends_on_what_is_known,
    rule,
)
from sidecar.domain.sources.powers import Effect, Speaker, cells, table
from sidecar.domain.sources.source import Source
from sidecar.domain.values.stamp import MICROSECONDS, Stamp

NOW = 1_800_000_000.0
LOCAL = Source(name="local:payroll")
IDP = Source(name="idp", may_prove=True, may_identify=True, may_loosen=frozenset(SIGNALS))
S1 = Subject(session="s1", device="d2")


def at(seconds: float) -> dict[str, Any]:
    return {"stamp": Stamp(int((NOW + seconds) * MICROSECONDS), "e")}


def taken(ruling: object) -> Signal:
    assert isinstance(ruling, CountsAsSaid | OwnWordOnly)
    return ruling.signal


def test_every_type_has_words_and_every_word_has_its_cells() -> None:
    assert {word.type for word in WORDS} == {*SIGNALS, *ACTS}
    assert {cell.word.name for cell in cells()} == {word.name for word in WORDS}
    operator = {cell.effect for cell in cells() if cell.speaker is Speaker.OPERATOR}
    assert operator == {Effect.TAKEN}, "an operator stands over all"


def test_a_type_that_is_not_listed_is_refused_whatever_else_its_source_may() -> None:
    source = Source(name="mdm", may=frozenset({"device-compliance-change"}), may_prove=True)
    refused = rule(SessionRevoked(subject=S1, **at(0)), source, NOW)
    assert isinstance(refused, NotAllowed)
    assert (refused.key, refused.field) == ("may", "type")


@pytest.mark.parametrize(
    ("signal", "time"),
    [
        (RiskLevelChange(subject=Subject(user="u"), level=RiskLevel.LOW, **at(55)), NOW),
        (RiskLevelChange(subject=Subject(user="u"), level=RiskLevel.HIGH, **at(55)), NOW + 55),
        (AssuranceLevelChange(subject=S1, namespace="n", level="phr", **at(55)), NOW),
        (DeviceComplianceChange(subject=S1, compliant=True, **at(55)), NOW),
        (DeviceComplianceChange(subject=S1, compliant=False, **at(55)), NOW + 55),
        (SessionRevoked(subject=S1, **at(55)), NOW + 55),
        (RiskLevelChange(subject=Subject(user="u"), level=RiskLevel.LOW, **at(-9)), NOW - 9),
    ],
)
def test_a_proof_or_a_loosening_counts_no_later_than_its_receipt(
    signal: Signal, time: float
) -> None:
    assert taken(rule(signal, IDP, NOW)).stamp.seconds == time


def test_a_sign_in_is_never_taken_to_be_later_than_its_receipt() -> None:
    claimed = SessionEstablished(subject=S1, acr="phr", auth_time=int(NOW) + 50, **at(0))
    found = taken(rule(claimed, IDP, NOW))
    assert isinstance(found, SessionEstablished)
    assert found.auth_time == int(NOW)


def test_an_expiry_is_the_tokens_where_one_is_known_and_else_capped() -> None:
    far = SessionEstablished(subject=S1, exp=9_999_999_999, **at(0))
    capped = taken(rule(far, LOCAL, NOW))
    assert isinstance(capped, SessionEstablished)
    assert capped.exp == int(NOW) + LONGEST_UNKNOWN_LIFE
    refused = rule(far, LOCAL, NOW, KnownSubject(expires_at=NOW + 60))
    assert isinstance(refused, NotAllowed)
    assert (refused.key, refused.field) == ("may_loosen", "data.exp")


def test_a_device_replaces_another_by_those_who_may_loosen() -> None:
    moved = SessionPresented(subject=S1, **at(0))
    assert isinstance(rule(moved, LOCAL, NOW), CountsAsSaid)
    assert isinstance(
        rule(moved, LOCAL, NOW, KnownSubject(devices=frozenset({"d2"}))), CountsAsSaid
    )
    other = KnownSubject(devices=frozenset({"d1"}))
    assert isinstance(rule(moved, LOCAL, NOW, other), NotAllowed)
    assert isinstance(rule(moved, IDP, NOW, other), CountsAsSaid)


@pytest.mark.parametrize(
    "act", [OperatorMark(subject=S1, **at(0)), OperatorClear(subject=S1, **at(0))]
)
def test_only_an_operator_can_act_whatever_else_a_source_may(act: Signal) -> None:
    assert isinstance(rule(act, Source(name="operator:ada"), NOW), CountsAsSaid)
    for source in (IDP, LOCAL, Source(name="issuer:https://login.example.com")):
        refused = rule(act, source, NOW)
        assert isinstance(refused, NotAllowed)
        assert refused.message.endswith("only an operator may")


def test_its_own_word_a_source_may_take_back() -> None:
    well = DeviceComplianceChange(subject=Subject(device="d"), compliant=True, **at(0))
    assert isinstance(rule(well, LOCAL, NOW), NotAllowed)
    assert isinstance(rule(well, LOCAL, NOW, KnownSubject(own_compliance=True)), CountsAsSaid)


def test_claims_that_say_who_a_user_is_are_those_that_issuers_say_it_by() -> None:
    claimed = TokenClaimsChange(subject=S1, claims=(("wids", ("admin",)),), **at(0))
    assert isinstance(rule(claimed, LOCAL, NOW), OwnWordOnly)
    refused = rule(claimed, LOCAL, NOW, identity=frozenset({"wids"}))
    assert isinstance(refused, NotAllowed)
    assert refused.key == "may_identify"


@pytest.mark.parametrize(
    ("signal", "depends"),
    [
        (DeviceComplianceChange(subject=S1, compliant=True, **at(0)), True),
        (DeviceComplianceChange(subject=S1, compliant=False, **at(0)), False),
        (SessionEstablished(subject=S1, **at(0)), True),
        (SessionEstablished(subject=Subject(session="s1"), exp=int(NOW), **at(0)), True),
        (SessionEstablished(subject=Subject(session="s1"), **at(0)), False),
        (SessionPresented(subject=S1, **at(0)), True),
        (SessionPresented(subject=Subject(session="s1"), **at(0)), False),
        (SessionRevoked(subject=S1, **at(0)), False),
    ],
)
def test_what_is_known_decides_where_a_source_may_not_loosen(
    signal: Signal, *, depends: bool
) -> None:
    source = Source(name="agent")
    assert depends_on_what_is_known(signal, source) is depends
    assert not depends_on_what_is_known(signal, IDP)


def test_the_table_of_powers_has_a_row_for_each_word() -> None:
    head, _, *rows = table().splitlines()
    assert head.startswith("| event | says |")
    assert len(rows) == len(WORDS)
    assert all(row.count(" | ") == head.count(" | ") for row in rows)
