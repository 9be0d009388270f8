"""A batch of operations on one node: one pipeline, and what is made of each reply."""

import enum
from collections.abc import Sequence
from typing import Any, NamedTuple, assert_never

import redis
from redis.exceptions import (
    AskError,
    BusyLoadingError,
    ClusterDownError,
    MasterDownError,
    MovedError,
    NoScriptError,
    ReadOnlyError,
    ResponseError,
    TryAgainError,
)

from sidecar.adapters.redis.commands import (
    SCRIPTS,
    Command,
    Operation,
    Outcome,
    commands_of,
    outcome_of,
)
from sidecar.service.ports.calls import StoreRefused, Unavailable
from sidecar.service.ports.store import Join, Load
from sidecar.wire.store.address import Host

ROUNDS = 5
"""How often a Cluster may send an operation elsewhere before that counts as a failure."""

_PASSING = (TryAgainError, ClusterDownError, MasterDownError, ReadOnlyError, BusyLoadingError)
"""Refusals that time, or a failover, will mend."""


_WRONG_TYPE = "WRONGTYPE"


class Durability(NamedTuple):
    """The copies that an event needs before it is acknowledged; `timeout` in milliseconds."""

    replicas: int = 0
    aof: bool = False
    timeout: int = 0

    @property
    def asked(self) -> bool:
        """Return whether there is anything to wait for."""
        return self.aof or self.replicas > 0

    def command(self) -> Command:
        """Return the command to send after the writes, on their connection (WAIT, WAITAOF)."""
        if self.aof:
            return ("WAITAOF", 1, self.replicas, self.timeout)
        return ("WAIT", self.replicas, self.timeout)

    def trouble(self, reply: Any) -> str:
        """Return what is lacking by the reply to `command`; empty: nothing."""
        if isinstance(reply, Exception):
            return f"the store does not confirm: {reply}"
        local, replicas = reply if self.aof else (1, reply)
        if not local:
            return "the store has not written it to its disk in time"
        if replicas < self.replicas:
            return f"{replicas} of {self.replicas} replicas have it in time"
        return ""


AT_ONCE = Durability()
"""A write counts once the server has it in memory."""


class UnconfirmedError(Exception):
    """A write happened and may be lost all the same."""


class BatchResult(enum.IntEnum):
    """The result of an operation; of several, the greatest is reported."""

    DONE = 0
    ELSEWHERE = 1
    LATER = 2
    FAILED = 3


class Item:
    """One operation on its way. Its outcome is None until it has succeeded or failed."""

    __slots__ = ("again", "asking", "node", "operation", "outcome", "trouble")

    def __init__(self, operation: Operation) -> None:
        self.operation = operation
        self.outcome: Outcome | Unavailable | None = None
        self.trouble = ""
        self.again = False
        self.node = ""
        self.asking = False

    def failed(self, trouble: str) -> None:
        """Note that the link broke: whether the operation happened is not known."""
        self.trouble = trouble
        self.again = True
        self.node = ""
        self.asking = False


def exchange(
    client: redis.Redis, items: Sequence[Item], durability: Durability = AT_ONCE
) -> list[list[Any]]:
    """Run all in one pipeline; return the replies by item, with errors of single commands.

    A server that does not know the scripts is taught them. Then what it turned away runs, and the
    reads of records once more, so that they still see what was joined before them. Joins that are
    to be confirmed and were not have an `UnconfirmedError` for a reply. Blocks; raises redis-py's
    errors when the link breaks.
    """
    replies = _pipeline(client, items, durability)
    if not any(_lacks_script(reply) for reply in replies):
        return replies
    for script in SCRIPTS:
        client.script_load(script)
    repeated = [
        position
        for position, (item, reply) in enumerate(zip(items, replies, strict=True))
        if _lacks_script(reply) or isinstance(item.operation, Load)
    ]
    once_more = [items[position] for position in repeated]
    for position, reply in zip(repeated, _pipeline(client, once_more, durability), strict=True):
        replies[position] = reply
    return replies


def _lacks_script(replies: Sequence[Any]) -> bool:
    return isinstance(replies[0], NoScriptError)


def _pipeline(
    client: redis.Redis, items: Sequence[Item], durability: Durability
) -> list[list[Any]]:
    confirming = durability.asked and any(map(_is_confirmed, items))
    counts: list[int] = []
    pipe: Any  # redis-py does not type what it queues
    with client.pipeline(transaction=False) as pipe:
        for item in items:
            commands = commands_of(item.operation, again=item.again)
            counts.append(len(commands))
            for command in commands:
                if item.asking:
                    pipe.execute_command("ASKING")
                pipe.execute_command(*command)
        if confirming:
            pipe.execute_command(*durability.command())
        flat = iter(pipe.execute(raise_on_error=False))
    replies = []
    for item, count in zip(items, counts, strict=True):
        taken = [next(flat) for _ in range(count * (1 + item.asking))]
        replies.append(taken[1::2] if item.asking else taken)
    trouble = durability.trouble(next(flat)) if confirming else ""
    if trouble:
        for item, reply in zip(items, replies, strict=True):
            if _is_confirmed(item) and not isinstance(reply[0], Exception):
                reply[0] = UnconfirmedError(trouble)
    return replies


def _is_confirmed(item: Item) -> bool:
    return isinstance(item.operation, Join) and item.operation.confirm


def judge(item: Item, replies: Sequence[Any]) -> BatchResult:
    """Set an item's outcome by its replies, or prepare it for another try."""
    error = next((reply for reply in replies if isinstance(reply, Exception)), None)
    if error is None:
        item.outcome = outcome_of(item.operation, replies)
        return BatchResult.DONE
    verdict = _verdict_on(error)
    item.node, item.asking = "", False
    if isinstance(error, UnconfirmedError):
        item.outcome = Unavailable(str(error))
        return BatchResult.DONE
    item.trouble = f"the store refuses: {error}"
    match verdict:
        case BatchResult.ELSEWHERE:
            if isinstance(error, AskError) and not isinstance(error, MovedError):
                item.node, item.asking = str(Host(error.host, error.port)), True
        case BatchResult.LATER:
            pass
        case BatchResult.FAILED | BatchResult.DONE:
            kind = StoreRefused if _is_for_good(error) else Unavailable
            item.outcome = kind(item.trouble)
            return BatchResult.DONE
        case never:
            assert_never(never)
    return verdict


def _is_for_good(error: Exception) -> bool:
    """Return whether the operation is at fault, so that the server will always refuse it.

    Such a refusal has the code WRONGTYPE or ERR, which redis-py leaves out. All others speak of
    the server: it is out of memory, cannot write to its disk, or does not grant a right.
    """
    if type(error) is not ResponseError:
        return False
    code = str(error).partition(" ")[0]
    return code == _WRONG_TYPE or not (code.isupper() and code.isalpha())


def _verdict_on(error: Exception) -> BatchResult:
    if isinstance(error, AskError):  # a MovedError is one, too
        return BatchResult.ELSEWHERE
    return BatchResult.LATER if isinstance(error, _PASSING) else BatchResult.FAILED
