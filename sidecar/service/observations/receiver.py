"""The outcomes of what transmitters sent, as frozen records: part of `observations`."""

from enum import StrEnum

from sidecar.service.observations.observations import Observation


class SetOutcome(StrEnum):
    """The outcome of a Security Event Token that was not refused, in the label `outcome`."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    IGNORED = "ignored"  # understood, and nothing follows from it here
    UNMATCHED = "unmatched"  # about nobody that is known here
    OVERLOADED = "overloaded"
    UNAVAILABLE = "unavailable"


class SecurityEventTokenTaken(Observation, frozen=True, kw_only=True):
    """A Security Event Token met its fate.

    `outcome` is a `SetOutcome`, or the `err` of a refusal (RFC 8935, section 2.4). `transmitter` is
    the configured name, empty where it is none's; `event` the short name of the event's type;
    `detail` quotes nothing of the token; `left_out` are members that only inform and could not be
    read.
    """

    outcome: str
    transmitter: str = ""
    event: str = ""
    id: str = ""
    transaction: str = ""
    detail: str = ""
    left_out: tuple[str, ...] = ()


class StreamVerified(Observation, frozen=True, kw_only=True):
    """A verification event came through a transmitter's stream, `at` seconds since the epoch."""

    transmitter: str
    at: float
    asked_for: bool


class StreamChanged(Observation, frozen=True, kw_only=True):
    """The transmitter changed its stream's status by itself."""

    transmitter: str
    status: str
    reason: str = ""

    @property
    def is_enabled(self) -> bool:
        """Return whether the transmitter sends."""
        return self.status == "enabled"


class Polled(Observation, frozen=True, kw_only=True):
    """A poll of a transmitter brought `sets`, or failed.

    `changed`: unlike the one before, or for another cause.
    """

    transmitter: str
    failed: bool
    sets: int = 0
    changed: bool = False
    detail: str = ""

    @property
    def outcome(self) -> str:
        """Return the label `outcome`."""
        return "failed" if self.failed else "done"


class LogoutOutcome(StrEnum):
    """The outcome of a request to end sessions, in the label `outcome`."""

    DONE = "done"
    ALL_SESSIONS = "all_sessions"  # the user's, as tokens do not name the one that is meant
    UNKNOWN_SESSION = "unknown_session"  # nobody has shown it here: there is nothing to end
    NO_SESSION = "no_session"  # the issuer's tokens name no session, and so ends none
    REPLAYED = "replayed"  # its id has counted before
    REFUSED = "refused"
    NOT_FOUND = "not_found"
    UNSETTLED = "unsettled"  # durable, and not everywhere in time
    OVERLOADED = "overloaded"
    UNAVAILABLE = "unavailable"


LOGOUT_REQUESTS = ("logout", "global-token-revocation")
"""By what a provider asks, in the label `request`."""


class LogoutTaken(Observation, frozen=True, kw_only=True):
    """A provider asked to end sessions.

    `request` is one of `LOGOUT_REQUESTS`; `issuer` is one that is configured, empty where it is
    nobody's; `detail` quotes nothing of the request.
    """

    request: str
    outcome: LogoutOutcome
    issuer: str = ""
    id: str = ""
    detail: str = ""
