"""What an explanation tells of the session itself."""

from sidecar.domain.assurance import Shown
from sidecar.domain.evaluator import Evaluator
from sidecar.domain.explanation import SessionTold, SignInTold
from sidecar.domain.precedence import compliance
from sidecar.domain.stamp import MICROSECONDS
from sidecar.domain.state import Held, State


def session_told(evaluator: Evaluator, state: State, revoked: Held | None) -> SessionTold:
    """What is known of a session, and the revocation that a call of it is refused by, if any."""
    ladder = evaluator.world.ladder
    network = state.circumstances.get("network")
    user = state.claims.get("user", ((), None))[0]
    return SessionTold(
        user=user[0] if user else "",
        groups=state.claims.get("groups", ((), None))[0],
        roles=state.claims.get("roles", ((), None))[0],
        ip=state.ip,
        country=state.location.country,
        network=network.value if network else "",
        device=state.device,
        compliance=compliance(state, evaluator.world.sources),
        established=state.established / MICROSECONDS,
        sign_ins=tuple(
            _sign_in(shown, ladder.name(shown.rank)) for shown in evaluator.sign_ins(state)
        ),
        revoked="" if revoked is None else revoked.value or "revoked",
    )


def _sign_in(shown: Shown, level: str) -> SignInTold:
    auth = shown.authentication
    return SignInTold(auth.auth_time, auth.acr, auth.amr, level, tuple(sorted(shown.strengths)))
