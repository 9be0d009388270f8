"""Explanation of the session itself, as a part of that of a call."""

from sidecar.domain.evaluation.compiled import names_said, unknown_of
from sidecar.domain.evaluation.evaluator import Evaluator
from sidecar.domain.explanation.explanation import SessionExplanation, SignInExplanation
from sidecar.domain.facts.memberships import GROUPS, KINDS, ROLES
from sidecar.domain.facts.precedence import compliance
from sidecar.domain.facts.segments import describe_segments
from sidecar.domain.session.presented import Presented
from sidecar.domain.session.state import Held, State
from sidecar.domain.values.assurance import CountedSignIn
from sidecar.domain.values.stamp import MICROSECONDS


def explain_session(
    evaluator: Evaluator,
    state: State,
    revoked: Held | None,
    presented: Presented | None = None,
) -> SessionExplanation:
    """Explain what is known of a session, and the revocation by which its calls are refused.

    Of a call whose token shows what is `presented`, that sign-in comes first.
    """
    ladder, sources = evaluator.world.ladder, evaluator.world.sources

    def named(claim: str) -> tuple[str, ...]:
        return tuple(sorted(names_said(state, claim, sources)))

    user = state.claims.get("user", ((), None))[0]
    return SessionExplanation(
        user=user[0] if user else next(iter(named("user")), ""),
        groups=named(GROUPS),
        roles=named(ROLES),
        ip=state.ip,
        country=state.location.country,
        network=describe_segments(state, sources),
        device=state.device,
        compliance=compliance(state, sources),
        established=state.established / MICROSECONDS,
        sign_ins=tuple(
            _sign_in(shown, ladder.name(shown.rank))
            for shown in dict.fromkeys(evaluator.evidence(state, presented).sign_ins)
        ),
        issuer=state.issuer,
        revoked="" if revoked is None else revoked.value or "revoked",
        unknown=tuple(kind for kind in KINDS if unknown_of(state, kind, sources)),
    )


def _sign_in(shown: CountedSignIn, level: str) -> SignInExplanation:
    auth = shown.authentication
    return SignInExplanation(
        auth.auth_time, auth.acr, auth.amr, level, tuple(sorted(shown.strengths))
    )
