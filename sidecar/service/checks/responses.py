"""Puts decisions into words that a client understands: status, challenge, reasons."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple, assert_never

import msgspec

from sidecar.domain.evaluation.decision import Decision, Verdict, explain
from sidecar.domain.session.standing import TOKEN_WITHOUT_AUTH_TIME, Demand
from sidecar.domain.session.state import Held
from sidecar.domain.values.stamp import MICROSECONDS
from sidecar.service.ports.calls import UNKNOWN_CONTEXT, Answer, Call, Reason
from sidecar.wire.http.challenges import (
    bearer,
    claims_challenge,
    context_claims,
    revocation_claims,
    step_up,
)
from sidecar.wire.settings.settings import (
    App,
    AppChallenges,
    ChallengeStyle,
    ClaimsChallenges,
    Resilience,
)
from sidecar.wire.tokens.claims import Flaw, InvalidToken

RETRY_AFTER = 1
UNKNOWN_MAX_AGE = 60
"""Where it cannot be known how a session stands, a sign-in this fresh may be judged by itself."""

_BAD_PROOFS = (Flaw.PROOF_INVALID, Flaw.PROOF_REPLAYED)
_PROOF_FLAWS = (*_BAD_PROOFS, Flaw.PROOF_MISSING)
_STEP_UP_TEXT = "A stronger or more recent authentication is required"
_REVOKED_TEXT = "The session was revoked"
_UNTIMED = Reason(
    TOKEN_WITHOUT_AUTH_TIME,
    "policy",
    "the token has no auth_time, and so proves nothing: have the identity provider put that claim"
    " into its access tokens",
)
_NOT_CAPABLE = (
    "The client cannot be asked for it: its token does not say (xms_cc: cp1) that it can handle a"
    " claims challenge"
)


def reasons_of(demands: Iterable[Demand]) -> tuple[Reason, ...]:
    """Return a reason for each demand, and one more if the token has no `auth_time`."""
    asked = tuple(demands)
    reasons = tuple(Reason(demand.policy, demand.signal, explain(demand)) for demand in asked)
    return (*reasons, _UNTIMED) if any(demand.untimed for demand in asked) else reasons


def unknown_context(message: str) -> Answer:
    """Return the answer to a call in a context that is not configured."""
    return Answer(Verdict.DENY, 400, error=UNKNOWN_CONTEXT, message=message)


UNDECIDED = Decision(Verdict.DENY)
"""The decision where the standing of the session is not known."""


class AccessDecision(NamedTuple):
    """A decision about a call, with the session that the call is of.

    `is_capable`: the client may be able to handle a claims challenge. `revoked` is what revoked the
    session, if anything did.
    """

    call: Call
    session: str = ""
    subject: str = ""
    assurance: str = ""
    is_capable: bool = True
    decision: Decision = UNDECIDED
    revoked: Held | None = None


class Answerers:
    """An `Answerer` for each app: configured by `app`, except for what `apps` has of it."""

    def __init__(
        self, app: App, apps: Mapping[str, AppChallenges], dpop_algorithms: Iterable[str] = ()
    ) -> None:
        algorithms = " ".join(dpop_algorithms)
        self._usual = Answerer(app, algorithms)
        self._special = {
            name: Answerer(_special(app, own), algorithms) for name, own in apps.items()
        }

    def of(self, app: str = "") -> "Answerer":
        """Return the one for this app; empty: the app is not known."""
        return self._special.get(app, self._usual)


def _special(app: App, own: AppChallenges) -> App:
    changes = {name: getattr(own, name) for name in _CHALLENGES}
    return msgspec.structs.replace(app, **{k: v for k, v in changes.items() if v is not None})


_CHALLENGES = frozenset(App.__struct_fields__) & frozenset(AppChallenges.__struct_fields__)


class Answerer:
    """Makes answers in the style that the app is configured for.

    `algorithms` are those that DPoP proofs may have, with spaces (RFC 9449, section 7.1).
    """

    def __init__(self, app: App, algorithms: str = "") -> None:
        self._app = app
        self._algorithms = algorithms

    def no_token(self, context: str) -> Answer:
        """Answer a call without a token by a challenge without an error code (RFC 6750, 3.1)."""
        return Answer(
            Verdict.DENY,
            401,
            challenge=self._bearer(),
            error="invalid_token",
            message="no token was sent",
            context=context,
        )

    def invalid_token(self, error: InvalidToken, call: Call) -> Answer:
        """Answer a call whose token (RFC 6750, 3.1) or proof (RFC 9449, 7.1) is not valid."""
        code = "invalid_dpop_proof" if error.code in _BAD_PROOFS else "invalid_token"
        # Such a token takes a proof, however it was sent.
        scheme = "DPoP" if error.code in _PROOF_FLAWS else call.scheme
        return Answer(
            Verdict.DENY,
            401,
            challenge=self._bearer(code, error.description, scheme),
            error="invalid_token",
            message=error.description,
            context=call.label,
        )

    def decided(self, decided: AccessDecision) -> Answer:
        """Return a decision as an answer."""
        decision = decided.decision
        match decision.verdict:
            case Verdict.ALLOW:
                return Answer(
                    Verdict.ALLOW,
                    200,
                    decided.session,
                    decided.subject,
                    decided.assurance,
                    decision.pending,
                    context=decided.call.label,
                )
            case Verdict.STEP_UP:
                return self._step_up(decided)
            case _:
                return self._refused(decided)

    def _step_up(self, decided: AccessDecision) -> Answer:
        call, decision = decided.call, decided.decision
        answer = Answer(
            Verdict.STEP_UP,
            401,
            decided.session,
            decided.subject,
            decided.assurance,
            pending=True,
            challenge=self._challenge(call, decision, decision.contexts or call.contexts),
            acr_values=" ".join(decision.acr_values),
            max_age=decision.max_age,
            reasons=reasons_of(decision.demands),
            message=_STEP_UP_TEXT,
            context=call.label,
            redirect=self._app.redirect if self._app.redirect.start else None,
        )
        return answer if self._can_be_asked(decided) else _refusal_of(answer)

    def _can_be_asked(self, decided: AccessDecision) -> bool:
        asks_for_claims = self._asks_for_claims and decided.call.contexts
        return self._may_send_claims(decided) or not asks_for_claims

    def _may_send_claims(self, decided: AccessDecision) -> bool:
        return decided.is_capable or self._app.claims_challenges is ClaimsChallenges.ALWAYS

    @property
    def _asks_for_claims(self) -> bool:
        return self._app.challenge is ChallengeStyle.ENTRA

    def _challenge(self, call: Call, asked: Decision, contexts: frozenset[str]) -> str:
        """Return the challenge of a step-up.

        A routine call has no context that Entra could be asked for: then it is RFC 9470's.
        """
        app = self._app
        if self._asks_for_claims and contexts:
            claims = context_claims(min(contexts))
            return claims_challenge(
                app.realm, app.authorization_uri, claims, _STEP_UP_TEXT, "authcontext"
            )
        return step_up(app.realm, asked.acr_values, asked.max_age, _STEP_UP_TEXT, call.scheme)

    def _bearer(self, error: str = "", description: str = "", scheme: str = "Bearer") -> str:
        app = self._app
        named = self._asks_for_claims and app.authorization_uri
        extra = (("authorization_uri", app.authorization_uri),) if named else ()
        if scheme == "DPoP" and self._algorithms:
            extra = (*extra, ("algs", self._algorithms))
        return bearer(app.realm, error, description, extra, scheme)

    def _refused(self, decided: AccessDecision) -> Answer:
        decision, revoked = decided.decision, decided.revoked
        status, challenge, message = 403, "", "Access is refused"
        reasons = reasons_of(decision.demands)
        if decision.revoked and revoked is not None:
            status, message = 401, _REVOKED_TEXT
            challenge = self._revoked(revoked, decided)
            reasons = (Reason("", "session-revoked", revoked.value or _REVOKED_TEXT),)
        return Answer(
            Verdict.DENY,
            status,
            decided.session,
            decided.subject,
            decided.assurance,
            decision.pending,
            challenge=challenge,
            reasons=reasons,
            message=message,
            context=decided.call.label,
        )

    def _revoked(self, revoked: Held, decided: AccessDecision) -> str:
        """Return the challenge of a revoked session, as claims to clients that may know these."""
        app = self._app
        if not (self._asks_for_claims and self._may_send_claims(decided)):
            return self._bearer("invalid_token", _REVOKED_TEXT, decided.call.scheme)
        claims = revocation_claims((revoked.since or 0) // MICROSECONDS + 1)
        return claims_challenge(
            app.realm, app.authorization_uri, claims, "TokenIssuedBeforeRevocationTimestamp"
        )

    def unknown(self, resilience: Resilience, decided: AccessDecision) -> Answer:
        """Return what a call gets when it cannot be known how its session stands.

        A step-up asks for the levels of the decision, so that it is worth what the call needs
        besides.
        """
        call, decision = decided.call, decided.decision
        message = "the state of the session cannot be known now"
        answer = Answer(
            Verdict.DENY,
            403,
            decided.session,
            decided.subject,
            reasons=(Reason("", "policy", message),),
            message=message,
            context=call.label,
        )
        match resilience:
            case Resilience.ALLOW:
                return Answer(
                    Verdict.ALLOW, 200, decided.session, decided.subject, context=call.label
                )
            case Resilience.STEP_UP if self._can_be_asked(decided):
                fresh = Decision(
                    Verdict.STEP_UP, acr_values=decision.acr_values, max_age=UNKNOWN_MAX_AGE
                )
                return msgspec.structs.replace(
                    answer,
                    verdict=fresh.verdict,
                    status=401,
                    challenge=self._challenge(call, fresh, call.contexts),
                    acr_values=" ".join(fresh.acr_values),
                    max_age=fresh.max_age,
                )
            case Resilience.STEP_UP:
                return _refusal_of(answer)
            case Resilience.DENY:
                return answer
            case Resilience.UNAVAILABLE:
                return msgspec.structs.replace(
                    answer, status=503, error="unavailable", retry_after=RETRY_AFTER
                )
            case _ as never:
                assert_never(never)


def _refusal_of(answer: Answer) -> Answer:
    """Return the refusal in place of a step-up that the client cannot handle."""
    return msgspec.structs.replace(
        answer, verdict=Verdict.DENY, status=403, challenge="", message=_NOT_CAPABLE
    )
