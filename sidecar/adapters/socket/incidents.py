"""Incidents of a connection of the local socket: each is counted and logged."""

from collections.abc import Callable
from enum import StrEnum
from typing import TypeAlias


class SocketIncident(StrEnum):
    """A fault of a connection: a closed set, fit for a metric's label."""

    REFUSED = "refused"  # too many connections
    MADE_ROOM = "made-room"  # it waited for its client, and a new one needed the place
    NO_DESCRIPTOR = "no-descriptor"  # a new one waits: the process has no descriptor for it
    MALFORMED = "malformed"  # too many lines in a row could not be read
    FORBIDDEN = "forbidden"  # a uid that is not allowed
    TOO_LARGE = "too-large"
    IDLE = "idle"
    SLOW_READER = "slow-reader"
    SLOW_WATCHER = "slow-watcher"
    WATCH_ENDED = "watch-ended"
    WATCH_REFUSED = "watch-refused"  # its uid watches on as many connections as it may
    CRASHED = "crashed"  # a service raised what it should not


OnSocketIncident: TypeAlias = Callable[[SocketIncident, Exception | None], None]


def ignore_incident(incident: SocketIncident, error: Exception | None) -> None:
    """Do nothing."""
