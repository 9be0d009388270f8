"""Index of a policy set: the policies for a session's user, and those that a fact concerns.

It is made once for each set. *Rules* are policies that always come to the same activation: they
differ in what they are called, where they count or what becomes of it, and are evaluated once. A
*roster* is what the set comes to for one kind of user. Sessions whose users no policy
distinguishes share one, so that it is found by a look-up, however many policies there are: those
for other users cost nothing.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from operator import itemgetter
from typing import NamedTuple, TypeAlias

import msgspec

from sidecar.domain.evaluation import dependencies
from sidecar.domain.evaluation.compiled import applies, names_agreed, names_said, unknown_of
from sidecar.domain.evaluation.dependencies import Parts
from sidecar.domain.evaluation.rules.condition_code import (
    FoundCauses,
    holds_of,
    is_quick,
    remembered,
)
from sidecar.domain.evaluation.rules.steadiness import fading_of
from sidecar.domain.facts.memberships import GROUPS, KINDS, ROLES
from sidecar.domain.policy.conditional_access import (
    Condition,
    Policy,
    PolicyState,
    Principals,
    Selection,
)
from sidecar.domain.session.risk import Thresholds
from sidecar.domain.session.scene import Found, Holds, Needs, World
from sidecar.domain.session.standing import AskedRequirement, Compiled
from sidecar.domain.session.state import Activation, State

Kept: TypeAlias = Callable[[dict[str, Activation]], tuple[Activation, ...]]
"""From the activations of a state to those of certain policies; `KeyError`: there are none yet."""

ROSTERS_BOUND = 1024
"""Kinds of users whose rosters are kept; beyond that, all are made anew."""

SHOWN_BOUND = 4096
"""Users, by all that their tokens show, whose rosters are at hand."""

_USER = "user"


class EvaluationRule(msgspec.Struct, frozen=True, eq=False):
    """Policies of one activation: one of them, compiled, and the names of all.

    `number` names their condition, `holds` says whether it does, and `found` by which causes, also
    where that is `quick` to find.
    `reads`: the parts of a state that the activation
    depends on, beside the time. `capped`: they cap a session's life, which is followed also where
    they are not for its user. `plain`:
    none of what makes more of an activation than causes and their marks. `kept` gives what a state
    has kept of each. `is_alone`: no other rule has its condition. (No tuple: the attributes of a
    struct are found quicker.)
    """

    compiled: Compiled
    needs_when_compliant: Needs
    needs_otherwise: Needs
    names: tuple[str, ...]
    number: int
    holds: Holds
    found: Found
    quick: bool
    reads: Parts
    capped: bool
    plain: bool
    kept: Kept
    is_alone: bool


class AskingPolicy(NamedTuple):
    """A policy that may ask for something; what policies of one number `alike` ask is the same.

    But for the apps and contexts in which they do, and whether they are on trial.
    """

    compiled: Compiled
    alike: int


class Asking(msgspec.Struct, frozen=True, eq=False):
    """Policies that ask for the same, of all apps and contexts: `policies`, and one of them.

    `places` are their names with their places in the order of policies; none where each policy of
    the roster asks for something else. `kept` gives what a state has kept of each. `alone`: the
    one requirement that they ask for, where nothing but causes and sign-ins bears on it.
    """

    compiled: Compiled
    alike: int
    policies: tuple[Compiled, ...]
    places: tuple[tuple[int, str], ...]
    kept: Kept
    alone: tuple[AskedRequirement, ...]


def shared_by(kept: Kept, activations: dict[str, Activation]) -> Activation | None:
    """Return the activation of policies where all have the same; None: they have not."""
    try:
        found = kept(activations)
    except KeyError:
        return None
    first = found[0]
    return first if len(found) == 1 or found.count(first) == len(found) else None


def kept_of(names: Sequence[str]) -> Kept:
    """Return what gives the activations of these policies; `KeyError` where there is none."""
    if len(names) > 1:
        return itemgetter(*names)
    (name,) = names
    return lambda activations: (activations[name],)


class Roster:
    """The policies for one kind of user: `rules`, and `asking` in the order of the policies.

    `timed` are the rules that time may change, and `fading` all that it changes in them. `others`
    are the policies for other users that are not among the rules.
    """

    __slots__ = ("_concerned", "asking", "fading", "others", "rules", "timed")

    def __init__(
        self,
        rules: Sequence[EvaluationRule],
        policies: Sequence[AskingPolicy],
        state: State,
        levels: Thresholds,
    ) -> None:
        mine = {id(rule) for rule in rules if applies(rule.compiled, state)}
        self.rules = tuple(rule for rule in rules if id(rule) in mine or rule.capped)
        names = {name for rule in rules if id(rule) in mine for name in rule.names}
        self.asking = _askings([one for one in policies if one.compiled.policy.id in names])
        names.update(name for rule in self.rules for name in rule.names)
        self.others = tuple(one.compiled for one in policies if one.compiled.policy.id not in names)
        self.timed = tuple(rule for rule in self.rules if rule.compiled.timed)
        conditions = (rule.compiled.policy.conditions for rule in self.timed)
        self.fading = fading_of(conditions, levels)
        self._concerned: dict[Parts, tuple[EvaluationRule, ...]] = {}

    def concerned(self, changed: Parts) -> tuple[EvaluationRule, ...]:
        """Return the rules that read any of the parts that have changed."""
        found = self._concerned.get(changed)
        if found is None:
            found = tuple(rule for rule in self.rules if rule.reads & changed)
            if len(self._concerned) >= ROSTERS_BOUND:
                self._concerned.clear()
            self._concerned[changed] = found
        return found


_Named: TypeAlias = tuple[frozenset[str], frozenset[str]]
"""The names of a kind that policies include, and those that they exclude."""


class RuleIndex:
    """The rules of a set of policies, and the rosters of them."""

    __slots__ = (
        "_by_issuer",
        "_by_shown",
        "_kinds",
        "_levels",
        "_named",
        "_policies",
        "_rosters",
        "_sources",
        "names",
        "rules",
    )

    def __init__(self, policies: Sequence[Compiled], world: World) -> None:
        numbers: dict[tuple[object, ...], int] = {}
        self._policies = tuple(
            AskingPolicy(one, numbers.setdefault(_demand_key(one), len(numbers)))
            for one in policies
        )
        self.names = tuple(one.policy.id for one in policies)
        self.rules = _rules_of(policies)
        self._sources = world.sources
        self._levels = world.rating.thresholds
        self._rosters: dict[tuple[object, ...], Roster] = {}
        self._by_shown: dict[tuple[object, ...], Roster] = {}
        everyone = [one.policy for one in policies]
        spared = list(world.break_glass.values())
        self._by_issuer = bool(spared) or any(p.issuers != Selection() for p in everyone)
        included = [p.users.include for p in everyone if p.users.include is not None]
        excluded = [*(p.users.exclude for p in everyone), *spared]
        self._named: dict[str, _Named] = {
            kind: (_names(included, kind), _names(excluded, kind)) for kind in (_USER, *KINDS)
        }
        self._kinds = tuple(kind for kind, named in self._named.items() if any(named))

    def roster(self, state: State) -> Roster:
        """Return the roster for a session's user."""
        kinds = self._kinds
        if not kinds and not self._by_issuer:
            return self._found(state, ())
        if state.claims_said or state.memberships:
            return self._found(state, self._key(state))
        # Most users are what their tokens show, and nobody says more of them.
        claims = state.claims
        shown = (state.issuer, *[claims[kind][0] if kind in claims else None for kind in kinds])
        found = self._by_shown.get(shown)
        if found is None:
            if len(self._by_shown) >= SHOWN_BOUND:
                self._by_shown.clear()
            found = self._by_shown[shown] = self._found(state, self._key(state))
        return found

    def _found(self, state: State, key: tuple[object, ...]) -> Roster:
        found = self._rosters.get(key)
        if found is None:
            if len(self._rosters) >= ROSTERS_BOUND:
                self._rosters.clear()
            found = self._rosters[key] = Roster(self.rules, self._policies, state, self._levels)
        return found

    def _key(self, state: State) -> tuple[object, ...]:
        """Return all by which the policies distinguish users."""
        key: list[object] = [state.issuer] if self._by_issuer else []
        sources = self._sources
        for kind in self._kinds:
            included, excluded = self._named[kind]
            key.append(_common(included, names_said(state, kind, sources)))
            key.append(_common(excluded, names_agreed(state, kind, sources)))
            if kind != _USER:
                key.append(unknown_of(state, kind, sources))
        return tuple(key)


def _askings(policies: Sequence[AskingPolicy]) -> tuple[Asking, ...]:
    """Return the policies in groups that ask for the same, in the order of the first of each."""
    groups: dict[tuple[object, ...], list[tuple[int, AskingPolicy]]] = {}
    for place, one in enumerate(policies):
        policy = one.compiled.policy
        key = (one.alike, policy.contexts, policy.apps, policy.state is PolicyState.REPORT_ONLY)
        groups.setdefault(key, []).append((place, one))
    each_alone = len(groups) == len(policies)
    return tuple(
        Asking(
            group[0][1].compiled,
            group[0][1].alike,
            tuple(one.compiled for _, one in group),
            () if each_alone else tuple((place, one.compiled.policy.id) for place, one in group),
            kept_of([one.compiled.policy.id for _, one in group]),
            _alone(group[0][1].compiled),
        )
        for group in groups.values()
    )


def _alone(compiled: Compiled) -> tuple[AskedRequirement, ...]:
    """Return the one requirement of a policy that asks for no more, for a user who is known."""
    policy = compiled.policy
    more = policy.grace or policy.session.max_lifetime is not None
    return () if more or policy.users.include is not None else compiled.alone


def _common(wanted: frozenset[str], names: Collection[str]) -> frozenset[str]:
    return wanted.intersection(names) if wanted else wanted


def _names(principals: Iterable[Principals], kind: str) -> frozenset[str]:
    return frozenset().union(*(_of_kind(one, kind) for one in principals))


def _of_kind(principals: Principals, kind: str) -> frozenset[str]:
    if kind == GROUPS:
        return principals.groups
    return principals.roles if kind == ROLES else principals.users


def _rules_of(policies: Sequence[Compiled]) -> tuple[EvaluationRule, ...]:
    alike: dict[tuple[object, ...], list[Compiled]] = {}
    for one in policies:
        alike.setdefault(_activation_key(one), []).append(one)
    firsts = [each[0] for each in alike.values()]
    functions = holds_of([one.check for one in firsts])
    causes = FoundCauses({one.policy.conditions: one.check for one in firsts}.values())
    asked = Counter(one.policy.conditions for one in firsts)
    conditions: dict[Condition | None, int] = {}
    interned: dict[Needs, Needs] = {}
    rules = []
    for first, each, holds in zip(firsts, alike.values(), functions, strict=True):
        found = causes.of(first.check)
        number = conditions.setdefault(first.policy.conditions, len(conditions))
        compliant, otherwise = first.needs_when_compliant, first.needs_otherwise
        compiled = first._replace(
            test=remembered(found, number),
            needs_when_compliant=interned.setdefault(compliant, compliant),
            needs_otherwise=interned.setdefault(otherwise, otherwise),
        )
        names = tuple(one.policy.id for one in each)
        capped = first.policy.session.max_lifetime is not None
        plain = not (capped or first.policy.grace or first.min_interval or first.policy.sticky)
        rules.append(
            EvaluationRule(
                compiled,
                compiled.needs_when_compliant,
                compiled.needs_otherwise,
                names,
                number,
                holds,
                found,
                is_quick(first.check),
                dependencies.reads(first.policy),
                capped,
                plain,
                kept_of(names),
                asked[first.policy.conditions] == 1,
            )
        )
    return tuple(rules)


def _demand_key(compiled: Compiled) -> tuple[object, ...]:
    """Return all that a demand depends on of its policy, beside its apps and contexts."""
    policy = compiled.policy
    return (*_activation_key(compiled), policy.grant.block, policy.grace)


def _activation_key(compiled: Compiled) -> tuple[object, ...]:
    """Return all that an activation depends on of its policy (`activation`)."""
    policy: Policy = compiled.policy
    if not dependencies.is_understood(policy):
        return (policy.id,)
    return (
        policy.conditions,
        policy.users,
        policy.issuers,
        policy.session,
        policy.sticky,
        policy.grace > 0,
        compiled.min_interval,
        compiled.needs_when_compliant,
        compiled.needs_otherwise,
    )
