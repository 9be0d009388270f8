"""Acts of operators on a session: step-ups that they ask for, and marks that they clear.

A mark asks for a sign-in that is later than it, as a policy's does. A clear stands for the proof
that a sign-in would be: it withdraws the marks of operators until its moment, and has every policy
of the session excuse the causes that then make it hold. What begins later is another cause, also
where it reads the same: a source that says again what it had said before the clear says news.

So acts need no order to arrive in. The fold takes each up at its moment; what arrives late is held
against the latest clear (`State.cleared`). What bears the very moment of a clear comes after it.
"""

import math
from collections.abc import Iterator, Mapping

import msgspec

from sidecar.domain.facts.fact_kinds import MarksCleared, StepUpAsked
from sidecar.domain.policy.conditional_access import Selection
from sidecar.domain.session.scene import ALWAYS
from sidecar.domain.session.standing import (
    OPERATOR,
    Alternative,
    AskedRequirement,
    Demand,
    Evidence,
    shown_for,
)
from sidecar.domain.session.state import ASKED_BOUND, Activation, Cause, State, StepUpHeld
from sidecar.domain.sources.origin import Origins, origins_of, together
from sidecar.domain.values.assurance import Authentication, Ladder, Requirement
from sidecar.domain.values.stamp import MICROSECONDS

MARK = "operator-mark"

EVERYTHING = Selection()
_NOTHING = Activation()


def ask(state: State, fact: StepUpAsked, moment: int) -> None:
    """Take up a step-up that an operator asks for, if no later clear has withdrawn it."""
    held = StepUpHeld(
        fact.contexts, (fact.control,), fact.max_age, fact.device, moment, origins_of([fact])
    )
    if moment < state.cleared and state.concerns(fact.device):
        return
    _keep(state, f"{fact.scope}|{_name(held)}", held)
    # To forget one would loosen: the two oldest become one that asks for all that both ask for.
    while len(state.asked) > ASKED_BOUND:
        first, second = sorted(state.asked, key=lambda key: (state.asked[key].at, key))[:2]
        joined = _joined(state.asked.pop(first), state.asked.pop(second))
        state.timely.pop(first, None)
        state.timely.pop(second, None)
        _keep(state, f"joined|{_name(joined)}", joined)


def _name(held: StepUpHeld) -> str:
    """Return what two of them have in common that ask for the same."""
    contexts, controls = ",".join(held.contexts), ",".join(held.controls)
    return f"{held.device}|{contexts}|{controls}|{held.max_age}"


def _keep(state: State, key: str, held: StepUpHeld) -> None:
    known = state.asked.get(key)
    if known is None or known.at < held.at:
        state.asked[key] = held


def _joined(one: StepUpHeld, other: StepUpHeld) -> StepUpHeld:
    """Return one that asks for all that two ask for, and perhaps more."""
    everywhere = not (one.contexts and other.contexts)
    ages = [held.max_age for held in (one, other) if held.max_age >= 0]
    return StepUpHeld(
        contexts=() if everywhere else tuple(sorted({*one.contexts, *other.contexts})),
        controls=tuple(sorted({*one.controls, *other.controls})),
        max_age=min(ages, default=-1),
        device=one.device if one.device == other.device else "",
        at=max(one.at, other.at),
        by=together((one.by, other.by)),
    )


def show(state: State, sign_in: Authentication, second: int) -> None:
    """Note which of what is asked for a sign-in is young enough for, first shown in this second."""
    for key, held in state.asked.items():
        if 0 <= second - sign_in.auth_time <= held.max_age:
            known = state.timely.get(key, ())
            if sign_in not in known:
                state.timely[key] = (*known, sign_in)[-ASKED_BOUND:]


def clear(state: State, fact: MarksCleared, moment: int) -> None:
    """Withdraw what was marked until then, if that is of this session; `state` changes.

    Of a device it is only where somebody may say that the session is on it: else who may not loosen
    could have put it there.
    """
    if fact.device and not (state.vouched and state.device == fact.device):
        return
    state.cleared = max(state.cleared, moment)
    state.asked = {
        key: held
        for key, held in state.asked.items()
        if held.at >= moment or not state.concerns(held.device)
    }
    state.timely = {key: by for key, by in state.timely.items() if key in state.asked}
    by = origins_of([fact])
    state.activations = {
        name: _excused(held, moment, by=by) for name, held in state.activations.items()
    }


def overlook(state: State, before: Mapping[str, Activation]) -> None:
    """Excuse what has come up since `before`, and began until the latest clear: it came late."""
    if state.cleared:
        state.activations = {
            name: _excused(held, state.cleared, before.get(name, _NOTHING))
            for name, held in state.activations.items()
        }


def _excused(
    held: Activation, moment: int, before: Activation = _NOTHING, by: Origins = ()
) -> Activation:
    """Return the activation with the causes excused that began until then and were new.

    `by`: the act that does so, where it is known.
    """
    known = {cause.key for cause in before.causes} | {cause.key for cause in before.mark}

    def is_excused(cause: Cause) -> bool:
        return cause.kind != ALWAYS.kind and cause.key not in known and (cause.since or 0) < moment

    mark = tuple(cause for cause in held.mark if not is_excused(cause))
    excused = dict(held.excused)
    excused.update((cause.key, moment) for cause in held.causes if is_excused(cause))
    if mark == held.mark and len(excused) == len(held.excused):
        return held
    waits = held if mark else _NOTHING
    ended, since = held.ended, held.ended_since
    if held.mark and not mark:
        ended, since = by or held.by, held.since
    return msgspec.structs.replace(
        held,
        mark=mark,
        begun=waits.begun,
        begun_otherwise=waits.begun_otherwise,
        excused=tuple(excused.items()),
        ended=ended,
        ended_since=since,
    )


def still_excused(before: Activation, causes: tuple[Cause, ...]) -> dict[str, int]:
    """Return the causes that are cleared, and when: those that go on as they were then."""
    if not before.excused:
        return {}
    since = {cause.key: cause.since or 0 for cause in causes}
    return {key: at for key, at in before.excused if key in since and since[key] < at}


def asked_for(state: State, evidence: Evidence, ladder: Ladder, now: int) -> Iterator[Demand]:
    """Yield the demands of operators that no sign-in has met by `now` (microseconds)."""
    for key, held in state.asked.items():
        if not state.concerns(held.device):
            continue
        requirements = _requirements(held, ladder)
        seen = _young(evidence, held, state.timely.get(key, ()), now // MICROSECONDS)
        shown = shown_for(Alternative(requirements, compliant_device=False), _second(held), seen)
        if seen.own is None and evidence.own is not None:
            shown = tuple(-1 for _ in requirements)
        if min(shown) >= 0:
            continue
        yield Demand(
            OPERATOR,
            Selection(frozenset(held.contexts)) if held.contexts else EVERYTHING,
            EVERYTHING,
            False,
            (Cause(OPERATOR, "asks for a step-up", held.at, MARK, by=held.by),),
            since=held.at,
            asks=tuple(
                AskedRequirement(each, -1 if at < 0 else math.inf)
                for each, at in zip(requirements, shown, strict=True)
            ),
            max_age=held.max_age if held.max_age >= 0 else None,
            untimed=evidence.is_untimed,
        )


def _second(held: StepUpHeld) -> int:
    return held.at // MICROSECONDS


def _requirements(held: StepUpHeld, ladder: Ladder) -> tuple[Requirement, ...]:
    """Return what is asked for; the highest level where something is configured no more."""
    for control in held.controls:
        if ladder.rank_of_level(control) is None and control not in ladder.strengths:
            return (*ladder.requirements(held.controls), Requirement(len(ladder.levels)))
    return ladder.requirements(held.controls)


def _young(
    evidence: Evidence, held: StepUpHeld, timely: tuple[Authentication, ...], second: int
) -> Evidence:
    """Return the evidence of sign-ins that are young enough, or were when first shown."""
    if held.max_age < 0:
        return evidence

    def is_young(sign_in: Authentication) -> bool:
        return sign_in in timely or second - sign_in.auth_time <= held.max_age

    own = evidence.own
    return evidence._replace(
        sign_ins=[one for one in evidence.sign_ins if is_young(one.authentication)],
        own=own if own is not None and is_young(own.authentication) else None,
    )
