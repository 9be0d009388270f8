"""A batch of operations on one node: one pipeline, and what is made of each reply."""

import enum
from collections.abc import Sequence
from typing import Any, assert_never

import redis
from redis.exceptions import (
    AskError,
    BusyLoadingError,
    ClusterDownError,
    MasterDownError,
    MovedError,
    NoScriptError,
    ReadOnlyError,
    TryAgainError,
)

from sidecar.adapters.redis_commands import SCRIPT, Operation, Outcome, commands_of, outcome_of
from sidecar.service.answers import Unavailable
from sidecar.service.store import Join
from sidecar.wire.store_address import Host

ROUNDS = 5
"""How often a Cluster may send an operation elsewhere before that counts as a failure."""

_PASSING = (TryAgainError, ClusterDownError, MasterDownError, ReadOnlyError, BusyLoadingError)
"""Refusals that time, or a failover, will mend."""


class Verdict(enum.IntEnum):
    """What became of an operation; of several, the greatest is told."""

    DONE = 0
    ELSEWHERE = 1
    LATER = 2
    FAILED = 3


class Item:
    """One operation on its way. Its outcome is None until it is settled, well or badly."""

    __slots__ = ("again", "asking", "node", "operation", "outcome", "trouble")

    def __init__(self, operation: Operation) -> None:
        self.operation = operation
        self.outcome: Outcome | Unavailable | None = None
        self.trouble = ""
        self.again = False
        self.node = ""
        self.asking = False

    def failed(self, trouble: str) -> None:
        """The link broke: whether the operation happened is not known."""
        self.trouble = trouble
        self.again = True
        self.node = ""
        self.asking = False


def exchange(client: redis.Redis, items: Sequence[Item]) -> list[list[Any]]:
    """Run all in one pipeline; the replies by item, errors of single commands among them.

    A server that does not know the script is taught it. Then the joins it turned away run, and
    the reads once more, so that they still see what was joined before them. Blocks; raises
    redis-py's errors when the link breaks.
    """
    replies = _pipeline(client, items)
    if not any(_lacks_script(reply) for reply in replies):
        return replies
    client.script_load(SCRIPT)
    repeated = [
        position
        for position, (item, reply) in enumerate(zip(items, replies, strict=True))
        if _lacks_script(reply) or not isinstance(item.operation, Join)
    ]
    for position, reply in zip(
        repeated, _pipeline(client, [items[position] for position in repeated]), strict=True
    ):
        replies[position] = reply
    return replies


def _lacks_script(replies: Sequence[Any]) -> bool:
    return isinstance(replies[0], NoScriptError)


def _pipeline(client: redis.Redis, items: Sequence[Item]) -> list[list[Any]]:
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
        flat = iter(pipe.execute(raise_on_error=False))
    replies = []
    for item, count in zip(items, counts, strict=True):
        taken = [next(flat) for _ in range(count * (1 + item.asking))]
        replies.append(taken[1::2] if item.asking else taken)
    return replies


def judge(item: Item, replies: Sequence[Any]) -> Verdict:
    """Settle an item by its replies, or prepare it for another try."""
    error = next((reply for reply in replies if isinstance(reply, Exception)), None)
    if error is None:
        item.outcome = outcome_of(item.operation, replies)
        return Verdict.DONE
    verdict = _verdict_on(error)
    item.node, item.asking = "", False
    item.trouble = f"the store refuses: {error}"
    match verdict:
        case Verdict.ELSEWHERE:
            if isinstance(error, AskError) and not isinstance(error, MovedError):
                item.node, item.asking = str(Host(error.host, error.port)), True
        case Verdict.LATER:
            pass
        case Verdict.FAILED | Verdict.DONE:
            item.outcome = Unavailable(item.trouble)
            return Verdict.DONE
        case never:
            assert_never(never)
    return verdict


def _verdict_on(error: Exception) -> Verdict:
    if isinstance(error, AskError):  # a MovedError is one, too
        return Verdict.ELSEWHERE
    return Verdict.LATER if isinstance(error, _PASSING) else Verdict.FAILED
