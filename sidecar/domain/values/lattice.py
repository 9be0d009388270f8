"""The one operation on stored state: join.

A *record* maps field names to values, both bytes. A field name is `GROUP:KEY`. To join two
records, take for each field the greater value (bytewise), then keep in each group no more than
its bound, the greatest by (value, field name). Values begin with an encoded stamp (see `stamp`),
so "the greatest" is "the latest". Facts of a source lie in groups of their own
(`wire.store.records`), so that none can push out what another one says.

Theory. Maps under per-key maximum are a join semilattice. Keeping the top K by (value, field) of
such a map is again one: a dropped field has at least K fields of its group above it, those only
grow, and so it stays dropped whatever else is joined, before or after. Hence join is commutative,
associative and idempotent, bound included, and sidecars may learn of facts late, twice, or in any
order and still agree (tests/domain/values/test_lattice.py; the script of the store is held to this
function in tests/contracts/test_store.py).

To cut a group down each time that it grows by one field costs more than all else of a join. So it
may be left for a while (`merge`): what is over the bound then is below all that the bound keeps,
and the next join of its group drops it. Wherever it is dropped, what the bound keeps is the same.
"""

from collections.abc import Iterable, Mapping

Record = dict[bytes, bytes]

DEFAULT_BOUND = 64
BOUNDS: Mapping[bytes, int] = {
    b"place": 32,
    b"agent": 16,
    b"network": 32,
    b"device": 16,
    b"risk": 32,
    b"signal": 64,
    b"auth": 16,
    b"contexts": 16,
    b"assurance": 8,
    b"compliance": 32,
    b"claims": 32,
    b"member": 32,
    b"revoked": 32,
    b"ended": 1,
    b"barred": 64,
    b"raised": 64,
    b"spent": 64,
    b"seen": 32,
    b"move": 32,
    b"owner": 64,
    b"proven": 64,
    b"event": 128,
    b"fanned": 16,
    b"told": 256,
    b"checkpoint": 1,
    b"left": 256,
    b"set": 256,
    b"want": 16,
    b"lease": 4,
    b"swept": 8,
    b"prompt": 64,
    b"alert": 4,
    b"h": 1 << 20,  # a history, which is bounded by other means
}
"""How many fields of a group are kept. A group not named here keeps `DEFAULT_BOUND`."""


def bound_of(group: bytes) -> int:
    """Return how many fields of a group are kept."""
    return BOUNDS.get(group, DEFAULT_BOUND)


def group_of(field: bytes) -> bytes:
    """Return the part of a field's name before the first colon."""
    return field.partition(b":")[0]


def join(left: Mapping[bytes, bytes], right: Mapping[bytes, bytes]) -> Record:
    """Return the least record that holds what both hold. Neither argument is changed."""
    joined = dict(left)
    touched: set[bytes] = set()
    for field, value in right.items():
        known = joined.get(field)
        if known is None:
            # A greater value of a field that is there makes its group no larger.
            joined[field] = value
            touched.add(field.partition(b":")[0])  # `group_of`, without a call for each field
        elif known < value:
            joined[field] = value
    for group in touched:
        _bound(joined, group)
    return joined


def merge(left: Mapping[bytes, bytes], right: Mapping[bytes, bytes]) -> Record:
    """Return `join` of both, but for the bounds of groups: a later join cuts them."""
    merged = dict(left)
    for field, value in right.items():
        known = merged.get(field)
        if known is None or known < value:
            merged[field] = value
    return merged


def bounded(record: Mapping[bytes, bytes]) -> Record:
    """Return a merged record, cut down to the bounds of its groups."""
    cut = dict(record)
    for group in {field.partition(b":")[0] for field in cut}:
        _bound(cut, group)
    return cut


def _bound(record: Record, group: bytes) -> None:
    bound = bound_of(group)
    if len(record) <= bound:
        return
    prefix = group + b":"
    end = len(prefix)
    # A slice is made and compared in less time than a method is called, for hundreds of fields.
    members = [field for field in record if field[:end] == prefix]
    excess = len(members) - bound
    if excess == 1:  # as nearly always: a record grows by one field of a group at a time
        values = [*map(record.__getitem__, members)]
        least = min(values)
        if values.count(least) == 1:
            del record[members[values.index(least)]]
        else:
            del record[min(field for field in members if record[field] == least)]
    elif excess > 1:
        members.sort(key=lambda field: (record[field], field))
        for field in members[:excess]:
            del record[field]


def join_all(records: Iterable[Mapping[bytes, bytes]]) -> Record:
    """Join any number of records, in any order."""
    joined: Record = {}
    for record in records:
        joined = join(joined, record)
    return joined
