"""The record of activations: the latest counts, and what cannot be read is left out."""

from hypothesis import given
from hypothesis import strategies as st

from sidecar.wire.bundles.generations import (
    ACTIVE,
    DROPPED,
    LEFT,
    PROPOSE,
    SEALED,
    Generation,
    NamedGenerations,
    PolicyAct,
    encode,
    field_of,
    generations_in,
)

NOW = 1_700_000_000_000_000


def generation(term: int, moment: int = NOW + 1) -> Generation:
    return Generation(
        term=term,
        sequence=term,
        digest=f"digest-{term}",
        moment=moment,
        act=PolicyAct.ACTIVATE,
        by="ada",
        reason="because",
        at=NOW,
    )


def written(group: bytes, *terms: int, moment: int = NOW + 1) -> dict[bytes, bytes]:
    return {field_of(group, term): encode(generation(term, moment), term) for term in terms}


def test_an_empty_record_names_nothing() -> None:
    assert generations_in({}, NOW) == NamedGenerations()
    assert NamedGenerations().latest is None


def test_the_latest_activation_counts_whatever_the_order() -> None:
    found = generations_in(written(ACTIVE, 3, 12, 7), NOW)
    assert [one.term for one in found.activations] == [12, 7, 3]
    assert found.latest == generation(12)
    assert (found.sealed, found.proposal, found.term) == (None, None, 12)


def test_a_moment_is_final_only_if_it_is_that_of_the_latest() -> None:
    record = written(ACTIVE, 1, 2) | {field_of(SEALED, 1): encode(5, 1)}
    assert generations_in(record, NOW).sealed is None
    record[field_of(SEALED, 2)] = encode(9, 2)
    assert generations_in(record, NOW).sealed == 9


def test_a_proposal_stands_until_it_is_activated_dropped_or_too_old() -> None:
    record = written(ACTIVE, 1) | written(PROPOSE, 2)
    found = generations_in(record, NOW)
    assert found.proposal == generation(2)
    assert found.term == 2
    assert generations_in(record, NOW + 1).proposal is None
    assert generations_in(record | written(ACTIVE, 2), NOW).proposal is None
    dropped = generations_in(record | {field_of(DROPPED, 2): encode(0, 2)}, NOW)
    assert (dropped.proposal, dropped.term) == (None, 2)


def test_what_is_written_otherwise_is_left_out_and_counted() -> None:
    good = written(ACTIVE, 4)
    others = {
        field_of(ACTIVE, 5): b"0000000000000005" + b"\xc1",
        field_of(ACTIVE, 6): b"",
        field_of(SEALED, 4): b"0000000000000004" + b"\xa1x",
        DROPPED + b"9" * 5000: b"",
        DROPPED + b"x": b"",
        LEFT + b"a-sidecar": b"0000000000000001",
    }
    found = generations_in(good | others, NOW)
    assert found == generations_in(good, NOW)._replace(term=6, unread=2)
    overtaken = generations_in(good | others | written(ACTIVE, 7), NOW)
    assert (overtaken.term, overtaken.unread) == (7, 0)


@given(
    st.dictionaries(
        st.one_of(
            st.binary(max_size=24),
            st.builds(
                lambda group, rest: group + rest,
                st.sampled_from([PROPOSE, ACTIVE, SEALED, DROPPED, LEFT]),
                st.binary(max_size=20),
            ),
        ),
        st.binary(max_size=40),
        max_size=6,
    )
)
def test_no_record_raises_anything(record: dict[bytes, bytes]) -> None:
    generations_in(record, NOW)
