"""Reach of addresses: who can reach one that we listen at, and which ones we may ask."""

import ipaddress
from urllib.parse import urlsplit


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine itself."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_fetchable(url: str) -> bool:
    """Return whether we may ask there: over https, or over http on this machine itself.

    Keys, tokens and credentials go over such connections, and plain HTTP beyond this machine
    would let others read and change them.
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return False
    return bool(host) and (
        parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host))
    )


def binds_of(section: object) -> tuple[str, ...]:
    """Return the addresses that a section's `bind` says, whether it is one or a list."""
    bind = getattr(section, "bind", "")
    if isinstance(bind, str):
        return (bind,) if bind else ()
    return tuple(bind)


def host_of(bind: str) -> str:
    """Return the host of `host:port`, without the brackets of an IPv6 address."""
    return bind.rpartition(":")[0].strip("[]")


def is_open(bind: str) -> bool:
    """Return whether others than this machine can reach a listener there."""
    return not is_loopback(host_of(bind))


def clash(one: str, other: str) -> bool:
    """Return whether a second listener cannot have its address, because of the first.

    `0.0.0.0` and `[::]` take a port of all addresses; names other than `localhost` are compared as
    they stand. Port 0 is any free one.
    """
    port = one.rpartition(":")[2]
    if port != other.rpartition(":")[2] or int(port) == 0:
        return False
    here, there = _canonical(host_of(one)), _canonical(host_of(other))
    if here == there:
        return True
    return any(
        _takes_all(a) and (_version(b) in {_version(a), 0} or a == "::")
        for a, b in ((here, there), (there, here))
    )


def _canonical(host: str) -> str:
    if host == "localhost":
        return "127.0.0.1"
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return host.lower()


def _takes_all(host: str) -> bool:
    return host in {"0.0.0.0", "::", "", "*"}  # noqa: S104 - looked for, not bound


def _version(host: str) -> int:
    try:
        return ipaddress.ip_address(host).version
    except ValueError:
        return 0
