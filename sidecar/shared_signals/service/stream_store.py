"""The port to where the transmitter keeps its streams and what waits in them."""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from sidecar.domain.evaluation.announcement import Announcement
from sidecar.service.audit.announcer import Outbox
from sidecar.shared_signals.wire.stream_config import Outgoing


class AnnouncementBatch(msgspec.Struct, frozen=True):
    """Recorded announcements after `cursor`, in order, up to `until`; None: one is unreadable.

    `revision` changes whenever a stream or its subjects do.
    """

    cursor: str
    until: str
    announcements: tuple[Announcement | None, ...]
    revision: int


class Waiting(msgspec.Struct, frozen=True):
    """An event that waits in a stream: its `jti`, and its claims as they are signed."""

    id: str
    claims: bytes


class Handout(msgspec.Struct, frozen=True):
    """An event for a stream."""

    stream: str
    id: str
    claims: bytes


class Backlog(msgspec.Struct, frozen=True):
    """The first that wait in a stream, in order, and how many there are."""

    first: tuple[Waiting, ...]
    count: int


class StreamStore(Outbox, Protocol):
    """Streams, and what waits in them. All raise `Unavailable`, and may be done again."""

    async def recorded(self, count: int) -> AnnouncementBatch:
        """Return what is recorded and not yet handed out, `count` at most."""

    async def hand_out(
        self, batch: AnnouncementBatch, handouts: Sequence[Handout]
    ) -> dict[str, int] | None:
        """Put events into streams' backlogs and move the cursor past the batch, all or nothing.

        Gives how many older events each full backlog lost. None: another moved the cursor.
        """

    async def streams(self) -> tuple[Outgoing, ...]:
        """Return all streams."""

    async def replace(self, before: Outgoing | None, after: Outgoing) -> bool:
        """Put a stream in the place of what it was; False where it is another by now.

        `before` None: it must not be there.
        """

    async def delete(self, stream: Outgoing) -> None:
        """Delete a stream, its subjects, and what waits in it."""

    async def clear(self, stream: str) -> None:
        """Drop what waits in a stream."""

    async def enqueue(self, handout: Handout) -> int:
        """Put one event into a backlog; gives how many older ones a full one lost."""

    async def backlog(self, stream: str, count: int) -> Backlog:
        """Return what waits in a stream."""

    async def done(self, stream: str, ids: Sequence[str]) -> tuple[str, ...]:
        """Take these out of a backlog; gives those that were in it."""

    async def subjects(self, stream: str) -> tuple[bytes, ...]:
        """Return the subjects that are an exception to the stream's default, as they were put."""

    async def put_subject(self, stream: str, name: str, subject: bytes, bound: int) -> bool:
        """Add an exception; False where there are `bound` of them."""

    async def drop_subject(self, stream: str, name: str) -> None:
        """Drop an exception."""
