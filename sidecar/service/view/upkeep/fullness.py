"""The room of a record: how much may grow before it is nearly full of what is not folded for good.

What a bound lets go must have been folded before. So it is time for a checkpoint where a group has
used half of its bound since the last one; and until then no group need be cut to its bound.
"""

import functools
from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from sidecar.domain.values.lattice import bound_of
from sidecar.wire.store.records import has_open_facts

_EVENTS = b"event"

FEWEST = 4
"""Fields that fill half of any group that is folded; most groups of most records have fewer."""

WHOLE_ROOM = 256
"""The room of a record of whose facts nothing is open; small numbers take no memory."""


def nearly_full(
    record: Mapping[bytes, bytes], bound_of: Callable[[bytes], int], folded: bytes = b""
) -> bool:
    """Return whether a group of facts has used half of its bound since the last checkpoint.

    `folded` is the beginning of the checkpoint's value, up to which all is folded. Then it is time
    for another one: what a bound lets go must have been folded before.
    """
    return any(
        count >= FEWEST and count * 2 >= bound_of(group) and has_open_facts(group)
        for group, count in _open_fields(record, folded).items()
    )


def room_in(record: Mapping[bytes, bytes], folded: bytes = b"") -> int:
    """Return how much may grow, as `room_taken` counts, before a group may be nearly full.

    0: one is. So a record that grew by a field or two need not be gone through to know that none
    is.
    """
    if len(record) < FEWEST:
        # None can be yet. But what is there takes room, all the same.
        return max(1, WHOLE_ROOM - room_taken(record))
    taken = (count * _part(group) for group, count in _open_fields(record, folded).items())
    return max(0, WHOLE_ROOM - max(taken, default=0))


def room_taken(fields: Iterable[bytes]) -> int:
    """Return at least how much of its record's room fields take that grew."""
    return sum(_part(field.partition(b":")[0]) for field in fields)


@functools.lru_cache(maxsize=4096)
def _part(group: bytes) -> int:
    """Return which part of the room one field of a group takes, rounded up; 0: it holds no facts.

    Half of the group's bound are at least the whole room.
    """
    return -(-2 * WHOLE_ROOM // bound_of(group)) if has_open_facts(group) else 0


def _open_fields(record: Mapping[bytes, bytes], folded: bytes) -> Mapping[bytes, int]:
    """Return how many fields of each group are not folded."""
    if len(record) < FEWEST:
        return {}
    # `group_of`, without a call for each field: a record may have hundreds of them.
    return Counter([field.partition(b":")[0] for field, value in record.items() if value > folded])


def is_cut_later(record: Mapping[bytes, bytes], fields: Iterable[bytes]) -> bool:
    """Return whether groups that get these fields may be over their bounds while there is room.

    They may where each of the fields takes some of the room, comes with one that does, as an
    event's id does, or is in the record already.
    """
    takes_room = False
    for field in fields:
        group = field.partition(b":")[0]
        if _part(group):
            takes_room = True
        elif group != _EVENTS and field not in record:
            return False
    return takes_room
