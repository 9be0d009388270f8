"""Events that nobody could deal with: kept with their error, for a human to put back or drop.

An event is given up after so many tries (`work.tries`) of which each failed for its own sake: the
store refuses it, or what it did to its sessions cannot be worked out. That the store was away is no
try. Nothing is lost by giving up: what can be kept of the event is in force, and fails closed.

They are kept in one queue, bounded by `work.dead_letters`. None is dropped to make room: where it
is full the event stays where it was (spool or work log), is logged, and is tried again.
"""

import traceback
from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Any

import msgspec

from sidecar.domain.facts.signal import Signal
from sidecar.service.observations.observations import Buried, DeadReason, QueueRejected, Telemetry
from sidecar.service.ports.calls import Accepted, Overloaded, Unavailable
from sidecar.service.ports.store import Append, Browse, Finish, Length, QueueEntry, Queues
from sidecar.wire.events.members import InvalidSignal
from sidecar.wire.store.keys import StoreKeys
from sidecar.wire.store.worklog import (
    InvalidEntry,
    Letter,
    decode_letter,
    disclose,
    encode_entry,
    plain_of,
)

PAGE = 100


class Retried(StrEnum):
    """The outcome of a letter that was put back."""

    DONE = "done"
    FAILED = "failed"
    UNREADABLE = "unreadable"


class DeadLetter(msgspec.Struct, frozen=True):
    """A letter as it is shown. `at` in seconds; `signal` is the event in plain values."""

    id: str
    at: float
    reason: str
    error: str
    tries: int
    type: str
    event: str
    signal: dict[str, Any]


class LetterPage(msgspec.Struct, frozen=True):
    """Some letters, oldest first; `cursor` leads to more, empty: no more."""

    letters: tuple[DeadLetter, ...]
    cursor: str = ""


class RetryOutcome(msgspec.Struct, frozen=True):
    """A letter that was put back, with its outcome, and in words why it failed."""

    id: str
    outcome: Retried
    message: str = ""


class DeadLetters:
    """The dead letters in the store. `take` is how an event comes in.

    All raise `Unavailable` and `Overloaded`.
    """

    def __init__(  # noqa: PLR0913 - one place wires it
        self,
        *,
        queues: Queues,
        names: StoreKeys,
        telemetry: Telemetry,
        clock: Callable[[], float],
        bound: Callable[[], int],
        take: Callable[[Signal], Awaitable[Accepted]],
    ) -> None:
        self._queues = queues
        self._key = names.dead_letters()
        self._telemetry = telemetry
        self._clock = clock
        self._bound = bound
        self._take = take
        self.waiting = 0

    async def bury(self, reason: DeadReason, error: str, tries: int, what: Letter) -> bool:
        """Keep an event as a letter; return False where there is no room, which is logged."""
        letter = msgspec.structs.replace(
            what, at=self._clock(), reason=reason.value, error=error, tries=tries
        )
        one = Append(self._key, encode_entry(letter), self._bound())
        appended, _ = await self._queues.append(one)
        if not appended.id:
            self._telemetry.record(QueueRejected(queue="dead-letters"))
            return False
        self.waiting += 1
        self._telemetry.record(
            Buried(type=letter.type, event=letter.event, reason=reason, error=error, tries=tries)
        )
        return True

    async def count(self) -> int:
        """Return how many there are; remembered as `waiting`."""
        (self.waiting,) = await self._queues.lengths(Length(self._key))
        return self.waiting

    async def page(self, limit: int, after: str = "") -> LetterPage:
        """Return some letters that came after the one with the id `after`."""
        first = f"({after}".encode() if after else b""
        entries = (await self._queues.browse(Browse(self._key, first, limit + 1))).entries
        shown = entries[:limit]
        more = shown[-1].id.decode() if len(entries) > limit else ""
        return LetterPage(tuple(map(_shown, shown)), more)

    async def find(self, letter: str) -> DeadLetter | None:
        """Return one letter by its id."""
        entry = await self._find(letter)
        return None if entry is None else _shown(entry)

    async def drop(self, letter: str) -> bool:
        """Forget a letter; False where there is none of this id."""
        (dropped,) = await self._queues.finish(Finish(self._key, (letter.encode(),)))
        await self.count()
        return dropped.count > 0

    async def retry(self, letter: str) -> RetryOutcome | None:
        """Put an event back; None where there is no letter of this id.

        It is taken as if it had just come. As an event id counts once, it takes effect once,
        however often it is put back; the letter goes when the event is in the store.
        """
        entry = await self._find(letter)
        if entry is None:
            return None
        try:
            await self._take(disclose(decode_letter(entry.payload).signal))
        except InvalidEntry as error:
            return RetryOutcome(letter, Retried.UNREADABLE, str(error))
        except (Unavailable, Overloaded, InvalidSignal) as error:
            return RetryOutcome(letter, Retried.FAILED, str(error))
        await self.drop(letter)
        return RetryOutcome(letter, Retried.DONE)

    async def _find(self, letter: str) -> QueueEntry | None:
        entries = (await self._queues.browse(Browse(self._key, letter.encode(), 1))).entries
        return entries[0] if entries and entries[0].id.decode() == letter else None


def _shown(entry: QueueEntry) -> DeadLetter:
    name = entry.id.decode()
    try:
        letter = decode_letter(entry.payload)
    except InvalidEntry as error:
        return DeadLetter(name, 0.0, DeadReason.DAMAGED.value, str(error), 0, "", "", {})
    return DeadLetter(
        name,
        letter.at,
        letter.reason,
        letter.error,
        letter.tries,
        letter.type,
        letter.event,
        plain_of(letter.signal),
    )


def describe(error: BaseException) -> str:
    """Return an error of ours as what and where: its message may quote what it choked on."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" at {frames[-1].name}, line {frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{where}"
