"""Checks of what must fit together of the addresses that this daemon listens at."""

from collections.abc import Iterator, Mapping
from itertools import combinations
from posixpath import normpath
from typing import Any

from sidecar.wire.checks.reach import binds_of, clash, is_open
from sidecar.wire.settings.settings import Admin, Http, Socket, Warnings
from sidecar.wire.yaml.tree import Problems, Table, place_of

LONGEST_SOCKET = 107 - len(".new")
"""Bytes of the longest path of a unix socket: unix(7), and the name that it is first bound by."""

EXPOSED = "data-listener-exposed"
"""The warning that accepts a data listener that others reach."""

_SECTIONS = ("http", "admin", "grpc", "receiver", "intake", "central", "transmitter")
_TWO = frozenset({"http", "admin"})


def check_listeners(root: Table, values: Mapping[str, Any], problems: Problems) -> None:
    """Add what does not fit together, of the sections that could be read."""
    found = (*_addresses(values), *_paths(values), *_certificate(values), *_exposed(values))
    for field, message in found:
        problems.add(place_of(root, field), field, message)


def _addresses(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the problem of each two listeners that share an address."""
    listeners = [
        (section, bind)
        for section in _SECTIONS
        if getattr(values.get(section), "enabled", True)
        for bind in binds_of(values.get(section))
    ]
    for (one, first), (other, second) in combinations(listeners, 2):
        if not clash(first, second) or (first != second and _are_apart(one, other)):
            continue
        if one == other:
            yield f"{other}.bind", f"{second} cannot be had beside {first}"
            continue
        words = "is the address of" if first == second else f"{second} cannot be had beside"
        rest = "two listeners need two" if {one, other} == _TWO else "each needs its own"
        yield f"{other}.bind", f"{words} `{one}.bind`; {rest}"


def _are_apart(one: str, other: str) -> bool:
    """Return whether a process may have just one of the two.

    `sidecar transmit` opens no other doors.
    """
    return "transmitter" in {one, other} and "admin" not in {one, other}


def _paths(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Unix sockets have paths of their own, which the system can bind."""
    socket, http = values.get("socket"), values.get("http")
    path = socket.path if isinstance(socket, Socket) else ""
    unix = http.unix if isinstance(http, Http) and http.enabled else ""
    for field, one in (("socket.path", path), ("http.unix", unix)):
        length = len(one.encode("utf-8", "surrogateescape"))
        if length > LONGEST_SOCKET:
            yield field, f"has {length} bytes; a socket's path may have {LONGEST_SOCKET}"
    if path and normpath(path) == normpath(unix or "."):
        yield "http.unix", "is `socket.path`; two sockets need two paths"


def _certificate(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the problem of a certificate without its key, or a key without its certificate."""
    admin = values.get("admin")
    if isinstance(admin, Admin) and bool(admin.tls.certificate) != bool(admin.tls.key):
        missing = "key" if admin.tls.certificate else "certificate"
        yield f"admin.tls.{missing}", "is required: a certificate and its key go together"


def _exposed(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the problem of a data listener that others reach: it does not ask who they are."""
    http, warnings = values.get("http"), values.get("warnings")
    accepted = warnings.accept if isinstance(warnings, Warnings) else ()
    if not isinstance(http, Http) or not http.enabled or EXPOSED in accepted:
        return
    cure = f"give `central.bind` and `central.askers`, or say `warnings.accept: [{EXPOSED}]`"
    for bind in filter(is_open, binds_of(http)):
        words = "is reached from other machines, and nobody who asks there is known"
        yield "http.bind", f"{bind} {words}: {cure}"
