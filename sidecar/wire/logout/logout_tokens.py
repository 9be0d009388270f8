"""Logout tokens (OpenID Connect Back-Channel Logout 1.0, errata 1): from claims to an event.

Signatures are no matter of this module. What is refused is refused in words that quote nothing.
"""

import hashlib
from collections.abc import Mapping

import msgspec

from sidecar.domain.facts.signal import SessionRevoked, Subject
from sidecar.domain.sources.source import issuer_source
from sidecar.domain.values.stamp import Stamp, at
from sidecar.wire.names import InvalidName, name_of
from sidecar.wire.settings.tokens import Issuer
from sidecar.wire.store.keys import content_digest
from sidecar.wire.tokens.claim_paths import find

EVENT = "http://schemas.openid.net/event/backchannel-logout"
TYPES = ("logout+jwt", "application/logout+jwt", "jwt", "")
"""What the header's `typ` may be: section 2.4 recommends the first, and providers leave it out."""

MAX_ID = 1024
MAX_AUDIENCES = 64


class InvalidLogout(Exception):  # noqa: N818 - named by who must act: the provider
    """A provider's request is refused. `description` is for a person there; it quotes nothing."""

    def __init__(self, description: str) -> None:
        super().__init__(description)
        self.description = description


class SignedRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The claims of every signed request: who, its id, and when it was issued (seconds)."""

    issuer: str
    id: str
    issued_at: float

    @property
    def event_id(self) -> str:
        """The id under which it counts here: once, whichever sidecar it comes to."""
        text = f"{len(self.issuer)}:{self.issuer}{self.id}".encode("utf-8", "surrogatepass")
        return f"logout:{hashlib.blake2b(text, digest_size=16).hexdigest()}"


def signed_of(
    claims: Mapping[str, object], audiences: tuple[str, ...], *, now: float, skew: float, age: float
) -> SignedRequest:
    """Read `iss`, `jti` and the times, and whom it is for; raises `InvalidLogout`.

    `audiences`: one of them must be in `aud`. It counts until `exp`, and for `age` seconds after
    its `iat` at most, each `skew` seconds more.
    """
    named = claims.get("aud")
    listed = [named] if isinstance(named, str) else named
    if not isinstance(listed, list) or not 1 <= len(listed) <= MAX_AUDIENCES:
        raise InvalidLogout("aud must be a text or a list of texts")
    if not any(isinstance(one, str) and one in audiences for one in listed):
        raise InvalidLogout("aud: it is for somebody else")
    issued, expires = _time(claims, "iat"), _time(claims, "exp")
    if issued > now + skew:
        raise InvalidLogout("iat lies in the future")
    if expires <= now - skew:
        raise InvalidLogout("exp: it has expired")
    if issued < now - age - skew:
        raise InvalidLogout("iat: it was issued too long ago")
    before = claims.get("nbf")
    if before is not None and _time(claims, "nbf") > now + skew:
        raise InvalidLogout("nbf: it does not count yet")
    return SignedRequest(issuer=_text(claims, "iss"), id=_text(claims, "jti"), issued_at=issued)


def check_logout(claims: Mapping[str, object]) -> None:
    """Raise `InvalidLogout` for what is no logout token (section 2.6)."""
    if "nonce" in claims:
        raise InvalidLogout("nonce must not be present: this may be an ID token")
    events = claims.get("events")
    if not isinstance(events, Mapping) or not isinstance(events.get(EVENT), Mapping):
        raise InvalidLogout("events must be an object with the member of back-channel logout")
    if claims.get("sub") is None and claims.get("sid") is None:
        raise InvalidLogout("sub or sid is required")


def logout_of(
    claims: Mapping[str, object], signed: SignedRequest, issuer: Issuer
) -> SessionRevoked:
    """Return the event that a logout token is; raises `InvalidLogout`.

    `issuer`: the one whose users and sessions it names, and how its tokens name them. With `sid`
    it is of that session, with `sub` alone of all sessions of the user.
    """
    session = _named(claims, "sid", issuer.session_claim)
    user = _named(claims, "sub", issuer.user_claim)
    if not (session or user):
        raise InvalidLogout(
            "it names neither session nor user as this issuer's access tokens do (session_claim,"
            " user_claim)"
        )
    if not session and find(claims, issuer.session_claim) is not None:
        raise InvalidLogout("sid must be a text")  # and not all sessions of the user be meant
    subject = Subject(user=user, session=session, issuer=issuer.names)
    return ended(subject, signed, "logged out at the identity provider")


def of_user(signal: SessionRevoked) -> SessionRevoked:
    """Return the logout as one of all sessions of its user."""
    subject = msgspec.structs.replace(signal.subject, session="")
    return msgspec.structs.replace(
        signal,
        stamp=Stamp(signal.stamp.time, f"{signal.stamp.id}/user"),
        subject=subject,
        content=content_digest(msgspec.json.encode(subject)),
    )


def ended(subject: Subject, signed: SignedRequest, reason: str) -> SessionRevoked:
    """Return the event by which an issuer ends what `subject` names, as of when it said so."""
    return SessionRevoked(
        stamp=at(signed.issued_at, signed.event_id),
        subject=subject,
        source=issuer_source(signed.issuer),
        content=content_digest(msgspec.json.encode(subject)),
        reason=reason,
    )


def _named(claims: Mapping[str, object], usual: str, configured: str) -> str:
    """Return a name as access tokens have it: by the claim that they are configured to have it by.

    Empty where that is another than the usual one, and the token does not bring it.
    """
    found = find(claims, configured)
    if found is None:
        return ""
    try:
        return name_of(found) if isinstance(found, str) else ""
    except InvalidName as error:
        raise InvalidLogout(f"{usual} {error}") from None


def _text(claims: Mapping[str, object], name: str) -> str:
    value = claims.get(name)
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_ID:
        raise InvalidLogout(f"{name} must be a text of 1 to {MAX_ID} characters")
    return value


def _time(claims: Mapping[str, object], name: str) -> float:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidLogout(f"{name} must be a number of seconds")
    return float(value)
