"""The read path: a call comes in, an answer goes out, and in the steady state nothing is awaited.

    call -> token (cached) -> session in the view -> what the call shows -> standing -> answer

What a call shows - a new address, a new device, a fresh sign-in - is a fact like any other: it is
folded in before the call is answered, and the `Saver` spreads it.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, Protocol

import msgspec

from sidecar.domain.evaluation.decision import AccessRequest, Verdict, decide
from sidecar.domain.explanation.explain import explain_call
from sidecar.domain.facts.first_shown import counted
from sidecar.domain.session.presented import Presented
from sidecar.domain.session.scene import CalledFrom
from sidecar.domain.session.single_use import EMPTY, Purse
from sidecar.domain.session.standing import Standing
from sidecar.domain.values.assurance import Authentication
from sidecar.domain.values.location import Place
from sidecar.domain.values.stamp import MICROSECONDS
from sidecar.service.checks.call_facts import Sightings
from sidecar.service.checks.proof_of_possession import Possessions
from sidecar.service.checks.responses import (
    UNKNOWN_MAX_AGE,
    Answerers,
    Whom,
    reasons_of,
    unknown_context,
)
from sidecar.service.checks.single_use import Spender
from sidecar.service.checks.trial_records import SEVERITY, Tried, checked
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
from sidecar.wire.settings.settings import Resilience, Settings, UnknownContexts
from sidecar.wire.store.keys import Names
from sidecar.wire.store.records import apps_of
from sidecar.wire.tokens.claims import InvalidToken, Token
from sidecar.wire.yaml.structs import suggestion


class Verifier(Protocol):
    """Believes tokens, or raises `InvalidToken`."""

    def want_claims(self, names: frozenset[str]) -> None:
        """Keep these claims of tokens from now on, too: policies ask for them."""

    def cached(self, token: str, now: float) -> Token | None:
        """A token that was verified before and still counts."""

    async def verify(self, token: str, now: float, since: float = 0.0) -> Token:
        """Verify a token; what its issuer said of it before `since` does not count."""


class Asked(NamedTuple):
    """What a call asks for: its contexts, the same as a label, when (seconds), and from where.

    `scheme` is how its token was sent, `token` as what. `unknown` says which of the contexts that
    the call named is not configured; empty: all are.
    """

    contexts: frozenset[str]
    label: str
    now: float
    ip: str
    scheme: str
    token: str
    unknown: str = ""


class Checker:
    """Answers calls. `replace` takes up a new configuration between two of them."""

    def __init__(  # noqa: PLR0913 - one place wires it
        self,
        *,
        settings: Settings,
        routes: Routes,
        verifier: Verifier,
        view: View,
        names: Names,
        place_of: Callable[[str], Place],
        telemetry: Telemetry,
        clock: Callable[[], float],
        new_id: Callable[[], str],
        spender: Spender,
    ) -> None:
        self._spender = spender
        self._verifier = verifier
        self._view = view
        self._place_of = place_of
        self._telemetry = telemetry
        self._clock = clock
        self._possessions = Possessions(settings.tokens.binding)
        self._sightings = Sightings(
            settings=settings, view=view, names=names, place_of=place_of, new_id=new_id
        )
        self.replace(settings, routes)

    def replace(self, settings: Settings, routes: Routes) -> None:
        """Answer by this configuration from now on."""
        self._settings = settings
        self._possessions.replace(settings.tokens.binding)
        self._routes = routes
        self._answerers = Answerers(
            settings.app, settings.apps, settings.tokens.binding.dpop_algorithms
        )
        self._sightings.replace(settings)
        self._explains = settings.log.checks and settings.log.explain

    def want_claims(self, names: Iterable[str]) -> None:
        """Keep these claims of tokens: policies ask for them."""
        wanted = frozenset(names)
        self._verifier.want_claims(wanted)
        self._sightings.want_claims(wanted)

    async def check(self, call: Call) -> Answer:
        """Answer a call. Never raises for what the caller sent."""
        started = self._clock()
        return self._told(await self._answer(call, started), started)

    async def check_session(self, session: str, call: Call) -> Answer | None:
        """Judge a known session without a token; None for one that is not known here.

        Of several users who have a session of this name the strictest answer counts.
        It says how the session stands, not that the caller holds it: only for callers that have
        seen to that themselves. `call.token` is not looked at.
        """
        started = self._clock()
        asked = self._asked(call, started)
        if asked.unknown:
            return self._told(unknown_context(asked.unknown), started)
        await self._view.bring(session)
        lives = [one for one in self._view.find_session(session) if one.state.established]
        answers = [await self._answer_known(live, call, started) for live in lives]
        if not answers:
            return None
        strictest = max(answers, key=lambda answer: SEVERITY[answer.verdict])
        return self._told(strictest, started)

    def _told(self, answer: Answer, started: float) -> Answer:
        seconds = max(0.0, self._clock() - started)
        self._telemetry.checked(answer.error or answer.verdict, answer.context, seconds)
        if self._settings.log.checks:
            self._telemetry.record(checked(answer, seconds))
        return answer

    async def _answer(self, call: Call, now: float) -> Answer:
        asked = self._asked(call, now)
        label = asked.label
        if asked.unknown:
            return unknown_context(asked.unknown)
        if not call.token:
            return self._answerers.of(self._settings.app.id).no_token(label)
        try:
            token, live = await self._believed(call, now)
        except InvalidToken as error:
            detail = ": ".join(filter(None, (error.description, error.expected)))
            told = TokenRefused(reason=error.code, issuer=error.issuer, detail=detail)
            self._telemetry.record(told)
            return self._answerers.of(self._settings.app.id).invalid_token(
                error, label, asked.scheme
            )
        except Unavailable:
            # The issuer cannot be asked, or has no key yet: nothing is known of the token either.
            whom = Whom("", "", "", label)
            return self._answerers.of().unknown(Resilience.UNAVAILABLE, whom, asked.contexts)
        apps = (self._settings.app.id,) if self._settings.app.id else token.apps
        if live is None:
            unread = [self._unread(token, app, call, asked) for app in apps]
            return max(unread, key=lambda answer: SEVERITY[answer.verdict])
        if len(apps) == 1:  # as most are: one coroutine less for each call
            return await self._judge_known(live, token, apps[0], asked)
        return await self._strictest(live, token, apps, asked)

    async def _strictest(
        self, live: Live, token: Token | None, apps: Sequence[str], asked: Asked
    ) -> Answer:
        """The strictest of what the call gets as one of each of these apps."""
        answers = [await self._judge_known(live, token, app, asked) for app in apps]
        return max(answers, key=lambda answer: SEVERITY[answer.verdict])

    async def _believed(self, call: Call, now: float) -> tuple[Token, Live | None]:
        """The token and its session; raises `InvalidToken` or `Unavailable`."""
        token = self._verifier.cached(call.token, now)
        if token is None:
            token = await self._verifier.verify(call.token, now)
            for need, claim in token.missing:
                self._telemetry.record(ClaimMissing(issuer=token.issuer, claim=claim, need=need))
        self._possessions.check(token, call, now)
        live = await self._live(token, call, now)
        if live is not None and token.confirmed_at:
            revoked = live.state.last_revocation
            if token.confirmed_at < revoked:  # with the session, maybe, its token: the issuer knows
                token = await self._verifier.verify(call.token, now, revoked)
        return token, live

    async def _answer_known(self, live: Live, call: Call, now: float) -> Answer:
        asked = self._asked(call, now)
        self._sightings.take(live, None, call, now)
        # Without a token nothing tells the app but the session itself: the strictest counts.
        apps = (self._settings.app.id,) if self._settings.app.id else apps_of(live.own.record)
        return await self._strictest(live, None, apps or ("",), asked)

    def _asked(self, call: Call, now: float) -> Asked:
        contexts = frozenset(call.contexts)
        unknown = ""
        if contexts and (strangers := self._settings.strangers(contexts)):
            contexts, unknown = self._in_place_of(strangers, contexts)
        if call.path:
            contexts |= frozenset(self._routes.match(call.method, call.host, call.path))
        where = (call.ip, _scheme(call), call.token, unknown)
        return Asked(contexts, ",".join(sorted(contexts)), now, *where)

    def _in_place_of(
        self, strangers: frozenset[str], contexts: frozenset[str]
    ) -> tuple[frozenset[str], str]:
        """The contexts that are judged where some are not known by id, and what to say of these."""
        settings = self._settings
        aliases = settings.aliases
        contexts = frozenset(aliases.get(name, name) for name in contexts)
        strangers -= aliases.keys()
        if not strangers:
            return contexts, ""
        if settings.unknown_contexts is UnknownContexts.STRICTEST:
            return frozenset(settings.contexts), ""
        stranger = min(strangers)
        hint = suggestion(stranger, [*settings.contexts, *aliases])
        return contexts, f"{stranger!r} is not in `contexts`{hint}"

    async def _judge_known(self, live: Live, token: Token | None, app: str, asked: Asked) -> Answer:
        unconfirmed = token is not None and token.unconfirmed
        stale = asked.contexts if unconfirmed else self._too_stale(asked.contexts)
        purse = EMPTY
        if self._view.evaluator.each_call:
            standing, _ = self._standing(live, asked, self._presented(live, token, app))
            purse = self._spender.purse(live, standing, token, asked.token)
            if purse.proof is not None and not stale:
                try:
                    paying = (app, asked.contexts, asked.now)
                    purse = await self._spender.pay(live, standing, purse, *paying)
                except (Unavailable, Overloaded):
                    stale = asked.contexts  # nobody knows whether it is spent
        if stale:
            return self._stale(live, token, app, asked, purse, stale)
        return self._judge(live, token, app, asked, purse)

    def _too_stale(self, contexts: frozenset[str]) -> frozenset[str]:
        """Those of the contexts whose calls the view is too old to decide."""
        if not contexts:
            return contexts
        staleness = self._view.staleness()
        return frozenset(c for c in contexts if staleness > self._settings.max_staleness(c))

    async def _live(self, token: Token, call: Call, now: float) -> Live | None:
        """The session with what the call shows folded in; None where it cannot be known."""
        try:
            named = (token.namespace, token.user, token.session)
            live = self._view.find(*named)
            if live is None:
                live = await self._view.open(*named, token.device)
            self._sightings.take(live, token, call, now)
            if live.missing_device:
                await self._view.open(*named)
        except (Unavailable, Overloaded):
            return None
        return live

    def _presented(self, live: Live, token: Token | None, app: str) -> Presented | None:
        """What the call is judged by, besides its session; None: by that alone."""
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

    def _standing(
        self, live: Live, asked: Asked, presented: Presented | None
    ) -> tuple[Standing, CalledFrom | None]:
        """How this call stands, and whence it comes where a policy asks for that."""
        evaluator = self._view.evaluator
        if not evaluator.is_strict(live.state, asked.ip):
            if presented is None:
                return live.standing(evaluator, asked.now), None
            return live.judged(evaluator, asked.now, presented), None
        comes = CalledFrom(asked.ip, self._place_of(asked.ip) if asked.ip else Place())
        state = live.as_of(evaluator, presented)
        moment = int(asked.now * MICROSECONDS)
        return evaluator.standing(state, moment, comes, presented), comes

    def _judge(
        self, live: Live, token: Token | None, app: str, asked: Asked, purse: Purse
    ) -> Answer:
        contexts, label, now, scheme = asked.contexts, asked.label, asked.now, asked.scheme
        evaluator = self._view.evaluator
        ladder = evaluator.world.ladder
        presented = self._presented(live, token, app)
        standing, comes = self._standing(live, asked, presented)
        decision = decide(standing, AccessRequest(app, contexts, now, purse), ladder)
        if standing.tried:
            tried = Tried(live, app, decision.verdict, ladder, purse)
            for record in tried.records(standing.tried, contexts, label, now):
                self._telemetry.record(record)
        capable = token is None or token.claims_capable
        whom = Whom(live.session, live.user, ladder.name(standing.rank), label, capable, scheme)
        reasons = reasons_of(decision.demands)
        if evaluator.is_break_glass(live.state):
            used = BreakGlassUsed(
                session=live.session,
                subject=live.user,
                issuer=live.namespace,
                decision=decision.verdict,
                context=label,
            )
            self._telemetry.record(used)
        answerer = self._answerers.of(app)
        answer = answerer.decided(decision, whom, reasons, contexts, standing.revoked)
        if self._settings.log.checks:
            answer = msgspec.structs.replace(answer, issuer=live.namespace)
        if not self._explains:
            return answer
        state = live.as_of(evaluator, presented)
        explanation = explain_call(
            evaluator, state, app, contexts, now, comes=comes, purse=purse, presented=presented
        )
        return msgspec.structs.replace(answer, explanation=explanation)

    def _unread(self, token: Token, app: str, call: Call, asked: Asked) -> Answer:
        """Judge a call of a session that nobody can tell of now.

        Where it might pass all the same, its own token is judged as every token is, as that of a
        session which is made of it alone and of what is known here of its user and device.
        """
        self._sightings.note_ahead(token, asked.now)
        resilience = self._resilience(asked)
        if resilience in {Resilience.DENY, Resilience.UNAVAILABLE}:
            whom = Whom(
                token.session, token.user, "", asked.label, token.claims_capable, asked.scheme
            )
            return self._answerers.of(app).unknown(resilience, whom, asked.contexts)
        live = self._sightings.unread(token, call, asked.now)
        standing, _ = self._standing(live, asked, self._presented(live, token, app))
        purse = self._spender.purse(live, standing, token, asked.token)
        return self._stale(live, token, app, asked, purse, asked.contexts)

    def _stale(  # noqa: PLR0913, PLR0917 - as `_judge`, and in which contexts
        self,
        live: Live,
        token: Token | None,
        app: str,
        asked: Asked,
        purse: Purse,
        stale: frozenset[str],
    ) -> Answer:
        """The view may have missed news. What it knows still binds; what it lacks may not pass."""
        answer = self._judge(live, token, app, asked, purse)
        resilience = self._resilience(asked._replace(contexts=stale))
        if answer.verdict is not Verdict.ALLOW or resilience is Resilience.ALLOW:
            return answer
        if resilience is Resilience.STEP_UP and _is_fresh(live, token, asked.now):
            return answer
        capable = token is None or token.claims_capable
        whom = Whom(live.session, live.user, answer.assurance, asked.label, capable, asked.scheme)
        acr_values = self._acr_values(live, app, asked)
        return self._answerers.of(app).unknown(resilience, whom, asked.contexts, acr_values)

    def _acr_values(self, live: Live, app: str, asked: Asked) -> tuple[str, ...]:
        """What the call needs of whoever signs in now, whatever was shown before."""
        evaluator = self._view.evaluator
        anybody = Presented(Authentication(int(asked.now)))
        standing = live.judged(evaluator, asked.now, anybody)
        ladder = evaluator.world.ladder
        return decide(standing, AccessRequest(app, asked.contexts, asked.now), ladder).acr_values

    def _resilience(self, asked: Asked) -> Resilience:
        """What a call gets where we cannot know: the strictest of what its contexts say.

        Routine calls pass.
        """
        if not asked.contexts:
            return Resilience.ALLOW
        known = self._settings.contexts
        chosen = {
            known[name].when_unknown if name in known else Resilience.UNAVAILABLE
            for name in asked.contexts
        }
        return next(option for option in _STRICTEST_FIRST if option in chosen)


def _is_fresh(live: Live, token: Token | None, now: float) -> bool:
    """Whether the call's own sign-in has just been made, which a step-up would ask for."""
    if token is None:
        return False
    signed_in = counted(live.state, token.authentication).auth_time
    return now - signed_in <= UNKNOWN_MAX_AGE


_STRICTEST_FIRST = (
    Resilience.DENY,
    Resilience.UNAVAILABLE,
    Resilience.STEP_UP,
    Resilience.ALLOW,
)


def _scheme(call: Call) -> str:
    return "Bearer" if call.shown is None or call.shown.dpop is None else "DPoP"
