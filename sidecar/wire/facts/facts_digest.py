"""A digest of all that a session's records say of how it stands.

Two of one digest are folded to the same state by the same policies. What is no fact is left out: of
what is logged, claimed or listed the store has more than those who follow a record hear of.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from hashlib import blake2b

import msgspec

from sidecar.wire.store.losses import VOUCHERS
from sidecar.wire.store.records import CHECKPOINT, holds_fact

SIZE = 20
"""Bytes of a digest: nobody finds two sets of facts of the same one."""

_FOLDED = frozenset({one.partition(b":")[0] for one in (*VOUCHERS, CHECKPOINT)})
"""Groups of fields that are no facts, and change what facts come to."""

_encode = msgspec.msgpack.Encoder().encode


def digest_of_facts(records: Iterable[tuple[bytes, Mapping[bytes, bytes]]]) -> bytes:
    """Return the digest of the facts in records, each with its key; in whatever order they lie."""
    said = [
        (key, sorted([one for one in record.items() if _counts(one[0].partition(b":")[0])]))
        for key, record in records
    ]
    return blake2b(_encode(said), digest_size=SIZE).digest()


@lru_cache(maxsize=4096)
def _counts(group: bytes) -> bool:
    """Return whether fields of this group change what a session is folded to."""
    return group in _FOLDED or holds_fact(group + b":")
