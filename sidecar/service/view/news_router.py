"""Routes the news of records that grew: questions, floors, signs of our own, and facts."""

import math
from collections.abc import Callable, Mapping
from typing import Protocol

from sidecar.service.observations.observations import Telemetry, WorkerFailed
from sidecar.service.ports.store import BEGAN
from sidecar.service.view.store_epoch import Guard
from sidecar.service.view.view import View


class Questions(Protocol):
    """Takes up what concerns all sidecars: their questions, and the policies that they share."""

    def heard(self, key: bytes, fields: Mapping[bytes, bytes]) -> bool:
        """Take up news of its record; False where they are of another."""


class TracedNews(Protocol):
    """Records the way of events."""

    def heard(
        self,
        hear: Callable[[bytes, Mapping[bytes, bytes]], bool],
        key: bytes,
        fields: Mapping[bytes, bytes],
    ) -> None:
        """Have news taken up, and record that."""


class NewsRouter:
    """Hands each piece of news to whom it concerns.

    A link for news is made with it before there are services; they are connected before the link
    is opened.
    """

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self._view: View | None = None
        self._guard: Guard | None = None
        self._acknowledger: Questions | None = None
        self._way: TracedNews | None = None
        self._policies: Questions | None = None

    def connect(
        self,
        *,
        view: View,
        guard: Guard,
        acknowledger: Questions,
        way: TracedNews | None = None,
    ) -> None:
        """Hand news to these from now on; `way` records that of events."""
        self._view, self._guard, self._acknowledger = view, guard, acknowledger
        self._way = way

    def connect_policies(self, policies: Questions) -> None:
        """Hand news of the policies of the fleet to this from now on."""
        self._policies = policies

    def deliver(self, key: bytes, fields: dict[bytes, bytes]) -> None:
        """Take up news; never raises. What comes before there are services concerns none."""
        if self._view is None or self._guard is None or self._acknowledger is None:
            return
        began = fields.pop(BEGAN, None) is not None
        try:
            if self._policies is not None and self._policies.heard(key, fields):
                return
            if self._acknowledger.heard(key, fields):
                self._guard.heard(fields)
            elif not self._guard.has_heard(key, fields):
                if self._way is None:
                    self._view.hear(key, fields)
                else:
                    self._way.heard(self._view.hear, key, fields)
                if began:
                    self._view.began(key, fields)
        except Exception as error:  # noqa: BLE001 - a door: counted, and on
            self._telemetry.record(WorkerFailed(where="news", error=error))

    def own_channel(self, tag: str) -> bytes:
        """Return the channel on which this sidecar hears itself, at the server of this tag's slot.

        Raises `LookupError` before there are services.
        """
        if self._guard is None:
            raise LookupError("no services are connected")
        return self._guard.channel(tag)

    def heard_since(self, channel: bytes) -> float:
        """Return when what was heard last on a channel of our own was sent; else minus infinity."""
        return -math.inf if self._guard is None else self._guard.heard_since(channel)

    async def restored(self) -> None:
        """Read what may have been missed: the link for news is whole again."""
        if self._guard is not None and self._view is not None:
            await self._guard.check()
            await self._view.revalidate()
