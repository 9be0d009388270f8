"""The values that doors and services exchange: doors fill in calls, and render answers."""

from typing import NamedTuple

import msgspec

from sidecar.domain.evaluation.decision import Verdict
from sidecar.domain.explanation.explanation import Explanation
from sidecar.domain.session.standing import Demand
from sidecar.domain.values.assurance import Ladder
from sidecar.domain.values.location import Place
from sidecar.wire.settings.settings import Redirect
from sidecar.wire.traces.trace_context import SentContext

UNKNOWN_CONTEXT = "unknown_context"
"""The error of a call that names a context which is not configured."""


class TokenPresentation(NamedTuple):
    """The manner in which a token was shown: its DPoP proof, and the client's certificate.

    `dpop` None: as a bearer token; empty: as a DPoP token without a proof. `certificate` is a
    thumbprint (RFC 8705, section 3.1), empty: none was shown.
    """

    dpop: str | None = None
    certificate: str = ""


class Via(NamedTuple):
    """The door that a call came by, and who asks: a source by its credential, or a peer's uid."""

    listener: str = ""
    asker: str = ""
    uid: int | None = None


NOWHERE = Via()
"""The door of a call that came by none."""


class Call(msgspec.Struct, frozen=True, gc=False):
    """One call of the app that asks to pass.

    A door fills in what the app or gateway says; `contexts` are then those that it names. Before it
    is judged, `CallContexts.resolve` adds the moment, `now`, and puts in their place the
    contexts that are judged: with those of the routes of `method`, `host` and the normalised
    `path`. `label` is the same as text, for metrics and answers; empty: a routine call.

    `ip` is the client's address as text, empty where it is not known. `shown` is None where the
    door does not know how the token was shown. `via` is for the log of decisions alone, and
    `trace`, what its sender says of its trace, for traces.
    """

    token: str
    contexts: frozenset[str] = frozenset()
    method: str = ""
    host: str = ""
    path: str = ""
    ip: str = ""
    user_agent: str = ""
    shown: TokenPresentation | None = None
    now: float = 0.0
    label: str = ""
    via: Via = NOWHERE
    trace: SentContext | None = None

    @property
    def scheme(self) -> str:
        """Return how the token was sent, `Bearer` or `DPoP`: challenges answer in kind."""
        return "Bearer" if self.shown is None or self.shown.dpop is None else "DPoP"


class Reason(msgspec.Struct, frozen=True, gc=False):
    """A reason: the policy that asks, the signal that caused it, and both in words."""

    policy: str
    signal: str
    text: str


class DecisionBasis(msgspec.Struct, frozen=True, gc=False):
    """The grounds of a decision, as far as the log of decisions says them.

    `standing` is the session's, as watchers have it; `demands` are those that decided, `ladder` the
    levels that they speak of, and `tried` the report-only policies that asked, each with the
    verdict if it were enforced. `stale`: the view was too old to decide, and `when_unknown` did.
    """

    app: str = ""
    standing: str = ""
    demands: tuple[Demand, ...] = ()
    ladder: Ladder | None = None
    tried: tuple[tuple[str, str], ...] = ()
    place: Place = Place()
    networks: tuple[str, ...] = ()
    device: str = ""
    break_glass: bool = False
    stale: bool = False


class Answer(msgspec.Struct, frozen=True, gc=False):
    """The answer to a `Call`.

    `status` is the HTTP status; `challenge` the value of `WWW-Authenticate` (empty: none); `error`
    one of "" (decided), "invalid_token", "unavailable" or `UNKNOWN_CONTEXT`; `assurance` the name
    of the level that the call's own token shows (of the session's, where there is none); `pending`
    says that a mark waits in another context; `context` the contexts that were judged, for the
    metric (empty: a routine call). `redirect`: where a browser that opens a page may be sent
    instead. `explanation` is for the log, and only there where `log.explain` asks for it: doors do
    not show it. Likewise `issuer`, whose names these are, and `basis`. `id` is the decision's,
    which the log and the history have, too.
    """

    verdict: Verdict
    status: int
    session: str = ""
    subject: str = ""
    assurance: str = ""
    pending: bool = False
    challenge: str = ""
    acr_values: str = ""
    max_age: int | None = None
    reasons: tuple[Reason, ...] = ()
    error: str = ""
    message: str = ""
    retry_after: int = 0
    context: str = ""
    redirect: Redirect | None = None
    explanation: Explanation | None = None
    issuer: str = ""
    id: str = ""
    basis: DecisionBasis | None = None


class Accepted(msgspec.Struct, frozen=True, gc=False):
    """The receipt of an event that is durable. `duplicate`: its id was known, and nothing changed.

    `key` is the id within all sources, by which sidecars speak of the event among themselves;
    empty: the same.
    """

    id: str
    duplicate: bool = False
    spooled: bool = False
    key: str = ""


class FleetAcknowledgement(NamedTuple):
    """The spread of an event: `have` of the `live` sidecars have it in their view.

    `live` 0: nobody knows how many there are, as the store is away, or too many wait to know.
    """

    have: int
    live: int

    @property
    def is_everywhere(self) -> bool:
        """Return whether all have it."""
        return 0 < self.live <= self.have


class StandingChange(msgspec.Struct, frozen=True, gc=False):
    """A change of a session's standing, to `step_up`, `revoked` or `clear`.

    Where several users have a session of this name, it is that of the one who stands worst.
    """

    session: str
    standing: str
    contexts: tuple[str, ...] = ()
    reasons: tuple[Reason, ...] = ()


class Overloaded(Exception):  # noqa: N818 - named by who must act
    """A bounded queue is full: try again after `retry_after` seconds."""

    def __init__(
        self, retry_after: int = 1, words: str = "too much is waiting; try again later"
    ) -> None:
        super().__init__(words)
        self.retry_after = retry_after


class Unavailable(Exception):  # noqa: N818 - named by who must act
    """Something outside is slow or gone; the environment must recover."""


class StoreRefused(Unavailable):
    """The store refuses this for good: it says the same however often it is asked."""


class Forbidden(Exception):  # noqa: N818 - named by who must act: the operator, or the sender
    """The source may not say so. `key` of its `sources` entry would allow it; `field` says it."""

    def __init__(self, key: str, field: str, message: str) -> None:
        super().__init__(message)
        self.key = key
        self.field = field
        self.message = message
