"""AWS CloudTrail: management and sign-in events, as it writes them into files or answers.

What counts:

- `ConsoleLogin` whose `responseElements.ConsoleLogin` is Success is a sign-in, with a second factor
  where `additionalEventData.MFAUsed` is Yes.
- A call with temporary credentials is of the session that began at `creationDate`: by then its user
  had signed in, with a second factor where `mfaAuthenticated` is true.
- A call with a long-lived key has no session, and one by an AWS service no person.
"""

from collections.abc import Sequence

from sidecar.tuning.formats.foreign_records import (
    FAILED,
    Foreign,
    LeftOut,
    Ours,
    shortened,
    sign_in,
    without_blanks,
)

_TIMES = ("eventTime", "@timestamp")
"""Where a record's time is: as AWS writes it, or as Logstash does, which moves it."""

_SERVICES = frozenset({"AWSService", "AWSAccount"})


def is_one(record: Foreign) -> bool:
    """Return whether this is such a record."""
    return record.has("eventSource", "eventName") and any(map(record.has, _TIMES))


def read(record: Foreign) -> Sequence[Ours] | LeftOut:
    """Return the occurrences in one record, or why it is left out."""
    identity = record.inner("userIdentity")
    source = record.text("sourceIPAddress")
    if identity.text("type") in _SERVICES or source.endswith(".amazonaws.com"):
        return LeftOut("an AWS service called, and no person")
    if not source or source.lower().startswith("aws internal"):
        return LeftOut("it has no address")
    user = _user(identity)
    if not user:
        return LeftOut("it does not say whose session it is")
    if record.text("eventName") == "ConsoleLogin":
        return _console(record, user)
    if record.text("eventType") == "AwsConsoleSignIn":
        return LeftOut("it is a step of a sign-in, and not the sign-in")
    return _call(record, identity, user)


def _console(record: Foreign, user: str) -> Sequence[Ours] | LeftOut:
    if record.text("responseElements", "ConsoleLogin").lower() != "success":
        return LeftOut(FAILED)
    factor = record.text("additionalEventData", "MFAUsed").lower() == "yes"
    time = _time(record)
    signed_in = sign_in(
        time=time,
        record_id=record.text("eventID")[:128] or None,
        user=user,
        session=shortened(f"{user}|{time}"),
        ip=record.at("sourceIPAddress"),
        user_agent=record.text("userAgent")[:1024],
        amr=["pwd", "mfa"] if factor else ["pwd"],
    )
    return [Ours(signed_in)]


def _call(record: Foreign, identity: Foreign, user: str) -> Sequence[Ours] | LeftOut:
    attributes = identity.inner("sessionContext", "attributes")
    began = attributes.text("creationDate")
    if not began:
        return LeftOut("it was called with a long-lived key: there is no session")
    factor = str(attributes.at("mfaAuthenticated")).lower() == "true"
    seen = without_blanks(
        (
            ("op", "check"),
            ("time", _time(record)),
            ("id", record.text("eventID")[:128]),
            ("user", user),
            ("session", shortened(f"{user}|{began}")),
            ("ip", record.at("sourceIPAddress")),
            ("user_agent", record.text("userAgent")[:1024]),
            ("auth_time", began),
            ("amr", ["pwd", "mfa"] if factor else ["pwd"]),
        )
    )
    return [Ours(seen, called=False)]


def _time(record: Foreign) -> object:
    return next((time for name in _TIMES if (time := record.at(name)) is not None), None)


def _user(identity: Foreign) -> str:
    for name in ("arn", "principalId", "userName"):
        text = identity.text(name)
        if text:
            return shortened(text)
    return ""
