"""Explanations of calls. Nothing is judged here: each outcome is the evaluator's, asked once more.

Conditions are explained by the very tests that were compiled (`scene.ConditionCheck`); activations,
demands and proofs by `Evaluator.looks`, the verdict by `decision`.
"""

from collections.abc import Callable, Collection, Iterable
from operator import itemgetter
from typing import TypeAlias

from msgspec.structs import replace

from sidecar.domain.evaluation.compiled import assumed, names_agreed, names_said, unknown_of
from sidecar.domain.evaluation.decision import (
    ALLOW,
    AccessRequest,
    Decision,
    Verdict,
    covers,
    decide,
    describe,
    explain,
    judge,
)
from sidecar.domain.evaluation.evaluator import Evaluator
from sidecar.domain.explanation.explanation import (
    AlternativeExplanation,
    AssignmentMatch,
    CauseEffect,
    CauseExplanation,
    ConditionExplanation,
    Explanation,
    GrantExplanation,
    PolicyExplanation,
    PolicyOutcome,
    ScoreExplanation,
)
from sidecar.domain.explanation.session_explanation import explain_session
from sidecar.domain.facts.first_shown import counted
from sidecar.domain.facts.memberships import GROUPS, ROLES
from sidecar.domain.facts.precedence import COMPLIANT
from sidecar.domain.policy.conditional_access import (
    NOBODY,
    ROUTINE,
    Assignment,
    Grant,
    Policy,
    Principals,
    Selection,
    SessionControls,
)
from sidecar.domain.session.presented import Presented
from sidecar.domain.session.scene import CalledFrom, ConditionCheck, Needs, Scene
from sidecar.domain.session.single_use import Due, Proof, SingleUseProofs, due
from sidecar.domain.session.standing import Compiled, Demand, Look
from sidecar.domain.session.state import Cause, Moment, State
from sidecar.domain.sources.source import Sources
from sidecar.domain.values.assurance import Authentication, Requirement
from sidecar.domain.values.stamp import MICROSECONDS

_MARKED = CauseEffect.MARKED
_EVERYBODY = AssignmentMatch(True, "everybody")
NOT_LOOKED_AT = "the policy is disabled, and was not looked at"


class _Call:
    """A call to be explained: of a session, at a moment, of an app, in contexts."""

    def __init__(  # noqa: PLR0913 - what a call is
        self,
        evaluator: Evaluator,
        state: State,
        app: str,
        contexts: frozenset[str],
        now: float,
        *,
        comes: CalledFrom | None,
        proofs: SingleUseProofs | None,
        presented: Presented | None,
    ) -> None:
        self.evaluator = evaluator
        self.presented = presented
        self.app = app
        self.contexts = contexts
        self.now = now
        self.moment = int(now * MICROSECONDS)
        self.state = evaluator.at(state, self.moment)
        self.scene = evaluator.scene(self.state, self.moment)
        self.strict_scene = evaluator.scene(self.state, self.moment, comes)
        own = None if presented is None else presented.authentication
        self.proofs = proofs_of(evaluator, self.state, own) if proofs is None else proofs
        self.access = AccessRequest(app, contexts, now, self.proofs)
        self._explained: dict[tuple[int, int, int], ConditionExplanation] = {}
        self._policies: dict[Look, PolicyExplanation] = {}
        self._needs: dict[Needs, Needs] = {}
        self._selected: dict[tuple[Selection, Selection, bool], _Selected] = {}
        self._users: dict[tuple[Assignment, Selection, bool], AssignmentMatch] = {}
        self.grants: dict[tuple[Grant, Moment], GrantExplanation] = {}
        self._texts: dict[tuple[str, str, Moment, str], str] = {}

    def condition(self, check: ConditionCheck, scene: Scene, needs: Needs) -> ConditionExplanation:
        """Explain a condition; of several policies that have it, once."""
        key = (id(check), id(scene), id(needs))  # the needs are interned
        found = self._explained.get(key)
        if found is None:
            found = self._explained[key] = self._condition(check, scene, needs)
        return found

    def _condition(self, check: ConditionCheck, scene: Scene, needs: Needs) -> ConditionExplanation:
        kind, asks, value = check.kind, check.asks, check.value(scene)
        if check.joined is not None:
            parts = tuple([self.condition(part, scene, needs) for part in check.parts])
            holds = check.joined([part.holds for part in parts])
            return ConditionExplanation(kind, holds, asks, value, (), parts)
        finding = check.test(scene, needs)
        causes = tuple([self.cause(cause) for cause in finding.causes])
        return ConditionExplanation(kind, finding.holds, asks, value, causes)

    def policy(self, policy: Policy, look: Look) -> PolicyExplanation:
        """Explain a policy by its look; those that share one, once."""
        known = self._policies.get(look)
        if known is None:
            known = self._policies[look] = _policy(self, look)
        if policy is look.compiled.policy:
            return known
        return replace(known, policy=policy.id, description=policy.description)

    def selected(self, policy: Policy) -> "_Selected":
        """Explain whether a policy is for the call's app and contexts; for all alike, once."""
        key = (policy.apps, policy.contexts, policy.grant.block)
        found = self._selected.get(key)
        if found is None:
            found = self._selected[key] = _selected(self, policy)
        return found

    def users(self, look: Look) -> AssignmentMatch:
        """Explain whether a policy is for the user; for all that are for the same, once."""
        if look.compiled.everybody:
            return _EVERYBODY
        policy = look.compiled.policy
        key = (policy.users, policy.issuers, look.applies)
        found = self._users.get(key)
        if found is None:
            found = _users(look.compiled, self.state, applies=look.applies)
            self._users[key] = found
        return found

    def cause(self, cause: Cause, fate: CauseEffect | None = None) -> CauseExplanation:
        """Explain a cause; one that several policies have is put into words once."""
        key = (cause.kind, cause.value, cause.since, cause.source)
        text = self._texts.get(key)
        if text is None:
            text = self._texts[key] = describe(cause)
        since = _seconds(cause.since)
        return CauseExplanation(cause.kind, cause.value, text, cause.signal, since, fate)

    def needs(self, compiled: Compiled) -> Needs:
        """Return what could satisfy a policy as things are."""
        compliant = self.scene.compliance == COMPLIANT
        needs = compiled.needs_when_compliant if compliant else compiled.needs_otherwise
        return self._needs.setdefault(needs, needs)

    def scene_of(self, compiled: Compiled) -> Scene:
        """Return what the conditions of a policy see."""
        return self.strict_scene if compiled.strict else self.scene


def proofs_of(
    evaluator: Evaluator, state: State, own: Authentication | None = None
) -> SingleUseProofs:
    """Return the single-use proofs of a call whose token shows its `own` sign-in.

    Where that is None, the token shows the session's latest one.
    """
    shown = next(iter(state.sign_ins), None) if own is None else own
    if shown is None:
        return SingleUseProofs(None, state.spent)
    proof = Proof(evaluator.shown(state, counted(state, shown)), shown.auth_time)
    return SingleUseProofs(proof, state.spent)


def explain_call(  # noqa: PLR0913 - what a call is
    evaluator: Evaluator,
    state: State,
    app: str,
    contexts: frozenset[str],
    now: float,
    *,
    comes: CalledFrom | None = None,
    proofs: SingleUseProofs | None = None,
    presented: Presented | None = None,
) -> Explanation:
    """Explain the verdict on a call of `app` in `contexts` (empty: routine) at `now` (seconds).

    It `comes` from the address that the session was last seen at, or from another one, or gives
    none. `proofs` are its single-use ones; None: of a token of the session's latest sign-in.
    `presented` is what its token shows, and the state one `as_of` that; None: it has none.
    """
    call = _Call(
        evaluator, state, app, contexts, now, comes=comes, proofs=proofs, presented=presented
    )
    standing = evaluator.standing(state, call.moment, comes, presented)
    decision = decide(standing, call.access, evaluator.world.ladder)
    looks = evaluator.looks(state, call.moment, comes, presented, standing)
    named = evaluator.policies
    policies = [call.policy(policy, look) for policy, look in zip(named, looks, strict=True)]
    known = {policy.id for policy in named}
    policies += [
        _demanded(call, demand)
        for demand in standing.enforced  # of these none is several policies'
        if demand.policy not in known
    ]
    policies += [_disabled(call, policy) for policy in evaluator.resting]
    demands = decision.demands
    return Explanation(
        time=now,
        app=app,
        contexts=tuple(sorted(contexts)),
        verdict=decision.verdict,
        why=_why(decision),
        pending=decision.pending,
        acr_values=decision.acr_values,
        max_age=decision.max_age,
        reasons=tuple(dict.fromkeys(demand.policy for demand in demands)),
        session=explain_session(evaluator, call.state, standing.revoked, presented),
        score=_score(call),
        policies=tuple(policies),
        uses_proof=decision.uses_proof,
    )


def _why(decision: Decision) -> str:
    if decision.revoked:
        return "the session is revoked, and no sign-in is later than that"
    if decision.verdict is Verdict.ALLOW:
        elsewhere = "; a step-up is pending elsewhere" if decision.pending else ""
        return f"no policy asks for anything more here{elsewhere}"
    texts = [(demand, explain(demand)) for demand in decision.asking]
    placed = [(place, name, text) for one, text in texts for place, name in one.alike]
    words = [f"{name}: {text}" for _, name, text in sorted(placed, key=itemgetter(0))]
    words += [f"{one.policy}: {text}" for one, text in texts if not one.alike]
    return "; ".join(words)


def _seconds(moment: Moment) -> float | None:
    return None if moment is None else moment / MICROSECONDS


def _policy(call: _Call, look: Look) -> PolicyExplanation:
    compiled, after = look.compiled, look.after
    policy = compiled.policy
    demands = look.demands
    users = call.users(look)
    apps, contexts = call.selected(policy)
    judged = _judged(call, *demands) if demands else ALLOW
    outcome = _outcome(call, look, judged, (apps, contexts))
    conditions = None
    now = [c.key for c in after.mark]
    before = now if look.before is after else [c.key for c in look.before.mark]
    marks = before, now
    scene, needs = call.scene_of(compiled), call.needs(compiled)
    if compiled.check is not None:
        conditions = call.condition(compiled.check, scene, needs)
    return PolicyExplanation(
        policy=policy.id,
        description=policy.description,
        state=policy.state,
        outcome=outcome,
        why=_why_outcome(call, outcome, look, (users, apps, contexts)),
        users=users,
        apps=apps,
        contexts=contexts,
        conditions=conditions,
        holds=after.holds,
        causes=tuple([call.cause(c, _fate(c, marks, look, scene, needs)) for c in after.causes]),
        mark=tuple([call.cause(c, _fate(c, marks, look, scene, needs)) for c in after.mark]),
        since=_seconds(after.since),
        sticky=policy.sticky,
        grant=_grant(call, look),
        pending=judged.pending,
        grace=policy.grace,
        min_interval=compiled.min_interval,
        binds_from=None if look.demand is None else look.demand.binds_from or None,
    )


def _judged(call: _Call, *demands: Demand) -> Decision:
    """Return what these demands alone make of the call."""
    ladder = call.evaluator.world.ladder
    return judge(demands, call.access, ladder)


def _outcome(
    call: _Call, look: Look, judged: Decision, assigned: tuple[AssignmentMatch, AssignmentMatch]
) -> PolicyOutcome:
    apps, contexts = assigned
    if not look.applies:
        return PolicyOutcome.OTHER_USER
    if not apps.matches:
        return PolicyOutcome.OTHER_APP
    if not contexts.matches:
        return PolicyOutcome.OTHER_CONTEXT
    if look.demand is None and look.after.is_cleared and judged.verdict is Verdict.ALLOW:
        return PolicyOutcome.CLEARED  # also where a life is not over
    if not look.demands:
        return PolicyOutcome.SATISFIED if look.after.holds else PolicyOutcome.NOT_MET
    match judged.verdict:
        case Verdict.ALLOW:
            met = all(each.is_met(call.now) or each.binds(call.now) for each in look.demands)
            return PolicyOutcome.SATISFIED if met else PolicyOutcome.IN_GRACE
        case Verdict.STEP_UP:
            return PolicyOutcome.STEP_UP
        case Verdict.DENY:
            return PolicyOutcome.DENY


def _why_outcome(
    call: _Call,
    outcome: PolicyOutcome,
    look: Look,
    assigned: tuple[AssignmentMatch, AssignmentMatch, AssignmentMatch],
) -> str:
    users, apps, contexts = assigned
    said = _WHY_OUTCOME.get(outcome)
    if said is not None:
        return said
    match outcome:
        case PolicyOutcome.OTHER_USER:
            return f"not for this user: {users.why}"
        case PolicyOutcome.OTHER_APP:
            return f"not for this app: {apps.why}"
        case PolicyOutcome.OTHER_CONTEXT:
            return f"not for this context: {contexts.why}"
        case PolicyOutcome.SATISFIED:
            return "it holds, and what it asks for was shown" if look.after.holds else "proven"
        case _:
            return "; ".join(explain(each) for each in look.demands if not each.is_met(call.now))


_WHY_OUTCOME = {
    PolicyOutcome.NOT_MET: "its conditions do not hold",
    PolicyOutcome.CLEARED: "it holds, and an operator has cleared what makes it hold",
}


def _fate(
    cause: Cause,
    marks: tuple[Collection[str], Collection[str]],
    look: Look,
    scene: Scene,
    needs: Needs,
) -> CauseEffect:
    """Return the effect of a cause: it is in the mark, or it is excused.

    `marks` are the keys of those in the mark, before and now.
    """
    before, now = marks
    key = cause.key
    if key in now:
        return _MARKED if key in before else CauseEffect.FRESH
    if look.after.excused and any(key == excused for excused, _ in look.after.excused):
        return CauseEffect.CLEARED
    if cause.circumstance and scene.proven(cause.circumstance, needs):
        return CauseEffect.PROVEN
    if look.compiled.min_interval and any(key == prompted for prompted, _ in look.after.prompted):
        return CauseEffect.JUST_PROVEN
    return CauseEffect.ACTIVE


def _grant(call: _Call, look: Look) -> GrantExplanation:
    """Explain what a policy asks for; where nothing but sign-ins bears on it, once for all alike.

    Then its session has no controls, so that neither the policy's demand nor its end of life says
    more of it.
    """
    policy = look.compiled.policy
    if policy.grant.block:
        return GrantExplanation(block=True)
    if policy.session != _UNCONTROLLED:
        return _granted(call, look)
    key = (policy.grant, look.after.since)  # which decides what of it was shown
    found = call.grants.get(key)
    if found is None:
        found = call.grants[key] = _granted(call, look)
    return found


_UNCONTROLLED = SessionControls()


def _granted(call: _Call, look: Look) -> GrantExplanation:
    policy = look.compiled.policy
    ladder = call.evaluator.world.ladder
    frequency = policy.session.sign_in_frequency
    compliant = call.scene.compliance == COMPLIANT
    alternatives = []
    for alternative, each in zip(look.compiled.alternatives, look.shown, strict=True):
        shown = min(each)
        possible = compliant or not alternative.compliant_device
        asked = alternative.asks or frequency is not None
        recent = frequency is None or not look.after.holds or call.now <= shown + frequency
        each_call = look.demand.each_call if look.demand is not None else None
        if each_call is not None:
            alone = each_call._replace(ways=(alternative.requirements,))
            asked, recent = True, due(alone, call.proofs, call.now) is not Due.ASKED
        alternatives.append(
            AlternativeExplanation(
                alternative.controls,
                satisfied=possible and (not asked or (shown >= 0 and recent)),
                possible=possible,
                level=ladder.name(max(r.rank for r in alternative.requirements)),
                shown=shown if asked and shown >= 0 else None,
                missing=tuple(
                    ladder.requirement_name(requirement)
                    for requirement, latest in zip(alternative.requirements, each, strict=True)
                    if requirement != Requirement() and latest < 0
                ),
            )
        )
    until = look.demand.valid_until if look.demand is not None and look.demand.lapses else None
    return GrantExplanation(
        alternatives=tuple(alternatives),
        sign_in_frequency=frequency,
        met_until=until or None,
        max_lifetime=policy.session.max_lifetime,
        life_ends=None if look.lifetime is None else look.lifetime.valid_until,
        every_time=policy.session.every_time is not None,
        spent=_spent(call) if policy.session.every_time is not None else None,
    )


def _spent(call: _Call) -> float | None:
    """Return when the session's latest sign-in bought a call."""
    proof = call.proofs.proof
    held = None if proof is None else call.proofs.spent.get(proof.known_by)
    return None if held is None else held.moment / MICROSECONDS


def _users(compiled: Compiled, state: State, *, applies: bool) -> AssignmentMatch:
    issuers = compiled.policy.issuers
    if state.issuer not in issuers:
        whose = state.issuer or "an unnamed issuer"
        return AssignmentMatch(
            applies, f"a user of {whose}, which {_place_in(issuers, {state.issuer})}"
        )
    sources = compiled.sources
    emergencies = compiled.break_glass.get(state.issuer, NOBODY)
    emergency = _named(emergencies, state, sources, names_agreed)
    if emergency:
        return AssignmentMatch(
            applies, f"a break-glass account, as {emergency}: no policy is for those"
        )
    users = compiled.policy.users
    excluded = _named(users.exclude, state, sources, names_agreed)
    if excluded:
        return AssignmentMatch(applies, f"excluded as {excluded}")
    if users.include is None:
        return AssignmentMatch(applies, _EVERYBODY.why)
    included = _named(users.include, state, sources, names_said)
    if included:
        return AssignmentMatch(applies, f"included as {included}")
    unknown = [f"the {kind} are unknown" for kind in assumed(users.include, state, sources)]
    if unknown:
        return AssignmentMatch(applies, f"taken for one of the included: {' and '.join(unknown)}")
    left_out = [
        f"the {kind} are unknown, which counts as having none"
        for kind, wanted in ((GROUPS, users.include.groups), (ROLES, users.include.roles))
        if wanted and unknown_of(state, kind, sources)
    ]
    return AssignmentMatch(applies, "; ".join(["not among the included", *left_out]))


def _named(
    principals: Principals,
    state: State,
    sources: Sources,
    names: Callable[[State, str, Sources], Collection[str]],
) -> str:
    """Return by which of its `names` a session's user is one of these; empty: it is none."""
    for claim, kind, wanted in (
        ("user", "user", principals.users),
        (GROUPS, "group", principals.groups),
        (ROLES, "role", principals.roles),
    ):
        shown = sorted(wanted.intersection(names(state, claim, sources))) if wanted else ()
        if shown:
            return f"{kind} {', '.join(shown)}"
    return ""


_Selected: TypeAlias = tuple[AssignmentMatch, AssignmentMatch]
"""Whether a policy is for a call's app, and for its contexts."""


def _selected(call: _Call, policy: Policy) -> _Selected:
    app = call.app or "an unnamed app"
    apps = AssignmentMatch(call.app in policy.apps, f"{app} {_place_in(policy.apps, {call.app})}")
    contexts = call.contexts or frozenset({ROUTINE})
    covered = covers(policy.contexts, call.contexts, block=policy.grant.block)
    where = f"{', '.join(sorted(contexts))} {_place_in(policy.contexts, contexts)}"
    if not covered and not call.contexts and policy.contexts.include is None:
        where = "a routine call; only a block, or a policy that names `routine`, is for those"
    return apps, AssignmentMatch(covered, where)


def _place_in(selection: Selection, names: Iterable[str]) -> str:
    wanted = set(names)
    if wanted & selection.exclude:
        return "is excluded"
    if selection.include is None:
        return "is one of all"
    if wanted & selection.include:
        return "is included"
    return f"is not one of {', '.join(sorted(selection.include))}"


def _demanded(call: _Call, demand: Demand) -> PolicyExplanation:
    """Return a demand that is no policy's of the files: of the daemon itself."""
    decision = _judged(call, demand)
    outcome = (
        PolicyOutcome.SATISFIED if decision.verdict is Verdict.ALLOW else PolicyOutcome.STEP_UP
    )
    return PolicyExplanation(
        policy=demand.policy,
        state="enabled",
        outcome=outcome,
        why=explain(demand),
        users=_EVERYBODY,
        apps=AssignmentMatch(True, "all"),
        contexts=AssignmentMatch(not decision.pending, "all but routine calls"),
        conditions=None,
        holds=True,
        causes=tuple(call.cause(cause, CauseEffect.MARKED) for cause in demand.causes),
        mark=tuple(call.cause(cause, CauseEffect.MARKED) for cause in demand.causes),
        since=_seconds(demand.since),
        sticky=False,
        grant=GrantExplanation(),
        pending=decision.pending,
    )


def _disabled(call: _Call, policy: Policy) -> PolicyExplanation:
    nobody = AssignmentMatch(False, NOT_LOOKED_AT)
    apps, contexts = _selected(call, policy)
    return PolicyExplanation(
        policy=policy.id,
        description=policy.description,
        state=policy.state,
        outcome=PolicyOutcome.DISABLED,
        why=NOT_LOOKED_AT,
        users=nobody,
        apps=apps,
        contexts=contexts,
        conditions=None,
        holds=False,
        causes=(),
        mark=(),
        since=None,
        sticky=policy.sticky,
        grant=GrantExplanation(block=policy.grant.block),
    )


def _score(call: _Call) -> ScoreExplanation:
    world = call.evaluator.world
    rating = world.rating
    terms = call.scene.terms
    at = rating.thresholds
    return ScoreExplanation(round(call.scene.score, 2), call.scene.level, at.medium, at.high, terms)
