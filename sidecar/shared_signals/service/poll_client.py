"""Fetching events from a transmitter that does not push them (RFC 8936).

One sidecar polls a transmitter at a time, by a lease. What it takes is acknowledged with the next
poll, so only what is durable ever is; what cannot be kept now is neither acknowledged nor refused,
and the transmitter sends it again. So nothing is lost where a sidecar dies, and what comes twice
counts once.
"""

import random
from collections.abc import Callable, Collection
from typing import Protocol

import trio

from sidecar.service.audit.lease import TERM, Lease
from sidecar.service.observations.observations import Telemetry, WorkerFailed
from sidecar.service.observations.receiver import Polled
from sidecar.service.ports.backoff import spread
from sidecar.service.ports.calls import Overloaded, Unavailable
from sidecar.shared_signals.wire.security_event_tokens import InvalidSet, SetError
from sidecar.shared_signals.wire.stream_api import PollRequest, PollResponse
from sidecar.wire.settings.receiver import KnownTransmitter

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
CONCURRENT = 16
"""Tokens of one poll that are taken at a time."""


class Polls(Protocol):
    """A transmitter's poll endpoint."""

    async def poll(self, request: PollRequest) -> PollResponse:
        """Return the answer. Raises `Unavailable`; and `Overloaded`, with the wait it asks for."""


class Takes(Protocol):
    """Takes SETs, as `Receiving` does."""

    async def take(self, text: str, senders: Collection[str], shown: str = "") -> object:
        """Take one SET. Raises `InvalidSet`, `Overloaded`, `Unavailable`."""


class Poller:
    """Polls one transmitter while the lease is ours.

    `trouble` says why the last poll failed, empty where it did not; `judged` is called when it
    changes.
    """

    def __init__(  # noqa: PLR0913 - one place wires it
        self,
        *,
        transmitter: KnownTransmitter,
        polls: Polls,
        receiving: Takes,
        lease: Lease,
        telemetry: Telemetry,
        judged: Callable[[], None] = lambda: None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._transmitter = transmitter
        self._polls = polls
        self._receiving = receiving
        self._lease = lease
        self._telemetry = telemetry
        self._jitter = jitter
        self._taken: set[str] = set()
        self._refused: dict[str, SetError] = {}
        self._pause = 0.0
        self._judged = judged
        self.trouble = ""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Poll for ever."""
        task_status.started()
        while True:
            try:
                pause = await self._turn()
            except Exception as error:  # noqa: BLE001 - a worker loop: counted, and on
                self._telemetry.record(WorkerFailed(where="poll", error=error))
                pause = self._longer()
            await trio.sleep(spread(pause, self._jitter()))

    async def _turn(self) -> float:
        """Poll once, if it is our turn; gives the pause before the next."""
        try:
            if not await self._lease.holds():
                self._forget()
                return TERM
        except (Unavailable, Overloaded):
            return TERM
        response, failure = await self._poll()
        if failure is not None:
            return self._failed(failure)
        if response is None:
            return 0.0  # the lease went to another while we waited
        return await self._take_all(response)

    async def _poll(self) -> tuple[PollResponse | None, Overloaded | Unavailable | None]:
        """Poll, for as long as the lease is ours."""
        response: PollResponse | None = None
        failure: Overloaded | Unavailable | None = None
        acknowledged, refused = frozenset(self._taken), frozenset(self._refused)
        request = PollRequest(
            max_events=self._transmitter.poll_batch,
            ack=tuple(sorted(acknowledged)),
            set_errs=dict(self._refused),
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_hold, nursery.cancel_scope)
            try:
                response = await self._polls.poll(request)
            except (Overloaded, Unavailable) as error:
                failure = error
            nursery.cancel_scope.cancel()
        if response is not None:
            self._taken -= acknowledged
            for token_id in refused:
                self._refused.pop(token_id, None)
        return response, failure

    async def _keep_hold(self, scope: trio.CancelScope) -> None:
        """Renew the lease while a long poll waits; end the poll where it is lost."""
        while True:
            await trio.sleep(TERM / 2)
            try:
                if await self._lease.holds():
                    continue
            except (Unavailable, Overloaded):
                if self._lease.held:
                    continue
            scope.cancel()

    async def _take_all(self, response: PollResponse) -> float:
        kept = 0
        limit = trio.CapacityLimiter(CONCURRENT)

        async def take(token_id: str, text: str) -> None:
            nonlocal kept
            async with limit:
                is_kept = await self._take(token_id, text)
            kept += is_kept

        async with trio.open_nursery() as nursery:
            for token_id, text in response.sets.items():
                nursery.start_soon(take, token_id, text)
        if kept < len(response.sets):
            return self._failed(Unavailable("some events could not be kept; they will come again"))
        self._record(failed=False, sets=kept)
        self._pause = 0.0
        if response.more_available or response.sets:
            return 0.0  # at once: what is acknowledged so waits no longer with the transmitter
        return self._transmitter.poll_interval

    async def _take(self, token_id: str, text: str) -> bool:
        """Take one; False where it cannot be kept now."""
        try:
            await self._receiving.take(text, (self._transmitter.name,), self._transmitter.name)
        except InvalidSet as error:
            self._refused[token_id] = SetError(error.fault.value, error.description)
        except (Overloaded, Unavailable):
            return False
        else:
            self._taken.add(token_id)
        return True

    def _failed(self, error: Overloaded | Unavailable) -> float:
        asked = float(error.retry_after) if isinstance(error, Overloaded) else 0.0
        self._record(failed=True, detail=str(error))
        return max(self._longer(), min(asked, LONGEST_PAUSE) * 2)

    def _longer(self) -> float:
        self._pause = min(LONGEST_PAUSE, max(FIRST_PAUSE, self._pause * 2))
        return self._pause

    def _record(self, *, failed: bool, sets: int = 0, detail: str = "") -> None:
        changed, self.trouble = detail != self.trouble, detail
        self._telemetry.record(
            Polled(
                transmitter=self._transmitter.name,
                failed=failed,
                sets=sets,
                changed=changed,
                detail=detail,
            )
        )
        if changed:
            self._judged()

    def _forget(self) -> None:
        """Forget what was not acknowledged: it comes to whoever polls now, and counts once."""
        self._taken.clear()
        self._refused.clear()
        self._pause = 0.0
        if self.trouble:
            self.trouble = ""
            self._judged()
