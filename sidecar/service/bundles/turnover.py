"""The turn from one bundle of policies to the next, so that no check is judged by a mixture.

Theory. A generation has a *moment*: before it checks are judged by the one before, and from it on
by the new one, on every sidecar. A sidecar that cannot know which of the two it is answers neither.

1. Somebody *proposes* a bundle. Each sidecar that reads that gets the bundle and says that it has
   it. From then on it judges by the old one only while it has asked the store within `HOLD`
   seconds whether the proposal is active; where the store does not answer, it judges nothing.
2. Once all live sidecars have it, the proposer makes it *active*, from a moment a little ahead.
   Whoever reads that goes on until the moment, and then waits for the seal.
3. The proposer *seals* the moment, once the store has acknowledged the second step: the same one,
   where that was `HOLD` seconds before it, and a later one otherwise. Whoever asked the store after
   the acknowledgement has read the second step, and whoever did not ask for `HOLD` seconds
   judges nothing: so from the sealed moment on nobody judges by the old one.

The first call after the moment swaps the policies itself, so that none slips through before a timer
does. A sidecar that has not got the bundle then judges nothing until it has. A sidecar that starts
enlists before it reads the record: either the proposer waits for it, or it reads the proposal.
"""

from collections.abc import Callable
from typing import Any

import trio

from sidecar.domain.values.stamp import MICROSECONDS
from sidecar.service.bundles.ports import PolicySets
from sidecar.wire.bundles.bundle import Bundle
from sidecar.wire.bundles.generations import Generation, NamedGenerations

HOLD = 0.4
"""Seconds for which it is known that a proposal was not active, after the store was asked."""


class Turnover:
    """Says which bundle judges here.

    `suspend` is called with whether a turn is under way, which no answer may outlive. `changed` is
    set whenever something is to be looked at.
    """

    def __init__(
        self,
        sets: PolicySets,
        *,
        clock: Callable[[], float],
        monotonic: Callable[[], float] = trio.current_time,
        suspend: Callable[[bool], None] = lambda _: None,
    ) -> None:
        self._sets = sets
        self._clock = clock
        self._monotonic = monotonic
        self._suspend = suspend
        self._is_suspended = False
        self._named = NamedGenerations()
        self._asked = float("-inf")
        self._rejected = 0
        self._prepared: dict[str, tuple[Bundle, Any]] = {}
        self.in_force: Generation | None = None
        self.bundle: Bundle | None = None
        self.changed = trio.Event()

    @property
    def named(self) -> NamedGenerations:
        """Return what the store said last."""
        return self._named

    @property
    def pending(self) -> Generation | None:
        """Return what is named, and does not judge here yet; None: what is named does."""
        latest, now = self._named.latest, self.in_force
        if latest is None or latest.term == self._rejected:
            return None
        return latest if now is None or now.term < latest.term else None

    @property
    def is_open(self) -> bool:
        """Return whether a turn is under way."""
        return self.pending is not None or self._named.proposal is not None

    @property
    def moment(self) -> float | None:
        """The moment (seconds since the epoch) of what is pending; None: it is not sealed."""
        sealed = self._named.sealed
        return None if self.pending is None or sealed is None else sealed / MICROSECONDS

    def wanted(self) -> list[Generation]:
        """Return the generations whose bundles are to be at hand, and are not.

        What was rejected is among them: a signature that is not there may come yet.
        """
        latest, now = self._named.latest, self.in_force
        is_next = latest is not None and (now is None or now.term < latest.term)
        named = (latest if is_next else None, self._named.proposal)
        return [one for one in named if one is not None and not self.has(one)]

    def has(self, generation: Generation) -> bool:
        """Return whether a generation's bundle could be swapped in at once."""
        prepared = self._prepared.get(generation.digest)
        return prepared is not None and self._sets.is_current(prepared[1])

    def take(self, named: NamedGenerations, asked: float) -> None:
        """Take up what the store said when it was asked at this time (monotonic seconds)."""
        known = self._named.latest
        latest = named.latest
        if known is not None and (latest is None or latest.term < known.term):
            named = self._named._replace(proposal=named.proposal)  # the store has lost something
        self._asked = max(self._asked, asked)
        if named != self._named:
            self._named = named
            self._tidy()
            self.changed.set()

    def hold(self, bundle: Bundle, prepared: Any) -> None:
        """Have a bundle at hand. It is right: where it was rejected, that is taken back."""
        latest = self._named.latest
        if latest is not None and latest.digest == bundle.digest:
            self._rejected = 0
        self._prepared[bundle.digest] = (bundle, prepared)
        self.changed.set()

    def reject(self, generation: Generation) -> None:
        """Pass over a generation that is named: nobody who may sign can have wanted it."""
        self._rejected = generation.term
        self._tidy()

    def passes(self, now: float) -> bool:
        """Return whether a call may be judged now; the first after the moment brings the turn."""
        pending = self.pending
        if pending is not None:
            moment = self.moment
            if moment is not None and now >= moment:
                return self._turn(pending)
            return now < pending.moment / MICROSECONDS and self.in_force is not None
        if self._named.proposal is not None and self._monotonic() - self._asked > HOLD:
            return False
        return self.in_force is not None

    def trouble(self) -> str:
        """Say why calls are not judged; empty: they are."""
        latest = self._named.latest
        if self.passes(self._clock()):
            return ""
        if latest is None:
            return "no bundle is in force yet: run `sidecar policies activate`"
        if self.pending is None:
            return "another bundle may be in force by now, and the store does not say"
        return f"bundle {latest.sequence} is in force, and is not at hand here"

    def _turn(self, pending: Generation) -> bool:
        if not self.has(pending):
            return False
        bundle, prepared = self._prepared[pending.digest]
        self._sets.swap(prepared)
        self.in_force, self.bundle = pending, bundle
        self._tidy()
        self.changed.set()
        return True

    def _tidy(self) -> None:
        named = (self.in_force, self.pending, self._named.proposal)
        kept = {one.digest for one in named if one is not None}
        self._prepared = {one: held for one, held in self._prepared.items() if one in kept}
        if self._is_suspended is not self.is_open:
            self._is_suspended = self.is_open
            self._suspend(self._is_suspended)
