"""Security events as values: the event types of CAEP 1.0, RISC 1.0 and SSF 1.0.

Read tolerantly where it does no harm: members that are not known are passed over (SSF 1.0,
"Additional fields"), what a profile requires but nobody needs may be missing, null is absent, and
levels and statuses count in any case. Members that only inform never veto an event: one that cannot
be read is left out, since an event that is refused for the sake of its `reason_admin` leaves a
stolen session alive. What an event does depend on is refused where it is wrong. They are written
strictly.
"""

import enum
import functools
import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, NamedTuple, TypeAlias

import msgspec

from sidecar.wire.events.security_event_names import INFORMING

MAX_TEXT = 1024
MAX_LIST = 64

_Text = Annotated[str, msgspec.Meta(max_length=MAX_TEXT)]
_Required = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_TEXT)]
_Localized = Annotated[Mapping[_Text, _Text], msgspec.Meta(max_length=MAX_LIST)] | _Text
_Claims = Annotated[Mapping[_Text, object], msgspec.Meta(min_length=1, max_length=MAX_LIST)]


class InvalidSecurityEvent(Exception):  # noqa: N818 - named by who must act: the transmitter
    """The event does not say what its type must. `field` is dotted; values are not quoted."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}" if field else message)
        self.field = field
        self.message = message


class InitiatingEntity(StrEnum):
    """The cause that set an event off (CAEP 1.0, "Optional Event Claims")."""

    ADMIN = "admin"
    USER = "user"
    POLICY = "policy"
    SYSTEM = "system"


class Change(StrEnum):
    """The change of a credential."""

    CREATE = "create"
    REVOKE = "revoke"
    UPDATE = "update"
    DELETE = "delete"


class Direction(StrEnum):
    """The direction in which an assurance level went."""

    INCREASE = "increase"
    DECREASE = "decrease"


class Compliance(StrEnum):
    """The compliance of a device with what is asked of it."""

    COMPLIANT = "compliant"
    NOT_COMPLIANT = "not-compliant"


class CaepRiskLevel(StrEnum):
    """The level of a risk."""

    LOW = "LOW"
    MEDIUM = "MEDIUM"
    HIGH = "HIGH"


class StreamStatus(StrEnum):
    """The status of a stream (SSF 1.0, "Stream Status"): only an enabled one carries events."""

    ENABLED = "enabled"
    PAUSED = "paused"
    DISABLED = "disabled"


class _Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The optional members of every event (CAEP 1.0, "Optional Event Claims").

    `event_timestamp` is in seconds since the epoch; drafts had milliseconds. The reasons are
    texts by language tag; drafts had one text.
    """

    event_timestamp: int | float | None = None
    initiating_entity: _Text = ""
    reason_admin: _Localized = {}
    reason_user: _Localized = {}


class CaepSessionRevoked(_Event, frozen=True, kw_only=True):
    """CAEP: every session that matches the subject is over."""


class CaepTokenClaimsChange(_Event, frozen=True, kw_only=True):
    """CAEP: claims have new values."""

    claims: _Claims


class CaepCredentialChange(_Event, frozen=True, kw_only=True):
    """CAEP: a credential was made, changed, revoked or deleted."""

    credential_type: _Text = ""
    change_type: Change | None = None
    friendly_name: _Text = ""
    x509_issuer: _Text = ""
    x509_serial: _Text = ""
    fido2_aaguid: _Text = ""


class CaepAssuranceLevelChange(_Event, frozen=True, kw_only=True):
    """CAEP: the way somebody is signed in became stronger or weaker."""

    current_level: _Required
    namespace: _Text = ""
    previous_level: _Text = ""
    change_direction: Direction | None = None


class CaepDeviceComplianceChange(_Event, frozen=True, kw_only=True):
    """CAEP: a device began or ceased to be compliant."""

    current_status: Compliance
    previous_status: Compliance | None = None


class CaepSessionEstablished(_Event, frozen=True, kw_only=True):
    """CAEP: the transmitter established a session. `fp_ua`: a fingerprint of the user agent."""

    fp_ua: _Text = ""
    acr: _Text = ""
    amr: Annotated[tuple[_Required, ...], msgspec.Meta(max_length=MAX_LIST)] = ()
    ext_id: _Text = ""


class CaepSessionPresented(_Event, frozen=True, kw_only=True):
    """CAEP: the transmitter saw the session."""

    fp_ua: _Text = ""
    ext_id: _Text = ""


class CaepRiskLevelChange(_Event, frozen=True, kw_only=True):
    """CAEP: the risk of `principal` changed: USER, DEVICE, SESSION, TENANT, ORG_UNIT, GROUP ..."""

    current_level: CaepRiskLevel
    principal: _Text = ""
    previous_level: CaepRiskLevel | None = None
    risk_reason: _Text = ""


class AccountCredentialChangeRequired(_Event, frozen=True, kw_only=True):
    """RISC: the account was required to change a credential."""


class AccountPurged(_Event, frozen=True, kw_only=True):
    """RISC: the account was deleted for ever."""


class AccountDisabled(_Event, frozen=True, kw_only=True):
    """RISC: the account was disabled. `reason`: "hijacking", "bulk-account" or none."""

    reason: _Text = ""


class AccountEnabled(_Event, frozen=True, kw_only=True):
    """RISC: the account was enabled."""


class IdentifierChanged(_Event, frozen=True, kw_only=True):
    """RISC: the subject, an address or number, was replaced."""

    new_value: _Text = msgspec.field(default="", name="new-value")


class IdentifierRecycled(_Event, frozen=True, kw_only=True):
    """RISC: the subject, an address or number, belongs to somebody else now."""


class CredentialCompromise(_Event, frozen=True, kw_only=True):
    """RISC: a credential was found to be compromised."""

    credential_type: _Text = ""


class OptIn(_Event, frozen=True, kw_only=True):
    """RISC: events about the account are exchanged."""


class OptOutInitiated(_Event, frozen=True, kw_only=True):
    """RISC: the account asked that no events of it be sent; for a while it still is."""


class OptOutCancelled(_Event, frozen=True, kw_only=True):
    """RISC: the account thought better of it."""


class OptOutEffective(_Event, frozen=True, kw_only=True):
    """RISC: no more events will come about the account."""


class RecoveryActivated(_Event, frozen=True, kw_only=True):
    """RISC: the account is being recovered."""


class RecoveryInformationChanged(_Event, frozen=True, kw_only=True):
    """RISC: how the account may be recovered has changed."""


class SessionsRevoked(_Event, frozen=True, kw_only=True):
    """RISC (deprecated): every session of the account is over."""


class Verification(_Event, frozen=True, kw_only=True):
    """SSF: the stream works. `state`: what the receiver gave when it asked for this."""

    state: _Text = ""


class StreamUpdated(_Event, frozen=True, kw_only=True):
    """SSF: the transmitter changed the stream's status by itself."""

    status: StreamStatus
    reason: _Text = ""


SecurityEvent: TypeAlias = (
    CaepSessionRevoked
    | CaepTokenClaimsChange
    | CaepCredentialChange
    | CaepAssuranceLevelChange
    | CaepDeviceComplianceChange
    | CaepSessionEstablished
    | CaepSessionPresented
    | CaepRiskLevelChange
    | AccountCredentialChangeRequired
    | AccountPurged
    | AccountDisabled
    | AccountEnabled
    | IdentifierChanged
    | IdentifierRecycled
    | CredentialCompromise
    | OptIn
    | OptOutInitiated
    | OptOutCancelled
    | OptOutEffective
    | RecoveryActivated
    | RecoveryInformationChanged
    | SessionsRevoked
    | Verification
    | StreamUpdated
)

_BASE = "https://schemas.openid.net/secevent/"
CAEP = f"{_BASE}caep/event-type/"
RISC = f"{_BASE}risc/event-type/"
SSF = f"{_BASE}ssf/event-type/"

URIS: Mapping[type[SecurityEvent], str] = {
    CaepSessionRevoked: f"{CAEP}session-revoked",
    CaepTokenClaimsChange: f"{CAEP}token-claims-change",
    CaepCredentialChange: f"{CAEP}credential-change",
    CaepAssuranceLevelChange: f"{CAEP}assurance-level-change",
    CaepDeviceComplianceChange: f"{CAEP}device-compliance-change",
    CaepSessionEstablished: f"{CAEP}session-established",
    CaepSessionPresented: f"{CAEP}session-presented",
    CaepRiskLevelChange: f"{CAEP}risk-level-change",
    AccountCredentialChangeRequired: f"{RISC}account-credential-change-required",
    AccountPurged: f"{RISC}account-purged",
    AccountDisabled: f"{RISC}account-disabled",
    AccountEnabled: f"{RISC}account-enabled",
    IdentifierChanged: f"{RISC}identifier-changed",
    IdentifierRecycled: f"{RISC}identifier-recycled",
    CredentialCompromise: f"{RISC}credential-compromise",
    OptIn: f"{RISC}opt-in",
    OptOutInitiated: f"{RISC}opt-out-initiated",
    OptOutCancelled: f"{RISC}opt-out-cancelled",
    OptOutEffective: f"{RISC}opt-out-effective",
    RecoveryActivated: f"{RISC}recovery-activated",
    RecoveryInformationChanged: f"{RISC}recovery-information-changed",
    SessionsRevoked: f"{RISC}sessions-revoked",
    Verification: f"{SSF}verification",
    StreamUpdated: f"{SSF}stream-updated",
}
"""The URI of each event type, as the final specifications have it."""

_DRAFT_URIS: Mapping[str, type[SecurityEvent]] = {
    f"{_BASE}sse/event-type/verification": Verification,
    f"{_BASE}sse/event-type/stream-updated": StreamUpdated,
    f"{RISC}verification": Verification,
    f"{RISC}stream-updated": StreamUpdated,
    f"{RISC}account-credential-compromise": CredentialCompromise,
}
KINDS: Mapping[str, type[SecurityEvent]] = {
    **{uri: kind for kind, uri in URIS.items()},
    **_DRAFT_URIS,
}
"""The event type of each URI, those of the drafts included."""

_MILLISECONDS = 100_000_000_000
"""As seconds, the year 5138: a greater time is in milliseconds, as in drafts of CAEP."""


def name_of(kind: type[SecurityEvent]) -> str:
    """Return the last part of a type's URI, as operators and metrics name it."""
    return URIS[kind].rpartition("/")[2]


_NUMBER = re.compile(r"[0-9]{1,16}(\.[0-9]{1,9})?")
_LATEST = 9_999_999_999_999
"""The last `event_timestamp`, in milliseconds, that is a time."""


class ReadEvent(NamedTuple):
    """An event, and the members that only inform and were left out, as they cannot be read."""

    event: SecurityEvent
    left_out: tuple[str, ...] = ()


def decode_security_event(uri: str, payload: object, field: str = "events") -> SecurityEvent:
    """Read the event of this type that stands at `field`; raises `InvalidSecurityEvent`."""
    return read_security_event(uri, payload, field).event


def read_security_event(uri: str, payload: object, field: str = "events") -> ReadEvent:
    """Read an event; return it with what was left out. Raises `InvalidSecurityEvent`."""
    kind = KINDS.get(uri)
    if kind is None:
        raise InvalidSecurityEvent(field, "has an event type that is not known here")
    if not isinstance(payload, Mapping):
        raise InvalidSecurityEvent(field, "must have an object for each event type")
    members, left_out = _members(kind, payload)
    try:
        return ReadEvent(msgspec.convert(members, kind), left_out)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `$")
        raise InvalidSecurityEvent(field + path.rstrip("`"), _in_words(message)) from None


def _in_words(message: str) -> str:
    """Return what is wrong, without the names of types of ours."""
    if message.startswith("Invalid enum value"):
        return "has none of the values that are defined"
    if message.startswith("Object missing required field"):
        return f"{message.partition('`')[2].rstrip('`')} is required"
    return "is not of the form that is defined"


def _members(
    kind: type[SecurityEvent], payload: Mapping[str, object]
) -> tuple[dict[str, object], tuple[str, ...]]:
    """Return an event's known members that can be read, and the informing ones that cannot."""
    members: dict[str, object] = {}
    left_out: list[str] = []
    for name, shape in _shapes(kind).items():
        value = _as_defined(name, payload.get(name), shape)
        if value is None:
            continue  # null is absent
        if name in INFORMING and not _is_readable(name, value, shape):
            left_out.append(name)
        else:
            members[name] = value
    return members, tuple(left_out)


@functools.cache
def _shapes(kind: type[SecurityEvent]) -> Mapping[str, Any]:
    return {field.encode_name: field.type for field in msgspec.structs.fields(kind)}


@functools.cache
def _choices(shape: Any) -> Mapping[str, str]:
    """Return the values of an enumeration as they may be spelled; empty where it is none."""
    kinds = [one for one in (shape, *getattr(shape, "__args__", ())) if isinstance(one, type)]
    values = [str(one.value) for kind in kinds if issubclass(kind, enum.Enum) for one in kind]
    return {_spelled(value): value for value in values}


def _spelled(value: str) -> str:
    return value.casefold().replace("_", "-")


def _as_defined(name: str, value: object, shape: Any) -> object:
    """Return the value in the spelling that is defined, where it is the same in another one."""
    if not isinstance(value, str):
        return value
    if name == "event_timestamp" and _NUMBER.fullmatch(value):
        return float(value)
    return _choices(shape).get(_spelled(value), value)


def _is_readable(name: str, value: object, shape: Any) -> bool:
    try:
        msgspec.convert(value, shape)
    except msgspec.ValidationError:
        return False
    return name != "event_timestamp" or 0 <= value <= _LATEST  # type: ignore[operator]


def encode_security_event(event: SecurityEvent) -> tuple[str, dict[str, object]]:
    """Return the URI of an event's type, and its payload."""
    return URIS[type(event)], msgspec.to_builtins(event)


def seconds_of(time: float) -> float:
    """Return a time as seconds since the epoch, though it be in milliseconds."""
    return time / 1000 if abs(time) >= _MILLISECONDS else time


def text_of(reason: Mapping[str, str] | str) -> str:
    """Return one of a reason's texts, in English where there is one, on one line."""
    if not isinstance(reason, str):
        english = (text for tag, text in reason.items() if tag.lower().partition("-")[0] == "en")
        reason = next(english, next(iter(reason.values()), ""))
    return " ".join("".join(c if c.isprintable() else " " for c in reason).split())
