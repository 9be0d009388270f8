"""The store on trio: what is pending is gathered into one pipeline for each thread call.

redis-py blocks, and a thread call for each operation costs more than the operation. So callers
queue what they want; a few workers each take all that has queued up, run it as one pipeline in a
thread, and hand the answers back. Under load batches grow, and with them the throughput
(`benchmarks/store.py`).

The queue is bounded (`settings.queue` operations): when it is full callers get `Overloaded`.
Connection errors and time-outs are tried again here, with jittered back-off, `settings.retries`
times while the store is up and not at all while it is down; then, and for whatever else a server
may say, callers get `Unavailable`. A command that is refused fails alone. A caller who leaves
does not disturb the others in its batch, and what it asked for may still happen.

Where `wait_replicas` or `wait_aof` asks for it, a pipeline with joins that are to be confirmed ends
with WAIT or WAITAOF, on the connection that wrote. Such joins have a queue and threads of their
own, so that a replica that hangs holds up events and nothing else.
"""

import hashlib
import random
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import TypeVar

import redis
import trio

from sidecar.adapters.redis.batch import ROUNDS, BatchResult, Durability, Item, exchange, judge
from sidecar.adapters.redis.commands import Operation, Outcome
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
from sidecar.service.ports.calls import Unavailable
from sidecar.service.ports.store import (
    Expires,
    Expiry,
    Join,
    JoinResult,
    Load,
    Loaded,
    Scanned,
    Shard,
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
    is away for another cause than before. `needs` are the rights without which the daemon cannot
    do its work there.
    """

    def __init__(  # noqa: PLR0913 - what it needs, each by name
        self,
        links: Links,
        settings: StoreSettings,
        *,
        observe: Callable[[str, float], None] = _unobserved,
        on_up: Callable[[bool, str], None] = _unheard,
        jitter: Callable[[], float] = random.random,
        needs: Sequence[NeededRight] = (),
    ) -> None:
        self._links = links
        self._settings = settings
        self._needs = needs
        self._observe = observe
        self._on_up = on_up
        self._jitter = jitter
        waits = int(settings.wait_timeout * 1000)
        self._durability = Durability(settings.wait_replicas, settings.wait_aof, waits)
        self._lane = Lane(settings.queue, settings.batch)
        self._patient = self._lane
        if self._durability.asked:
            self._patient = Lane(settings.queue, settings.batch)
        self._limiters: dict[str, trio.CapacityLimiter] = {}
        self._down: dict[str, str] | None = None  # by node, why it is down
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
            self._links.close()

    async def reconnect(self) -> None:
        """Have the next operations connect anew, as our credentials are others now.

        What is under way ends on its connection, so that nothing is lost.
        """
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

    async def submit(self, operations: Sequence[Operation]) -> list[Outcome]:
        """Do each; the answers are in order.

        The operations are no transaction: if one fails, the others may have happened. A join
        whose answer was lost is done again, and then all that it brought counts as changed.
        Raises `Unavailable`, `Overloaded`.
        """
        if not operations:
            await trio.lowlevel.checkpoint()
            return []
        begun = trio.current_time()
        ticket = self._enqueue(operations)
        try:
            await ticket.done.wait()
        except trio.Cancelled:
            ticket.abandoned = True
            raise
        self._observe(_kind_of(operations), trio.current_time() - begun)
        return [_unwrap(item) for item in ticket.items]

    async def ask(self, key: bytes, use: Callable[[redis.Redis], T]) -> T:
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
        except (redis.RedisError, OSError) as error:
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
        outcomes = await self.submit([Expiry(key) for key in keys])
        return [outcome.at for outcome in outcomes if isinstance(outcome, Expires)]

    # The workers

    def _enqueue(self, operations: Sequence[Operation]) -> Ticket:
        if not self._running:
            raise Unavailable("the store is closed")
        confirm = any(isinstance(one, Join) and one.confirm for one in operations)
        return (self._patient if confirm else self._lane).put(operations)

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

        async def run(node: str) -> None:
            verdicts.append(await self._pipeline(node, by_node[node]))

        if len(by_node) == 1:
            await run(*by_node)
        else:
            async with trio.open_nursery() as nursery:
                for node in by_node:
                    nursery.start_soon(run, node)
        return max(verdicts)

    async def _pipeline(self, node: str, items: list[Item]) -> BatchResult:
        begun = trio.current_time()
        try:
            replies = await self._in_thread(
                node, lambda client: exchange(client, items, self._durability)
            )
        except Unavailable as error:
            for item in items:
                item.failed(str(error))
            return BatchResult.FAILED
        finally:
            self._observe("pipeline", trio.current_time() - begun)
        return max(map(judge, items, replies))

    # Nodes

    async def _in_thread(self, node: str, use: Callable[[redis.Redis], T]) -> T:
        """Use a node's client in a thread. Raises `Unavailable` where the node does not answer."""
        limiter = self._limiters.get(node)
        if limiter is None:
            limiter = self._limiters[node] = trio.CapacityLimiter(
                self._settings.threads * len(self._lanes)
            )
        try:
            result = await trio.to_thread.run_sync(
                lambda: use(self._links.client(node)), limiter=limiter
            )
        except redis.ResponseError as error:
            raise Unavailable(self._cause(error, node)) from error
        except (redis.RedisError, OSError) as error:
            cause = self._cause(error, node)
            self._report(node, cause)
            raise Unavailable(cause) from error
        self._report(node, "")
        return result

    def _cause(self, error: Exception, node: str) -> str:
        """Return why a node cannot be used; of several, which one it is."""
        words = cause_of(error, self._links.where)
        return words if node == ONLY else f"{node} of {words}"

    async def _call(self, node: str, use: Callable[[redis.Redis], T]) -> T:
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
        except (redis.RedisError, OSError) as error:
            return cause_of(error, self._links.where)
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
        for node in self._links.nodes():
            try:
                await self._in_thread(node, lambda client: call(client, "PING"))
            except Unavailable as error:
                down[node] = str(error)
        self._set_down(down)


def _kind_of(operations: Sequence[Operation]) -> str:
    if any(isinstance(one, Join) for one in operations):
        return "join"
    return "load" if isinstance(operations[0], Load | Expiry) else "queue"


def _unwrap(item: Item) -> Outcome:
    match item.outcome:
        case None:
            raise AssertionError("a ticket is done before its items are")
        case Unavailable():
            # A new one for each caller: tracebacks grow on exceptions that are raised twice.
            raise type(item.outcome)(str(item.outcome))
        case outcome:
            return outcome
