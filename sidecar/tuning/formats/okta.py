"""Okta's System Log: LogEvent objects of its API, also of a hook or an export of tables.

What counts:

- `user.session.start` with the outcome SUCCESS is a sign-in, and `user.authentication.auth_via_mfa`
  one with a second factor; what failed is none.
- `user.authentication.sso` is a session that was seen: somebody went on to an app.
- The session is `authenticationContext.externalSessionId`.
- A risk level that the log names beside a sign-in is the session's.
"""

import re
from collections.abc import Mapping, Sequence

from sidecar.tuning.formats.foreign_records import (
    FAILED,
    Foreign,
    LeftOut,
    Ours,
    presented,
    risk,
    sign_in,
    without_blanks,
)

_SIGN_IN = "user.session.start"
_FACTOR = "user.authentication.auth_via_mfa"
_SEEN = frozenset({"user.authentication.sso"})
_SUCCEEDED = frozenset({"SUCCESS", "ALLOW"})
_LEVEL = re.compile(r"level\W{1,4}(LOW|MEDIUM|HIGH)\b", re.IGNORECASE)
_FACTORS: Mapping[str, tuple[str, ...]] = {
    "FIDO2_WEBAUTHN": ("hwk", "user"),
    "FIDO_WEBAUTHN": ("hwk", "user"),
    "SIGNED_NONCE": ("swk", "user"),
    "SMS_FACTOR": ("sms",),
    "CALL_FACTOR": ("tel",),
    "PASSWORD_AS_FACTOR": ("pwd",),
}
"""Factors of `debugContext.debugData.factor`, and what RFC 8176 calls them."""


def is_one(record: Foreign) -> bool:
    """Return whether this is such a record."""
    return record.has("eventType", "published") and (
        record.has("actor") or record.has("outcome") or record.has("actor.alternateId")
    )


def read(record: Foreign) -> Sequence[Ours] | LeftOut:
    """Return the occurrences in one record, or why it is left out."""
    kind = record.text("eventType")
    if kind not in {_SIGN_IN, _FACTOR, *_SEEN}:
        return LeftOut("it is of another kind than sign-ins and what follows on them")
    if record.text("outcome", "result").upper() not in _SUCCEEDED:
        return LeftOut(FAILED)
    user = record.text("actor", "alternateId") or record.text("actor", "id")
    if not user or user.lower() in {"unknown", "system@okta.com"}:
        return LeftOut("it does not say whose session it is")
    session = record.text("authenticationContext", "externalSessionId")
    if not session or session.lower() == "unknown":
        return LeftOut("it names no session (`externalSessionId`)")
    signed_in = sign_in(
        time=record.at("published"),
        record_id=record.text("uuid")[:128] or None,
        user=user.lower(),
        session=session,
        device=record.text("device", "id"),
        ip=record.text("client", "ipAddress"),
        user_agent=record.text("client", "userAgent", "rawUserAgent")[:1024],
        amr=_amr(record, kind),
        place=_place(record),
    )
    found = [Ours(presented(signed_in) if kind in _SEEN else signed_in)]
    level = _level(record)
    if level:
        found.append(Ours(risk(signed_in, level)))
    return found


def _amr(record: Foreign, kind: str) -> list[str]:
    if kind != _FACTOR:
        return ["pwd"]
    factor = record.text("debugContext", "debugData", "factor").upper()
    return ["mfa", *_FACTORS.get(factor, ())]


def _level(record: Foreign) -> str:
    debug = ("debugContext", "debugData")
    for name in ("risk", "logOnlySecurityData"):
        value = record.at(*debug, name)
        text = value if isinstance(value, str) else ""
        if isinstance(value, Mapping):
            text = f"level {Foreign(value).text('level')}"
        if name == "logOnlySecurityData" and '"risk"' in text:
            text = text[text.index('"risk"') :]
        level = _LEVEL.search(text)
        if level:
            return level[1]
    return ""


def _place(record: Foreign) -> dict[str, object]:
    where = ("client", "geographicalContext")
    proxy = str(record.at("securityContext", "isProxy")).lower() == "true"
    return without_blanks(
        (
            ("country", record.at(*where, "country")),
            ("region", record.at(*where, "state")),
            ("city", record.at(*where, "city")),
            ("latitude", record.at(*where, "geolocation", "lat")),
            ("longitude", record.at(*where, "geolocation", "lon")),
            ("asn", record.at("securityContext", "asNumber")),
            ("organization", record.at("securityContext", "asOrg")),
            ("anonymizer", ["public-proxy"] if proxy else None),
        )
    )
