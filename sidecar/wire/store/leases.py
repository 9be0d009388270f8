"""Record encoding of leases: one sidecar does a piece of work for all, term by term.

    lease:TERM        which sidecar works in this term

Terms are numbered; a value begins with its term's number, in sixteen digits that only grow, as
the lattice wants it (`domain.values.lattice`).
"""

LEASE = b"lease:"
_DIGITS = 16


def lease_field(term: int) -> bytes:
    """Return the field that says who works in a term."""
    return LEASE + _number(term)


def lease_value(term: int, sidecar: str) -> bytes:
    """Return what the one who works says there."""
    return _number(term) + sidecar.encode()


def _number(value: int) -> bytes:
    return f"{value:0{_DIGITS}d}".encode()
