"""Holds the standing of a session as it is for one call, from which the call is decided."""

from typing import NamedTuple

from sidecar.domain.evaluation.decision import AccessRequest
from sidecar.domain.session.presented import Presented
from sidecar.domain.session.scene import CalledFrom
from sidecar.domain.session.single_use import EMPTY, SingleUseProofs
from sidecar.domain.session.standing import Standing
from sidecar.service.ports.calls import Call
from sidecar.service.view.live_session import Live
from sidecar.wire.tokens.claims import Token


class Assessment(NamedTuple):
    """The standing by which a call of a session is decided, as a call of `app`.

    `token` is None where the session is asked about without one; `presented` is what the token
    shows. `origin` is where the call comes from, if a policy asks for that. `proofs` are those
    that the call can use.
    """

    call: Call
    live: Live
    token: Token | None
    app: str
    standing: Standing
    presented: Presented | None
    origin: CalledFrom | None = None
    proofs: SingleUseProofs = EMPTY

    @property
    def access(self) -> AccessRequest:
        """Return the access that the call asks for."""
        return AccessRequest(self.app, self.call.contexts, self.call.now, self.proofs)

    @property
    def is_capable(self) -> bool:
        """Return False if the token says that its client cannot handle a claims challenge."""
        return self.token is None or self.token.claims_capable
