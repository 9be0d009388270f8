"""Security event tokens (RFC 8417), as a transmitter sent them: what they say, or the whole token.

They are read as the daemon's receiver reads them: the same events of CAEP and RISC, the same
tolerance. Whose they are is not asked: who has the file is believed, as with our own recordings,
and what they say of a sign-in is a proof. Subjects are named as their identifiers name them.
"""

import functools
import re
from collections.abc import Mapping, Sequence

import msgspec

from sidecar.domain.facts.signal import SessionEstablished, SessionPresented, Signal
from sidecar.domain.values.address import canonical
from sidecar.shared_signals.wire.inbound import Ignored, InboundTerms, meaning_of
from sidecar.shared_signals.wire.security_event_tokens import (
    InvalidSet,
    SecurityEventToken,
    decode_claims,
    event_id_of,
)
from sidecar.tuning.formats.foreign_records import Foreign, LeftOut
from sidecar.tuning.recording.occurrences import Occurrence
from sidecar.wire.events.members import InvalidSignal
from sidecar.wire.settings.receiver import SubjectMatch, SubjectSettings
from sidecar.wire.subjects.subject_rules import SubjectRules, Unmatched
from sidecar.wire.tokens.claims import InvalidToken
from sidecar.wire.tokens.jwks import KeySet, signed_by
from sidecar.wire.tokens.jws import read_jws

_LONGEST = 1024 * 1024
_COMPACT = re.compile(r"[A-Za-z0-9_-]{2,}\.[A-Za-z0-9_-]{2,}\.[A-Za-z0-9_-]*")
_SUBJECTS = SubjectSettings(
    user=tuple(
        SubjectMatch(format=name)
        for name in ("iss_sub", "email", "phone_number", "account", "opaque")
    ),
    device=tuple(SubjectMatch(format=name) for name in ("opaque", "iss_sub", "uri")),
    session=tuple(SubjectMatch(format=name) for name in ("opaque", "jwt_id")),
)
"""The event says whose an opaque identifier is: that of what the event is about first."""

_SKEW = 60.0


def is_one(record: Foreign) -> bool:
    """Return whether this is what a token says."""
    return isinstance(record.at("events"), Mapping) and any(
        record.has(name) for name in ("iss", "jti", "iat", "sub_id")
    )


def is_compact(text: str) -> bool:
    """Return whether a text is a whole token, as it goes over the wire (a compact JWS)."""
    return _COMPACT.fullmatch(text) is not None


def claims_of(text: str, keys: KeySet | None) -> Mapping[str, object]:
    """Return what a whole token says; raises `InvalidSignal`.

    Its signature must be by one of the `keys`; without any it is not looked at.
    """
    try:
        parts = read_jws(text, _LONGEST)
    except InvalidToken as error:
        raise InvalidSignal("(token)", error.description) from None
    if keys is not None:
        tried = keys.candidates(parts.key_id, parts.algorithm)
        if not any(signed_by(text, parts.algorithm, key.public) for key in tried):
            raise InvalidSignal("(token)", "is signed by none of the keys that were given")
    return parts.claims


def read(record: Foreign) -> Sequence[Occurrence] | LeftOut:
    """Return the occurrences in one token; raises `InvalidSignal`."""
    claims = {"aud": "-", **{name: v for name, v in record.record.items() if v is not None}}
    try:
        token = decode_claims(claims)
        found = meaning_of(token, _terms(token, record))
    except InvalidSet as error:
        raise InvalidSignal("(token)", error.description) from None
    if isinstance(found, Ignored | Unmatched):
        return LeftOut(found.reason)
    return [Occurrence(_observed(found, record))]


def _terms(token: SecurityEventToken, record: Foreign) -> InboundTerms:
    return InboundTerms(
        rules=_rules(frozenset(_issuers(record.record))),
        event_id=event_id_of(token.issuer, token.id),
        source="",
        now=token.time,
        skew=_SKEW,
        user_wide_proofs=True,
        may_prove=True,
    )


@functools.lru_cache(maxsize=256)
def _rules(issuers: frozenset[str]) -> SubjectRules:
    return SubjectRules(_SUBJECTS, issuers)


def _issuers(value: object) -> list[str]:
    """Return the issuers whose names a token's subjects are: all that it names."""
    if not isinstance(value, Mapping):
        return []
    own = [text for name in ("iss", "issuer") if isinstance(text := value.get(name), str)]
    return own + [one for inner in value.values() for one in _issuers(inner)]


def _observed(signal: Signal, record: Foreign) -> Signal:
    """Return the signal with the address and agent that the transmitter saw, if it names them."""
    if not isinstance(signal, SessionEstablished | SessionPresented):
        return signal
    events = record.record.get("events")
    payload = next(iter(events.values()), None) if isinstance(events, Mapping) else None
    if not isinstance(payload, Mapping):
        return signal
    ips = payload.get("ips")
    first = ips[0] if isinstance(ips, list) and ips else ips
    agent = payload.get("fp_ua")
    seen = msgspec.structs.replace(
        signal,
        ip=canonical(first) if isinstance(first, str) else "",
        user_agent=agent[:1024] if isinstance(agent, str) else "",
    )
    if isinstance(seen, SessionEstablished) and not seen.auth_time:
        return msgspec.structs.replace(seen, auth_time=seen.stamp.second)
    return seen
