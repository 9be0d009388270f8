"""Routes the news of records that grew: questions, floors, signs of our own, and facts."""

from collections.abc import Mapping
from typing import Protocol

from sidecar.service.observations.observations import Telemetry, WorkerFailed
from sidecar.service.view.store_epoch import Guard
from sidecar.service.view.view import View


class Questions(Protocol):
    """Answers what other sidecars ask all of them."""

    def heard(self, key: bytes, fields: Mapping[bytes, bytes]) -> bool:
        """Take up news of the record of all sidecars; False where they are of another."""


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

    def connect(self, *, view: View, guard: Guard, acknowledger: Questions) -> None:
        """Hand news to these from now on."""
        self._view, self._guard, self._acknowledger = view, guard, acknowledger

    def deliver(self, key: bytes, fields: dict[bytes, bytes]) -> None:
        """Take up news; never raises. What comes before there are services concerns none."""
        if self._view is None or self._guard is None or self._acknowledger is None:
            return
        try:
            if self._acknowledger.heard(key, fields):
                self._guard.heard(fields)
            elif not self._guard.has_heard(key):
                self._view.hear(key, fields)
        except Exception as error:  # noqa: BLE001 - a door: counted, and on
            self._telemetry.record(WorkerFailed(where="news", error=error))

    def own_channel(self, tag: str) -> bytes:
        """Return the channel on which this sidecar hears itself, at the server of this tag's slot.

        Raises `LookupError` before there are services.
        """
        if self._guard is None:
            raise LookupError("no services are connected")
        return self._guard.channel(tag)

    async def restored(self) -> None:
        """Read what may have been missed: the link for news is whole again."""
        if self._guard is not None and self._view is not None:
            await self._guard.check()
            await self._view.revalidate()
