"""Looks whether an idle connection still stands."""

from __future__ import annotations

import socket


def is_closed(connection: socket.socket) -> bool:
    """Return whether the daemon has closed an idle connection.

    It is asked before anything is sent, so that no request is sent twice without need.
    """
    try:
        connection.settimeout(0)
        return not connection.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    except OSError:
        return True
