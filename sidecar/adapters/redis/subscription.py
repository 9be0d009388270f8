"""One link for news to one server: subscriptions, their acknowledgements, pings.

Redis answers in order, so what is expected next is known: `_expected` has one entry for each
command sent, and each reply that is no message answers the first. A channel is never
unsubscribed while its subscription is under way; so an acknowledgement always belongs to the
latest wish.
"""

import math
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, NamedTuple

import hiredis
import trio

from sidecar.adapters.redis.commands import InvalidNews, decode_news
from sidecar.adapters.redis.connection import RedisSocket
from sidecar.domain.values.lattice import Record
from sidecar.service.ports.calls import Unavailable


class _Sent(NamedTuple):
    reply: bytes
    channel: bytes = b""
    at: float = 0.0


class Wish:
    """A subscription under way, or done; several may wait for it."""

    __slots__ = ("done", "refusal")

    def __init__(self) -> None:
        self.done = trio.Event()
        self.refusal = ""

    async def granted(self) -> None:
        """Return once the server has acknowledged. Raises `Unavailable`."""
        if not self.done.is_set():  # else it would wait for a turn of the loop
            await self.done.wait()
        if self.refusal:
            raise Unavailable(self.refusal)


_GRANTED = Wish()
_GRANTED.done.set()


class Line:
    """Keeps `channels`, and those followed later, subscribed on one server.

    The channels of `own` are asked for anew with each ping: so it shows if that is not granted any
    more. What is heard on them stands for a ping and its answer: `heard_since` says when it was
    sent. `interest` is looked at before a channel of `unwanted` is unsubscribed. `listen` and
    `talk` run until they raise `Unavailable`. `ready` is set once the server has acknowledged all
    `channels`; `proven` is when the latest ping left that was answered, or was not needed.
    """

    def __init__(  # noqa: PLR0913 - each is one thing, by name
        self,
        socket: RedisSocket,
        channels: Iterable[bytes],
        *,
        interest: Collection[bytes],
        deliver: Callable[[bytes, Record], None],
        ping: float,
        patience: float,
        own: Sequence[bytes] = (),
        heard_since: Callable[[bytes], float] = lambda _: -math.inf,
    ) -> None:
        self._own = own
        self._heard_since = heard_since
        self._socket = socket
        self._interest = interest
        self._deliver = deliver
        self._ping = ping
        self._patience = patience
        self._held: set[bytes] = set()
        self._wishes: dict[bytes, Wish] = {}
        self._unsent = list(channels)
        self._expected: deque[_Sent] = deque()
        self._wake = trio.Event()
        self._pinged: float | None = None
        self._tidied = -math.inf
        self.unwanted: set[bytes] = set()
        self.ready = trio.Event()
        self.proven = -float("inf")

    def ask(self, channel: bytes) -> Wish:
        """Have a channel subscribed."""
        if channel in self._held:
            return _GRANTED
        wish = self._wishes.get(channel)
        if wish is None:
            wish = self._wishes[channel] = Wish()
            self._unsent.append(channel)
            self._wake.set()
        return wish

    def close(self) -> None:
        """Raise `Unavailable` in all that still wait."""
        for channel in list(self._wishes):
            self._finish(channel, "the link for news broke")

    async def talk(self) -> None:
        """Send what is to be sent, and a ping whenever it is time."""
        while True:
            commands, now = self._subscriptions(), trio.current_time()
            if now >= self._tidied + self._ping:
                commands += self._unsubscriptions()
                self._tidied = now
            if self._pinged is None and now >= self.proven + self._ping:
                commands += [*self._subscribing(self._own), (b"PING",)]
                self._pinged = now
                self._expected.append(_Sent(b"pong", at=self._pinged))
            if commands:
                await self._send(commands)
            await self._rest()

    async def _send(self, commands: list[tuple[bytes, ...]]) -> None:
        with trio.move_on_after(self._patience) as patience:
            await self._socket.send(*commands)
        if patience.cancelled_caught:
            raise Unavailable("the store takes nothing more")

    async def _rest(self) -> None:
        pinged = self._pinged
        with trio.move_on_at(
            self.proven + self._ping if pinged is None else pinged + self._patience
        ):
            await self._wake.wait()
        self._wake = trio.Event()
        if self._pinged is not None and trio.current_time() >= self._pinged + self._patience:
            raise Unavailable("the store does not answer a ping")

    def _subscriptions(self) -> list[tuple[bytes, ...]]:
        channels, self._unsent = self._unsent, []
        return self._subscribing(channels)

    def _subscribing(self, channels: Sequence[bytes]) -> list[tuple[bytes, ...]]:
        self._expected.extend(_Sent(b"ssubscribe", channel) for channel in channels)
        # A command for each: in a Cluster one may not name channels of several slots.
        return [(b"SSUBSCRIBE", channel) for channel in channels]

    def _unsubscriptions(self) -> list[tuple[bytes, ...]]:
        channels = [
            channel for channel in self.unwanted & self._held if channel not in self._interest
        ]
        self.unwanted.intersection_update(self._wishes)
        self._held.difference_update(channels)
        self._expected.extend(_Sent(b"sunsubscribe", channel) for channel in channels)
        return [(b"SUNSUBSCRIBE", channel) for channel in channels]

    async def listen(self) -> None:
        """Take what the server sends."""
        while True:
            for reply in await self._socket.receive():
                self._take(reply)

    def _take(self, reply: Any) -> None:
        match reply:
            case [b"smessage", bytes() as channel, bytes() as payload]:
                self._deliver_news(payload)
                if channel in self._own:
                    self.proven = max(self.proven, self._heard_since(channel))
            case [b"ssubscribe", bytes() as channel, int()]:
                # The name that was sent, which others hold, too, and not one more of the same.
                self._held.add(self._expect(b"ssubscribe", channel).channel)
                self._finish(channel)
            case [b"sunsubscribe", bytes() as channel, int()]:
                # Unasked for, it says that the channel's slot went to another server.
                self._expect(b"sunsubscribe", channel)
            case [b"pong", _] | b"PONG":
                self.proven = max(self.proven, self._expect(b"pong").at)
                self._pinged = None
                self.ready.set()
                self._wake.set()
            case hiredis.ReplyError() if self._expected:
                self._refused(self._expected.popleft(), f"the store refuses: {reply}")
            case _:
                raise Unavailable("the store says what nobody asked for")

    def _expect(self, reply: bytes, channel: bytes = b"") -> _Sent:
        if self._expected:
            sent = self._expected.popleft()
            if (sent.reply, sent.channel) == (reply, channel):
                return sent
        raise Unavailable("the store ended a subscription")

    def _refused(self, sent: _Sent, reason: str) -> None:
        wish = self._wishes.get(sent.channel)
        # Where nobody waits for the acknowledgement, the refusal ends the whole link.
        if sent.reply != b"ssubscribe" or wish is None or "MOVED" in reason:
            raise Unavailable(reason)
        self._finish(sent.channel, reason)

    def _finish(self, channel: bytes, refusal: str = "") -> None:
        wish = self._wishes.pop(channel, None)
        if wish is not None:
            wish.refusal = refusal
            wish.done.set()

    def _deliver_news(self, payload: bytes) -> None:
        try:
            key, fields = decode_news(payload)
        except InvalidNews:
            return  # not ours: anyone with the right to publish may say anything
        self._deliver(key, fields)
