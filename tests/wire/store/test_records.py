"""Facts in records: each source has room of its own, and other versions are recognised."""

import msgspec
import pytest
from hypothesis import given, settings

from sidecar.domain.facts.fact_kinds import Fact, Revoked, RiskReported, Scope, Seen, SignalRaised
from sidecar.domain.policy.conditional_access import RiskLevel
from sidecar.domain.session.state import Checkpoint, State
from sidecar.domain.values.lattice import Record, join_all
from sidecar.domain.values.location import Place
from sidecar.domain.values.stamp import at
from sidecar.wire.facts.values import HEAD
from sidecar.wire.store.records import (
    CHECKPOINT,
    decode_checkpoint,
    decode_facts,
    encode_checkpoint,
    encode_facts,
    encode_seen,
    encode_together,
    kinds_in,
)
from tests.domain.random_policies import lives

SHOWN = Seen(stamp=at(4, "shown"), session="s", ip="192.0.2.1", place=Place(country="DE"))
HIGH = RiskReported(stamp=at(1, "first"), source="idp", scope=Scope.USER, level=RiskLevel.HIGH)
ODD = SignalRaised(stamp=at(2, "odd"), source="idp", scope=Scope.USER, name="odd")
OVER = Revoked(stamp=at(3, "over"), source="idp", scope=Scope.USER)
MARKED: tuple[Fact, ...] = (HIGH, ODD, OVER)


def flood(source: str, count: int = 300) -> list[Record]:
    """More words of every kind than any bound keeps, all of them later."""
    return [
        encode_facts(
            [
                RiskReported(
                    stamp=at(100 + n, f"r{n}"), source=source, scope=Scope.USER, level=RiskLevel.LOW
                ),
                SignalRaised(
                    stamp=at(100 + n, f"s{n}"), source=source, scope=Scope.USER, name=f"name{n}"
                ),
                Revoked(stamp=at(100 + n, f"v{n}"), source=source, scope=Scope.USER),
            ]
        )
        for n in range(count)
    ]


@pytest.mark.parametrize("source", ["", "local:app", "idp2", "id@p:1"])
def test_no_number_of_words_of_one_source_pushes_out_those_of_another(source: str) -> None:
    record = join_all([encode_facts(MARKED), *flood(source)])
    kept, broken = decode_facts(record)
    assert not broken
    assert [fact for fact in kept if fact.source == "idp"] == list(MARKED)
    assert len(kept) < 300


def test_a_flood_of_other_names_does_not_push_out_what_is_said_of_the_user() -> None:
    record = join_all([encode_facts(MARKED), *flood("idp")])
    kept = decode_facts(record)[0]
    assert max(fact.stamp for fact in kept if isinstance(fact, RiskReported)).id == "r299"


def test_a_fact_of_another_version_is_set_aside_and_not_misread() -> None:
    record = encode_facts(MARKED)
    (field,) = (field for field in record if field.startswith(b"risk@idp:"))
    moment, said = record[field][1:HEAD], record[field][HEAD:]
    stamp = HIGH.stamp.encode().encode()
    second = stamp + b"\0\x02"
    foreign = (second + said, stamp + b"\0" + said, b"\x84" + moment + said, b"\x82" + said, b"")
    for value in foreign:
        facts, broken = decode_facts(record | {field: value})
        assert HIGH not in facts
        assert [one.stamp for one in broken] == [HIGH.stamp]


def test_a_checkpoint_of_another_version_is_none() -> None:
    record = encode_checkpoint(Checkpoint(State(last=at(5, "x"))))
    assert decode_checkpoint(record) == Checkpoint(State(last=at(5, "x")))
    value = record[CHECKPOINT]
    for foreign in (b"\x84" + value[1:], b"\x82" + value[1:], value[HEAD:], b"", value[:HEAD]):
        assert decode_checkpoint({CHECKPOINT: foreign}) is None


def test_where_a_source_saw_a_session_last_replaces_nothing_that_a_call_has_shown() -> None:
    found = msgspec.structs.replace(SHOWN, stamp=at(5, "e"), source="local:app", ip="203.0.113.1")
    record = join_all([encode_seen(SHOWN, moved=False), encode_seen(found, moved=True)])
    kept, broken = decode_facts(record)
    assert not broken
    assert SHOWN in kept
    assert found in kept


@settings(max_examples=50, deadline=None)
@given(lives())
def test_the_names_of_its_fields_show_all_kinds_of_facts_in_a_record(facts: list[Fact]) -> None:
    together = {field: value for field, (value, _) in encode_together(facts).items()}
    for record in (encode_facts(facts), together, encode_seen(SHOWN, moved=True)):
        kinds = kinds_in(record)
        assert kinds is not None
        assert kinds >= set(map(type, decode_facts(record)[0]))


def test_a_checkpoint_stands_for_facts_of_any_kind() -> None:
    record = encode_checkpoint(Checkpoint(State(), frozenset()))
    assert kinds_in({**record, **encode_facts(MARKED)}) is None
