"""Record encoding of what the store has lost of records, and of the floors (`values.loss`).

    whole:at         in any record: it is whole as of this floor, vouched for by a sidecar that held
                     it all the while, and wrote back what was missing
    lost:at          in any record: what was known of it before this moment may be lost
    floor:FIRST-LAST in a shard's epoch record, and the sidecars': the floor of these slots

All are moments in microseconds, and grow like everything else. A floor's has a `?` behind it where
it is unknown since when its records may be lost.
"""

import functools
import itertools
from binascii import crc_hqx
from collections.abc import Iterable, Mapping

from sidecar.domain.values.lattice import Record
from sidecar.domain.values.loss import ALL_SLOTS, Floor

_WHOLE = b"whole:at"
_LOST = b"lost:at"
_FLOOR = b"floor:"
_VAGUE = b"?"

VOUCHERS = frozenset({_WHOLE, _LOST})
"""Fields that change what is known to be lost of a record, and are no facts."""


def slot_of(key: bytes) -> int:
    """Return the Cluster slot of a key or sharded channel: of its hash tag, if it has one."""
    start = key.find(b"{")
    if start >= 0:
        end = key.find(b"}", start + 1)
        if end > start + 1:
            key = key[start + 1 : end]
    return crc_hqx(key, 0) % ALL_SLOTS


@functools.lru_cache(maxsize=1024)
def tag_of(slot: int) -> str:
    """Return a hash tag whose slot this is: always the same one."""
    return next(
        tag for tag in map(str, itertools.count()) if crc_hqx(tag.encode(), 0) % ALL_SLOTS == slot
    )


def moment_in(record: Mapping[bytes, bytes], field: bytes) -> int:
    """Return the moment that a field holds; 0: none that can be read."""
    value = record.get(field, b"")
    return int(value) if value.isdigit() else 0


def encode_moment(moment: int) -> bytes:
    """Return a moment as a field's value: the later is the greater."""
    return b"%016d" % moment


def lost_before(record: Mapping[bytes, bytes], floor: int) -> int:
    """Before which moment something may be lost of a record whose slot has this floor; 0: never."""
    lost = moment_in(record, _LOST) if _LOST in record else 0
    return max(lost, floor) if floor and floor > moment_in(record, _WHOLE) else lost


def vouched(record: Mapping[bytes, bytes], floor: int, before: int) -> Record:
    """Return the fields by which one who held a record all through a loss vouches for it.

    `floor` is that of the loss. What an earlier loss, whose floor is `before`, took stays lost.
    """
    fields = {_WHOLE: encode_moment(floor)}
    lost = lost_before(record, before)
    if lost:
        fields[_LOST] = encode_moment(lost)
    return fields


def encode_floors(floors: Iterable[Floor]) -> Record:
    """Return the fields of floors."""
    return {
        _FLOOR + b"%d-%d" % (one.first, one.last): encode_moment(one.moment)
        + (_VAGUE if one.vague else b"")
        for one in floors
    }


def floors_in(record: Mapping[bytes, bytes]) -> list[Floor]:
    """Return the floors of a record. What cannot be read is left out."""
    floors = []
    for field, value in record.items():
        first, _, last = field.removeprefix(_FLOOR).partition(b"-")
        moment = value.removesuffix(_VAGUE)
        if field.startswith(_FLOOR) and first.isdigit() and last.isdigit() and moment.isdigit():
            floors.append(Floor(int(first), int(last), int(moment), value.endswith(_VAGUE)))
    return floors
