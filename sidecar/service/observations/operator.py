"""The acts of operators, as a record that is counted and logged."""

from enum import StrEnum

from sidecar.service.observations.observations import Observation


class ActOutcome(StrEnum):
    """The outcome of an operator's act, in the label `outcome`."""

    DONE = "done"
    SPOOLED = "spooled"  # durable here alone, as the store is away
    INVALID = "invalid"
    NOT_SEEN = "not_seen"  # nobody has heard of the name
    CONFLICT = "conflict"  # the name, or the id, means several things
    FORBIDDEN = "forbidden"  # the credential may look, and not act
    UNAVAILABLE = "unavailable"


class OperatorActed(Observation, frozen=True, kw_only=True):
    """An operator wanted something done. One of `session`, `user` and `device` is named.

    `detail` says why it was not done.
    """

    act: str
    on: str
    outcome: ActOutcome
    operator: str
    session: str = ""
    user: str = ""
    device: str = ""
    issuer: str = ""
    id: str = ""
    reason: str = ""
    detail: str = ""


class ConsoleStep(StrEnum):
    """The begin or end of an operator's sign-in at the console: the label `step`."""

    IN = "in"
    OUT = "out"


class ConsoleSignIn(Observation, frozen=True, kw_only=True):
    """An operator signed in at the console, or out, from this address.

    `subject` is what an OpenID provider calls them for good; empty where a credential was shown.
    """

    step: ConsoleStep
    operator: str
    address: str
    subject: str = ""


class ConsoleRefusal(StrEnum):
    """The reason why a sign-in by an OpenID provider was refused: the label `reason`."""

    STATE = "state"  # not begun by this browser, over already, or too long ago
    ISSUER = "issuer"  # the answer is of another issuer
    PROVIDER = "provider"  # the provider said no
    UNAVAILABLE = "unavailable"  # the provider does not answer, or not as one does
    CLAIMS = "claims"  # what it says of them is not to be believed
    ROLE = "role"  # who it is has no role here


class ConsoleRefused(Observation, frozen=True, kw_only=True):
    """A sign-in by an OpenID provider was refused. `detail` says why, without what was sent.

    `operator` is there where it is known who it was.
    """

    reason: ConsoleRefusal
    address: str
    detail: str
    operator: str = ""
