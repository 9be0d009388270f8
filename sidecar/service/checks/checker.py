"""The read path: a call comes in, an answer goes out, and in the steady state nothing is awaited.

    call -> token (cached) -> session in the view -> what the call shows -> standing -> answer

What a call shows - a new address, a new device, a fresh sign-in - is a fact like any other: it is
folded in before the call is answered, and the write-back spreads it.
"""

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Protocol

import msgspec
import trio

from sidecar.domain.evaluation.decision import (
    AccessRequest,
    Decision,
    Verdict,
    decide,
    needs_own_proof,
    prepare,
)
from sidecar.domain.explanation.explain import explain_call
from sidecar.domain.facts.first_shown import counted
from sidecar.domain.session.presented import Presented
from sidecar.domain.session.scene import CalledFrom
from sidecar.domain.session.single_use import EMPTY
from sidecar.domain.values.assurance import Authentication
from sidecar.domain.values.location import Place
from sidecar.domain.values.stamp import MICROSECONDS
from sidecar.service.audit.turns import Turns
from sidecar.service.checks.assessment import Assessment
from sidecar.service.checks.call_contexts import CallContexts, UnknownContext
from sidecar.service.checks.call_facts import CallFacts
from sidecar.service.checks.decision_basis import basis_of
from sidecar.service.checks.decision_ids import DecisionIds
from sidecar.service.checks.decision_takers import CheckTraces, DecisionTaker, takers_of
from sidecar.service.checks.kept_answers import KeptAnswer, KeptAnswers, RepeatedAnswer
from sidecar.service.checks.proof_of_possession import Possessions
from sidecar.service.checks.responses import (
    UNKNOWN_MAX_AGE,
    AccessDecision,
    Answerers,
    unknown_context,
)
from sidecar.service.checks.single_use import ProofConsumer
from sidecar.service.checks.trial_records import checked, strictest, trial_records
from sidecar.service.observations.observations import (
    BreakGlassUsed,
    ClaimMissing,
    Telemetry,
    TokenRefused,
    WorkerFailed,
)
from sidecar.service.ports.calls import Answer, Call, DecisionBasis, Overloaded, Unavailable
from sidecar.service.shared_table.publisher import Publisher, ShownToken
from sidecar.service.view.live_session import Identity, Live
from sidecar.service.view.view import View
from sidecar.wire.routes.routes import Routes
from sidecar.wire.settings.settings import Resilience, Settings
from sidecar.wire.store.records import apps_of
from sidecar.wire.tokens.claims import InvalidToken, Token


class Verifier(Protocol):
    """Believes tokens, or raises `InvalidToken`."""

    def want_claims(self, names: frozenset[str]) -> None:
        """Keep these claims of tokens from now on, too: policies ask for them."""

    def cached(self, token: str, now: float) -> Token | None:
        """Return a token that was verified before and still counts; None: verify it."""

    def verify_at_once(self, token: str, now: float) -> Token | None:
        """Verify a token if no issuer need be asked for that; None: `verify` must."""

    async def verify(self, token: str, now: float, since: float = 0.0) -> Token:
        """Verify a token; ask its issuer again if it was last asked before `since`."""


class Checker:
    """Answers calls. `replace` takes up a new configuration between two of them.

    `publisher` is offered each call that passes: apps may then let it pass without asking.
    `decision_log` and `traces` take each decision, once; None: it is not logged, or not traced.
    `may_judge` says whether the policies of here are those of this moment; None: always.
    """

    def __init__(  # noqa: PLR0913 - one place wires it
        self,
        *,
        settings: Settings,
        routes: Routes,
        verifier: Verifier,
        view: View,
        place_of: Callable[[str], Place],
        telemetry: Telemetry,
        clock: Callable[[], float],
        new_id: Callable[[], str],
        proof_consumer: ProofConsumer,
        decision_ids: DecisionIds | None = None,
        refused: Callable[[Answer], None] = lambda _: None,
        publisher: Publisher | None = None,
        decision_log: DecisionTaker | None = None,
        traces: CheckTraces | None = None,
        may_judge: Callable[[float], bool] | None = None,
    ) -> None:
        self._takers = takers_of(decision_log, traces)
        self._traces = traces
        self._may_judge = may_judge
        self._spender = proof_consumer
        self._publisher = publisher
        self._verifier = verifier
        self._view = view
        self._place_of = place_of
        self._telemetry = telemetry
        self._clock = clock
        self._refused = refused
        self._ids = decision_ids or DecisionIds(new_id())
        self._possessions = Possessions(settings.tokens.binding)
        self.kept_answers = KeptAnswers()
        self._call_facts = CallFacts(settings=settings, view=view, place_of=place_of, new_id=new_id)
        self.replace(settings, routes)

    def replace(self, settings: Settings, routes: Routes) -> None:
        """Answer by this configuration from now on."""
        self._settings = settings
        self._possessions.replace(settings.tokens.binding)
        self._contexts = CallContexts(settings, routes)
        self._answerers = Answerers(
            settings.app, settings.apps, settings.tokens.binding.dpop_algorithms
        )
        self._call_facts.replace(settings)
        self.kept_answers.clear()
        self._explains = settings.log.checks and settings.log.explain

    def want_claims(self, names: Iterable[str]) -> None:
        """Keep these claims of tokens: policies ask for them."""
        wanted = frozenset(names)
        self._verifier.want_claims(wanted)
        self._call_facts.want_claims(wanted)

    def check_at_once(self, call: Call) -> RepeatedAnswer | None:
        """Answer a call as the one like it before, if nothing has changed since (`KeptAnswer`).

        None: it is to be judged (`judge`), which may have to wait. Nothing was done then.
        """
        now = self._clock()
        if self._may_judge is not None and not self._may_judge(now):
            return None
        token = self._verifier.cached(call.token, now) if call.token else None
        if token is None:
            return None
        try:
            contexts, label, max_staleness = self._contexts.judged(call)
        except UnknownContext:
            return None
        kept = self.kept_answers.find(token, label, call)
        if kept is None or kept.ip != call.ip or kept.user_agent != call.user_agent:
            return None
        if not (kept.prepared.holds(now) and self._possessions.asks_nothing(token, call)):
            return None
        live = self._view.find(token.namespace, token.user, token.session)
        if live is None or live.token is not token or not self._call_facts.is_recent(live, now):
            return None
        standing = live.judged(self._view.evaluator, now, kept.presented)
        if standing is not kept.standing or live.version != kept.version:
            return None
        if contexts and self._view.staleness() > max_staleness:
            return None
        publisher = self._publisher
        if publisher is not None and publisher.wants(call, live, token, contexts):
            return None
        id_ = self._ids.next()
        self._record(call, kept.answer, id_, now, repeated=True)
        return RepeatedAnswer(kept.answer, id_)

    async def check(self, call: Call) -> Answer:
        """Answer a call. Never raises for what the caller sent."""
        # A door may have asked that before (some microseconds of a way that takes hundreds): by now
        # the same may have been answered to another call.
        repeated = self.check_at_once(call)
        return await self.judge(call) if repeated is None else repeated.whole

    async def judge(self, call: Call) -> Answer:
        """Answer a call by all that is known of its session. Never raises, as `check` does."""
        started = self._clock()
        traces = self._traces
        span = None if traces is None else traces.enter(call)
        try:
            resolved = self._contexts.resolve(call, started)
            if self._may_judge is not None and not self._may_judge(started):
                return self._recorded(resolved, self._without_policies(resolved), started)
            return self._recorded(resolved, await self._answer(resolved), started)
        except UnknownContext as error:
            return self._recorded(call, unknown_context(str(error)), started)
        finally:
            if traces is not None and span is not None:
                traces.leave(span)

    def _without_policies(self, call: Call) -> Answer:
        """Answer a call that no policies may judge: denied where its contexts say so, or 503."""
        denies = self._contexts.resilience(call.contexts) is Resilience.DENY
        resilience = Resilience.DENY if denies else Resilience.UNAVAILABLE
        return self._answerers.of(self._settings.app.id).unknown(resilience, AccessDecision(call))

    def judge_at_once(self, call: Call) -> Answer | None:
        """Answer a call as `judge` does, where it has to wait for nothing; else return None.

        Then nothing was done but to take up what the call shows, which nobody can do twice.
        """
        started = self._clock()
        if self._may_judge is not None and not self._may_judge(started):
            return None
        token = self._verifier.cached(call.token, started) if call.token else None
        if token is None or token.confirmed_at or not self._possessions.asks_nothing(token, call):
            return None
        live = self._view.find(token.namespace, token.user, token.session)
        app = self._settings.app.id or (token.apps[0] if len(token.apps) == 1 else None)
        if live is None or app is None:
            return None
        try:
            resolved = self._contexts.resolve(call, started)
            self._call_facts.take(live, token, resolved)
        except (UnknownContext, Unavailable, Overloaded):
            return None
        if live.missing_device:
            return None
        judged = self._judged(resolved, live, token, app)
        if not isinstance(judged, Answer):
            return None
        self._offer(judged, resolved, live, token, (app,))
        return self._recorded(resolved, judged, started)

    async def gather(
        self,
        calls: Iterable[Call],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Verify the tokens of calls, and bring their sessions into the view together.

        It decides nothing and never raises: the check of each call follows, in whatever order, and
        finds out by itself what could not be had. Started once it is under way, so that a check
        waits for what it needs, and does not do it again.
        """
        wanted: dict[Identity, str] = {}
        turns = Turns(share=1)
        for call in calls:
            with suppress(InvalidToken):
                token = self._verified_at_once(call.token, self._clock())
                if token is not None:
                    wanted[Identity(token.namespace, token.user, token.session)] = token.device
            await turns.give_way()
        task_status.started()
        try:
            await self._view.open_all(wanted)
        except (Unavailable, Overloaded):
            return
        except Exception as error:  # noqa: BLE001 - one session's trouble is not the others'
            self._telemetry.record(WorkerFailed(where="view", error=error))

    async def check_session(self, session: str, call: Call) -> Answer | None:
        """Judge a known session without a token; None for one that is not known here.

        Of several users who have a session of this name the strictest answer counts.
        It says how the session stands, not that the caller holds it: only for callers that have
        seen to that themselves. `call.token` is not looked at.
        """
        started = self._clock()
        try:
            resolved = self._contexts.resolve(call, started)
        except UnknownContext as error:
            return self._recorded(call, unknown_context(str(error)), started)
        if self._may_judge is not None and not self._may_judge(started):
            return self._recorded(resolved, self._without_policies(resolved), started)
        await self._view.bring(session)
        lives = [one for one in self._view.find_session(session) if one.state.established]
        answers = [await self._answer_known(live, resolved) for live in lives]
        if not answers:
            return None
        return self._recorded(resolved, strictest(answers), started)

    def _recorded(self, call: Call, answer: Answer, started: float) -> Answer:
        """Name an answer, and record it. One that is repeated is in the history by its first."""
        id_ = self._ids.next()
        self._record(call, answer, id_, started, repeated=False)
        whole = RepeatedAnswer(answer, id_).whole
        if answer.verdict is not Verdict.ALLOW:
            self._refused(whole)
        return whole

    def _record(
        self, call: Call, answer: Answer, id_: str, started: float, *, repeated: bool
    ) -> None:
        """Count an answer and how long it took, and log it: every answer comes by here, once."""
        seconds = max(0.0, self._clock() - started)
        self._telemetry.checked(answer.error or answer.verdict, answer.context, seconds)
        trace = ""
        if self._takers is not None:
            trace = self._takers.take(call, answer, id_, started, seconds, repeated=repeated)
        if self._settings.log.checks:
            self._telemetry.record(checked(answer, id_, seconds, trace))

    async def _answer(self, call: Call) -> Answer:
        if not call.token:
            return self._answerers.of(self._settings.app.id).no_token(call.label)
        try:
            token, live = await self._believed(call)
        except InvalidToken as error:
            detail = ": ".join(filter(None, (error.description, error.expected)))
            self._telemetry.record(
                TokenRefused(reason=error.code, issuer=error.issuer, detail=detail)
            )
            return self._answerers.of(self._settings.app.id).invalid_token(error, call)
        except Unavailable:
            # The issuer cannot be asked, or has no key yet: nothing is known of the token either.
            return self._answerers.of().unknown(Resilience.UNAVAILABLE, AccessDecision(call))
        apps = (self._settings.app.id,) if self._settings.app.id else token.apps
        if live is None:
            return strictest([self._unread(token, app, call) for app in apps])
        if len(apps) == 1:  # as most are: one coroutine less for each call
            answer = await self._judge(call, live, token, apps[0])
        else:
            answer = strictest([await self._judge(call, live, token, app) for app in apps])
        self._offer(answer, call, live, token, apps)
        return answer

    def _offer(
        self, answer: Answer, call: Call, live: Live, token: Token, apps: tuple[str, ...]
    ) -> None:
        """Offer a call to who publishes those that pass, if it has."""
        publisher = self._publisher
        if publisher is None or answer.verdict is not Verdict.ALLOW:
            return
        if publisher.wants(call, live, token, call.contexts):
            by_app = {app: self._presented_to(app, token) for app in apps}
            adds_nothing = self._call_facts.adds_nothing(live, token, call)
            publisher.offer(call, live, ShownToken(token, by_app, adds_nothing))

    async def _believed(self, call: Call) -> tuple[Token, Live | None]:
        """Return the token and its session; raise `InvalidToken` or `Unavailable`."""
        token = self._verifier.cached(call.token, call.now)
        if token is None:
            token = await self._verifier.verify(call.token, call.now)
            self._note_missing(token)
        self._possessions.check(token, call)
        live = await self._live(token, call)
        if live is not None and token.confirmed_at:
            revoked = live.state.last_revocation
            if token.confirmed_at < revoked:  # with the session, maybe, its token: the issuer knows
                token = await self._verifier.verify(call.token, call.now, revoked)
        return token, live

    def _verified_at_once(self, text: str, now: float) -> Token | None:
        """Return a token, verified if need be; None: there is none, or its issuer must be asked."""
        token = self._verifier.cached(text, now) if text else None
        if token is None and text:
            token = self._verifier.verify_at_once(text, now)
            if token is not None:
                self._note_missing(token)
        return token

    def _note_missing(self, token: Token) -> None:
        for need, claim in token.missing:
            self._telemetry.record(ClaimMissing(issuer=token.issuer, claim=claim, need=need))

    async def _answer_known(self, live: Live, call: Call) -> Answer:
        self._call_facts.take(live, None, call)
        # Without a token only the session says which apps are meant: the strictest counts.
        apps = (self._settings.app.id,) if self._settings.app.id else apps_of(live.own.record)
        return strictest([await self._judge(call, live, None, app) for app in apps or ("",)])

    async def _live(self, token: Token, call: Call) -> Live | None:
        """Return the session with what the call shows folded in; None where it cannot be known."""
        try:
            named = (token.namespace, token.user, token.session)
            live = self._view.find(*named)
            if live is None:
                live = await self._view.open(*named, token.device)
            self._call_facts.take(live, token, call)
            if live.missing_device:
                await self._view.open(*named)
        except (Unavailable, Overloaded):
            return None
        return live

    async def _judge(self, call: Call, live: Live, token: Token | None, app: str) -> Answer:
        """Answer a call of a session for one app; a single-use proof is spent on it if need be."""
        assessment = self._judged(call, live, token, app)
        if isinstance(assessment, Answer):
            return assessment
        stale = frozenset[str]()
        try:
            proofs = await self._spender.spend(assessment)
        except (Unavailable, Overloaded):
            stale = call.contexts  # nobody knows whether it is spent
            proofs = assessment.proofs
        # While it waited for the store, anything may have become known of the session.
        assessment = self._assess(call, live, token, app)._replace(proofs=proofs)
        return self._undecided(assessment, stale) if stale else self._decide(assessment)

    def _judged(self, call: Call, live: Live, token: Token | None, app: str) -> Answer | Assessment:
        """Answer a call of a session for one app; where a proof is spent first, say for what."""
        assessment = self._assess(call, live, token, app)
        unconfirmed = token is not None and token.unconfirmed
        stale = call.contexts if unconfirmed else self._too_stale(call.contexts)
        if self._needs_proofs(assessment):
            assessment = self._spender.with_proofs(assessment)
            if not stale and self._spender.is_due(assessment):
                return assessment
        if stale:
            return self._undecided(assessment, stale)
        answer = self._decide(assessment)
        if token is not None and (self._settings.app.id or len(token.apps) == 1):
            self._keep(assessment, token, answer)
        return answer

    def _needs_proofs(self, assessment: Assessment) -> bool:
        """Return whether the call may need a sign-in of its own; explanations mention it."""
        standing = assessment.standing
        if not (self._view.evaluator.each_call and standing.asks_each_call):
            return False
        return self._explains or needs_own_proof(standing, assessment.app, assessment.call.contexts)

    def _too_stale(self, contexts: frozenset[str]) -> frozenset[str]:
        """Return those of the contexts whose calls the view is too old to decide."""
        return self._contexts.too_stale(contexts, self._view.staleness()) if contexts else contexts

    def _presented(self, live: Live, token: Token | None, app: str) -> Presented | None:
        """Return what the token shows of the call; None if there is no token."""
        if token is None:
            return None
        if live.presented is not None:  # most calls show the token that the last one showed
            known, settings, known_app, presented = live.presented
            if known is token and settings is self._settings and known_app == app:
                return presented
        presented = self._presented_to(app, token)
        live.presented = (token, self._settings, app, presented)
        return presented

    def _presented_to(self, app: str, token: Token) -> Presented:
        alone = self._settings.is_alone(app)
        return Presented(token.authentication, token.contexts, token.contexts_at, alone)

    def _assess(self, call: Call, live: Live, token: Token | None, app: str) -> Assessment:
        """Return the standing of a call, with the place that it comes from if a policy asks."""
        presented = self._presented(live, token, app)
        evaluator = self._view.evaluator
        if not evaluator.is_strict(live.state, call.ip):
            if presented is None:
                standing = live.standing(evaluator, call.now)
            else:
                standing = live.judged(evaluator, call.now, presented)
            return Assessment(call, live, token, app, standing, presented)
        origin = CalledFrom(call.ip, self._place_of(call.ip) if call.ip else Place())
        state = live.as_of(evaluator, presented)
        moment = int(call.now * MICROSECONDS)
        standing = evaluator.standing(state, moment, origin, presented)
        return Assessment(call, live, token, app, standing, presented, origin)

    def _decide(self, assessment: Assessment) -> Answer:
        call, live, _, app, standing, presented, origin, proofs = assessment
        evaluator = self._view.evaluator
        ladder = evaluator.world.ladder
        access = assessment.access
        decision = decide(standing, access, ladder)
        if standing.on_trial:
            for record in trial_records(assessment, decision.verdict, ladder):
                self._telemetry.record(record)
        if evaluator.is_break_glass(live.state):
            used = BreakGlassUsed(
                session=live.session,
                subject=live.user,
                issuer=live.namespace,
                decision=decision.verdict,
                context=call.label,
            )
            self._telemetry.record(used)
        decided = AccessDecision(
            call,
            live.session,
            live.user,
            ladder.name(standing.rank),
            assessment.is_capable,
            decision,
            standing.revoked,
        )
        answer = self._answerers.of(app).decided(decided)
        if self._takers is not None:
            basis = basis_of(assessment, decision, evaluator)
            answer = msgspec.structs.replace(answer, issuer=live.namespace, basis=basis)
        elif self._settings.log.checks or decision.verdict is not Verdict.ALLOW:
            answer = msgspec.structs.replace(answer, issuer=live.namespace)
        if not self._explains:
            return answer
        explanation = explain_call(
            evaluator,
            live.as_of(evaluator, presented),
            app,
            call.contexts,
            call.now,
            comes=origin,
            proofs=proofs,
            presented=presented,
        )
        return msgspec.structs.replace(answer, explanation=explanation)

    def _keep(self, assessment: Assessment, token: Token, answer: Answer) -> None:
        """Keep an answer for the next call like this, unless that must do more than be answered."""
        call, live, _, _, standing, presented, origin, proofs = assessment
        evaluator = self._view.evaluator
        if (
            presented is None
            or origin is not None
            or proofs is not EMPTY
            or standing.on_trial
            or self._explains
            or token.confirmed_at
            or token.unconfirmed
            or live.missing_device
            or evaluator.is_break_glass(live.state)
            or not self._call_facts.is_taken(live, token, call)
        ):
            return
        prepared = prepare(standing, assessment.access, evaluator.world.ladder)
        made_of = (token, live.version, standing, presented, prepared)
        self.kept_answers.keep(KeptAnswer(*made_of, call.ip, call.user_agent, answer), call)

    def _unread(self, token: Token, app: str, call: Call) -> Answer:
        """Answer a call of a session that is not in the view and cannot be read.

        Where it might pass all the same, its own token is judged as every token is, as that of a
        session which is made of it alone and of what is known here of its user and device.
        """
        self._call_facts.note_ahead(token, call.now)
        resilience = self._contexts.resilience(call.contexts)
        if resilience in {Resilience.DENY, Resilience.UNAVAILABLE}:
            decided = AccessDecision(
                call, token.session, token.user, is_capable=token.claims_capable
            )
            unknown = self._answerers.of(app).unknown(resilience, decided)
            return self._unknown(unknown, DecisionBasis(app), token.namespace)
        assessment = self._assess(call, self._call_facts.unread(token, call), token, app)
        return self._undecided(self._spender.with_proofs(assessment), call.contexts)

    def _undecided(self, assessment: Assessment, stale: frozenset[str]) -> Answer:
        """Answer a call in contexts for which the view is too old, as it may have missed news.

        A refusal by what is known stands. Where the call would be allowed, it gets what these
        contexts have as `when_unknown`.
        """
        answer = self._decide(assessment)
        basis, issuer = answer.basis or DecisionBasis(), assessment.live.namespace
        resilience = self._contexts.resilience(stale)
        if answer.verdict is not Verdict.ALLOW or resilience is Resilience.ALLOW:
            return self._unknown(answer, basis, issuer)
        if resilience is Resilience.STEP_UP and _is_fresh(assessment):
            return self._unknown(answer, basis, issuer)
        call, live = assessment.call, assessment.live
        decided = AccessDecision(
            call,
            live.session,
            live.user,
            answer.assurance,
            assessment.is_capable,
            self._of_anybody(assessment),
        )
        unknown = self._answerers.of(assessment.app).unknown(resilience, decided)
        return self._unknown(unknown, basis, issuer)

    def _unknown(self, answer: Answer, basis: DecisionBasis, issuer: str) -> Answer:
        """Return an answer that was given without knowing, which the log of decisions says."""
        if self._takers is None:
            return msgspec.structs.replace(answer, issuer=issuer)
        basis = msgspec.structs.replace(basis, stale=True)
        return msgspec.structs.replace(answer, issuer=issuer, basis=basis)

    def _of_anybody(self, assessment: Assessment) -> Decision:
        """Decide about the call as if its user signed in now, and had shown nothing before."""
        call, evaluator = assessment.call, self._view.evaluator
        standing = assessment.live.judged(
            evaluator, call.now, Presented(Authentication(int(call.now)))
        )
        access = AccessRequest(assessment.app, call.contexts, call.now)
        return decide(standing, access, evaluator.world.ladder)


def _is_fresh(assessment: Assessment) -> bool:
    """Return whether the call's own sign-in is as recent as a step-up would ask for."""
    token = assessment.token
    if token is None:
        return False
    signed_in = counted(assessment.live.state, token.authentication).auth_time
    return assessment.call.now - signed_in <= UNKNOWN_MAX_AGE
