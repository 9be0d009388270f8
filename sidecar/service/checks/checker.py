"""The read path: a call comes in, an answer goes out, and in the steady state nothing is awaited.

    call -> token (cached) -> session in the view -> what the call shows -> standing -> answer

What a call shows - a new address, a new device, a fresh sign-in - is a fact like any other: it is
folded in before the call is answered, and the write-back spreads it.
"""

from collections.abc import Callable, Iterable
from typing import Protocol

import msgspec

from sidecar.domain.evaluation.decision import AccessRequest, Decision, Verdict, decide
from sidecar.domain.explanation.explain import explain_call
from sidecar.domain.facts.first_shown import counted
from sidecar.domain.session.presented import Presented
from sidecar.domain.session.scene import CalledFrom
from sidecar.domain.values.assurance import Authentication
from sidecar.domain.values.location import Place
from sidecar.domain.values.stamp import MICROSECONDS
from sidecar.service.checks.assessment import Assessment
from sidecar.service.checks.call_contexts import CallContexts, UnknownContext
from sidecar.service.checks.call_facts import CallFacts
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
)
from sidecar.service.ports.calls import Answer, Call, Overloaded, Unavailable
from sidecar.service.view.live_session import Live
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

    async def verify(self, token: str, now: float, since: float = 0.0) -> Token:
        """Verify a token; ask its issuer again if it was last asked before `since`."""


class Checker:
    """Answers calls. `replace` takes up a new configuration between two of them."""

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
    ) -> None:
        self._spender = proof_consumer
        self._verifier = verifier
        self._view = view
        self._place_of = place_of
        self._telemetry = telemetry
        self._clock = clock
        self._possessions = Possessions(settings.tokens.binding)
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
        self._explains = settings.log.checks and settings.log.explain

    def want_claims(self, names: Iterable[str]) -> None:
        """Keep these claims of tokens: policies ask for them."""
        wanted = frozenset(names)
        self._verifier.want_claims(wanted)
        self._call_facts.want_claims(wanted)

    async def check(self, call: Call) -> Answer:
        """Answer a call. Never raises for what the caller sent."""
        started = self._clock()
        try:
            resolved = self._contexts.resolve(call, started)
        except UnknownContext as error:
            return self._recorded(unknown_context(str(error)), started)
        return self._recorded(await self._answer(resolved), started)

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
            return self._recorded(unknown_context(str(error)), started)
        await self._view.bring(session)
        lives = [one for one in self._view.find_session(session) if one.state.established]
        answers = [await self._answer_known(live, resolved) for live in lives]
        if not answers:
            return None
        return self._recorded(strictest(answers), started)

    def _recorded(self, answer: Answer, started: float) -> Answer:
        """Count an answer and how long it took, and log it where checks are logged."""
        seconds = max(0.0, self._clock() - started)
        self._telemetry.checked(answer.error or answer.verdict, answer.context, seconds)
        if self._settings.log.checks:
            self._telemetry.record(checked(answer, seconds))
        return answer

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
            return await self._judge(call, live, token, apps[0])
        return strictest([await self._judge(call, live, token, app) for app in apps])

    async def _believed(self, call: Call) -> tuple[Token, Live | None]:
        """Return the token and its session; raise `InvalidToken` or `Unavailable`."""
        token = self._verifier.cached(call.token, call.now)
        if token is None:
            token = await self._verifier.verify(call.token, call.now)
            for need, claim in token.missing:
                self._telemetry.record(ClaimMissing(issuer=token.issuer, claim=claim, need=need))
        self._possessions.check(token, call)
        live = await self._live(token, call)
        if live is not None and token.confirmed_at:
            revoked = live.state.last_revocation
            if token.confirmed_at < revoked:  # with the session, maybe, its token: the issuer knows
                token = await self._verifier.verify(call.token, call.now, revoked)
        return token, live

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
        assessment = self._assess(call, live, token, app)
        unconfirmed = token is not None and token.unconfirmed
        stale = call.contexts if unconfirmed else self._too_stale(call.contexts)
        if self._view.evaluator.each_call and assessment.standing.asks_each_call:
            assessment = self._spender.with_proofs(assessment)
            if not stale and self._spender.is_due(assessment):
                try:
                    proofs = await self._spender.spend(assessment)
                except (Unavailable, Overloaded):
                    stale = call.contexts  # nobody knows whether it is spent
                    proofs = assessment.proofs
                # While it waited for the store, anything may have become known of the session.
                assessment = self._assess(call, live, token, app)._replace(proofs=proofs)
        return self._undecided(assessment, stale) if stale else self._decide(assessment)

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
        alone = self._settings.is_alone(app)
        presented = Presented(token.authentication, token.contexts, token.contexts_at, alone)
        live.presented = (token, self._settings, app, presented)
        return presented

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
        if standing.tried:
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
        if self._settings.log.checks:
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
            return self._answerers.of(app).unknown(resilience, decided)
        assessment = self._assess(call, self._call_facts.unread(token, call), token, app)
        return self._undecided(self._spender.with_proofs(assessment), call.contexts)

    def _undecided(self, assessment: Assessment, stale: frozenset[str]) -> Answer:
        """Answer a call in contexts for which the view is too old, as it may have missed news.

        A refusal by what is known stands. Where the call would be allowed, it gets what these
        contexts have as `when_unknown`.
        """
        answer = self._decide(assessment)
        resilience = self._contexts.resilience(stale)
        if answer.verdict is not Verdict.ALLOW or resilience is Resilience.ALLOW:
            return answer
        if resilience is Resilience.STEP_UP and _is_fresh(assessment):
            return answer
        call, live = assessment.call, assessment.live
        decided = AccessDecision(
            call,
            live.session,
            live.user,
            answer.assurance,
            assessment.is_capable,
            self._of_anybody(assessment),
        )
        return self._answerers.of(assessment.app).unknown(resilience, decided)

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
