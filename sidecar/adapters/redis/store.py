"""The store on trio: what is pending is gathered into one pipeline.

Callers queue what they want; a few workers each take all that has queued up, send it in one go
over a connection of their own, and hand the answers back. Under load batches grow, and with them
the throughput (`benchmarks/store.py`). redis-py makes the connections, and does in threads what is
rare: scans, questions to single servers, the map of a Cluster (decision 37).

The queue is bounded (`settings.queue` operations): when it is full callers get `Overloaded`.
Connection errors and time-outs are tried again here, with jittered back-off, `settings.retries`
times while the store is up and not at all while it is down; then, and for whatever else a server
may say, callers get `Unavailable`. A command that is refused fails alone. A caller who leaves
does not disturb the others in its batch, and what it asked for may still happen.

Where `wait_replicas` or `wait_aof` asks for it, a pipeline with joins that are to be confirmed ends
with WAIT or WAITAOF, on the connection that wrote. Such joins have a queue and workers of their
own, so that a replica that hangs holds up events and nothing else.
"""

import hashlib
import math
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from typing import TypeVar

import trio
from redis.client import Redis
from redis.exceptions import RedisError, ResponseError

from sidecar.adapters.redis.batch import (
    ROUNDS,
    BatchResult,
    Durability,
    Item,
    Talk,
    exchange,
    judge,
)
from sidecar.adapters.redis.commands import (
    SLOTS_AT_ONCE,
    Operation,
    Outcome,
    expiries_asked,
    expiries_found,
    kind_of,
)
from sidecar.adapters.redis.connection import BrokenLink, Connections, RedisSocket
from sidecar.adapters.redis.lanes import Lane, Ticket
from sidecar.adapters.redis.links import ONLY, Links, call
from sidecar.adapters.redis.scan import (
    Bookmark,
    Position,
    decode_bookmark,
    encode_bookmark,
    step,
    step_members,
)
from sidecar.adapters.redis_server.causes import cause_of
from sidecar.adapters.redis_server.rights import NeededRight, lacks_in_words, lacks_of
from sidecar.adapters.redis_server.vitals import vitals_of
from sidecar.service.ports.backoff import doubled, spread
from sidecar.service.ports.calls import StoreRefused, Unavailable
from sidecar.service.ports.store import (
    Counted,
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
from sidecar.wire.settings.settings import StoreSettings
from sidecar.wire.store.losses import tag_of

PROBE_UP = 5.0
PROBE_DOWN = 1.0

T = TypeVar("T")


def _unobserved(operation: str, seconds: float) -> None:
    """Do nothing."""


def _unheard(up: bool, cause: str) -> None:  # noqa: FBT001 - a hook's arguments
    """Do nothing."""


class RedisStore:
    """The port `service.ports.store.Store`, on Redis or Valkey 7.0 or newer.

    `observe(operation, seconds)` is called for each `submit` ("join", "load" or "queue", its wait
    included) and for each "pipeline"; `on_up(up, cause)` whenever the store comes or goes, or
    is away for another cause than before; `on_refused(error)` where a join has happened, and the
    store refuses for good to append to the history beside it. `needs` are the rights without which
    the daemon cannot do its work there.
    """

    def __init__(  # noqa: PLR0913 - what it needs, each by name
        self,
        links: Links,
        settings: StoreSettings,
        *,
        observe: Callable[[str, float], None] = _unobserved,
        on_up: Callable[[bool, str], None] = _unheard,
        jitter: Callable[[], float] = random.random,
        on_refused: Callable[[StoreRefused], None] = lambda _: None,
        needs: Sequence[NeededRight] = (),
    ) -> None:
        self._links = links
        self._settings = settings
        self._needs = needs
        self._observe = observe
        self._on_up = on_up
        self._on_refused = on_refused
        self._jitter = jitter
        waits = int(settings.wait_timeout * 1000)
        self._durability = Durability(settings.wait_replicas, settings.wait_aof, waits)
        self._lane = Lane(settings.queue, settings.batch)
        self._patient = self._lane
        if self._durability.asked:
            self._patient = Lane(settings.queue, settings.batch)
        width = settings.threads * len(self._lanes)
        self._connections = Connections(links, width)
        self._width = width
        self._limiters: dict[str, trio.CapacityLimiter] = {}
        self._down: dict[str, str] | None = None  # by node, why it is down
        self._answered_at: dict[str, float] = {}
        self._fell = trio.Event()
        self._running = False

    @property
    def up(self) -> bool:
        """Return whether every node answered when last asked."""
        return self._down is not None and not self._down

    @property
    def away(self) -> bool:
        """Return whether no node at all answered when last asked."""
        down = self._down
        return down is not None and all(node in down for node in self._links.nodes())

    @property
    def crowded(self) -> float:
        """Return which part of the queue for what events bring is filled."""
        return self._patient.crowded

    @property
    def is_one_server(self) -> bool:
        """Return whether all keys are on one server, also in the eyes of a Cluster's."""
        return self._links.nodes() == (ONLY,)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve the queue, for ever. Started once the store was asked a first time, up or not."""
        self._running = True
        try:
            await self._probe()
            async with trio.open_nursery() as nursery:
                for lane in self._lanes:
                    for _ in range(self._settings.threads):
                        nursery.start_soon(self._work, lane)
                nursery.start_soon(self._keep_probing)
                task_status.started()
        finally:
            self._running = False
            for lane in self._lanes:
                lane.close()
            self._connections.renew()
            self._links.close()

    async def reconnect(self) -> None:
        """Have the next operations connect anew, as our credentials are others now.

        What is under way ends on its connection, so that nothing is lost.
        """
        self._connections.renew()
        await trio.to_thread.run_sync(self._links.close)

    @property
    def _lanes(self) -> set[Lane]:
        return {self._lane, self._patient}

    # What callers use

    async def join(self, *joins: Join) -> list[JoinResult]:
        """Join each; the answers are in order. Raises `Unavailable`, `Overloaded`."""
        return [outcome for outcome in await self.submit(joins) if isinstance(outcome, JoinResult)]

    async def load(self, *loads: Load) -> list[Loaded]:
        """Read each; the answers are in order. Raises `Unavailable`, `Overloaded`."""
        return [outcome for outcome in await self.submit(loads) if isinstance(outcome, Loaded)]

    async def append_history(self, *appends: HistoryAppend) -> list[HistoryAppended]:
        """Append to each; the answers are in order. Raises `Unavailable`, `Overloaded`."""
        outcomes = await self.submit(appends)
        return [outcome for outcome in outcomes if isinstance(outcome, HistoryAppended)]

    async def submit(self, operations: Sequence[Operation]) -> list[Outcome]:
        """Do each; the answers are in order.

        The operations are no transaction: if one fails, the others may have happened. A join
        whose answer was lost is done again, and then all that it brought counts as changed.
        Raises `Unavailable`, `Overloaded`.
        """
        if not operations:
            await trio.lowlevel.checkpoint()
            return []
        beside = _beside(operations)
        items = await self._done((*operations, *beside) if beside else operations)
        return self._outcomes(items, len(operations))

    async def submit_all(
        self, groups: Sequence[Sequence[Operation]]
    ) -> list[list[Outcome] | Unavailable]:
        """Do each group as `submit` does, all in one round trip; each fails alone.

        Raises `Overloaded`, and `Unavailable` where the store is closed.
        """
        together: list[Operation] = []
        for group in groups:
            together += group
            together += _beside(group)
        items = await self._done(together)
        answers: list[list[Outcome] | Unavailable] = []
        begin = 0
        for group in groups:
            end = begin + len(group) + len(_beside(group))
            try:
                answers.append(self._outcomes(items[begin:end], len(group)))
            except Unavailable as error:
                answers.append(error)
            begin = end
        return answers

    async def _done(self, operations: Sequence[Operation]) -> list[Item]:
        """Have operations done; return them with their outcomes."""
        begun = trio.current_time()
        ticket = self._enqueue(operations)
        try:
            await ticket.done.wait()
        except trio.Cancelled:
            ticket.abandoned = True
            raise
        self._observe(kind_of(operations), trio.current_time() - begun)
        return ticket.items

    def _outcomes(self, items: Sequence[Item], count: int) -> list[Outcome]:
        """Return the outcomes of the first ones; the others are histories beside them."""
        outcomes = [_unwrap(item) for item in items[:count]]
        for item in items[count:]:
            if isinstance(item.outcome, StoreRefused):
                # A history that is spoilt keeps nobody from what the event itself is to bring.
                self._on_refused(item.outcome)
            else:
                _unwrap(item)
        return outcomes

    async def sign(self, sign: Sign) -> int:
        """Return the count that it comes to. Raises `Unavailable`, `Overloaded`.

        Where something else lies in its place, that is removed and this one refused: the next one
        begins anew, and the signs before it are missed, as they are in an older backup.
        """
        try:
            outcomes = await self.submit([sign])
        except StoreRefused:
            await self.ask(sign.key, lambda client: call(client, "DEL", sign.key))
            raise
        (count,) = [one.count for one in outcomes if isinstance(one, Counted)]
        return count

    async def enlist(self, listing: Enlistment) -> None:
        """Put a member into a sorted set. Raises `Unavailable`, `Overloaded`."""
        await self.submit([listing])

    async def ask(self, key: bytes, use: Callable[[Redis], T]) -> T:
        """Use the client of the node that holds a key, in a thread.

        It may happen twice, as it is tried again where the link breaks or a key has moved. Raises
        `Unavailable`.
        """
        failures = 0
        while True:
            try:
                return await self._in_thread(self._links.node_of(key), use)
            except Unavailable:
                if failures >= self._settings.retries:
                    raise
            await trio.sleep(self._pause(failures))
            await self._refresh()
            failures += 1

    async def keys(self, pattern: str) -> AsyncIterator[list[bytes]]:
        """Yield the keys that match, in batches; one may come twice. Raises `Unavailable`."""
        bookmark = b""
        while True:
            found = await self.scan(pattern, bookmark)
            if found.keys:
                yield found.keys
            bookmark = found.bookmark
            if not bookmark:
                return

    async def scan(self, pattern: str, bookmark: bytes = b"") -> Scanned:
        """Return some of the keys that match, and the bookmark to more. Raises `Unavailable`."""
        mark = decode_bookmark(bookmark) if bookmark else None
        nodes = self._links.nodes()
        if mark is None or not mark.left or any(one.node not in nodes for one in mark.left):
            mark = await self._beginning()
        at = mark.left[0]
        found = await self._call(at.node, partial(step, pattern=pattern, cursor=at.cursor))
        if at.run and found.run != at.run:
            return Scanned([], encode_bookmark(await self._beginning()))
        following = mark.after(found.run, found.cursor)
        if not following.left:
            again = await self._beginning()
            return Scanned(found.keys, b"" if again.where == mark.where else encode_bookmark(again))
        return Scanned(found.keys, encode_bookmark(following))

    async def members(self, index: bytes, now: int, bookmark: bytes = b"") -> Scanned:
        """Return some live members of an index, and the bookmark to more. Raises `Unavailable`."""
        mark = decode_bookmark(bookmark) if bookmark else None
        node = self._links.node_of(index)
        at = mark.left[0] if mark and mark.left else Position(node)
        if at.node != node:
            at = Position(node)
        read = partial(step_members, index=index, cursor=at.cursor, now=now)
        try:
            found = await self._call(node, read)
        except Unavailable:
            await self._refresh()  # its slot may have moved
            raise
        if at.run and found.run != at.run:
            return Scanned([], encode_bookmark(Bookmark(b"", (Position(node),))))
        following = Bookmark(b"", (at,)).after(found.run, found.cursor)
        return Scanned(found.keys, encode_bookmark(following) if following.left else b"")

    async def _beginning(self) -> Bookmark:
        try:
            where = await trio.to_thread.run_sync(self._links.topology)
        except (RedisError, OSError) as error:
            raise Unavailable(cause_of(error, self._links.where)) from error
        nodes = self._links.nodes()
        if not nodes:
            raise Unavailable("no node of the store is known")
        digest = hashlib.blake2b(repr(where).encode(), digest_size=8).digest()
        return Bookmark(digest, tuple(Position(node) for node in nodes))

    # What is asked of each server

    def shards(self) -> tuple[Shard, ...]:
        """Return all servers that have records, as far as is known."""
        spans = (self._links.spans(node) for node in self._links.nodes())
        return tuple(Shard(one) for one in spans if one)

    async def vitals(self, shard: Shard) -> Vitals | None:
        """Ask a server about itself; None where it does not grant that. Raises `Unavailable`."""
        return await self.ask(b"{%s}" % tag_of(shard.slot).encode(), vitals_of)

    async def lacks(self, shard: Shard) -> str:
        """Return in words the rights that a server does not grant; empty: none missing.

        Raises `Unavailable`.
        """
        ask = partial(lacks_of, needs=self._needs)
        return lacks_in_words(await self.ask(b"{%s}" % tag_of(shard.slot).encode(), ask))

    async def expiries(self, *keys: bytes) -> list[int]:
        """Return when each key expires. Raises `Unavailable`, `Overloaded`."""
        return await self._expiries_of(keys)

    async def _expiries_of(self, keys: Sequence[bytes]) -> list[int]:
        """Ask for keys as they are written, in few commands."""
        asked = expiries_asked(keys, at_once=self.is_one_server)
        outcomes: list[Outcome] = []
        for first in range(0, len(asked), SLOTS_AT_ONCE):
            outcomes += await RedisStore.submit(self, asked[first : first + SLOTS_AT_ONCE])
        return expiries_found(keys, asked, outcomes)

    # The workers

    def _enqueue(self, operations: Sequence[Operation]) -> Ticket:
        if not self._running:
            raise Unavailable("the store is closed")
        ticket = Ticket(operations)
        (self._patient if ticket.confirm else self._lane).put(ticket)
        return ticket

    async def _work(self, lane: Lane) -> None:
        while True:
            batch = await lane.gather()
            try:
                await self._serve(batch)
            finally:
                for ticket in batch:
                    ticket.fail("the store is closed")

    async def _serve(self, batch: list[Ticket]) -> None:
        pending = [item for ticket in batch for item in ticket.items]
        retries = self._settings.retries if self.up else 0
        failures = rounds = 0
        while True:
            verdict = await self._attempt(pending)
            pending = [item for item in pending if item.outcome is None]
            for ticket in batch:
                ticket.finish()
            if not pending:
                return
            if verdict is BatchResult.ELSEWHERE and rounds < ROUNDS:
                rounds += 1
            elif failures < retries:
                await trio.sleep(self._pause(failures))
                failures += 1
            else:
                break
            await self._refresh()
        for item in pending:
            item.outcome = Unavailable(item.trouble)
        for ticket in batch:
            ticket.finish()

    async def _attempt(self, pending: list[Item]) -> BatchResult:
        """Run the items on their nodes; gives the worst of what became of them."""
        by_node: dict[str, list[Item]] = {}
        verdicts = [BatchResult.DONE]
        for item in pending:
            try:
                node = item.node or self._links.node_of(item.operation.key)
            except Unavailable as error:
                item.trouble = str(error)
                verdicts.append(BatchResult.FAILED)
            else:
                by_node.setdefault(node, []).append(item)
        if len(by_node) == 1:
            ((node, items),) = by_node.items()
            verdicts.append(await self._pipeline(node, items))
            return max(verdicts)

        async def run(node: str) -> None:
            verdicts.append(await self._pipeline(node, by_node[node]))

        async with trio.open_nursery() as nursery:
            for node in by_node:
                nursery.start_soon(run, node)
        return max(verdicts)

    async def _pipeline(self, node: str, items: list[Item]) -> BatchResult:
        begun = trio.current_time()
        try:
            replies = await self._on_socket(
                node, lambda talk: exchange(talk, items, self._durability)
            )
        except Unavailable as error:
            for item in items:
                item.failed(str(error))
            return BatchResult.FAILED
        finally:
            self._observe("pipeline", trio.current_time() - begun)
        return max(map(judge, items, replies))

    # Nodes

    async def _on_socket(self, node: str, work: Callable[[Talk], Awaitable[T]]) -> T:
        """Talk to a node. Raises `Unavailable` where it does not answer."""
        patience = self._settings.timeout

        async def talk(socket: RedisSocket) -> T:
            return await work(lambda commands: socket.exchange(commands, patience))

        return await self._answered(node, self._connections.use(node, talk))

    async def _in_thread(self, node: str, use: Callable[[Redis], T]) -> T:
        """Use a node's client in a thread. Raises `Unavailable` where the node does not answer."""
        limiter = self._limiters.get(node)
        if limiter is None:
            limiter = self._limiters[node] = trio.CapacityLimiter(self._width)
        return await self._answered(
            node,
            trio.to_thread.run_sync(lambda: use(self._links.client(node)), limiter=limiter),
        )

    async def _answered(self, node: str, answer: Awaitable[T]) -> T:
        """Return a node's answer, and note whether it gives any. Raises `Unavailable`."""
        try:
            result = await answer
        except ResponseError as error:
            raise Unavailable(self._cause(error, node)) from error
        except (RedisError, OSError, BrokenLink) as error:
            cause = self._cause(error, node)
            self._report(node, cause)
            raise Unavailable(cause) from error
        self._report(node, "")
        return result

    def _cause(self, error: Exception, node: str) -> str:
        """Return why a node cannot be used; of several, which one it is."""
        known = isinstance(error, BrokenLink)
        words = str(error) if known else cause_of(error, self._links.where)
        return words if node == ONLY else f"{node} of {words}"

    async def _call(self, node: str, use: Callable[[Redis], T]) -> T:
        failures = 0
        while True:
            try:
                return await self._in_thread(node, use)
            except Unavailable:
                if failures >= self._settings.retries:
                    raise
            await trio.sleep(self._pause(failures))
            failures += 1

    def _report(self, node: str, cause: str) -> None:
        """Take note of why a node does not answer; empty: it does."""
        self._answered_at[node] = -math.inf if cause else trio.current_time()
        if cause:
            self._set_down({**(self._down or {}), node: cause})
        elif self._down and node in self._down:
            self._set_down({one: why for one, why in self._down.items() if one != node})

    def _set_down(self, down: dict[str, str]) -> None:
        before, was_up = self._down, self.up
        # A node that has left is nobody's worry. The nameless one: no node can be found.
        known = {"", *self._links.nodes()}
        self._down = {node: cause for node, cause in down.items() if node in known}
        if before is None or was_up != self.up or (self._down and before != self._down):
            self._on_up(self.up, "; ".join(dict.fromkeys(self._down.values())))
        if not self.up:
            self._fell.set()
        elif self._fell.is_set():
            self._fell = trio.Event()

    async def _refresh(self) -> str:
        """Find out anew where everything is; return why that cannot be known, if it cannot."""
        try:
            await trio.to_thread.run_sync(self._links.refresh)
        except (RedisError, OSError) as error:
            return cause_of(error, self._links.where)
        # Where there is one server its name may lead elsewhere now; a Cluster's node may be gone.
        nodes = {*self._links.nodes()}
        self._connections.keep(nodes - {ONLY})
        self._answered_at = {node: at for node, at in self._answered_at.items() if node in nodes}
        return ""

    def _pause(self, failures: int) -> float:
        longest = doubled(self._settings.retry_base, self._settings.retry_cap, failures)
        return spread(longest, self._jitter())

    async def _keep_probing(self) -> None:
        while True:
            jitter = 0.75 + 0.5 * self._jitter()
            if self.up:
                with trio.move_on_after(PROBE_UP * jitter):
                    await self._fell.wait()
            if not self.up:
                await trio.sleep(PROBE_DOWN * jitter)
            await self._probe()

    async def _probe(self) -> None:
        down: dict[str, str] = {}
        if not self.up and (cause := await self._refresh()):
            down[""] = cause
        since = trio.current_time() - PROBE_UP
        for node in self._links.nodes():
            if self.up and self._answered_at.get(node, since) > since:
                continue  # what others asked of it says as much
            try:
                await self._on_socket(node, _ping)
            except Unavailable as error:
                down[node] = str(error)
        self._set_down(down)


async def _ping(talk: Talk) -> None:
    (reply,) = await talk([("PING",)])
    if isinstance(reply, Exception):
        raise reply


def _beside(operations: Sequence[Operation]) -> list[HistoryAppend]:
    """Return what is to be appended to histories beside joins."""
    return [one.history for one in operations if isinstance(one, Join) and one.history]


def _unwrap(item: Item) -> Outcome:
    match item.outcome:
        case None:
            raise AssertionError("a ticket is done before its items are")
        case Unavailable():
            # A new one for each caller: tracebacks grow on exceptions that are raised twice.
            raise type(item.outcome)(str(item.outcome))
        case outcome:
            return outcome
