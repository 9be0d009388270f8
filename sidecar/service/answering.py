"""Puts decisions into words that a client understands: status, challenge, reasons."""

from typing import NamedTuple

from sidecar.domain.decision import Decision, Verdict
from sidecar.domain.stamp import MICROSECONDS
from sidecar.domain.state import Held
from sidecar.service.answers import Answer, Reason
from sidecar.wire.challenges import (
    bearer,
    claims_challenge,
    context_claims,
    revocation_claims,
    step_up,
)
from sidecar.wire.claims import InvalidToken
from sidecar.wire.settings import App, ChallengeStyle, Resilience

RETRY_AFTER = 1
UNKNOWN_MAX_AGE = 60
"""Where it cannot be known how a session stands, a sign-in this fresh may be judged by itself."""

_STEP_UP_TEXT = "A stronger or more recent authentication is required"
_REVOKED_TEXT = "The session was revoked"


class Whom(NamedTuple):
    """The session that an answer is for, and the contexts that were judged (as a label)."""

    session: str
    subject: str
    assurance: str
    context: str


class Answerer:
    """Makes answers in the style that the app is configured for."""

    def __init__(self, app: App) -> None:
        self._app = app

    def no_token(self, context: str) -> Answer:
        """No credentials: a challenge without an error code (RFC 6750, section 3.1)."""
        return Answer(
            Verdict.DENY,
            401,
            challenge=bearer(self._app.realm),
            error="invalid_token",
            message="no token was sent",
            context=context,
        )

    def invalid_token(self, error: InvalidToken, context: str) -> Answer:
        """A token that is not believed (RFC 6750, section 3.1)."""
        return Answer(
            Verdict.DENY,
            401,
            challenge=bearer(self._app.realm, "invalid_token", error.description),
            error="invalid_token",
            message=error.description,
            context=context,
        )

    def decided(
        self,
        decision: Decision,
        whom: Whom,
        reasons: tuple[Reason, ...],
        contexts: frozenset[str],
        revoked: Held | None,
    ) -> Answer:
        """A decision as an answer."""
        match decision.verdict:
            case Verdict.ALLOW:
                return Answer(
                    Verdict.ALLOW,
                    200,
                    whom.session,
                    whom.subject,
                    whom.assurance,
                    decision.pending,
                    context=whom.context,
                )
            case Verdict.STEP_UP:
                return self._step_up(decision, whom, reasons, contexts)
            case _:
                return self._refused(decision, whom, reasons, revoked)

    def _step_up(
        self,
        decision: Decision,
        whom: Whom,
        reasons: tuple[Reason, ...],
        contexts: frozenset[str],
    ) -> Answer:
        app = self._app
        if app.challenge is ChallengeStyle.ENTRA:
            claims = context_claims(min(contexts, default=""))
            challenge = claims_challenge(
                app.realm, app.authorization_uri, claims, _STEP_UP_TEXT, "authcontext"
            )
        else:
            challenge = step_up(app.realm, decision.acr_values, decision.max_age, _STEP_UP_TEXT)
        return Answer(
            Verdict.STEP_UP,
            401,
            whom.session,
            whom.subject,
            whom.assurance,
            pending=True,
            challenge=challenge,
            acr_values=" ".join(decision.acr_values),
            max_age=decision.max_age,
            reasons=reasons,
            message=_STEP_UP_TEXT,
            context=whom.context,
        )

    def _refused(
        self,
        decision: Decision,
        whom: Whom,
        reasons: tuple[Reason, ...],
        revoked: Held | None,
    ) -> Answer:
        app = self._app
        status, challenge, message = 403, "", "Access is refused"
        if decision.revoked and revoked is not None:
            status, message = 401, _REVOKED_TEXT
            if app.challenge is ChallengeStyle.ENTRA:
                claims = revocation_claims((revoked.since or 0) // MICROSECONDS + 1)
                challenge = claims_challenge(
                    app.realm,
                    app.authorization_uri,
                    claims,
                    "TokenIssuedBeforeRevocationTimestamp",
                )
            else:
                challenge = bearer(app.realm, "invalid_token", _REVOKED_TEXT)
            reasons = (Reason("", "session-revoked", revoked.value or _REVOKED_TEXT),)
        return Answer(
            Verdict.DENY,
            status,
            whom.session,
            whom.subject,
            whom.assurance,
            decision.pending,
            challenge=challenge,
            reasons=reasons,
            message=message,
            context=whom.context,
        )

    def unknown(self, resilience: Resilience, whom: Whom) -> Answer:
        """What a call gets when it cannot be known how its session stands."""
        message = "the state of the session cannot be known now"
        reasons = (Reason("", "policy", message),)
        match resilience:
            case Resilience.ALLOW:
                return Answer(Verdict.ALLOW, 200, whom.session, whom.subject, context=whom.context)
            case Resilience.STEP_UP:
                return Answer(
                    Verdict.STEP_UP,
                    401,
                    whom.session,
                    whom.subject,
                    challenge=step_up(self._app.realm, (), UNKNOWN_MAX_AGE, _STEP_UP_TEXT),
                    max_age=UNKNOWN_MAX_AGE,
                    reasons=reasons,
                    message=message,
                    context=whom.context,
                )
            case Resilience.DENY:
                return Answer(
                    Verdict.DENY,
                    403,
                    whom.session,
                    whom.subject,
                    reasons=reasons,
                    message=message,
                    context=whom.context,
                )
            case _:
                return Answer(
                    Verdict.DENY,
                    503,
                    whom.session,
                    whom.subject,
                    reasons=reasons,
                    error="unavailable",
                    message=message,
                    retry_after=RETRY_AFTER,
                    context=whom.context,
                )
