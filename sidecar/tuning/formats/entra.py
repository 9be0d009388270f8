"""Sign-in logs of Microsoft Entra ID, as Graph, Azure Monitor and the admin centre export them.

Graph's `signIn` (v1.0 and beta) stands alone, in `value`, or under `properties` of Azure Monitor;
the admin centre's CSV names its columns in words. What counts:

- `status.errorCode` 0 is a sign-in; every other code is none, also what merely interrupted one.
- The session is `sessionId`; where the export has none, each `correlationId` is one of its own.
- A sign-in that is not interactive refreshed a token, and of one whose every step was "previously
  satisfied" nobody was asked anything: a session that is named was seen then.
- The sign-in was with `mfa` where that was required and not skipped.
"""

import re
from collections.abc import Mapping, Sequence

from sidecar.tuning.formats.foreign_records import (
    FAILED,
    Foreign,
    LeftOut,
    Ours,
    plain,
    presented,
    risk,
    shortened,
    sign_in,
    without_blanks,
)

_CSV = ("dateutc", "requestid", "correlationid")
_METHODS: Mapping[str, tuple[str, ...]] = {
    "password": ("pwd",),
    "fido2securitykey": ("hwk", "user"),
    "passkeydevicebound": ("hwk", "user"),
    "passkey": ("hwk", "user"),
    "windowshelloforbusiness": ("hwk", "pin"),
    "x509certificate": ("sc", "pin"),
    "certificate": ("sc", "pin"),
    "textmessage": ("sms",),
    "sms": ("sms",),
    "phonecall": ("tel",),
    "mobileappnotification": ("swk",),
    "microsoftauthenticatorpush": ("swk",),
    "mobileappverificationcode": ("otp",),
    "oathverificationcode": ("otp",),
    "softwareoathtoken": ("otp",),
    "temporaryaccesspass": ("otp",),
}
"""Methods of `authenticationDetails`, and what RFC 8176 calls them."""

_BEFORE = "previouslysatisfied"
_RISKS = ("low", "medium", "high")
_NOT_DONE = re.compile(r"skipped|not (?:required|satisfied|completed)|denied|fail", re.IGNORECASE)
_NOTHING = "00000000-0000-0000-0000-000000000000"


def is_one(record: Foreign) -> bool:
    """Return whether this is such a record."""
    inner = _inner(record)
    named = inner.has("createdDateTime") and any(
        inner.has(name) for name in ("userPrincipalName", "correlationId", "appDisplayName")
    )
    return named or all(record.has(name) for name in _CSV)


def read(record: Foreign) -> Sequence[Ours] | LeftOut:
    """Return the occurrences in one record, or why it is left out."""
    one = _inner(record)
    code = _code(one, record)
    if code is None:
        return LeftOut("it does not say whether the sign-in succeeded")
    if code:
        return LeftOut(FAILED)
    user = _first(one, "userPrincipalName", "username", "userId")
    if not user or one.text("servicePrincipalId").strip("0-"):
        return LeftOut("no person signed in, but a service or a managed identity")
    session = _first(one, "sessionId")
    record_id = _first(one, "id", "requestId")
    signed_in = sign_in(
        time=one.at("createdDateTime") or one.at("Date (UTC)") or record.at("time"),
        record_id=shortened(record_id, 128) or None,
        user=user.lower(),
        session=session or _first(one, "correlationId") or record_id,
        device=_device(one),
        ip=_first(one, "ipAddress"),
        user_agent=one.text("userAgent")[:1024],
        amr=_amr(one),
        place=_place(one),
    )
    asked = _interactive(one, record)
    if session and (not asked or _was_satisfied_before(one)):
        found = [Ours(presented(signed_in))]
    elif asked:
        found = [Ours(signed_in)]
    else:
        return LeftOut("a token was refreshed, and its session is not named (`sessionId`)")
    level = one.text("riskLevelDuringSignIn").lower()
    if level in _RISKS:
        found.append(Ours(risk(signed_in, level)))
    return found


def _inner(record: Foreign) -> Foreign:
    """Return what Graph would give, of a record of Azure Monitor."""
    inner = record.inner("properties")
    return inner if inner.has("createdDateTime") or inner.has("correlationId") else record


def _code(one: Foreign, record: Foreign) -> int | None:
    for value in (
        one.at("status", "errorCode"),
        one.at("sign-in error code"),
        record.at("resultType"),
    ):
        if isinstance(value, int):
            return value
        if isinstance(value, str) and value.strip().isdigit():
            return int(value)
    status = one.text("status").lower()
    return None if not status else int(status != "success")


def _first(one: Foreign, *names: str) -> str:
    return next((text for text in map(one.text, names) if text and text != _NOTHING), "")


def _device(one: Foreign) -> str:
    device = one.text("deviceDetail", "deviceId") or one.text("deviceId")
    return "" if device == _NOTHING else device


def _interactive(one: Foreign, record: Foreign) -> bool:
    if record.text("category").lower().startswith("noninteractive"):
        return False
    interactive = one.at("isInteractive")
    return str(interactive).lower() != "false"


def _was_satisfied_before(one: Foreign) -> bool:
    steps = [
        plain(step.text("authenticationMethod")) for step in one.items("authenticationDetails")
    ]
    return bool(steps) and all(step == _BEFORE for step in steps)


def _amr(one: Foreign) -> list[str]:
    found: list[str] = []
    for step in one.items("authenticationDetails"):
        done = str(step.at("succeeded")).lower() != "false"
        method = step.text("authenticationMethod")
        if done:
            found += _METHODS.get(plain(method), ())
    required = one.text("authenticationRequirement").replace("-", "").replace(" ", "").lower()
    detail = one.text("status", "additionalDetails") or one.text("multifactorAuthenticationResult")
    if required.startswith("multifactor") and not _NOT_DONE.search(detail):
        found.append("mfa")
    return found or ["pwd"]


def _place(one: Foreign) -> dict[str, object]:
    where = one.inner("location")
    coordinates = where.inner("geoCoordinates")
    country, city = where.at("countryOrRegion"), where.at("city")
    flat = one.at("location")
    if isinstance(flat, str):  # the admin centre's CSV: "Berlin, Berlin, DE"
        parts = [part.strip() for part in flat.split(",")]
        country, city = parts[-1], parts[0] if len(parts) > 1 else ""
    return without_blanks(
        (
            ("country", country or one.at("location", "countryOrRegion")),
            ("city", city or one.at("location", "city")),
            (
                "latitude",
                coordinates.at("latitude") or one.at("location", "geoCoordinates", "latitude"),
            ),
            (
                "longitude",
                coordinates.at("longitude") or one.at("location", "geoCoordinates", "longitude"),
            ),
            ("asn", one.at("autonomousSystemNumber")),
        )
    )
