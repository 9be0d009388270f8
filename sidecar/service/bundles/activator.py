"""Has another bundle in force on all sidecars, as an operator orders: see `turnover`."""

from collections.abc import Callable
from typing import NamedTuple, NoReturn

import msgspec
import trio

from sidecar.domain.values.plural import counted
from sidecar.domain.values.stamp import MICROSECONDS
from sidecar.service.bundles.follower import AHEAD, IN_FORCE, READY
from sidecar.service.bundles.library import BundleLibrary
from sidecar.service.bundles.orders import (
    ActivationRefused,
    GenerationPage,
    PolicyActDone,
    PolicyOrder,
)
from sidecar.service.bundles.ports import PolicySets
from sidecar.service.bundles.turnover import HOLD
from sidecar.service.observations.bundles import PolicyActOutcome, PolicySetActed
from sidecar.service.observations.observations import Telemetry
from sidecar.service.ports.calls import Overloaded, Unavailable
from sidecar.service.records.generations import GenerationAnswers, GenerationRecords
from sidecar.wire.bundles.bundle import Bundle
from sidecar.wire.bundles.generations import (
    Generation,
    NamedGenerations,
    PolicyAct,
    generations_in,
)
from sidecar.wire.bundles.refusal import BundleFlaw, InvalidBundle
from sidecar.wire.yaml.tree import ConfigError

STANDS = 20.0
"""Seconds for which a proposal stands beyond the time that its proposer waits."""

BEHIND = 2.5
"""Seconds to the moment where some sidecar may learn of it by its own look alone."""

SETTLES = 3.0
"""Seconds beyond the moment for which it is waited until all say that it is in force."""

_FIRST_LOOK, _LAST_LOOK = 0.01, 0.1


class _Asked(NamedTuple):
    act: PolicyAct
    order: PolicyOrder
    operator: str


class PolicyActivator:
    """Orders bundles in force. `here` gives the generation that judges here; None: none does."""

    def __init__(  # noqa: PLR0913 - one place wires it
        self,
        *,
        records: GenerationRecords,
        library: BundleLibrary,
        sets: PolicySets,
        telemetry: Telemetry,
        clock: Callable[[], float],
        here: Callable[[], Generation | None],
    ) -> None:
        self._records = records
        self._library = library
        self._sets = sets
        self._telemetry = telemetry
        self._clock = clock
        self._here = here

    async def page(self) -> GenerationPage:
        """Return what is in force, and what was. Raises `Unavailable`, `Overloaded`."""
        named = await self._named()
        latest, sealed = named.latest, named.sealed
        return GenerationPage(
            latest.sequence if latest else 0,
            here.sequence if (here := self._here()) else 0,
            sealed / MICROSECONDS if sealed is not None else None,
            named.proposal.sequence if named.proposal else 0,
            named.activations,
        )

    async def act(self, act: PolicyAct, order: PolicyOrder, operator: str) -> PolicyActDone:
        """Have a bundle in force on all sidecars; return once it is.

        Raises `ActivationRefused`, with which nothing has changed; `Unavailable`, `Overloaded`.
        """
        asked = _Asked(act, order, operator)
        try:
            done = await self._act(asked)
        except ActivationRefused as error:
            self._record(asked, PolicyActOutcome.REFUSED, order.sequence, str(error))
            raise
        except (Unavailable, Overloaded) as error:
            self._record(asked, PolicyActOutcome.UNKNOWN, order.sequence, str(error))
            raise
        self._record(asked, PolicyActOutcome.DONE, done.sequence)
        return done

    async def _act(self, asked: _Asked) -> PolicyActDone:
        named = await self._named()
        if named.proposal is not None:
            by = named.proposal.by
            raise ActivationRefused(f"bundle {named.proposal.sequence} is under way, by {by}")
        bundle = await self._bundle(asked, named)
        now = self._moment()
        wait = asked.order.timeout
        proposal = Generation(
            term=named.term + 1,
            sequence=bundle.sequence,
            digest=bundle.digest,
            moment=now + int((wait + STANDS) * MICROSECONDS),
            act=asked.act,
            by=asked.operator,
            reason=asked.order.reason,
            at=now,
            signed_by=bundle.signed_by,
        )
        if not await self._records.propose(proposal):
            raise ActivationRefused("another activation was quicker; look what is in force")
        try:
            answers = await self._wait(READY, proposal.term, wait)
            if not answers.live or (answers.missing and not asked.order.partial):
                self._refuse_for(answers)
        except BaseException:
            with trio.move_on_after(2, shield=True):
                await self._drop(proposal.term)
            raise
        # From here on nothing is taken back: what the store does not acknowledge may still happen.
        generation, moment = await self._turn(proposal, whole=not answers.missing)
        return await self._done(asked, generation, moment, answers)

    async def _drop(self, term: int) -> None:
        try:
            await self._records.drop(term)
        except (Unavailable, Overloaded):
            return  # it falls by its own time

    async def _turn(self, proposal: Generation, *, whole: bool) -> tuple[Generation, int]:
        """Make a proposal active, and seal its moment: the theory stands in `turnover`."""
        ahead = int((AHEAD if whole else BEHIND) * MICROSECONDS)
        generation = msgspec.structs.replace(proposal, moment=self._moment() + ahead)
        await self._records.activate(generation)
        earliest = self._moment() + int(HOLD * MICROSECONDS)
        moment = await self._records.seal(generation.term, max(generation.moment, earliest))
        return generation, moment

    async def _done(
        self, asked: _Asked, generation: Generation, moment: int, answers: GenerationAnswers
    ) -> PolicyActDone:
        await trio.sleep(max(0.0, (moment - self._moment()) / MICROSECONDS))
        try:
            settled = await self._wait(IN_FORCE, generation.term, SETTLES)
        except (Unavailable, Overloaded):
            settled = GenerationAnswers(answers.live, {})
        return PolicyActDone(
            asked.act,
            generation.sequence,
            generation.digest,
            generation.term,
            moment / MICROSECONDS,
            asked.operator,
            len(settled.live),
            len(answers.ready),
            len(settled.ready),
            {name.decode(): answers.said.get(name, "") for name in answers.missing},
        )

    async def _bundle(self, asked: _Asked, named: NamedGenerations) -> Bundle:
        """Return the bundle that is meant, if it may be in force. Raises `ActivationRefused`."""
        latest, wanted = named.latest, asked.order.sequence
        try:
            if asked.act is PolicyAct.ROLLBACK:
                before = _earlier(named, wanted)
                bundle = await self._library.get(before.sequence, before.digest)
            else:
                bundle = await self._library.published(wanted)
            await self._sets.prepare(bundle)
        except InvalidBundle as error:
            words = f"bundle {wanted or ''} is refused ({error.flaw}): {error}"
            raise ActivationRefused(words) from None
        except ConfigError as error:
            raise ActivationRefused("\n".join(map(str, error.problems))) from None
        # Where the store names what is refused here, that holds up no better one.
        latest = self._here() or latest
        if asked.act is PolicyAct.ROLLBACK or latest is None:
            return bundle
        if bundle.digest == latest.digest:
            raise ActivationRefused(f"bundle {wanted} is in force already")
        if bundle.sequence <= latest.sequence:
            words = f"bundle {wanted} is older than {latest.sequence}, which is in force"
            raise ActivationRefused(f"{words}: `sidecar policies rollback` goes back")
        return bundle

    async def _wait(self, stage: str, term: int, within: float) -> GenerationAnswers:
        """Return what all live sidecars say, once all have it or the time is over."""
        answers, pause = GenerationAnswers(frozenset(), {}), _FIRST_LOOK
        with trio.move_on_after(within):
            while True:
                answers = await self._records.answers(stage, term)
                if answers.live and not answers.missing:
                    break
                reasons = (answers.said.get(one, "") for one in answers.missing)
                if any(one and not one.startswith(BundleFlaw.UNAVAILABLE) for one in reasons):
                    break  # one says why not, and will not have it soon
                await trio.sleep(pause)
                pause = min(_LAST_LOOK, pause * 2)
        return answers

    def _refuse_for(self, answers: GenerationAnswers) -> NoReturn:
        words = [
            f"{name.decode()[:12]}: {answers.said.get(name) or 'does not answer'}"
            for name in sorted(answers.missing)
        ]
        count = f"{len(answers.ready)} of {counted(len(answers.live), 'sidecar')} have it"
        raise ActivationRefused(f"nothing is changed: {count}; {'; '.join(words[:5])}")

    async def _named(self) -> NamedGenerations:
        return generations_in(await self._records.load(), self._moment())

    def _moment(self) -> int:
        return int(self._clock() * MICROSECONDS)

    def _record(
        self, asked: _Asked, outcome: PolicyActOutcome, sequence: int, detail: str = ""
    ) -> None:
        self._telemetry.record(
            PolicySetActed(
                act=asked.act,
                outcome=outcome,
                operator=asked.operator,
                sequence=sequence,
                reason=asked.order.reason,
                detail=detail,
            )
        )


def _earlier(named: NamedGenerations, sequence: int) -> Generation:
    """Return the generation to go back to: the one named, or the last that was another one."""
    latest = named.latest
    if latest is None:
        raise ActivationRefused("no bundle was in force yet")
    for one in named.activations[1:]:
        if one.sequence < latest.sequence and sequence in {0, one.sequence}:
            return one
    which = f"bundle {sequence}" if sequence else "an older bundle"
    raise ActivationRefused(f"{which} was not in force before, as far as it is remembered")
