"""The ports of this machine at which somebody listens."""

import socket
from collections.abc import Iterable


def taken(ports: Iterable[int]) -> tuple[int, ...]:
    """Return those at which nobody else can listen on 127.0.0.1 now."""
    return tuple(port for port in ports if not _is_free(port))


def _is_free(port: int) -> bool:
    with socket.socket() as one:
        # As servers do: a connection that ended a moment ago is not in the way.
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
