"""The prompt budget: how often a user is asked, counted over all sessions; logged when exceeded.

It never loosens anything: a prompt beyond the budget is made like any other. What is counted lies
in the user's record, so that all sidecars count the same; whichever finds the budget exceeded
claims the window, and logs that. Windows are whole multiples of the budget's period.
"""

from collections.abc import Callable, Iterable

import msgspec

from sidecar.service.observations.observations import PromptBudgetExceeded, Telemetry
from sidecar.service.records.fact_reader import UserRecord
from sidecar.service.records.facts import FactRecords
from sidecar.wire.settings.settings import Friction
from sidecar.wire.store.keys import SessionName
from sidecar.wire.store.prompts import prompts_since


class Prompted(msgspec.Struct, frozen=True, gc=False):
    """A session of a user (in plain text) was marked at these moments (microseconds)."""

    name: SessionName
    subject: str
    moments: tuple[int, ...]
    issuer: str = ""


class Budget:
    """Counts prompts, by the settings that are in force."""

    def __init__(
        self,
        *,
        settings: Callable[[], Friction],
        records: FactRecords,
        telemetry: Telemetry,
    ) -> None:
        self._settings = settings
        self._records = records
        self._telemetry = telemetry

    async def count(self, prompted: Iterable[Prompted], now: float) -> None:
        """Count prompts, and log users who have had too many. Raises `Unavailable`."""
        wanted = [each for each in prompted if each.moments]
        settings = self._settings()
        if not settings.prompts or not wanted:
            return
        per = settings.per
        until = int((now + 2 * per) * 1000)
        answers = await self._records.join(
            *(self._records.count_prompts(each.name, each.moments, until) for each in wanted)
        )
        over: dict[str, tuple[Prompted, int]] = {}
        for each, answer in zip(wanted, answers, strict=True):
            used = prompts_since(answer.record, now, per)
            if used > settings.prompts:
                over[each.name.user] = (each, used)
        if over:
            await self._alert(list(over.values()), now, settings)

    async def _alert(
        self, over: list[tuple[Prompted, int]], now: float, settings: Friction
    ) -> None:
        until = int((now + 2 * settings.per) * 1000)
        writes = [
            self._records.claim_alert(UserRecord(each.name.user), settings.per, until)
            for each, _ in over
        ]
        for (each, used), answer in zip(over, await self._records.join(*writes), strict=True):
            if answer.joined:
                self._telemetry.record(
                    PromptBudgetExceeded(
                        subject=each.subject,
                        issuer=each.issuer,
                        prompts=used,
                        budget=settings.prompts,
                        seconds=settings.per,
                    )
                )
