"""Handlers that the HTTP server is given: for requests, and for faults to be counted."""

from collections.abc import Awaitable, Callable, Sequence
from enum import StrEnum
from typing import Protocol, TypeAlias

import trio

from sidecar.wire.http.messages import PreparedResponse, Request, Response

Handler: TypeAlias = Callable[[Request], Awaitable[Response]]
"""Answers a request, however long that takes."""

AtOnce: TypeAlias = Callable[[], Response | PreparedResponse | None]
"""Answers one request as things are now; None: nothing is done, and its handler is to be asked."""

Prepare: TypeAlias = Callable[[Request], AtOnce | None]
"""Reads what a request describes, and returns what answers it; None: only its handler can.

Nothing counts but the request and the configuration, so that the same request need not be read
again. The handler answers the same.
"""


class Gather(Protocol):
    """Gets ready, all at once, what requests of one connection wait for; they are handled after it.

    It never raises. Started once it is under way.
    """

    async def __call__(
        self,
        requests: Sequence[Request],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Do so."""


async def nothing_gathered(
    requests: Sequence[Request],  # noqa: ARG001 - none of them is looked at
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Leave each request to its handler."""
    task_status.started()


def nothing_at_once(_request: Request) -> None:
    """Leave every request to its handler."""


class HttpIncident(StrEnum):
    """A fault of a connection or request: a closed set, fit for a metric's label."""

    REFUSED = "refused"  # too many connections
    MADE_ROOM = "made-room"  # it waited for its client, and a new one needed the place
    NO_DESCRIPTOR = "no-descriptor"  # a new one waits: the process has no descriptor for it
    MALFORMED = "malformed"
    FLOODED = "flooded"  # too many frames that ask nothing
    MANY_RESETS = "many-resets"  # its calls are given up at once, and it takes turns with others
    SLOW_REQUEST = "slow-request"
    SLOW_READER = "slow-reader"
    CRASHED = "crashed"  # the handler raised what it should not


OnHttpIncident: TypeAlias = Callable[[HttpIncident, Exception | None], None]


def ignore_incident(incident: HttpIncident, error: Exception | None) -> None:
    """Do nothing."""
