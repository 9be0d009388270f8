"""Join is commutative, associative, idempotent and bounded: what the whole store rests on."""

from hypothesis import given
from hypothesis import strategies as st

from sidecar.domain.values.lattice import (
    BOUNDS,
    DEFAULT_BOUND,
    Record,
    bounded,
    group_of,
    join,
    join_all,
    merge,
)

FIELDS = st.builds(
    lambda group, name: group + b":" + name,
    st.sampled_from([b"checkpoint", b"assurance", b"claims", b"other"]),
    st.binary(max_size=1),
)
RECORDS = st.builds(join, st.just({}), st.dictionaries(FIELDS, st.binary(max_size=2), max_size=120))


def counts(record: Record) -> dict[bytes, int]:
    counted: dict[bytes, int] = {}
    for field in record:
        counted[group_of(field)] = counted.get(group_of(field), 0) + 1
    return counted


@given(RECORDS, RECORDS)
def test_join_is_commutative(one: Record, other: Record) -> None:
    assert join(one, other) == join(other, one)


@given(RECORDS, RECORDS, RECORDS)
def test_join_is_associative(one: Record, other: Record, third: Record) -> None:
    assert join(join(one, other), third) == join(one, join(other, third))


@given(RECORDS, RECORDS)
def test_join_is_idempotent(one: Record, other: Record) -> None:
    joined = join(one, other)
    assert join(joined, joined) == join(joined, one) == join(joined, other) == joined


@given(st.lists(RECORDS, max_size=4))
def test_no_group_outgrows_its_bound(records: list[Record]) -> None:
    for group, count in counts(join_all(records)).items():
        assert count <= BOUNDS.get(group, DEFAULT_BOUND)


@given(RECORDS, RECORDS)
def test_what_stays_is_the_greater_value(one: Record, other: Record) -> None:
    for field, value in join(one, other).items():
        assert value == max(record[field] for record in (one, other) if field in record)


@given(st.lists(st.tuples(RECORDS, st.booleans()), max_size=6))
def test_what_is_cut_later_comes_to_the_same(steps: list[tuple[Record, bool]]) -> None:
    record: Record = {}
    for fields, cuts in steps:
        record = join(record, fields) if cuts else merge(record, fields)
    assert bounded(record) == join_all(fields for fields, _ in steps)
    assert bounded(record).items() <= record.items()


@given(RECORDS, RECORDS)
def test_join_leaves_its_arguments_alone(one: Record, other: Record) -> None:
    copies = dict(one), dict(other)
    join(one, other)
    merge(one, other)
    bounded(one)
    assert (one, other) == copies


def test_a_group_keeps_its_latest() -> None:
    record = {b"assurance:%02d" % n: b"%02d" % n for n in range(20)}
    assert sorted(join({}, record)) == [b"assurance:%02d" % n for n in range(12, 20)]


def test_a_longer_name_is_another_group() -> None:
    record = {b"checkpoint:a": b"1", b"checkpoints:b": b"2", b"checkpoint": b"3"}
    assert join({}, record) == record
