"""Announcements as Security Event Tokens: CAEP events about a complex subject (SSF 1.0)."""

import hashlib
from collections.abc import Mapping
from typing import assert_never

import msgspec

from sidecar.domain.evaluation.announcement import (
    Announcement,
    AssuranceChanged,
    PresentedElsewhere,
    RiskChanged,
    SessionOver,
)
from sidecar.shared_signals.wire.security_event_tokens import SecurityEventToken, encode_claims
from sidecar.shared_signals.wire.security_events import (
    CAEP,
    CaepAssuranceLevelChange,
    CaepRiskLevel,
    CaepRiskLevelChange,
    CaepSessionPresented,
    CaepSessionRevoked,
    Direction,
    InitiatingEntity,
    SecurityEvent,
)
from sidecar.wire.settings.transmitter import Announced
from sidecar.wire.subjects.subject_ids import Complex, IssuerSubject, Opaque, Simple

_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(Announcement)

URI_OF: Mapping[Announced, str] = {kind: f"{CAEP}{kind.value}" for kind in Announced}
_BY_URI = {uri: kind for kind, uri in URI_OF.items()}

_FOR_USERS = {
    "fell": "Please sign in again to go on.",
    "over": "You were signed out. Please sign in again.",
}


class InvalidAnnouncement(Exception):  # noqa: N818 - whoever wrote the store must act
    """The store's entry is no announcement, or a newer version's."""


def encode_announcement(announcement: Announcement) -> bytes:
    """Return an announcement as the store keeps it."""
    return _encode(announcement)


def decode_announcement(raw: bytes) -> Announcement:
    """Undo `encode_announcement`; raises `InvalidAnnouncement`."""
    try:
        return _decoder.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise InvalidAnnouncement from None


def announced_of(uri: str) -> Announced | None:
    """Return which of our events has this URI; None where none has."""
    return _BY_URI.get(uri)


def event_of(announcement: Announcement, namespace: str) -> SecurityEvent:
    """Return the event that is published: `namespace` is that of our assurance levels."""
    text = announcement.text
    admin = {"en": text} if text else {}
    at = announcement.at
    match announcement.change:
        case AssuranceChanged(previous=previous, current=current, rose=rose):
            return CaepAssuranceLevelChange(
                event_timestamp=at,
                initiating_entity=InitiatingEntity.USER if rose else InitiatingEntity.POLICY,
                reason_admin=admin,
                reason_user={} if rose else {"en": _FOR_USERS["fell"]},
                namespace=namespace,
                previous_level=previous,
                current_level=current,
                change_direction=Direction.INCREASE if rose else Direction.DECREASE,
            )
        case SessionOver():
            return CaepSessionRevoked(
                event_timestamp=at,
                initiating_entity=InitiatingEntity.POLICY,
                reason_admin=admin,
                reason_user={"en": _FOR_USERS["over"]},
            )
        case RiskChanged(previous=previous, current=current):
            return CaepRiskLevelChange(
                event_timestamp=at,
                initiating_entity=InitiatingEntity.SYSTEM,
                reason_admin=admin,
                principal="SESSION",
                previous_level=CaepRiskLevel[previous.name],
                current_level=CaepRiskLevel[current.name],
                risk_reason=text,
            )
        case PresentedElsewhere(user_agent=agent):
            return CaepSessionPresented(
                event_timestamp=at,
                initiating_entity=InitiatingEntity.USER,
                reason_admin=admin,
                fp_ua=_fingerprint(agent),
            )
        case _:
            assert_never(announcement.change)


def subject_of(announcement: Announcement, subject_issuer: str) -> Complex:
    """Return whom it is about: the user, the session, and the device where it is known.

    `subject_issuer` is whose `sub` the user is; empty: the user is named by an opaque identifier.
    """
    user: Simple = Opaque(announcement.user)
    if subject_issuer:
        user = IssuerSubject(subject_issuer, announcement.user)
    members: dict[str, Simple] = {"user": user, "session": Opaque(announcement.session)}
    if announcement.device:
        members["device"] = Opaque(announcement.device)
    return Complex(tuple(sorted(members.items())))


def issuer_of(
    announcement: Announcement, subject_issuer: str, subject_issuers: Mapping[str, str]
) -> str:
    """Return the issuer of the user whom it is about; empty: that is not known."""
    if not subject_issuers:
        return subject_issuer
    return subject_issuers.get(announcement.issuer, "")


class Voice(msgspec.Struct, frozen=True):
    """This transmitter's terms: `iss`, the namespace of levels, and whose users they are.

    `subject_issuers` are the `iss` of the users of each namespace, where there are several; a user
    of one that has none is named by an opaque identifier.
    """

    issuer: str
    namespace: str
    subject_issuer: str
    subject_issuers: Mapping[str, str] = msgspec.field(default_factory=dict)

    def whose(self, announcement: Announcement) -> str:
        """Return the issuer of the user whom it is about; empty: that is not published."""
        return issuer_of(announcement, self.subject_issuer, self.subject_issuers)

    def token(
        self, announcement: Announcement, audiences: tuple[str, ...], now: float
    ) -> SecurityEventToken:
        """Return the Security Event Token for a stream with these audiences, issued at `now`."""
        return SecurityEventToken(
            issuer=self.issuer,
            id=announcement.id,
            issued_at=int(now),
            audiences=audiences,
            event=event_of(announcement, self.namespace),
            subject=subject_of(announcement, self.whose(announcement)),
            transaction=announcement.cause,
        )

    def about_stream(
        self, name: str, event: SecurityEvent, stream: str, audiences: tuple[str, ...], now: float
    ) -> SecurityEventToken:
        """Return a token about a stream (SSF 1.0, "Verification", "Stream Updated Event")."""
        return SecurityEventToken(
            issuer=self.issuer,
            id=name,
            issued_at=int(now),
            audiences=audiences,
            event=event,
            subject=Opaque(stream),
        )


def payload_of(token: SecurityEventToken) -> bytes:
    """Return the claims as they are signed."""
    return msgspec.json.encode(encode_claims(token))


def _fingerprint(agent: str) -> str:
    """Return a digest of the user agent (CAEP 1.0): it distinguishes agents and reveals none."""
    return hashlib.sha256(agent.encode()).hexdigest()[:32] if agent else ""
