"""The events of the contract, as values; `wire.events` reads them, `facts` says what they mean."""

from typing import ClassVar, TypeAlias

import msgspec

from sidecar.domain.policy.conditional_access import RiskLevel
from sidecar.domain.values.stamp import Stamp


class Subject(msgspec.Struct, frozen=True, gc=False):
    """The user, device and session of an event. Empty: not named.

    `issuer`: whose names these are, by the issuer's identifier or its namespace.
    """

    user: str = ""
    device: str = ""
    session: str = ""
    issuer: str = ""


class _Event(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Members that every event has.

    `source` names who said it, as the door has authenticated it; `label` is what the event calls
    its source itself, for people, and is believed by nobody. `content` is the digest of what the
    event says, where its sender gave it an id: the same id with other content is an error. `kind`
    is the event's type, as on the wire.
    """

    kind: ClassVar[str]
    stamp: Stamp
    subject: Subject
    source: str = ""
    label: str = ""
    content: str = ""


class SessionEstablished(_Event, frozen=True, kw_only=True):
    """A session began (CAEP session-established). `auth_time`, `exp` in seconds; 0: not given."""

    kind: ClassVar[str] = "session-established"
    ip: str = ""
    app: str = ""
    acr: str = ""
    amr: tuple[str, ...] = ()
    auth_time: int = 0
    exp: int = 0
    user_agent: str = ""


class SessionPresented(_Event, frozen=True, kw_only=True):
    """A session was used (CAEP session-presented)."""

    kind: ClassVar[str] = "session-presented"
    ip: str = ""
    user_agent: str = ""


class SessionRevoked(_Event, frozen=True, kw_only=True):
    """A session, or all of a user or device, is over until a later sign-in."""

    kind: ClassVar[str] = "session-revoked"
    reason: str = ""


class NetworkChange(_Event, frozen=True, kw_only=True):
    """A session or device moved into a network segment."""

    kind: ClassVar[str] = "network-change"
    segment: str


class DeviceComplianceChange(_Event, frozen=True, kw_only=True):
    """A device's compliance changed."""

    kind: ClassVar[str] = "device-compliance-change"
    compliant: bool


class RiskLevelChange(_Event, frozen=True, kw_only=True):
    """The risk of a user, device or session changed."""

    kind: ClassVar[str] = "risk-level-change"
    level: RiskLevel
    reason: str = ""


class CredentialChange(_Event, frozen=True, kw_only=True):
    """A user's credential was created, updated, revoked or deleted."""

    kind: ClassVar[str] = "credential-change"
    credential_type: str = ""
    change_type: str = ""


class AssuranceLevelChange(_Event, frozen=True, kw_only=True):
    """A session's assurance rose (a proof) or fell (`direction` is "decrease")."""

    kind: ClassVar[str] = "assurance-level-change"
    namespace: str
    level: str
    direction: str = "increase"


class OperatorMark(_Event, frozen=True, kw_only=True):
    """An operator asks for a step-up; no other source can say so.

    It is asked for in `contexts` (empty: in all), by a sign-in that shows `control`, a level or
    strength, and is at most `max_age` seconds old when it is first shown (negative: of any age).
    """

    kind: ClassVar[str] = "operator-mark"
    contexts: tuple[str, ...] = ()
    control: str = "mfa"
    max_age: int = -1
    reason: str = ""


class OperatorClear(_Event, frozen=True, kw_only=True):
    """An operator clears what sign-ins could clear as of now. No other source can say so."""

    kind: ClassVar[str] = "operator-clear"
    reason: str = ""


class TokenClaimsChange(_Event, frozen=True, kw_only=True):
    """Claims of a user or session changed; values are strings or tuples of strings."""

    kind: ClassVar[str] = "token-claims-change"
    claims: tuple[tuple[str, tuple[str, ...]], ...]


class RiskSignal(_Event, frozen=True, kw_only=True):
    """A custom detection: `weight` 0..100 that halves every `half_life` seconds."""

    kind: ClassVar[str] = "risk-signal"
    name: str
    weight: float
    half_life: float


Signal: TypeAlias = (
    SessionEstablished
    | SessionPresented
    | SessionRevoked
    | NetworkChange
    | DeviceComplianceChange
    | RiskLevelChange
    | CredentialChange
    | AssuranceLevelChange
    | TokenClaimsChange
    | RiskSignal
    | OperatorMark
    | OperatorClear
)
