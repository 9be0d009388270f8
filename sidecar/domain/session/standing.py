"""Standing of a session: the demands of the policies that hold or whose marks wait."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import itemgetter
from types import MappingProxyType
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from sidecar.domain.facts.precedence import COMPLIANT, compliance
from sidecar.domain.policy.conditional_access import (
    EveryTime,
    Policy,
    PolicyState,
    Principals,
    Selection,
)
from sidecar.domain.session.presented import Presented
from sidecar.domain.session.scene import ALWAYS, ConditionCheck, Needs, Test
from sidecar.domain.session.single_use import EachCall
from sidecar.domain.session.state import Activation, Cause, Moment, Revocation, SpentHeld, State
from sidecar.domain.sources.source import Sources
from sidecar.domain.values.assurance import CountedSignIn, Requirement, is_later
from sidecar.domain.values.stamp import MICROSECONDS


class Alternative(NamedTuple):
    """One way to satisfy a grant: what sign-ins must show, each one of them, and fact controls."""

    requirements: tuple[Requirement, ...]
    compliant_device: bool
    controls: tuple[str, ...] = ()

    @property
    def asks(self) -> bool:
        """Return whether it asks for anything of a sign-in."""
        return self.requirements != _NOTHING_ASKED


class Evidence(NamedTuple):
    """The sign-ins that may count, and the call's own among them; None: any of them counts.

    `skew` in seconds: by how much clocks may disagree. `presented` is what the call's token shows.
    `compliant`: the session is on a device that is known to be compliant.
    """

    sign_ins: Sequence[CountedSignIn]
    skew: int
    own: CountedSignIn | None = None
    presented: Presented | None = None
    compliant: bool = False

    def any_later(self, second: int) -> bool:
        """Return whether any sign-in counts as later than what began in this second."""
        return any(is_later(s.authentication.auth_time, second, self.skew) for s in self.sign_ins)

    @property
    def is_untimed(self) -> bool:
        """Sign-ins were shown that would count, and the time of none of them is known."""
        counting = self.sign_ins if self.own is None else (self.own,)
        for one in counting:
            if one.authentication.auth_time:
                return False
        return bool(counting)


_ANY_SIGN_IN = Requirement()
_REPORT_ONLY = PolicyState.REPORT_ONLY
_NOTHING_ASKED = (_ANY_SIGN_IN,)

FOR_GOOD = 1 << 40
"""Seconds: later than any that a session sees."""


class AskedRequirement(NamedTuple):
    """A requirement, and until when (seconds) a sign-in meets it; -1: none does."""

    requirement: Requirement
    until: float


class Compiled(NamedTuple):
    """A policy with its condition as a function and its grant as what sign-ins must show.

    `check` explains the condition; None where there is none. `min_interval` in seconds. `strict`:
    the condition asks for the call's own address. `break_glass`: whom no policy is for.
    `sources`: those that are configured. `alone`, where its grant is one requirement and asks for
    nothing besides: that, as none has met it.
    """

    policy: Policy
    test: Test
    alternatives: tuple[Alternative, ...]
    needs_when_compliant: Needs
    needs_otherwise: Needs
    timed: bool
    everybody: bool
    check: ConditionCheck | None = None
    min_interval: int = 0
    strict: bool = False
    break_glass: Mapping[str, Principals] = MappingProxyType({})
    sources: Sources = Sources()
    alone: tuple[AskedRequirement, ...] = ()

    def needs(self, state: State) -> Needs:
        """Return what could satisfy this policy as things are."""
        return self.needs_when_compliant if self.is_compliant(state) else self.needs_otherwise

    def is_compliant(self, state: State) -> bool:
        """Return whether the session is on a device that is known to be compliant."""
        return compliance(state, self.sources) == COMPLIANT


class Demand(msgspec.Struct, frozen=True, gc=False):
    """The demand of one policy on a session at a moment.

    `block`: nothing helps; `unsatisfiable`: no sign-in helps until a fact changes; else for each
    of `asks` a sign-in that meets it, later than `since`, and where `max_age` is set no older than
    that. The demand is met until `valid_until` (seconds; 0: it is not met); `met_in` names the
    contexts in which it is met all the same, each with the second until which; before `binds_from`
    (seconds), where its policy grants some grace, it may wait. `addressless`: the call has
    no address, and nothing but an address helps. `unknown` names what nobody has said of the user
    and by which alone the policy is taken to be for them; with `refuses_unknown` nothing helps but
    that somebody says it. `untimed`: sign-ins were shown, and the time of none is known.
    `each_call` is what every call needs besides: then the demand is met, of the session, where its
    mark is. `alike`, of a demand that several policies make in the same words: each of them (also
    the one that it names), with its place in the order of the policies (`each_of`).
    """

    policy: str
    contexts: Selection
    apps: Selection
    report_only: bool
    causes: tuple[Cause, ...]
    since: Moment = None
    asks: tuple[AskedRequirement, ...] = ()
    max_age: int | None = None
    block: bool = False
    unsatisfiable: bool = False
    valid_until: int = 0
    met_in: tuple[tuple[str, int], ...] = ()
    binds_from: int = 0
    addressless: bool = False
    each_call: EachCall | None = None
    unknown: tuple[str, ...] = ()
    refuses_unknown: bool = False
    untimed: bool = False
    alike: tuple[tuple[int, str], ...] = ()

    def is_met_in(self, contexts: frozenset[str], now: float) -> bool:
        """Return whether it is met in all contexts of a call that it concerns (at least one)."""
        concerned = {context for context in contexts if context in self.contexts}
        met = {context for context, until in self.met_in if now <= until}
        return bool(concerned) and concerned <= met

    def is_met(self, now: float) -> bool:
        """Return whether the demand is met at `now` (seconds)."""
        return now <= self.valid_until

    @property
    def lapses(self) -> bool:
        """Return whether it is met, and will not be for good."""
        return 0 < self.valid_until < FOR_GOOD

    def missing(self, now: float) -> tuple[Requirement, ...]:
        """Return what is still to be shown at `now` (seconds), without what one sign-in has met.

        All of it where the demand is met, or where it asks for no sign-in in particular.
        """
        if len(self.asks) == 1:
            return (self.asks[0].requirement,)
        unmet = [each.requirement for each in self.asks if now > each.until]
        return tuple(unmet or [each.requirement for each in self.asks])

    def binds(self, now: float) -> bool:
        """Return whether a call must meet the demand at `now` (seconds), or it may still wait."""
        return now >= self.binds_from

    @property
    def is_mark(self) -> bool:
        """Return whether something brought it about; else it is what is always required there."""
        return self.causes != (ALWAYS,)

    @property
    def signal(self) -> str:
        """The type of the signal that caused it last."""
        return max(self.causes, key=_latest).signal if self.causes else ALWAYS.signal


def _latest(cause: Cause) -> tuple[int, str]:
    return (cause.since or 0, cause.key)


def each_of(demands: tuple[Demand, ...]) -> tuple[Demand, ...]:
    """Return the demands, those of several policies once for each, in the order of the policies.

    Those of no policy come last.
    """
    if not any(demand.alike for demand in demands):
        return demands
    placed = sorted(
        [(*one, demand) for demand in demands for one in demand.alike], key=itemgetter(0)
    )
    of_policies = (replace(demand, policy=name, alike=()) for _, name, demand in placed)
    return (*of_policies, *(demand for demand in demands if not demand.alike))


PREPARED_BOUND = 16
"""Decisions that are kept of a standing: by app and contexts, of which sessions use few."""


class Standing(msgspec.Struct, frozen=True, gc=False, eq=False):
    """A session's standing: its revocation, and the demands of enforced and of tried policies.

    Those are kept as `enforced` and `on_trial`, in which policies that make the same demand make
    one (`Demand.alike`): whether a call passes is asked of those.
    `rank` is the best assurance that counts. `until` is the moment (microseconds) until which time
    alone is known to change nothing of it; None: it never does. `of_each_call` are the demands by
    which calls need a sign-in of their own. `prepared` is what was decided by it
    (`decision.prepare`), by the app and the contexts of calls without a proof. `outcomes` are what
    was decided by standings like it (`decision.Outcomes`), where an evaluator keeps them. What is
    kept, and what is known of the time, is no part of its value.
    """

    revoked: Revocation | None
    enforced: tuple[Demand, ...]
    on_trial: tuple[Demand, ...]
    rank: int
    auth_time: int
    until: int | None
    spent: Mapping[int, SpentHeld] = MappingProxyType({})
    of_each_call: tuple[Demand, ...] = ()
    prepared: dict[tuple[str, frozenset[str]], object] | None = None
    outcomes: object = None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Standing):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in _COMPARED) and (
            (self.enforced == other.enforced and self.on_trial == other.on_trial)
            or (self.demands == other.demands and self.tried == other.tried)
        )

    def __ne__(self, other: object) -> bool:
        return not self == other  # else msgspec would compare by identity

    @property
    def demands(self) -> tuple[Demand, ...]:
        """The demands of the enforced policies, each by itself."""
        return each_of(self.enforced)

    @property
    def tried(self) -> tuple[Demand, ...]:
        """The demands of the policies on trial, each by itself."""
        return each_of(self.on_trial)

    @property
    def asks_each_call(self) -> bool:
        """Return whether some calls need a sign-in of their own."""
        return bool(self.of_each_call)

    __hash__ = None  # type: ignore[assignment]

    def keep(self, app: str, contexts: frozenset[str], prepared: object) -> None:
        """Remember what was decided by it: so it costs nothing where nobody asks."""
        kept = self.prepared
        if kept is None or len(kept) >= PREPARED_BOUND:
            msgspec.structs.force_setattr(self, "prepared", kept := {})
        kept[app, contexts] = prepared


_COMPARED = ("revoked", "rank", "auth_time", "spent")
"""What is compared beside the demands, of which those `of_each_call` are some."""


STORE_LOST = "store-lost"
"""The policy that is named where a session's history is lost."""


TOKEN_WITHOUT_AUTH_TIME = "token-without-auth-time"  # noqa: S105 - a name, no secret
"""The policy that is named where sign-ins prove nothing, since the time of none is known."""


HISTORY_EXPIRED = "history-expired"
"""The policy that is named where a session's sign-in is older than facts are kept."""


def lost(before: int, evidence: Evidence, policy: str = STORE_LOST) -> Iterator[Demand]:
    """Have a session sign in anew of whose history nobody remembers what was before a moment.

    It may have had marks then, and its user or device may have been revoked. The moment is that of
    the store's loss, or as far back as facts are kept from when the session was first seen
    (`policy` names which).
    """
    if not evidence.any_later(before // MICROSECONDS):
        what = "lost" if policy == STORE_LOST else "kept no longer"
        cause = Cause("store", f"what was known is {what}", before, "policy")
        everything = Selection()
        untimed = evidence.is_untimed
        yield Demand(policy, everything, everything, False, (cause,), since=before, untimed=untimed)


SET_ASIDE = "set-aside"
"""The policy that is named where something of a session's history cannot be read or folded."""


def uncertain(state: State, evidence: Evidence) -> Iterator[Demand]:
    """Have a session sign in anew of whose history something was set aside.

    What was left out may have been what a policy marks for. A later sign-in would meet that mark.
    """
    if state.aside and not evidence.any_later(state.aside // MICROSECONDS):
        cause = Cause("history", "something of it cannot be read", state.aside, "policy")
        everything = Selection()
        yield Demand(SET_ASIDE, everything, everything, False, (cause,), since=state.aside)


OPERATOR = "operator"
"""The policy that is named where an operator asks for a step-up."""

OF_THE_DAEMON = frozenset(
    {STORE_LOST, TOKEN_WITHOUT_AUTH_TIME, HISTORY_EXPIRED, SET_ASIDE, OPERATOR}
)
"""Names that stand where policies do, and that no policy of the files may have."""


def shown_for(alternative: Alternative, second: int | None, evidence: Evidence) -> tuple[int, ...]:
    """Return when the latest sign-in was that meets each requirement; -1: there was none.

    They may be several sign-ins, all later than that second. Of a call, one of the requirements
    must be met by its own sign-in: what others have shown completes it, and never stands for it.
    """
    requirements, skew, sign_ins = alternative.requirements, evidence.skew, evidence.sign_ins
    shown = tuple([_latest_shown(each, second, sign_ins, skew) for each in requirements])
    if evidence.own is None or min(shown) < 0:
        return shown
    alone = (evidence.own,)
    if any(_latest_shown(each, second, alone, skew) >= 0 for each in requirements):
        return shown
    return tuple(-1 for _ in requirements)


def shows(requirement: Requirement, second: int | None, evidence: Evidence) -> bool:
    """Return whether the sign-ins later than that second meet a requirement (`shown_for`)."""
    own = evidence.own
    sign_ins = evidence.sign_ins if own is None else (own,)
    any_time = second is None or requirement == _ANY_SIGN_IN  # as in `_latest_shown`
    after = 0 if any_time else max(0, (second or 0) - evidence.skew)
    for sign_in in sign_ins:  # noqa: SIM110 - a generator takes longer
        if sign_in[2].auth_time > after and sign_in.meets(requirement):
            return True
    return False


def _latest_shown(
    requirement: Requirement, second: int | None, sign_ins: Sequence[CountedSignIn], skew: int
) -> int:
    """Return when the latest sign-in was that meets this since that second; -1: there was none.

    Where any sign-in will do, one from before that second counts, too.
    """
    moment = None if requirement == _ANY_SIGN_IN else second
    best = -1
    after = 0 if moment is None else max(0, moment - skew)  # as `is_later` compares
    for sign_in in sign_ins:
        auth_time = sign_in[2].auth_time
        if auth_time > best and auth_time > after and sign_in.meets(requirement):
            best = auth_time
    return best


class Look:
    """One policy as it stands for a session at a moment: what explanations are made of.

    `before` is its activation after the latest fact, `after` the one at the moment. What it asks
    for, and what of that was shown, is found out when somebody wants to know.
    """

    def __init__(  # noqa: PLR0913 - what there is to know of a policy
        self,
        compiled: Compiled,
        before: Activation,
        after: Activation,
        evidence: Evidence,
        *,
        applies: bool,
        ask: Callable[[], tuple[Demand | None, Demand | None]],
    ) -> None:
        self.compiled = compiled
        self.applies = applies
        self.before = before
        self.after = after
        self._evidence = evidence
        self._ask = ask
        self._asked: tuple[Demand | None, Demand | None] | None = None

    @property
    def asked(self) -> tuple[Demand | None, Demand | None]:
        """The demand of the policy, and the one at the end of the session's life."""
        if self._asked is None:  # a `cached_property` would take a lock
            self._asked = self._ask()
        return self._asked

    @asked.setter
    def asked(self, asked: tuple[Demand | None, Demand | None]) -> None:
        self._asked = asked

    @property
    def demand(self) -> Demand | None:
        """The demand of the policy."""
        return self.asked[0]

    @property
    def lifetime(self) -> Demand | None:
        """The demand of the policy at the end of the session's life."""
        return self.asked[1]

    @property
    def demands(self) -> tuple[Demand, ...]:
        """Everything that the policy asks for."""
        return tuple([each for each in self.asked if each is not None])

    @property
    def shown(self) -> tuple[tuple[int, ...], ...]:
        """The second of the latest sign-in for each requirement of each alternative; -1: none."""
        since = self.after.since
        second = None if since is None else since // MICROSECONDS
        return tuple([shown_for(one, second, self._evidence) for one in self.compiled.alternatives])


def demand_of(  # noqa: C901 - one case after the other
    compiled: Compiled,
    activation: Activation,
    evidence: Evidence,
) -> Demand | None:
    """Return what a policy that holds, or whose mark waits, asks for; None: nothing, for good."""
    policy = compiled.policy
    holds, since = activation.holds, activation.since
    compliant = evidence.compliant
    if policy.grant.block:
        return _demand(compiled, activation, evidence, since)
    second = None if since is None else since // MICROSECONDS
    if compiled.alone:
        if activation.is_cleared or shows(compiled.alone[0].requirement, second, evidence):
            return None
        return _demand(compiled, activation, evidence, since, compiled.alone)
    possible = compiled.alternatives
    if not compliant and any(one.compliant_device for one in possible):
        possible = tuple(a for a in possible if not a.compliant_device)
    if not possible:
        if not holds:
            return None
        return _demand(compiled, activation, evidence, since, unsatisfiable=True)
    if activation.is_cleared:
        return None
    every_time = policy.session.every_time if holds else None
    frequency = policy.session.sign_in_frequency if holds else None
    easiest = possible[0]
    if not easiest.asks:
        since = None
    if every_time is not None:
        return _of_each_call(compiled, activation, evidence, possible, every_time)
    if frequency is None and not all(alternative.asks for alternative in possible):
        return None
    shown = [shown_for(alternative, second, evidence) for alternative in possible]
    best = max([min(each) for each in shown])
    if best >= 0 and frequency is None:
        return None
    asks = tuple(
        [
            AskedRequirement(each, _good_until(latest, frequency))
            for each, latest in zip(easiest.requirements, shown[0], strict=True)
        ]
    )
    valid_until = best + frequency if frequency is not None and best >= 0 else 0
    return _demand(compiled, activation, evidence, since, asks, frequency, valid_until)


def _of_each_call(
    compiled: Compiled,
    activation: Activation,
    evidence: Evidence,
    possible: tuple[Alternative, ...],
    every_time: EveryTime,
) -> Demand:
    """Return the demand of a policy that asks each call for a sign-in of its own.

    Each sign-in must be enough by itself, so that all of the easiest way is asked for.
    """
    since, easiest = activation.since, possible[0]
    second = None if since is None else since // MICROSECONDS
    met = any(min(shown_for(each, second, evidence)) >= 0 for each in possible)
    ways = tuple(each.requirements for each in possible)
    return _demand(
        compiled,
        activation,
        evidence,
        since if easiest.asks else None,
        tuple(AskedRequirement(requirement, -1) for requirement in easiest.requirements),
        0,
        FOR_GOOD if met else 0,
        EachCall(ways, second, every_time.within, every_time.grace, evidence.skew),
    )


def _demand(  # noqa: PLR0913, PLR0917 - made once, with all that it is
    compiled: Compiled,
    activation: Activation,
    evidence: Evidence,
    since: Moment,
    asks: tuple[AskedRequirement, ...] = (),
    max_age: int | None = None,
    valid_until: int = 0,
    each_call: EachCall | None = None,
    *,
    unsatisfiable: bool = False,
) -> Demand:
    policy = compiled.policy
    return Demand(
        policy.id,
        policy.contexts,
        policy.apps,
        policy.state is _REPORT_ONLY,
        activation.mark or activation.causes,
        since,
        asks,
        max_age,
        policy.grant.block,
        unsatisfiable,
        valid_until,
        (),
        _binds_from(policy, activation, compliant=evidence.compliant) if policy.grace else 0,
        False,
        each_call,
    )


def refused_without_address(compiled: Compiled, activation: Activation) -> Demand:
    """Return the refusal by a policy that needs the call's address, where the call gives none."""
    policy = compiled.policy
    return Demand(
        policy.id,
        policy.contexts,
        policy.apps,
        policy.state is _REPORT_ONLY,
        activation.causes,
        block=policy.grant.block,
        unsatisfiable=not policy.grant.block,
        addressless=True,
    )


def refused_unknown(compiled: Compiled, activation: Activation, unknown: tuple[str, ...]) -> Demand:
    """Return the refusal by a policy whose assignment asks what nobody has said of the user."""
    policy = compiled.policy
    return Demand(
        policy.id,
        policy.contexts,
        policy.apps,
        policy.state is _REPORT_ONLY,
        activation.mark or activation.causes,
        block=policy.grant.block,
        unsatisfiable=not policy.grant.block,
        unknown=unknown,
        refuses_unknown=True,
    )


def _good_until(shown: int, frequency: int | None) -> float:
    """Return until when (seconds) a sign-in counts; -1: there was none."""
    if shown < 0:
        return -1
    return math.inf if frequency is None else shown + frequency


def _binds_from(policy: Policy, activation: Activation, *, compliant: bool) -> int:
    """Return when a mark begins to bind, in seconds; 0: at once, as every block does."""
    begun = activation.begun if compliant else activation.begun_otherwise
    if not policy.grace or policy.grant.block or begun is None:
        return 0
    return begun // MICROSECONDS + policy.grace
