"""The records of a view, gone through while others come and go."""

from hypothesis import given
from hypothesis import strategies as st

from sidecar.service.compact.records import RecordTables
from sidecar.service.view.live_session import Tracked

keys = st.sets(st.binary(max_size=4))


@given(stay=keys, come=keys, go=keys)
def test_what_stays_is_yielded_once_whatever_comes_and_goes(
    stay: set[bytes], come: set[bytes], go: set[bytes]
) -> None:
    records = RecordTables()
    first = {key: Tracked(key, 0) for key in stay | go}
    for tracked in first.values():
        records.put(tracked)
    assert len(records) == len(first)
    turns = records.in_turn()
    seen = [] if not first else [next(turns)]
    for key in go - stay:
        records.discard(key)
    for key in come - first.keys():
        records.put(Tracked(key, 0))
    seen += turns
    found = [one.key for one in seen]
    assert len(found) == len(set(found))
    assert stay <= set(found) <= stay | go | come
    assert all(records.get(key) is first[key] for key in stay)
    assert all(records.get(key) is None for key in go - stay - come)
