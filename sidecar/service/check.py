"""The read path: a call comes in, an answer goes out, and in the steady state nothing is awaited.

    call -> token (cached) -> session in the view -> what the call shows -> standing -> answer

What a call shows - a new address, a new device, a fresh sign-in - is a fact like any other: it is
folded in before the call is answered, and the `Saver` spreads it.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple, Protocol

import msgspec

from sidecar.domain.assurance import Authentication
from sidecar.domain.decision import Decision, Verdict, decide, explain
from sidecar.domain.explaining import explain_call
from sidecar.domain.facts import (
    AgentSeen,
    ClaimsSeen,
    ContextsShown,
    DeviceBound,
    Fact,
    Scope,
    Seen,
    Sighted,
    SignedIn,
)
from sidecar.domain.location import Place
from sidecar.domain.policy import Circumstance
from sidecar.domain.scene import CalledFrom
from sidecar.domain.stamp import MICROSECONDS, Stamp
from sidecar.service.answering import UNKNOWN_MAX_AGE, Answerers, Whom
from sidecar.service.answers import Answer, Call, Overloaded, Reason, Unavailable
from sidecar.service.assembly import sighted_in
from sidecar.service.live import Live
from sidecar.service.observations import Telemetry, TokenRefused
from sidecar.service.reporting import SEVERITY, Tried, checked
from sidecar.service.view import View
from sidecar.wire.claims import InvalidToken, Token
from sidecar.wire.naming import Names
from sidecar.wire.paths import Routes
from sidecar.wire.records import (
    WHO_DEVICE,
    WHO_SESSION,
    WHO_USER,
    app_field,
    apps_of,
    encode_facts,
    encode_seen,
    keep_until,
)
from sidecar.wire.settings import Resilience, Settings

AGENT_CHARACTERS = 256


class Verifier(Protocol):
    """Believes tokens, or raises `InvalidToken`."""

    def cached(self, token: str, now: float) -> Token | None:
        """A token that was verified before and still counts."""

    async def verify(self, token: str, now: float) -> Token:
        """Verify a token."""


class Asked(NamedTuple):
    """What a call asks for: its contexts, the same as a label, when (seconds), and from where."""

    contexts: frozenset[str]
    label: str
    now: float
    ip: str


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
    ) -> None:
        self._verifier = verifier
        self._view = view
        self._names = names
        self._place_of = place_of
        self._telemetry = telemetry
        self._clock = clock
        self._new_id = new_id
        self.replace(settings, routes)

    def replace(self, settings: Settings, routes: Routes) -> None:
        """Answer by this configuration from now on."""
        self._settings = settings
        self._routes = routes
        self._answerers = Answerers(settings.app, settings.apps)
        self._claims = frozenset[str]()
        self._explains = settings.log.checks and settings.log.explain

    def want_claims(self, names: Iterable[str]) -> None:
        """Keep these claims of tokens: policies ask for them."""
        self._claims = frozenset(names)

    async def check(self, call: Call) -> Answer:
        """Answer a call. Never raises for what the caller sent."""
        started = self._clock()
        return self._told(await self._answer(call, started), started)

    async def check_session(self, session: str, call: Call) -> Answer | None:
        """Judge a known session without a token; None for one that is not known here.

        It says how the session stands, not that the caller holds it: only for callers that have
        seen to that themselves. `call.token` is not looked at.
        """
        started = self._clock()
        await self._view.bring(session)
        live = self._view.find_session(session)
        if live is None or not live.state.established:
            return None
        return self._told(await self._answer_known(live, call, started), started)

    def _told(self, answer: Answer, started: float) -> Answer:
        seconds = max(0.0, self._clock() - started)
        self._telemetry.checked(answer.error or answer.verdict, answer.context, seconds)
        if self._settings.log.checks:
            self._telemetry.record(checked(answer, seconds))
        return answer

    async def _answer(self, call: Call, now: float) -> Answer:
        asked = self._asked(call, now)
        label = asked.label
        if not call.token:
            return self._answerers.of(self._settings.app.id).no_token(label)
        try:
            token = self._verifier.cached(call.token, now)
            if token is None:
                token = await self._verifier.verify(call.token, now)
        except InvalidToken as error:
            self._telemetry.record(TokenRefused(reason=error.code))
            return self._answerers.of(self._settings.app.id).invalid_token(error, label)
        except Unavailable:
            # No key of the issuer is known: nothing is known of the token either.
            whom = Whom("", "", "", label)
            return self._answerers.of().unknown(Resilience.UNAVAILABLE, whom, asked.contexts)
        app = self._settings.app.id or token.app
        live = await self._live(token, call, now)
        if live is None:
            whom = Whom(token.session, token.user, "", label, token.claims_capable)
            resilience = self._resilience(token, asked)
            return self._answerers.of(app).unknown(resilience, whom, asked.contexts)
        return self._judge_known(live, token, app, asked)

    async def _answer_known(self, live: Live, call: Call, now: float) -> Answer:
        asked = self._asked(call, now)
        self._take(live, None, call, now)
        # Without a token nothing tells the app but the session itself: the strictest counts.
        apps = (self._settings.app.id,) if self._settings.app.id else apps_of(live.own.record)
        answers = [self._judge_known(live, None, app, asked) for app in apps or ("",)]
        return max(answers, key=lambda answer: SEVERITY[answer.verdict])

    def _asked(self, call: Call, now: float) -> Asked:
        contexts = frozenset(call.contexts)
        if call.path:
            contexts |= frozenset(self._routes.match(call.method, call.host, call.path))
        return Asked(contexts, ",".join(sorted(contexts)), now, call.ip)

    def _judge_known(self, live: Live, token: Token | None, app: str, asked: Asked) -> Answer:
        stale = self._too_stale(asked.contexts)
        if stale:
            return self._stale(live, token, app, asked, stale)
        return self._judge(live, token, app, asked)

    def _too_stale(self, contexts: frozenset[str]) -> frozenset[str]:
        """Those of the contexts whose calls the view is too old to decide."""
        if not contexts:
            return contexts
        staleness = self._view.staleness()
        return frozenset(c for c in contexts if staleness > self._settings.max_staleness(c))

    async def _live(self, token: Token, call: Call, now: float) -> Live | None:
        """The session with what the call shows folded in; None where it cannot be known."""
        try:
            live = self._view.find(token.user, token.session)
            if live is None:
                live = await self._view.open(token.user, token.session, token.device)
            self._take(live, token, call, now)
            if live.missing_device:
                await self._view.open(token.user, token.session)
        except (Unavailable, Overloaded):
            return None
        return live

    def _judge(self, live: Live, token: Token | None, app: str, asked: Asked) -> Answer:
        contexts, label, now, ip = asked
        evaluator = self._view.evaluator
        ladder = evaluator.world.ladder
        standing = live.standing(evaluator, now)
        comes = None
        if evaluator.is_strict(live.state, ip):
            comes = CalledFrom(ip, self._place_of(ip) if ip else Place())
            standing = evaluator.standing(live.state, int(now * MICROSECONDS), comes)
        decision = decide(standing, app, contexts, now, ladder)
        if standing.tried:
            tried = Tried(live, app, decision.verdict, ladder)
            for record in tried.records(standing.tried, contexts, label, now):
                self._telemetry.record(record)
        capable = token is None or token.claims_capable
        whom = Whom(live.session, live.user, ladder.name(standing.rank), label, capable)
        reasons = _reasons(decision) if decision.demands else ()
        answerer = self._answerers.of(app)
        answer = answerer.decided(decision, whom, reasons, contexts, standing.revoked)
        if not self._explains:
            return answer
        explanation = explain_call(evaluator, live.state, app, contexts, now, comes=comes)
        return msgspec.structs.replace(answer, explanation=explanation)

    def _stale(
        self, live: Live, token: Token | None, app: str, asked: Asked, stale: frozenset[str]
    ) -> Answer:
        """The view may have missed news. What it knows still binds; what it lacks may not pass."""
        answer = self._judge(live, token, app, asked)
        resilience = self._resilience(token, asked._replace(contexts=stale))
        if answer.verdict is not Verdict.ALLOW or resilience is Resilience.ALLOW:
            return answer
        capable = token is None or token.claims_capable
        whom = Whom(live.session, live.user, answer.assurance, asked.label, capable)
        return self._answerers.of(app).unknown(resilience, whom, asked.contexts)

    def _resilience(self, token: Token | None, asked: Asked) -> Resilience:
        """What a call gets where we cannot know: the strictest of what its contexts say.

        Routine calls pass. Where a step-up is asked for, a sign-in that has just been made is one.
        """
        if not asked.contexts:
            return Resilience.ALLOW
        known = self._settings.contexts
        chosen = {
            known[name].when_unknown if name in known else Resilience.UNAVAILABLE
            for name in asked.contexts
        }
        strictest = next(option for option in _STRICTEST_FIRST if option in chosen)
        fresh = token is not None and asked.now - token.authentication.auth_time <= UNKNOWN_MAX_AGE
        return Resilience.ALLOW if strictest is Resilience.STEP_UP and fresh else strictest

    def _take(self, live: Live, token: Token | None, call: Call, now: float) -> None:
        """Fold in what the call shows of the session."""
        state = live.state
        interval = self._settings.sessions.seen_interval
        moved = bool(call.ip) and call.ip != state.ip
        agent = call.user_agent[:AGENT_CHARACTERS]
        held = state.circumstances.get(Circumstance.USER_AGENT)
        new_agent = bool(agent) and (held is None or held.value != agent)
        if (
            (token is None or live.token is token)
            and not moved
            and not new_agent
            and 0 <= now - live.seen_at < interval
        ):
            return
        stamp = Stamp(int(now * MICROSECONDS), self._new_id())
        facts: list[Fact] = []
        if moved:
            facts.append(Sighted(stamp=stamp, ip=call.ip, place=self._place_of(call.ip)))
        if new_agent:
            facts.append(AgentSeen(stamp=stamp, user_agent=agent))
        if token is not None:
            if live.token is not token:
                facts.extend(self._shown(live, token, stamp))
                live.token = token
            self._extend(live, token, now, fresh=state.established == 0)
        if facts:
            self._view.write(live.own, encode_facts(facts))
        ip = call.ip or state.ip
        if ip and (moved or now - live.seen_at >= interval):
            seen = Seen(stamp=stamp, session=live.name.session, ip=ip, place=self._place_of(ip))
            self._view.write(live.users, encode_seen(seen, moved=moved))
        live.seen_at = now

    def _shown(self, live: Live, token: Token, stamp: Stamp) -> list[Fact]:
        state = live.state
        facts: list[Fact] = []
        if token.device and token.device != state.device:
            facts.append(DeviceBound(stamp=stamp, device=token.device))
        if not _is_known(token.authentication, state.sign_ins) or not state.established:
            facts.append(SignedIn(stamp=stamp, authentication=token.authentication))
        known = state.shown_contexts
        if any(known.get(one, 0) < token.contexts_at for one in token.contexts):
            facts.append(
                ContextsShown(stamp=stamp, contexts=token.contexts, second=token.contexts_at)
            )
        claims = self._claims_of(token)
        changed = tuple(
            (name, values)
            for name, values in claims
            if (held := state.claims.get(name)) is None
            or (held[0] != values and (held[1] or 0) < token.issued_at * MICROSECONDS)
        )
        if changed:
            facts.append(ClaimsSeen(stamp=stamp, scope=Scope.SESSION, claims=changed))
        return facts

    def _claims_of(self, token: Token) -> tuple[tuple[str, tuple[str, ...]], ...]:
        wanted = [(name, values) for name, values in token.claims if name in self._claims]
        if token.groups_known:  # else what is known of them already stays
            wanted.append(("groups", tuple(sorted(token.groups))))
        return (("user", (token.user,)), ("roles", tuple(sorted(token.roles))), *wanted)

    def _extend(self, live: Live, token: Token, now: float, *, fresh: bool) -> None:
        """Keep the session for as long as its newest token may be shown, and a while."""
        settings = self._settings
        leeway = max((i.leeway for i in settings.tokens.issuers), default=0.0)
        until = max(token.expires_at + leeway, now + settings.sessions.min_ttl)
        # Times move in steps, so that a session in use is not written at every call.
        step = settings.sessions.seen_interval
        app = settings.app.id or token.app
        new_app = bool(app) and app_field(app) not in live.own.record
        if not (fresh or new_app) and until < live.expires_at + step:
            return
        live.expires_at = until = max(until, live.expires_at)
        expire_at = int(until * 1000)
        name = live.name
        own = live.own
        own.expire_at = max(own.expire_at, expire_at)
        keep: dict[bytes, bytes] = {}
        if until - now > settings.sessions.facts_ttl:
            # What is told of the user or device must stop this token for as long as it is shown.
            keep = keep_until(expire_at)
            live.users.expire_at = max(live.users.expire_at, expire_at)
            self._view.write(live.users, keep)
        fields: dict[bytes, bytes] = {
            WHO_USER: live.user.encode(),
            WHO_SESSION: live.session.encode(),
        }
        if app:
            fields[app_field(app)] = b"1"
        device = token.device or live.state.device
        if device:
            fields[WHO_DEVICE] = device.encode()
        member = str(name).encode()
        self._view.write(own, fields)
        self._view.enlist(own, self._names.user_index(name.user), member, expire_at)
        if device:
            index = self._names.device_index(device)
            on = self._view.device(device)
            if keep:
                on.expire_at = max(on.expire_at, expire_at)
                self._view.write(on, keep)
            self._view.enlist(on, index, member, expire_at)
        if WHO_USER not in live.locator.record:  # what came before: now it is known whose it is
            for before in sighted_in(live.locator.record):
                seen = Seen(
                    stamp=before.stamp, session=name.session, ip=before.ip, place=before.place
                )
                self._view.write(live.users, encode_seen(seen, moved=True))
        live.locator.expire_at = max(live.locator.expire_at, expire_at)
        self._view.write(live.locator, {WHO_USER: live.user.encode()})


_STRICTEST_FIRST = (
    Resilience.DENY,
    Resilience.UNAVAILABLE,
    Resilience.STEP_UP,
    Resilience.ALLOW,
)


def _is_known(authentication: Authentication, known: tuple[Authentication, ...]) -> bool:
    return any(
        one.acr == authentication.acr
        and one.amr == authentication.amr
        and one.auth_time >= authentication.auth_time
        for one in known
    )


def _reasons(decision: Decision) -> tuple[Reason, ...]:
    return tuple(
        Reason(demand.policy, demand.signal, explain(demand)) for demand in decision.demands
    )
