"""The port to the store: records that are joined, the news of their growth, queues of work."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import NamedTuple, Protocol

import msgspec

from sidecar.domain.values.lattice import Record
from sidecar.service.ports.calls import Unavailable

MEMBERS_BOUND = 257
"""Members of an index that the answer to a join gives at most."""


class Index(msgspec.Struct, frozen=True, gc=False):
    """Put `member` into the sorted set `key` until `expire_at` (unix milliseconds).

    An entry's expiry only grows.
    """

    key: bytes
    member: bytes
    expire_at: int


class HistoryAppend(msgspec.Struct, frozen=True, gc=False):
    """Append entries to the history at `key`: a value for each field, which begins with its moment.

    A field that is there stays as it is. Moments are microseconds since the epoch, in 16 digits.
    Behind its moment, and before a zero byte, a value says whose share of the history it takes up.
    `bound` entries stay, and beyond them the oldest of the largest share goes; none stays from
    before `oldest`, and all until `expire_at` (unix milliseconds). An eighth more, and what is
    older by less than `lag`, may stay for a while, so that not each append looks through them all:
    whoever reads leaves these out.
    """

    key: bytes
    fields: Mapping[bytes, bytes]
    bound: int
    oldest: int
    expire_at: int
    lag: int = 0

    @property
    def slack(self) -> int:
        """Entries beyond the bound that may stay for a while."""
        return self.bound // 8


class HistoryAppended(msgspec.Struct, frozen=True, gc=False):
    """The answer to a `HistoryAppend`: the fields that are there as given.

    None of the name was there, or just this one: of an append that is done again it says the same.
    """

    fresh: tuple[bytes, ...]


BEGAN = b"began"
"""In news, a name that no field has: the record began with this join."""


class Join(msgspec.Struct, frozen=True, gc=False):
    """Join `fields` into the record at `key`, atomically. All keys lie in one Cluster slot.

    `expire_at` (unix milliseconds) only ever grows. `unless`: where the record has this field
    already, nothing is joined and only the answer is given. `publish`: a channel on which the
    fields that grew are published. `members_of`: an index whose live members the answer also gives,
    `MEMBERS_BOUND` of them at most: so many stand for more, to be read with `Store.members`.
    `want_group`: of the record the answer gives this group's fields at least.
    Members expire by `now` (unix milliseconds). `confirm`: it is answered only when
    it is as durable as the settings ask for, and else fails, though it may have happened.
    `history`: what is appended in the same round trip, on the same slot; if the store refuses that
    for good, the join counts all the same. `cut`: groups that grow are cut to their bounds; else
    that is left to a later join (`lattice.merge`).
    """

    key: bytes
    fields: Mapping[bytes, bytes]
    expire_at: int
    now: int
    indexes: tuple[Index, ...] = ()
    unless: bytes | None = None
    publish: bytes | None = None
    members_of: bytes | None = None
    want_record: bool = True
    confirm: bool = False
    history: HistoryAppend | None = None
    want_group: bytes = b""
    cut: bool = True


class JoinResult(msgspec.Struct, frozen=True, gc=False):
    """The answer to a `Join`: which fields grew, whether it was joined at all, and the record.

    `began`: there was no record before. News say so, too, by `BEGAN` among the fields that grew.
    """

    changed: tuple[bytes, ...]
    joined: bool
    record: Record
    members: tuple[bytes, ...] = ()
    began: bool = False


class Load(msgspec.Struct, frozen=True, gc=False):
    """Read the record at `key`, and the members of `index` that have not expired by `now` (ms)."""

    key: bytes
    index: bytes | None = None
    now: int = 0


class Loaded(msgspec.Struct, frozen=True, gc=False):
    """The answer to a `Load`; an absent record is an empty one."""

    record: Record
    members: tuple[bytes, ...] = ()


class Append(msgspec.Struct, frozen=True, gc=False):
    """Append to the queue `key`, unless it has `bound` entries.

    With a `group` the entry is in the hands of whoever appended it, until it is finished, or
    claimed.
    """

    key: bytes
    payload: bytes
    bound: int
    group: bytes = b""


class Appended(msgspec.Struct, frozen=True, gc=False):
    """The answer to an `Append`: the entry's id; empty: the queue was full."""

    id: bytes


class Finish(msgspec.Struct, frozen=True, gc=False):
    """Take these entries out of the queue `key`. Those that are not there do no harm."""

    key: bytes
    ids: tuple[bytes, ...]
    group: bytes = b""


class Hold(msgspec.Struct, frozen=True, gc=False):
    """Have entries of `key` count as taken just now: whoever took them works on them still.

    Those that are not there do no harm.
    """

    key: bytes
    ids: tuple[bytes, ...]
    group: bytes


class Claim(msgspec.Struct, frozen=True, gc=False):
    """Take over entries that nobody has finished for `idle` seconds since they were taken."""

    key: bytes
    group: bytes
    idle: float
    count: int


class Browse(msgspec.Struct, frozen=True, gc=False):
    """Look at entries of the queue `key` from the id `first` on (empty: the first)."""

    key: bytes
    first: bytes
    count: int


class QueueEntry(msgspec.Struct, frozen=True, gc=False):
    """An entry of a queue; `times` it was taken, by whomever."""

    id: bytes
    payload: bytes
    times: int = 0


class Entries(msgspec.Struct, frozen=True, gc=False):
    """The answer to a `Claim` or `Browse`, oldest first."""

    entries: tuple[QueueEntry, ...]


class Sign(msgspec.Struct, frozen=True, gc=False):
    """Count `field` of the hash `key` up by `step`, and publish `content` as its news on `publish`.

    A hash of its own, of counts: where this is done twice, as its answer was lost, it counts twice.
    `expire_at` (unix milliseconds; 0: as it would) is then when the key expires. `confirm`: as of
    a `Join`. One that finds no count in its place is refused, and the next one begins anew.
    """

    key: bytes
    field: bytes
    step: int
    publish: bytes
    content: bytes
    expire_at: int = 0
    confirm: bool = False


class Enlistment(msgspec.Struct, frozen=True, gc=False):
    """Put `member` into the sorted set `key` until `expire_at` (unix ms), as an `Index` of a join.

    `keep_until` (unix ms; 0: as it would): until when the set lives, without who expired by `now`.
    """

    key: bytes
    member: bytes
    expire_at: int
    now: int
    keep_until: int = 0


class Length(msgspec.Struct, frozen=True, gc=False):
    """A question for the number of entries that the queue `key` has."""

    key: bytes


class Expiry(msgspec.Struct, frozen=True, gc=False):
    """A question for the time at which the key expires."""

    key: bytes


class Expires(msgspec.Struct, frozen=True, gc=False):
    """The answer to an `Expiry`, in unix milliseconds; 0: there is no such key."""

    at: int


class Counted(msgspec.Struct, frozen=True, gc=False):
    """The answer to a `Length`, `Finish`, `Enlistment` or `Sign`: how many there are, or it did."""

    count: int


class Shard(NamedTuple):
    """A server that has records: its slots, as the first and last of each run of them."""

    spans: tuple[tuple[int, int], ...]

    @property
    def slot(self) -> int:
        """The first of its slots, by which it is known."""
        return self.spans[0][0]

    def has(self, slot: int) -> bool:
        """Return whether the slot is one of its own."""
        return any(first <= slot <= last for first, last in self.spans)


class Vitals(NamedTuple):
    """The report of a server: its process, what it does when full, what it has evicted."""

    run: str
    policy: str
    evicted: int


class Scanned(msgspec.Struct, frozen=True, gc=False):
    """Some keys, and the bookmark that leads to more; empty: that was all."""

    keys: list[bytes]
    bookmark: bytes


class Reader(Protocol):
    """The part of the store that the view reads from."""

    async def load(self, *loads: Load) -> list[Loaded]:
        """Read each; the answers are in order. Raises `Unavailable`, `Overloaded`."""


class Store(Protocol):
    """The part of the store that services need. Each call is one round trip however long.

    All raise `Unavailable` where the store does not answer in time, `Overloaded` where too much
    is waiting for it.
    """

    async def join(self, *joins: Join) -> list[JoinResult]:
        """Join each; the answers are in order."""

    async def load(self, *loads: Load) -> list[Loaded]:
        """Read each; the answers are in order."""

    async def enlist(self, listing: Enlistment) -> None:
        """Put a member into a sorted set."""

    def keys(self, pattern: str) -> AsyncIterator[list[bytes]]:
        """Return the keys that match, in batches."""

    async def scan(self, pattern: str, bookmark: bytes = b"") -> Scanned:
        """Return some keys that match, from the bookmark of an answer before (empty: the first).

        Any sidecar may go on from any other's bookmark. A key may come twice, and none that is
        there all the while is left out: where keys have moved to another server meanwhile, the
        bookmark leads to the beginning.
        """

    async def members(self, index: bytes, now: int, bookmark: bytes = b"") -> Scanned:
        """Return some of an index's members that have not expired by `now` (unix ms); as `scan`."""


class Histories(Protocol):
    """The part of the store that keeps what happened to whom."""

    async def append_history(self, *appends: HistoryAppend) -> list[HistoryAppended]:
        """Append to each; the answers are in order. Raises `Unavailable`, `Overloaded`."""

    async def join(self, *joins: Join) -> list[JoinResult]:
        """Join each; the answers are in order. Raises `Unavailable`, `Overloaded`."""


class Shards(Protocol):
    """The part of the store by which each of its servers is asked by itself."""

    def shards(self) -> tuple[Shard, ...]:
        """Return all servers that have records, as far as it is known; none before it is."""

    async def vitals(self, shard: Shard) -> Vitals | None:
        """Ask a server about itself; None where it does not grant that. Raises `Unavailable`."""

    async def sign(self, sign: Sign) -> int:
        """Return the count that it comes to. Raises `Unavailable`, `Overloaded`."""

    async def lacks(self, shard: Shard) -> str:
        """Return which rights a server does not grant us, in words.

        Empty: none. Raises `Unavailable`.
        """

    async def expiries(self, *keys: bytes) -> list[int]:
        """Return when each key expires (unix ms).

        0: there is none. Raises `Unavailable`, `Overloaded`.
        """


class GuardedStore(Store, Shards, Histories, Protocol):
    """A store whose losses can be noticed, and that keeps histories."""


class Queues(Protocol):
    """Queues in the store that all sidecars work on. Each call is one round trip.

    All raise `Unavailable` and `Overloaded` as `Store` does.
    """

    async def append(self, one: Append, *joins: Join) -> tuple[Appended, list[JoinResult]]:
        """Append and join, both or neither acknowledged: on an error either may have happened."""

    async def append_all(
        self, batch: Sequence[tuple[Append, Sequence[Join]]]
    ) -> list[tuple[Appended, list[JoinResult]] | Unavailable]:
        """Do each as `append` does, all in one round trip; each fails alone.

        Raises `Overloaded` where there is no room for all of them.
        """

    async def finish(self, *finishes: Finish) -> list[Counted]:
        """Take out entries."""

    async def hold(self, *holds: Hold) -> list[Counted]:
        """Have entries count as taken just now; return how many there are of them."""

    async def claim(self, *claims: Claim) -> list[Entries]:
        """Take over what nobody finishes; of two who ask at once, one gets an entry."""

    async def browse(self, browse: Browse) -> Entries:
        """Look at entries."""

    async def lengths(self, *lengths: Length) -> list[int]:
        """Return how many entries there are in each."""


class News(Protocol):
    """Follows channels; what is published on them reaches `NewsRouter.deliver`."""

    async def follow(self, *channels: bytes) -> None:
        """Return once the store has acknowledged: what grows from now on will be news here.

        All of them are followed, or none. Raises `Unavailable`.
        """

    def unfollow(self, channel: bytes) -> None:
        """Undo one `follow`."""

    def staleness(self) -> float:
        """Return for how many seconds it has not been certain that no news was missed."""
