"""Opens TCP listeners; of one that cannot be had it says where, why and what to do."""

import errno
import os
import socket

import trio

from sidecar.domain.causes import first_causes, words_of

_CURES = {
    errno.EADDRINUSE: "another process listens there, or another listener of this one",
    errno.EADDRNOTAVAIL: "this machine does not have that address",
    errno.EACCES: "ports below 1024 need the capability NET_BIND_SERVICE",
}


class CannotListen(OSError):  # noqa: N818 - named by who must act: the operator
    """No listener can be had at this address."""

    def __init__(self, bind: str, error: OSError) -> None:
        found = next((one for one in first_causes(error) if isinstance(one, OSError)), error)
        cure = _CURES.get(found.errno or 0)
        # Of these the text repeats the address.
        words = words_of(error) if cure is None else f"{os.strerror(found.errno or 0)}; {cure}"
        super().__init__(found.errno, f"{bind}: {words}")


class UnusableCertificate(OSError):  # noqa: N818 - named by who must act: the operator
    """A certificate, or its key, cannot be used."""

    def __init__(self, certificate: str, key: str, error: OSError) -> None:
        # What TLS says of a file does not name it.
        super().__init__(error.errno, f"{certificate} with {key}: {words_of(error)}")


async def tcp_listeners(bind: str) -> list[trio.SocketListener]:
    """Listen at `HOST:PORT` or `[IPv6]:PORT`. Raises `CannotListen`."""
    host, port = split(bind)
    try:
        return await trio.open_tcp_listeners(port, host=host or None)
    except OSError as error:
        raise CannotListen(bind, error) from error


def tcp_socket(bind: str) -> socket.socket:
    """As `tcp_listeners`, one socket of the standard library."""
    host, port = split(bind)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise CannotListen(bind, error) from error


def split(bind: str) -> tuple[str, int]:
    """Return the host and the port of `HOST:PORT` or `[IPv6]:PORT`."""
    host, _, port = bind.rpartition(":")
    return host.removeprefix("[").removesuffix("]"), int(port)
