"""The transmitter's streams in Redis or Valkey. All keys lie on one Cluster slot.

    PREFIX:{transmitter}:recorded    announcements, in the order they were recorded in (stream)
    PREFIX:{transmitter}:last:TOPIC  what was recorded last of a session's topic: moment and id
    PREFIX:{transmitter}:cursor      up to where they are handed out
    PREFIX:{transmitter}:streams     streams by id (hash)
    PREFIX:{transmitter}:revision    how often a stream or its subjects changed
    PREFIX:{transmitter}:order:ID    what waits in a stream, by its number (sorted set)
    PREFIX:{transmitter}:claims:ID   the claims of what waits (hash)
    PREFIX:{transmitter}:subjects:ID exceptions to a stream's default (hash)
    PREFIX:{transmitter}:number      the last number that was given

What consists of several steps is a script, so that it happens as a whole. Each may be run again
after an answer was lost.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from redis.client import Redis

from sidecar.adapters.redis.links import call
from sidecar.domain.evaluation.announcement import Announcement, TopicAnnouncement
from sidecar.service.audit.announcer import Recorded, Shelved
from sidecar.shared_signals.adapters.stream_scripts import (
    BACKLOG,
    DONE,
    ENQUEUE,
    HAND_OUT,
    PUT_SUBJECT,
    RECORD,
    REPLACE,
)
from sidecar.shared_signals.service.stream_store import AnnouncementBatch, Backlog, Handout, Waiting
from sidecar.shared_signals.wire.outbound import (
    InvalidAnnouncement,
    decode_announcement,
    encode_announcement,
)
from sidecar.shared_signals.wire.stream_config import Outgoing, decode_outgoing, encode_outgoing
from sidecar.wire.privacy.sealed_forms import UNSEALED, Sealing
from sidecar.wire.store.keys import StoreKeys, digest

REMEMBERED = 86_400_000
"""Milliseconds for which the last announcement of a topic is kept, so that it is published once."""

PATIENCE = 10_000_000
"""Microseconds that whoever recorded the last has to claim it; then it counts for dead."""

_OUTCOMES = (Shelved.KNOWN, Shelved.FRESH, Shelved.BEHIND)

KEPT = 30 * 86_400_000
"""Milliseconds after which what nobody touches is dropped: streams that left the configuration."""

T = TypeVar("T")


class NodeClients(Protocol):
    """The part of `RedisStore` that streams use: the client of the node that holds a key."""

    async def ask(self, key: bytes, use: Callable[[Redis], T]) -> T:
        """Use the client of the node that holds a key. Raises `Unavailable`."""


class RedisStreams:
    """The port `stream_store.StreamStore`; `max_recorded` and `max_backlog` are its bounds."""

    def __init__(
        self,
        store: NodeClients,
        names: StoreKeys,
        *,
        max_recorded: int,
        max_backlog: int,
        sealing: Sealing = UNSEALED,
    ) -> None:
        self._store = store
        self._sealing = sealing
        self._names = names
        self._max_recorded = max_recorded
        self._max_backlog = max_backlog

    # The record of announcements that are to be published

    async def record(self, news: Sequence[TopicAnnouncement]) -> Recorded:
        """Append what is not the last of its topic."""
        arguments: list[bytes | str | int] = [self._max_recorded, REMEMBERED, PATIENCE]
        keys = ["recorded"]
        for one in news:
            announcement = one.announcement
            topic = digest(announcement.issuer, announcement.user, announcement.session, one.topic)
            keys.append("last:" + self._sealing.names_of(topic)[0])
            sealed = self._sealing.seal_payload(encode_announcement(announcement))
            arguments += [one.value[:16], one.follows, announcement.id, sealed]
        dropped, *outcomes = await self._script(RECORD, keys, arguments)
        return Recorded(tuple(map(_OUTCOMES.__getitem__, outcomes)), dropped)

    async def recorded(self, count: int) -> AnnouncementBatch:
        """Return what is not yet handed out."""
        cursor, recorded, revision = map(
            self._names.transmitter, ("cursor", "recorded", "revision")
        )

        def read(client: Redis) -> tuple[str, list[Any], int]:
            at = (call(client, "GET", cursor) or b"0-0").decode()
            entries = call(client, "XRANGE", recorded, f"({at}", "+", "COUNT", count)
            return at, entries, int(call(client, "GET", revision) or 0)

        at, entries, number = await self._store.ask(cursor, read)
        until = entries[-1][0].decode() if entries else at
        found = tuple(self._announcement(fields) for _, fields in entries)
        return AnnouncementBatch(at, until, found, number)

    async def hand_out(
        self, batch: AnnouncementBatch, handouts: Sequence[Handout]
    ) -> dict[str, int] | None:
        """Put events into backlogs and move the cursor, all or nothing."""
        keys = ["cursor", "recorded", "streams", "number"]
        arguments: list[bytes | str | int] = [batch.cursor, batch.until, self._max_backlog, KEPT]
        for one in handouts:
            keys += [f"order:{one.stream}", f"claims:{one.stream}"]
            arguments += [one.stream, one.id, self._sealing.seal_payload(one.claims)]
        state, *dropped = await self._script(HAND_OUT, keys, arguments)
        if not state:
            return None
        lost: dict[str, int] = {}
        for one, count in zip(handouts, dropped, strict=False):
            lost[one.stream] = lost.get(one.stream, 0) + count
        return lost

    # Streams

    async def streams(self) -> tuple[Outgoing, ...]:
        """Return all streams, by id."""
        key = self._names.transmitter("streams")
        found: Any = await self._store.ask(key, lambda client: call(client, "HGETALL", key))
        streams = (decode_outgoing(raw) for _, raw in sorted(found.items()))
        return tuple(stream for stream in streams if stream is not None)

    async def replace(self, before: Outgoing | None, after: Outgoing) -> bool:
        """Put a stream in the place of what it was."""
        known = b"" if before is None else encode_outgoing(before)
        arguments: list[bytes | str | int] = [after.id, known, encode_outgoing(after)]
        return bool(await self._script(REPLACE, ["streams", "revision"], arguments))

    async def delete(self, stream: Outgoing) -> None:
        """Delete a stream with all that belongs to it."""
        names = [f"{what}:{stream.id}" for what in ("order", "claims", "subjects")]
        streams, revision = map(self._names.transmitter, ("streams", "revision"))
        others = [self._names.transmitter(name) for name in names]

        def forget(client: Redis) -> None:
            call(client, "HDEL", streams, stream.id)
            call(client, "DEL", *others)
            call(client, "INCR", revision)

        await self._store.ask(streams, forget)

    # What waits in them

    async def clear(self, stream: str) -> None:
        """Drop what waits in a stream."""
        keys = [self._names.transmitter(f"{what}:{stream}") for what in ("order", "claims")]
        await self._store.ask(keys[0], lambda client: call(client, "DEL", *keys))

    async def enqueue(self, handout: Handout) -> int:
        """Put one event into a backlog."""
        keys = [f"order:{handout.stream}", f"claims:{handout.stream}", "number"]
        claims = self._sealing.seal_payload(handout.claims)
        arguments: list[bytes | str | int] = [self._max_backlog, KEPT, handout.id, claims]
        return int(await self._script(ENQUEUE, keys, arguments))

    async def backlog(self, stream: str, count: int) -> Backlog:
        """Return what waits in a stream: the first, in order."""
        keys = [f"order:{stream}", f"claims:{stream}"]
        total, *flat = await self._script(BACKLOG, keys, [count - 1] if count else [-(10**9)])
        pairs = zip(flat[::2], flat[1::2], strict=True)
        opened = ((name.decode(), self._sealing.open_payload(raw)) for name, raw in pairs)
        return Backlog(tuple(Waiting(name, raw) for name, raw in opened), total)

    async def done(self, stream: str, ids: Sequence[str]) -> tuple[str, ...]:
        """Take these out of a backlog."""
        if not ids:
            return ()
        gone = await self._script(DONE, [f"order:{stream}", f"claims:{stream}"], list(ids))
        return tuple(name.decode() for name in gone)

    # Whom they are about

    async def subjects(self, stream: str) -> tuple[bytes, ...]:
        """Return the exceptions to a stream's default."""
        key = self._names.transmitter(f"subjects:{stream}")
        found: Any = await self._store.ask(key, lambda client: call(client, "HVALS", key))
        return tuple(dict.fromkeys(map(self._sealing.open_payload, found)))

    async def put_subject(self, stream: str, name: str, subject: bytes, bound: int) -> bool:
        """Add an exception."""
        keys = [f"subjects:{stream}", "revision"]
        written, *_ = self._sealing.names_of(name)
        sealed = self._sealing.seal_payload(subject)
        return bool(await self._script(PUT_SUBJECT, keys, [written, sealed, bound]))

    async def drop_subject(self, stream: str, name: str) -> None:
        """Drop an exception."""
        key, revision = map(self._names.transmitter, (f"subjects:{stream}", "revision"))

        def drop(client: Redis) -> None:
            call(client, "HDEL", key, *self._sealing.names_of(name))
            call(client, "INCR", revision)

        await self._store.ask(key, drop)

    def _announcement(self, fields: Any) -> Announcement | None:
        pairs = (
            fields
            if isinstance(fields, dict)
            else dict(zip(fields[::2], fields[1::2], strict=True))
        )
        try:
            return decode_announcement(self._sealing.open_payload(pairs.get(b"a", b"")))
        except InvalidAnnouncement:
            return None

    async def _script(
        self, script: str, names: Sequence[str], arguments: Sequence[bytes | str | int]
    ) -> Any:
        keys = [self._names.transmitter(name) for name in names]

        def run(client: Redis) -> Any:
            return call(client, "EVAL", script, len(keys), *keys, *arguments)

        return await self._store.ask(keys[0], run)
