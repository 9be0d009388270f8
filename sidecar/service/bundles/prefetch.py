"""Has the newest published bundle at hand before anybody orders it in force.

Each `poll` seconds the source is asked for the highest number that it has. Where that is higher
than what is in force, the bundle is fetched and verified, and held in memory: one, the newest. So
an activation does not wait for a slow source. Nothing is judged by what is at hand: the store names
it by its digest first, and it is verified anew then.
"""

import random
from collections.abc import Callable

import trio

from sidecar.service.bundles.library import BundleLibrary
from sidecar.service.observations.bundles import (
    BundleAtHand,
    BundlePolled,
    BundlePollFailed,
    BundlePollOutcome,
)
from sidecar.service.observations.observations import Telemetry, WorkerFailed
from sidecar.wire.bundles.generations import Generation
from sidecar.wire.bundles.refusal import BundleFlaw, InvalidBundle


class BundlePrefetch:
    """One sidecar's look at what is published, each `interval` seconds.

    `in_force` gives the generation that judges here; None: none does.
    """

    def __init__(
        self,
        *,
        library: BundleLibrary,
        in_force: Callable[[], Generation | None],
        interval: float,
        telemetry: Telemetry,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._library = library
        self._in_force = in_force
        self._interval = interval
        self._telemetry = telemetry
        self._jitter = jitter
        self._digest = ""
        self._failure = ""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Look, for ever. Sidecars that start together do not ask together."""
        task_status.started()
        await trio.sleep(self._interval * self._jitter())
        while True:
            try:
                await self.poll()
            except Exception as error:  # noqa: BLE001 - a worker loop: counted, and on
                self._telemetry.record(WorkerFailed(where="bundles", error=error))
            await trio.sleep(self._interval * (0.75 + 0.5 * self._jitter()))

    async def poll(self) -> None:
        """Have the newest at hand, if there is a newer one than what is in force. Never raises."""
        here = self._in_force()
        try:
            bundle = await self._library.prefetch(0 if here is None else here.sequence)
        except InvalidBundle as error:
            away = error.flaw is BundleFlaw.UNAVAILABLE
            outcome = BundlePollOutcome.UNAVAILABLE if away else BundlePollOutcome.REFUSED
            if str(error) != self._failure:
                self._telemetry.record(BundlePollFailed(flaw=error.flaw, detail=str(error)))
            self._failure = str(error)
        else:
            self._failure = ""
            outcome = BundlePollOutcome.NOTHING_NEWER
            if bundle is not None:
                is_another = bundle.digest != self._digest
                outcome = BundlePollOutcome.FETCHED if is_another else BundlePollOutcome.UNCHANGED
                self._digest = bundle.digest
                if is_another:
                    self._telemetry.record(
                        BundleAtHand(
                            sequence=bundle.sequence,
                            digest=bundle.digest,
                            signed_by=bundle.signed_by,
                        )
                    )
        at_hand = self._library.at_hand
        self._digest = self._digest if at_hand else ""
        self._telemetry.record(BundlePolled(outcome=outcome, sequence=at_hand))
