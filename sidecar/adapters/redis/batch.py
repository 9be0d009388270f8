"""A batch of operations on one node: one pipeline, and what is made of each reply."""

import enum
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple, TypeAlias, assert_never

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
from sidecar.service.ports.store import Join, Load, Sign
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
        expected: type[Any] = list if self.aof else int
        if not isinstance(reply, expected):
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


Talk: TypeAlias = Callable[[list[Command]], Awaitable[list[Any]]]
"""Sends commands to a server; gives the replies in order, refusals among them."""


async def exchange(
    talk: Talk, items: Sequence[Item], durability: Durability = AT_ONCE
) -> list[list[Any]]:
    """Run all in one pipeline; return the replies by item, with errors of single commands.

    A server that does not know the scripts is taught them. Then what it turned away runs, and the
    reads of records once more, so that they still see what was joined before them. Joins that are
    to be confirmed and were not have an `UnconfirmedError` for a reply. Raises what `talk` does.
    """
    replies = await _pipeline(talk, items, durability)
    if not any(_lacks_script(reply) for reply in replies):
        return replies
    await talk([("SCRIPT", "LOAD", script) for script in SCRIPTS])
    repeated = [
        position
        for position, (item, reply) in enumerate(zip(items, replies, strict=True))
        if _lacks_script(reply) or isinstance(item.operation, Load)
    ]
    once_more = [items[position] for position in repeated]
    answers = await _pipeline(talk, once_more, durability)
    for position, reply in zip(repeated, answers, strict=True):
        replies[position] = reply
    return replies


def _lacks_script(replies: Sequence[Any]) -> bool:
    return isinstance(replies[0], NoScriptError)


async def _pipeline(talk: Talk, items: Sequence[Item], durability: Durability) -> list[list[Any]]:
    confirming = durability.asked and any(map(_is_confirmed, items))
    counts: list[int] = []
    sent: list[Command] = []
    for item in items:
        commands = commands_of(item.operation, again=item.again)
        counts.append(len(commands))
        for command in commands:
            if item.asking:
                sent.append(("ASKING",))
            sent.append(command)
    if confirming:
        sent.append(durability.command())
    flat = await talk(sent)
    replies = []
    at = 0
    for item, count in zip(items, counts, strict=True):
        end = at + count * (1 + item.asking)
        replies.append(flat[at + 1 : end : 2] if item.asking else flat[at:end])
        at = end
    trouble = durability.trouble(flat[at]) if confirming else ""
    if trouble:
        for item, reply in zip(items, replies, strict=True):
            if _is_confirmed(item) and not isinstance(reply[0], Exception):
                reply[0] = UnconfirmedError(trouble)
    return replies


def _is_confirmed(item: Item) -> bool:
    return isinstance(item.operation, Join | Sign) and item.operation.confirm


def judge(item: Item, replies: Sequence[Any]) -> BatchResult:
    """Set an item's outcome by its replies, or prepare it for another try."""
    error = next((reply for reply in replies if isinstance(reply, Exception)), None)
    if error is None:
        item.outcome = _outcome(item.operation, replies)
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


def _outcome(operation: Operation, replies: Sequence[Any]) -> Outcome | Unavailable:
    try:
        return outcome_of(operation, replies)
    except (LookupError, TypeError, ValueError):  # no Redis, or something is amiss between us
        return Unavailable("the store gives answers that answer nothing that it was asked")


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
