"""Whether groups of a record are nearly full."""

from sidecar.domain.values.lattice import BOUNDS, bound_of
from sidecar.service.view.upkeep.fullness import FEWEST, WHOLE_ROOM, nearly_full, room_in
from sidecar.wire.store.records import has_open_facts

FOLDED = [group for group in BOUNDS if has_open_facts(group)]


def test_no_group_that_is_folded_is_half_full_with_fewer_fields_than_are_counted() -> None:
    assert min(map(bound_of, FOLDED)) == 2 * FEWEST


def test_half_of_a_group_takes_all_the_room_of_its_record() -> None:
    for group in (*FOLDED, b"risk@siem"):
        half = bound_of(group) // 2
        full = {b"%b:%d" % (group, n): b"1" for n in range(half)}
        assert nearly_full(full, bound_of)
        assert room_in(full) == 0
        full.popitem()
        assert not nearly_full(full, bound_of)
        assert 0 < room_in(full) < WHOLE_ROOM or len(full) < FEWEST
