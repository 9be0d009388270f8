"""A store in memory, held to the real one by tests/contracts, and a pod's services upon it."""

import itertools
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

import msgspec

from sidecar.adapters.geography.networks import load
from sidecar.daemon.configuration.files import Configuration, claims_of
from sidecar.daemon.configuration.in_force import InForce
from sidecar.daemon.wiring import Ports, SharedMemory, wire
from sidecar.domain.evaluation.incremental import IncrementalEvaluator
from sidecar.domain.policy.conditional_access import Policy
from sidecar.domain.session.fold import Surroundings
from sidecar.domain.values.assurance import Authentication
from sidecar.domain.values.lattice import Record, join, merge
from sidecar.domain.values.location import Place
from sidecar.domain.values.loss import ALL_SLOTS
from sidecar.domain.values.stamp import MICROSECONDS
from sidecar.service.audit.announcer import Outbox
from sidecar.service.audit.backlog import STALE, Outlook, TakenItem
from sidecar.service.intake.spool_fallback import Spool
from sidecar.service.observations.observations import Marked, Observation
from sidecar.service.ports.calls import Answer, Call, StoreRefused, Unavailable
from sidecar.service.ports.store import (
    BEGAN,
    MEMBERS_BOUND,
    Enlistment,
    HistoryAppend,
    HistoryAppended,
    Join,
    JoinResult,
    Load,
    Loaded,
    Scanned,
    Shard,
    Sign,
    Vitals,
)
from sidecar.service.view.news_router import NewsRouter
from sidecar.wire.routes.routes import Routes
from sidecar.wire.settings.settings import App, Context, Route, Sessions, Settings
from sidecar.wire.store.keys import StoreKeys
from sidecar.wire.store.losses import slot_of, tag_of
from sidecar.wire.tokens.claims import Flaw, InvalidToken, Token
from tests.domain.scenes import PLACES, WORLD, network_of
from tests.service.queues import MemoryQueues

SCANNED_AT_ONCE = 10


def _wanted(one: Join, record: Record) -> Record:
    if one.want_record:
        return dict(record)
    wanted = one.want_group + b":" if one.want_group else None
    return {f: v for f, v in record.items() if wanted and f.startswith(wanted)}


class MemoryStore:
    """Records in a dictionary, joined by `lattice.join`; news goes to every pod at once."""

    def __init__(self) -> None:
        self.records: dict[bytes, Record] = {}
        self.indexes: dict[bytes, dict[bytes, int]] = {}
        self.expiries_of: dict[bytes, int] = {}
        self.pods: list[MemoryNews] = []
        self.backlogs: dict[str, Queue] = {}
        self.now = 0.0
        self.queues = MemoryQueues(self, lambda: self.now)
        self.refused: set[bytes] = set()
        self.away = False
        self.servers: tuple[Shard, ...] = (Shard(((0, ALL_SLOTS - 1),)),)
        self.vital: dict[int, Vitals | None] = {}
        self.lacking: dict[int, str] = {}
        self.round_trips = 0

    async def join(self, *joins: Join) -> list[JoinResult]:
        self.trip()
        answers = [self._join(one) for one in joins if one.key not in self.refused]
        if len(answers) < len(joins):
            raise StoreRefused("the store refuses this")  # the others have happened
        return answers

    async def append_history(self, *appends: HistoryAppend) -> list[HistoryAppended]:
        self.trip()
        answers = [self._append_history(one) for one in appends if one.key not in self.refused]
        if len(answers) < len(appends):
            raise StoreRefused("the store refuses this")  # the others have happened
        return answers

    def _append_history(self, one: HistoryAppend) -> HistoryAppended:
        """Append and trim at once, without the slack that the script takes."""
        record = self.records.setdefault(one.key, {})
        taken = {f: v for f, v in one.fields.items() if int(v[:16]) >= one.oldest}
        fresh = tuple(field for field in taken if record.get(field, taken[field]) == taken[field])
        record |= {field: taken[field] for field in fresh}
        left = sorted(f for f in record if int(record[f][:16]) >= one.oldest)
        left.sort(key=lambda field: record[field][:16])
        shares = {field: record[field].partition(b"\0")[0][16:] for field in left}
        for _ in range(len(left) - one.bound):
            sizes = Counter(shares[field] for field in left)
            left.remove(next(f for f in left if sizes[shares[f]] == max(sizes.values())))
        self.records[one.key] = {field: record[field] for field in left}
        self.expiries_of[one.key] = max(self.expiries_of.get(one.key, 0), one.expire_at)
        return HistoryAppended(fresh)

    def _join(self, one: Join) -> JoinResult:
        if one.history is not None and one.history.key not in self.refused:
            self._append_history(one.history)
        before = self.records.get(one.key, {})
        if one.unless is not None and one.unless in before:
            return self._joined(one, (), before, joined=False)
        after = join(before, one.fields) if one.cut else merge(before, one.fields)
        changed = tuple(f for f in one.fields if f in after and before.get(f) != after[f])
        if after:
            self.records[one.key] = after
            self.expiries_of[one.key] = max(self.expiries_of.get(one.key, 0), one.expire_at)
        for index in one.indexes:
            entries = self.indexes.setdefault(index.key, {})
            entries[index.member] = max(entries.get(index.member, 0), index.expire_at)
            for member in [member for member, until in entries.items() if until < one.now]:
                del entries[member]
        if changed and one.publish is not None:
            grown = {f: one.fields[f] for f in changed}
            if not before:
                grown[BEGAN] = b""
            for pod in self.pods:
                pod.publish(one.publish, one.key, grown)
        outcome = self._joined(one, changed, after, joined=True)
        return msgspec.structs.replace(outcome, began=not before and bool(after))

    def _joined(
        self, one: Join, changed: tuple[bytes, ...], record: Record, *, joined: bool
    ) -> JoinResult:
        members = self._members(one.members_of, one.now)[:MEMBERS_BOUND]
        return JoinResult(changed, joined, _wanted(one, record), members)

    def _members(self, index: bytes | None, now: int) -> tuple[bytes, ...]:
        entries = self.indexes.get(index or b"", {})
        live = ((until, member) for member, until in entries.items() if until >= now)
        return tuple(member for _, member in sorted(live))

    async def load(self, *loads: Load) -> list[Loaded]:
        self.trip()
        if any(one.key in self.refused for one in loads):
            raise StoreRefused("the store refuses this")
        return [
            Loaded(dict(self.records.get(one.key, {})), self._members(one.index, one.now))
            for one in loads
        ]

    async def keys(self, pattern: str) -> AsyncIterator[list[bytes]]:
        self.trip()
        found = self._matching(pattern)
        if found:
            yield found

    async def scan(self, pattern: str, bookmark: bytes = b"") -> Scanned:
        self.trip()
        keys = sorted(key for key in self._matching(pattern) if key > bookmark)
        page = keys[:SCANNED_AT_ONCE]
        return Scanned(page, page[-1] if len(keys) > len(page) else b"")

    def _matching(self, pattern: str) -> list[bytes]:
        return [key for key in self.records if fnmatchcase(key, pattern.encode())]

    def expire(self, now: float) -> None:
        """Forget what expires before `now` (seconds), as a server does by itself."""
        for key in [key for key, until in self.expiries_of.items() if until < now * 1000]:
            del self.records[key], self.expiries_of[key]

    async def members(self, index: bytes, now: int, bookmark: bytes = b"") -> Scanned:
        self.trip()
        left = sorted(m for m in self._members(index, now) if m > bookmark)
        page = left[:SCANNED_AT_ONCE]
        return Scanned(page, page[-1] if len(left) > len(page) else b"")

    async def sign(self, sign: Sign) -> int:
        self.trip()
        record = self.records.setdefault(sign.key, {})
        held = record.get(sign.field, b"0")
        if not held.isdigit() or int(held) + sign.step >= 2**63:
            del self.records[sign.key]
            raise StoreRefused("hash value is not an integer")
        count = int(held) + sign.step
        record[sign.field] = b"%d" % count
        if sign.expire_at:
            self.expiries_of[sign.key] = sign.expire_at
        for pod in self.pods:
            pod.publish(sign.publish, sign.key, {sign.field: sign.content})
        return count

    async def enlist(self, listing: Enlistment) -> None:
        self.trip()
        entries = self.indexes.setdefault(listing.key, {})
        until = entries.get(listing.member, 0)
        entries[listing.member] = max(until, listing.expire_at)

    def shards(self) -> tuple[Shard, ...]:
        return self.servers

    async def vitals(self, shard: Shard) -> Vitals | None:
        self.trip()
        return self.vital.get(shard.slot, Vitals("run", "noeviction", 0))

    async def lacks(self, shard: Shard) -> str:
        self.trip()
        return self.lacking.get(shard.slot, "")

    async def expiries(self, *keys: bytes) -> list[int]:
        self.trip()
        return [self._expires(key) for key in keys]

    def _expires(self, key: bytes) -> int:
        if key in self.records:
            return self.expiries_of.get(key, 0)
        return max(self.indexes.get(key, {}).values(), default=0)

    def lose(self, shard: Shard) -> None:
        """Forget all records of one server."""
        for kept in (self.records, self.indexes):
            for key in [key for key in kept if shard.has(slot_of(key))]:
                del kept[key]

    def trip(self) -> None:
        self.round_trips += 1
        if self.away:
            raise Unavailable("the store is away")


class MemoryBacklogs:
    """Backlogs in memory, held to the real ones by tests/contracts. `clock` is in seconds."""

    def __init__(self, store: MemoryStore, clock: Callable[[], float], stale: float = STALE):
        self.store = store
        self.clock = clock
        self.stale = stale
        self.shared = store.backlogs

    def _of(self, name: str) -> "Queue":
        self.store.trip()
        return self.shared.setdefault(name, Queue())

    async def begin(self, name: str, moment: int, body: bytes) -> bool:
        queue = self._of(name)
        if queue.begun:
            return False
        queue.begun = moment
        queue.put(body)
        return True

    async def put(self, name: str, body: bytes, once: str = "") -> None:
        queue = self._of(name)
        waits = queue.once.get(once)
        if not once or waits not in queue.items or waits in queue.held:
            queue.put(body)
            queue.once[once] = queue.last

    async def take(self, name: str, who: str) -> TakenItem | None:
        queue, now = self._of(name), self.clock()
        stale = [n for n, (_, at) in queue.held.items() if now - at >= self.stale]
        fresh = [n for n in queue.items if n not in queue.held]
        for number in (*sorted(stale), *fresh):
            queue.held[number] = (who, now)
            return TakenItem(b"%d" % number, queue.items[number])
        return None

    async def keep(self, name: str, who: str, item: TakenItem) -> bool:
        queue, number = self._of(name), int(item.id)
        if queue.held.get(number, ("", 0.0))[0] != who:
            return False
        queue.held[number] = (who, self.clock())
        return True

    async def replace(
        self, name: str, item: TakenItem, *bodies: bytes, done: int = 0, expected: int = 0
    ) -> bool:
        queue, number = self._of(name), int(item.id)
        if queue.held.pop(number, None) is None:
            return False
        del queue.items[number]
        for body in bodies:
            queue.put(body)
        queue.done += done
        queue.expected += expected
        return True

    async def outlook(self, name: str) -> Outlook:
        queue = self._of(name)
        workers = tuple(sorted({who for who, _ in queue.held.values()}))
        return Outlook(queue.begun, len(queue.items), queue.done, queue.expected, workers)


class Queue:
    """One backlog."""

    def __init__(self) -> None:
        self.begun = self.done = self.expected = self.last = 0
        self.items: dict[int, bytes] = {}
        self.held: dict[int, tuple[str, float]] = {}
        self.once: dict[str, int] = {}

    def put(self, body: bytes) -> None:
        self.last += 1
        self.items[self.last] = body


class MemoryNews:
    """News of a `MemoryStore`. `deaf`: what is published is missed, and is not made up for."""

    def __init__(
        self,
        store: MemoryStore,
        deliver: Callable[[bytes, Record], None],
        own: Callable[[str], bytes] | None = None,
    ) -> None:
        self.store = store
        self._deliver = deliver
        self._own = own
        self.channels: dict[bytes, int] = {}
        self.deaf = False
        self.stale = 0.0
        store.pods.append(self)

    def publish(self, channel: bytes, key: bytes, fields: Record) -> None:
        if not self.deaf and (channel in self.channels or self._is_own(channel)):
            self._deliver(key, fields)

    def _is_own(self, channel: bytes) -> bool:
        tags = (tag_of(shard.slot) for shard in self.store.shards())
        return self._own is not None and any(channel == self._own(tag) for tag in tags)

    async def follow(self, *channels: bytes) -> None:
        if self.store.away:
            raise Unavailable("the store is away")
        for channel in channels:
            self.channels[channel] = self.channels.get(channel, 0) + 1

    def unfollow(self, channel: bytes) -> None:
        self.channels[channel] -= 1
        if not self.channels[channel]:
            del self.channels[channel]

    def staleness(self) -> float:
        return self.stale


class Tokens:
    """Believes tokens that were registered; all others are malformed."""

    def __init__(self) -> None:
        self.known: dict[str, Token] = {}

    def issue(self, name: str, **fields: object) -> str:
        values = {
            "issuer": "https://id.example",
            "user": "alice",
            "session": "s1",
            "device": "",
            "app": "payroll",
            "auth_time": 999,
            "acr": "single-factor",
            "groups": frozenset({"staff"}),
            **fields,
        }
        authentication = Authentication(values.pop("auth_time"), values.pop("acr"))  # type: ignore[arg-type]
        self.known[name] = Token(
            authentication=authentication,
            issued_at=authentication.auth_time,
            expires_at=authentication.auth_time + 3600,
            roles=frozenset(),
            claims=(),
            token_id=name,
            **values,  # type: ignore[arg-type]
        )
        return name

    def want_claims(self, names: frozenset[str]) -> None:
        """Do nothing: its tokens have the claims that they were issued with."""

    def cached(self, token: str, now: float) -> Token | None:
        return self.known.get(token)

    def verify_at_once(self, token: str, now: float) -> Token | None:
        raise InvalidToken(Flaw.MALFORMED, "the token is malformed")

    async def verify(self, token: str, now: float, since: float = 0.0) -> Token:
        raise InvalidToken(Flaw.MALFORMED, "the token is malformed")


@dataclass
class Records:
    """Telemetry that remembers."""

    seen: list[Observation] = field(default_factory=list)

    def record(self, observation: Observation) -> None:
        self.seen.append(observation)

    def checked(self, verdict: str, context: str, seconds: float) -> None:
        pass

    def of(self, kind: type) -> list[Observation]:
        return [one for one in self.seen if type(one) is kind]


SETTINGS = Settings(
    app=App(id="payroll"),
    contexts={"c1": Context(name="Payments"), "c2": Context(name="Reports")},
    routes=(Route(path="/pay/**", contexts=("c1",)),),
    sessions=Sessions(),
)


class Pod:
    """The services of one sidecar on ports in memory, wired as the daemon's are, without doors.

    `now` moves, and `settings` and `places` change, when the test says so.
    """

    def __init__(  # noqa: PLR0917 - a test names what it needs
        self,
        store: MemoryStore,
        policies: Iterable[Policy],
        tokens: Tokens,
        settings: Settings = SETTINGS,
        name: str = "a",
        outbox: Outbox | None = None,
        spool_of: Callable[[Callable[[Observation], None]], Spool] | None = None,
        away: Callable[[], bool] | None = None,
        shared_table: SharedMemory | None = None,
    ) -> None:
        self.now = 1000.0
        self.places = PLACES
        self.tokens = tokens
        self.store = store
        self.telemetry = Records()
        self.names = StoreKeys("t")
        self.ids = itertools.count()
        memory = int(settings.sessions.facts_ttl * MICROSECONDS)
        around = Surroundings("", network_of, memory=memory)
        self.in_force = InForce(
            Configuration(
                Path("sidecar.yaml"),
                settings,
                policies := tuple(policies),
                load((), ()),
                Routes(settings.routes),
                IncrementalEvaluator(policies, WORLD, around),
                claims_of(policies),
            )
        )
        router = NewsRouter(self.telemetry)
        self.news = MemoryNews(store, router.deliver, router.own_channel)
        self.services = wire(
            Ports(
                in_force=self.in_force,
                names=self.names,
                sidecar=name,
                worker=name,
                bound=lambda: settings.sessions.view,
                store=store,
                news=self.news,
                router=router,
                queues=store.queues,
                backlogs=MemoryBacklogs(store, self.clock),
                verifier=tokens,
                place_of=lambda ip: self.places.get(ip, Place()),
                telemetry=self.telemetry,
                clock=self.clock,
                new_id=lambda: f"{name}{next(self.ids):06d}",
                new_fact_id=lambda: f"{name}{next(self.ids):06d}",
                jitter=lambda: 0.5,
                away=away or (lambda: store.away),
                spool=spool_of(self.telemetry.record) if spool_of is not None else None,
                outbox=outbox,
                shared_table=shared_table,
            )
        )
        self.pending = self.services.view.pending
        self.watches = self.services.view.watches
        self.view = self.services.view.view
        self.guard = self.services.view.guard
        self.auditor = self.services.audit.auditor
        self.fan_out = self.services.audit.fan_out
        self.rescore_all = self.services.audit.rescore_all
        self.sweeper = self.services.audit.sweeper
        self.write_back = self.services.audit.write_back
        self.acknowledger = self.services.intake.acknowledger
        self.letters = self.services.intake.letters
        self.worklog = self.services.intake.worklog
        self.intake = self.services.intake.intake
        self.events = self.services.intake.events
        self.checker = self.services.checker
        self.inspector = self.services.admin.inspector

    @property
    def settings(self) -> Settings:
        return self.in_force.settings()

    @settings.setter
    def settings(self, settings: Settings) -> None:
        """Put others in force, as a reload does; what is derived from them does not follow."""
        before = self.in_force.configuration
        self.in_force.configuration = msgspec.structs.replace(before, settings=settings)

    def clock(self) -> float:
        return self.now

    async def check(self, token: str, context: str = "c1", ip: str = "192.0.2.1") -> Answer:
        return await self.checker.check(Call(token, frozenset({context} if context else ()), ip=ip))

    async def reconnect(self) -> None:
        """Do what happens when the link to the store is whole again."""
        await self.services.router.restored()

    async def settle(self) -> None:
        """Save what is unsaved and log what is not logged, as the workers would."""
        if self.view.has_unsaved:
            await self.write_back.save(await self.view.take_unsaved())
        await self.auditor.drain()
        await self.worklog.strike_out()


def marked(*pods: Pod) -> Counter[str]:
    """Count how often these have logged of each session that it is marked."""
    return Counter(one.session for one in _marks(pods))


def assert_all_logged(pods: Iterable[Pod], sessions: Iterable[str], most: int) -> None:
    """Assert that pods of which some have died log each session's mark, and none twice unsaid.

    `most` may be logged again: what one had logged that died before it was marked as logged.
    """
    marks = _marks(pods)
    first = Counter(one.session for one in marks if not one.again)
    again = [one.session for one in marks if one.again]
    assert {one.session for one in marks} == set(sessions)
    assert not first or max(first.values()) == 1
    assert len(again) == len(set(again)) <= most


def _marks(pods: Iterable[Pod]) -> list[Marked]:
    seen = (one for pod in pods for one in pod.telemetry.of(Marked))
    return [one for one in seen if isinstance(one, Marked)]
