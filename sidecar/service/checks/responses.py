"""Puts decisions into words that a client understands: status, challenge, reasons."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple, assert_never

import msgspec

from sidecar.domain.evaluation.decision import Decision, Verdict, explain
from sidecar.domain.session.standing import TOKEN_WITHOUT_AUTH_TIME, Demand
from sidecar.domain.session.state import Held
from sidecar.domain.values.stamp import MICROSECONDS
from sidecar.service.ports.calls import UNKNOWN_CONTEXT, Answer, Reason
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
    """The reasons of all that is asked, in words; and why nothing that was shown could meet it."""
    asked = tuple(demands)
    reasons = tuple(Reason(demand.policy, demand.signal, explain(demand)) for demand in asked)
    return (*reasons, _UNTIMED) if any(demand.untimed for demand in asked) else reasons


def unknown_context(message: str) -> Answer:
    """The answer to a call in a context that is not configured: whoever named it must act."""
    return Answer(Verdict.DENY, 400, error=UNKNOWN_CONTEXT, message=message)


class Whom(NamedTuple):
    """The session that an answer is for, and the contexts that were judged (as a label).

    `capable`: nothing says that the client could not handle a claims challenge. `scheme` is how the
    token was sent, `Bearer` or `DPoP`: challenges answer in kind.
    """

    session: str
    subject: str
    assurance: str
    context: str
    capable: bool = True
    scheme: str = "Bearer"


class Answerers:
    """An `Answerer` for each app: as `app` is configured, but for what `apps` says of one."""

    def __init__(
        self, app: App, apps: Mapping[str, AppChallenges], dpop_algorithms: Iterable[str] = ()
    ) -> None:
        algorithms = " ".join(dpop_algorithms)
        self._usual = Answerer(app, algorithms)
        self._special = {
            name: Answerer(_special(app, own), algorithms) for name, own in apps.items()
        }

    def of(self, app: str = "") -> "Answerer":
        """The one for this app; empty: it is not known which."""
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
        """No credentials: a challenge without an error code (RFC 6750, section 3.1)."""
        return Answer(
            Verdict.DENY,
            401,
            challenge=self._bearer(),
            error="invalid_token",
            message="no token was sent",
            context=context,
        )

    def invalid_token(self, error: InvalidToken, context: str, scheme: str = "Bearer") -> Answer:
        """A token that is not believed (RFC 6750, 3.1), or a proof of its key (RFC 9449, 7.1)."""
        code = "invalid_dpop_proof" if error.code in _BAD_PROOFS else "invalid_token"
        if error.code in _PROOF_FLAWS:
            scheme = "DPoP"  # which is what the token takes, however it was sent
        return Answer(
            Verdict.DENY,
            401,
            challenge=self._bearer(code, error.description, scheme),
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
        answer = Answer(
            Verdict.STEP_UP,
            401,
            whom.session,
            whom.subject,
            whom.assurance,
            pending=True,
            challenge=self._challenge(
                decision.acr_values, decision.max_age, decision.contexts or contexts, whom.scheme
            ),
            acr_values=" ".join(decision.acr_values),
            max_age=decision.max_age,
            reasons=reasons,
            message=_STEP_UP_TEXT,
            context=whom.context,
            redirect=self._app.redirect if self._app.redirect.start else None,
        )
        return answer if self._can_be_asked(whom, contexts) else _refusal_of(answer)

    def _can_be_asked(self, whom: Whom, contexts: frozenset[str]) -> bool:
        return self._may_send_claims(whom) or not (self._asks_for_claims and contexts)

    def _may_send_claims(self, whom: Whom) -> bool:
        return whom.capable or self._app.claims_challenges is ClaimsChallenges.ALWAYS

    @property
    def _asks_for_claims(self) -> bool:
        return self._app.challenge is ChallengeStyle.ENTRA

    def _challenge(
        self,
        acr_values: tuple[str, ...],
        max_age: int | None,
        contexts: frozenset[str],
        scheme: str,
    ) -> str:
        """The challenge of a step-up.

        A routine call has no context that Entra could be asked for: then it is RFC 9470's.
        """
        app = self._app
        if self._asks_for_claims and contexts:
            claims = context_claims(min(contexts))
            return claims_challenge(
                app.realm, app.authorization_uri, claims, _STEP_UP_TEXT, "authcontext"
            )
        return step_up(app.realm, acr_values, max_age, _STEP_UP_TEXT, scheme)

    def _bearer(self, error: str = "", description: str = "", scheme: str = "Bearer") -> str:
        app = self._app
        named = self._asks_for_claims and app.authorization_uri
        extra = (("authorization_uri", app.authorization_uri),) if named else ()
        if scheme == "DPoP" and self._algorithms:
            extra = (*extra, ("algs", self._algorithms))
        return bearer(app.realm, error, description, extra, scheme)

    def _refused(
        self,
        decision: Decision,
        whom: Whom,
        reasons: tuple[Reason, ...],
        revoked: Held | None,
    ) -> Answer:
        status, challenge, message = 403, "", "Access is refused"
        if decision.revoked and revoked is not None:
            status, message = 401, _REVOKED_TEXT
            challenge = self._revoked(revoked, whom)
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

    def _revoked(self, revoked: Held, whom: Whom) -> str:
        """The challenge of a revoked session: an invalid token, to those who know no better."""
        app = self._app
        if not (self._asks_for_claims and self._may_send_claims(whom)):
            return self._bearer("invalid_token", _REVOKED_TEXT, whom.scheme)
        claims = revocation_claims((revoked.since or 0) // MICROSECONDS + 1)
        return claims_challenge(
            app.realm, app.authorization_uri, claims, "TokenIssuedBeforeRevocationTimestamp"
        )

    def unknown(
        self,
        resilience: Resilience,
        whom: Whom,
        contexts: frozenset[str],
        acr_values: tuple[str, ...] = (),
    ) -> Answer:
        """What a call gets when it cannot be known how its session stands.

        A step-up is asked for by `acr_values`, so that it is worth what the call needs besides.
        """
        message = "the state of the session cannot be known now"
        reasons = (Reason("", "policy", message),)
        answer = Answer(
            Verdict.DENY,
            403,
            whom.session,
            whom.subject,
            reasons=reasons,
            message=message,
            context=whom.context,
        )
        match resilience:
            case Resilience.ALLOW:
                return Answer(Verdict.ALLOW, 200, whom.session, whom.subject, context=whom.context)
            case Resilience.STEP_UP if self._can_be_asked(whom, contexts):
                return msgspec.structs.replace(
                    answer,
                    verdict=Verdict.STEP_UP,
                    status=401,
                    challenge=self._challenge(acr_values, UNKNOWN_MAX_AGE, contexts, whom.scheme),
                    acr_values=" ".join(acr_values),
                    max_age=UNKNOWN_MAX_AGE,
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
    """A step-up that the client cannot be asked for."""
    return msgspec.structs.replace(
        answer, verdict=Verdict.DENY, status=403, challenge="", message=_NOT_CAPABLE
    )
