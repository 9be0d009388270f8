"""Translation of others' security events: from SSF's event types to events of the contract.

Each becomes one event of ours, with `data` as `wire.events.events` reads it, or nothing. Where we
have no event of that meaning it is a `risk-signal` with a name of its own, `ssf-...`: policies can
name it and `risk.weights` weighs it. docs/shared-signals.md has the table.
"""

from collections.abc import Mapping
from typing import NamedTuple, TypeAlias, assert_never

import msgspec

from sidecar.domain.facts.signal import Signal, Subject
from sidecar.shared_signals.wire.security_event_tokens import (
    InvalidSet,
    SecurityEventToken,
    UnknownEvent,
)
from sidecar.shared_signals.wire.security_events import (
    AccountCredentialChangeRequired,
    AccountDisabled,
    AccountEnabled,
    AccountPurged,
    CaepAssuranceLevelChange,
    CaepCredentialChange,
    CaepDeviceComplianceChange,
    CaepRiskLevelChange,
    CaepSessionEstablished,
    CaepSessionPresented,
    CaepSessionRevoked,
    CaepTokenClaimsChange,
    CredentialCompromise,
    Direction,
    IdentifierChanged,
    IdentifierRecycled,
    OptIn,
    OptOutCancelled,
    OptOutEffective,
    OptOutInitiated,
    RecoveryActivated,
    RecoveryInformationChanged,
    SecurityEvent,
    SessionsRevoked,
    StreamUpdated,
    Verification,
    name_of,
    text_of,
)
from sidecar.wire.events.events import decode_event
from sidecar.wire.events.members import InvalidSignal
from sidecar.wire.events.security_event_names import Fault
from sidecar.wire.subjects.subject_ids import Proprietary, SubjectId
from sidecar.wire.subjects.subject_rules import Kind, SubjectRules, Unmatched

EXTERNAL_SESSION = "ext_id"
"""The format under which a rule can take an event's `ext_id` for a session's name."""


class Ignored(NamedTuple):
    """The event is understood, and nothing follows from it here; `reason` quotes no identifier."""

    reason: str


Meaning: TypeAlias = Signal | Ignored | Unmatched


class InboundTerms(NamedTuple):
    """Terms on which a transmitter's event is taken: its rules, our id and time, and its source.

    `now` in seconds since the epoch: an event of later than `now + skew` is refused. `may_prove`:
    what it says of a sign-in is a proof; else it is left out of a session's beginning.
    """

    rules: SubjectRules
    event_id: str
    source: str
    now: float
    skew: float
    user_wide_proofs: bool = False
    may_prove: bool = False


class _Statement(NamedTuple):
    """An event's statement in the contract's words, and its possible subjects, likeliest first."""

    kind: str
    about: tuple[Kind, ...]
    data: Mapping[str, object] = {}


_SESSION: tuple[Kind, ...] = ("session", "user")
_USER: tuple[Kind, ...] = ("user",)


def meaning_of(token: SecurityEventToken, terms: InboundTerms) -> Meaning:
    """Return what a verified SET means here; raises `InvalidSet` where it says what cannot be."""
    event = token.event
    if isinstance(event, UnknownEvent):
        return Ignored("the event type is not known here")
    said = _said(event, terms)
    if isinstance(said, Ignored):
        return said
    if token.subject is None:
        raise InvalidSet(Fault.INVALID_REQUEST, "sub_id is required")
    subject = terms.rules.match(token.subject, said.about)
    if isinstance(subject, Unmatched):
        return subject
    subject = _with_session(event, subject, terms.rules)
    if isinstance(event, CaepAssuranceLevelChange) and not subject.session:
        return _of_all_sessions(token, event, subject, terms)
    if said.kind.startswith("session-") and said.kind != "session-revoked" and not subject.session:
        said = _named_signal(event, _USER)
    subject = _restricted(subject, said.about)
    if subject == Subject(issuer=subject.issuer):
        return Unmatched(f"the subject does not name a {' or '.join(said.about)}")
    return _signal(said, subject, token, terms)


def _said(event: SecurityEvent, terms: InboundTerms) -> _Statement | Ignored:  # noqa: C901, PLR0912 - one case a kind
    match event:
        case CaepSessionRevoked():
            reason = text_of(event.reason_admin) or text_of(event.reason_user)
            return _Statement("session-revoked", ("session", "user", "device"), _reason(reason))
        case AccountPurged() | AccountDisabled() | SessionsRevoked() | IdentifierRecycled():
            reason = f"{name_of(type(event))} {getattr(event, 'reason', '')}"
            return _Statement("session-revoked", _USER, _reason(reason))
        case CaepTokenClaimsChange():
            return _Statement("token-claims-change", _SESSION, {"claims": event.claims})
        case CaepCredentialChange():
            change: dict[str, object] = {"credential_type": event.credential_type}
            if event.change_type is not None:
                change["change_type"] = event.change_type.value
            return _Statement("credential-change", _USER, change)
        case CaepAssuranceLevelChange():
            return _Statement("assurance-level-change", _SESSION, _assurance(event))
        case CaepDeviceComplianceChange():
            status = {"current_status": event.current_status.value}
            return _Statement("device-compliance-change", ("device",), status)
        case CaepSessionEstablished():
            shown = {"acr": event.acr, "amr": list(event.amr)} if terms.may_prove else {}
            return _Statement("session-established", ("session", "user", "device"), shown)
        case CaepSessionPresented():
            return _Statement("session-presented", ("session", "user", "device"))
        case CaepRiskLevelChange():
            return _risk(event)
        case (
            AccountCredentialChangeRequired()
            | IdentifierChanged()
            | CredentialCompromise()
            | RecoveryActivated()
            | RecoveryInformationChanged()
        ):
            return _named_signal(event, _USER)
        case AccountEnabled():
            return Ignored("a new sign-in is enough; sign-ins from before stay void")
        case OptIn() | OptOutInitiated() | OptOutCancelled() | OptOutEffective():
            return Ignored("whether a user takes part is the transmitter's to keep")
        case Verification() | StreamUpdated():
            return Ignored("it is about the stream")
        case _:
            assert_never(event)


def _reason(reason: str) -> dict[str, object]:
    return {"reason": reason.strip()[:1024]}


def _assurance(event: CaepAssuranceLevelChange) -> dict[str, object]:
    data: dict[str, object] = {"namespace": event.namespace, "current_level": event.current_level}
    if event.change_direction is not None:
        data["change_direction"] = event.change_direction.value
    return data


def _risk(event: CaepRiskLevelChange) -> _Statement | Ignored:
    """Return the risk of whom `principal` names; without one, of the narrowest subject named.

    Risk of a tenant or group is nobody's in particular here.
    """
    data = {"current_level": event.current_level.value, "risk_reason": event.risk_reason[:1024]}
    principals: dict[str, tuple[Kind, ...]] = {
        "USER": _USER,
        "DEVICE": ("device",),
        "SESSION": ("session",),
        "": ("session", "device", "user"),
    }
    about = principals.get(event.principal.upper())
    if about is None:
        return Ignored("the risk is neither a user's, nor a device's, nor a session's")
    return _Statement("risk-level-change", about, data)


def _named_signal(event: SecurityEvent, about: tuple[Kind, ...]) -> _Statement:
    return _Statement("risk-signal", about, {"name": f"ssf-{name_of(type(event))}"})


def _with_session(event: SecurityEvent, subject: Subject, rules: SubjectRules) -> Subject:
    """Return the subject with the session that `ext_id` names, if a rule takes it for ours."""
    if isinstance(event, CaepSessionEstablished | CaepSessionPresented) and event.ext_id:
        if subject.session:
            return subject
        external: SubjectId = Proprietary(EXTERNAL_SESSION, ((EXTERNAL_SESSION, event.ext_id),))
        found = rules.match(external, ("session",))
        if isinstance(found, Subject):
            return msgspec.structs.replace(subject, session=found.session)
    return subject


def _of_all_sessions(
    token: SecurityEventToken,
    event: CaepAssuranceLevelChange,
    subject: Subject,
    terms: InboundTerms,
) -> Meaning:
    """Return an assurance that changed for a user.

    No event of the contract, but a signal all the same.
    """
    if not subject.user:
        return Unmatched("the subject does not name a session or user")
    lowered = event.change_direction is Direction.DECREASE
    if not (lowered or terms.user_wide_proofs):
        return Ignored("it would prove every session of the user: user_wide_proofs is off")
    # Read as if it were of a session of that name, for the same limits.
    said = _Statement("assurance-level-change", _SESSION, _assurance(event))
    of_one = _signal(said, Subject(session=subject.user), token, terms)
    return msgspec.structs.replace(
        of_one, subject=Subject(user=of_one.subject.session, issuer=subject.issuer)
    )


def _restricted(subject: Subject, about: tuple[Kind, ...]) -> Subject:
    """Return only what the event is about: of a user's risk, the device is no part."""
    if about == ("session", "device", "user"):
        about = next(((kind,) for kind in about if getattr(subject, kind)), about)
    named = {kind: getattr(subject, kind) for kind in about}
    return Subject(**named, issuer=subject.issuer)


def _signal(
    said: _Statement, subject: Subject, token: SecurityEventToken, terms: InboundTerms
) -> Signal:
    named = {
        kind: name
        for kind in ("user", "device", "session", "issuer")
        if (name := getattr(subject, kind))
    }
    raw = {
        "type": said.kind,
        "time": token.time,
        "id": terms.event_id,
        "subject": named,
        "data": said.data,
    }
    try:
        return decode_event(
            raw, now=terms.now, skew=terms.skew, new_id=terms.event_id, source=terms.source
        )
    except InvalidSignal as error:
        field = error.field.replace("data.", "events.")
        raise InvalidSet(Fault.INVALID_REQUEST, f"{field}: {error.message}") from None
