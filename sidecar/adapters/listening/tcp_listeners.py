"""Opens TCP listeners; of one that cannot be had it says where, why and what to do."""

import errno
import os
import socket
from collections.abc import Iterable, Iterator
from contextlib import ExitStack

import trio
from trio.socket import SocketType

from sidecar.domain.values.causes import first_causes, words_of

BACKLOG = 1024
_NO_IPV6 = frozenset({errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL})
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


async def tcp_listeners(binds: Iterable[str]) -> list[SocketType]:
    """Listen at each `HOST:PORT` or `[IPv6]:PORT`. Raises `CannotListen`."""
    found = await trio.to_thread.run_sync(tcp_sockets, tuple(binds))
    return [trio.socket.from_stdlib_socket(one) for one in found]


def tcp_sockets(binds: Iterable[str]) -> list[socket.socket]:
    """Bind sockets of the standard library as `tcp_listeners` does; blocks.

    `[::]` is of IPv6 and of IPv4, and of IPv4 alone where the system has no IPv6. A name is each of
    its addresses; with port 0 they share the one that is found free for the first.
    """
    with ExitStack() as opened:
        sockets = [one for bind in binds for one in _at(bind, opened)]
        opened.pop_all()  # all could be had, and are the caller's
        return sockets


def tcp_socket(bind: str) -> socket.socket:
    """Bind the one socket of an address that is no name, as `tcp_sockets` does."""
    (one,) = tcp_sockets([bind])
    return one


def _at(bind: str, opened: ExitStack) -> Iterator[socket.socket]:
    host, port = split(bind)
    try:
        addresses = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        for family, *_, address in dict.fromkeys(addresses):
            both = family == socket.AF_INET6 and address[0] == "::"
            at = (str(address[0]), port, *address[2:])
            one = opened.enter_context(_listener(family, at, both=both))
            port = port or int(one.getsockname()[1])
            yield one
    except OSError as error:
        raise CannotListen(bind, error) from error


def _listener(family: int, at: tuple[object, ...], *, both: bool) -> socket.socket:
    try:
        return socket.create_server(at, family=family, backlog=BACKLOG, dualstack_ipv6=both)
    except OSError as error:
        if not both or error.errno not in _NO_IPV6:
            raise
    except ValueError:  # "dualstack_ipv6 not supported on this platform"
        if not both:
            raise
    return socket.create_server(("0.0.0.0", int(str(at[1]))), backlog=BACKLOG)  # noqa: S104 - as asked


def split(bind: str) -> tuple[str, int]:
    """Return the host and the port of `HOST:PORT` or `[IPv6]:PORT`."""
    host, _, port = bind.rpartition(":")
    return host.removeprefix("[").removesuffix("]"), int(port)
