"""Facts in records: each source has room of its own, and other versions are recognised."""

import msgspec
import pytest

from sidecar.domain.facts.facts import Fact, Revoked, RiskReported, Scope, Seen, SignalRaised
from sidecar.domain.policy.policy import RiskLevel
from sidecar.domain.session.state import Checkpoint, State
from sidecar.domain.values.lattice import Record, join_all
from sidecar.domain.values.location import Place
from sidecar.domain.values.stamp import at
from sidecar.wire.store.records import (
    CHECKPOINT,
    decode_checkpoint,
    decode_facts,
    encode_checkpoint,
    encode_facts,
    encode_seen,
)

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
    stamp, _, payload = record[field].partition(b"\0")
    for foreign in (payload[1:], b"\x01" + payload[1:], b"\x03" + payload[1:], b""):
        facts, broken = decode_facts(record | {field: stamp + b"\0" + foreign})
        assert HIGH not in facts
        assert [one.stamp for one in broken] == [HIGH.stamp]


def test_a_checkpoint_of_another_version_is_none() -> None:
    record = encode_checkpoint(Checkpoint(State(last=at(5, "x"))))
    assert decode_checkpoint(record) == Checkpoint(State(last=at(5, "x")))
    stamp, _, payload = record[CHECKPOINT].partition(b"\0")
    assert decode_checkpoint({CHECKPOINT: stamp + b"\0" + payload[1:]}) is None


def test_where_a_source_saw_a_session_last_replaces_nothing_that_a_call_has_shown() -> None:
    found = msgspec.structs.replace(SHOWN, stamp=at(5, "e"), source="local:app", ip="203.0.113.1")
    record = join_all([encode_seen(SHOWN, moved=False), encode_seen(found, moved=True)])
    kept, broken = decode_facts(record)
    assert not broken
    assert SHOWN in kept
    assert found in kept
