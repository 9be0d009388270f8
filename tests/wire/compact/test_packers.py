"""What is packed is given back as it was, in fewer bytes."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.domain.evaluation.activation import NOTHING
from sidecar.domain.facts.fact_kinds import Fact
from sidecar.domain.policy.conditional_access import Policy
from sidecar.wire.compact.deflate import LEARNED, Deflater
from sidecar.wire.compact.packers import Packers
from sidecar.wire.store.records import encode_facts
from tests.domain import random_policies
from tests.domain.scenes import established, evaluator

START = established()


@given(
    st.lists(st.one_of(random_policies.lives(), random_policies.lives()), min_size=1, max_size=6),
    random_policies.policies("p"),
)
@settings(max_examples=60, deadline=None)
def test_states_and_records_are_given_back_as_they_were(
    lives: list[list[Fact]], rule: Policy
) -> None:
    packers, rules = Packers(), evaluator(rule)
    for life in lives * 3:  # the first of them become the dictionary
        state = rules.fold("s", [*START, *life])
        again = packers.unpack_state(packers.pack_state(state))
        assert again == state
        assert again.steady == state.steady
        assert list(again.activations) == list(state.activations)
        record = encode_facts(life)
        assert packers.unpack_record(packers.pack_record(record)) == record


@given(st.lists(st.binary(max_size=3000), max_size=12))
def test_any_bytes_are_given_back(texts: list[bytes]) -> None:
    deflater = Deflater()
    packed = [(text, deflater.pack(text)) for text in texts]
    for text, short in packed:
        assert deflater.unpack(short) == text
        assert len(short) <= len(text) + 1


def test_what_is_alike_is_packed_into_little() -> None:
    deflater = Deflater()
    texts = [b"%d of the sessions; " % n * 40 for n in range(100)]
    sizes = [len(deflater.pack(text)) for text in texts]
    assert sum(map(len, texts[:4])) < LEARNED
    assert sizes[0] > len(texts[0])
    assert max(sizes[50:]) < 60


def test_an_activation_that_is_none_is_the_one_that_the_evaluator_knows() -> None:
    packers, rules = Packers(), evaluator()
    state = rules.fold("s", START)
    state.activations["p"] = NOTHING
    assert packers.unpack_state(packers.pack_state(state)).activations["p"] is NOTHING


@pytest.mark.parametrize("record", [{}, {b"owner:u": b"1"}])
def test_a_record_of_nothing_takes_nothing(record: dict[bytes, bytes]) -> None:
    packers = Packers()
    packed = packers.pack_record(record)
    assert bool(packed) == bool(record)
    assert packers.unpack_record(packed) == record
