"""Security event tokens (RFC 8417) with CAEP's events: their payloads, one JSON object each.

What signs them is not looked at: who has the file is believed, as with our own recordings. The
subject is `sub_id` (RFC 9493, complex ones of SSF 1.0 too), or that of drafts inside the event.
"""

from collections.abc import Mapping, Sequence

from sidecar.wire.foreign_records import Foreign, LeftOut, Ours, told

_CAEP = "/caep/event-type/"
_OURS = frozenset(
    {
        *("session-revoked", "token-claims-change", "credential-change"),
        *("assurance-level-change", "device-compliance-change", "session-established"),
        *("session-presented", "risk-level-change"),
    }
)
_INFORMATIVE = frozenset(
    {"event_timestamp", "initiating_entity", "reason_admin", "reason_user", "subject", "principal"}
)
_RENAMED = {"ips": "ip", "fp_ua": "user_agent"}


def is_one(record: Foreign) -> bool:
    """Whether this is such a record."""
    return isinstance(record.at("events"), Mapping) and any(
        record.has(name) for name in ("iss", "jti", "iat", "sub_id")
    )


def read(record: Foreign) -> Sequence[Ours] | LeftOut:
    """Return what one token tells: each of its events."""
    events = record.at("events")
    found: list[Ours] = []
    for uri, payload in events.items() if isinstance(events, Mapping) else ():
        kind = str(uri).rpartition("/")[2]
        if _CAEP not in str(uri) or kind not in _OURS or not isinstance(payload, Mapping):
            continue
        named = record.at("sub_id") or payload.get("subject")
        subject = _subject(named, kind, payload)
        if not subject:
            return LeftOut("its subject names no session, user or device that is known here")
        event = told(
            (
                ("type", kind),
                ("time", payload.get("event_timestamp") or record.at("iat")),
                ("id", record.text("jti")[:128] if len(events_of(events)) == 1 else None),
                ("subject", subject),
                ("data", _data(payload)),
            )
        )
        found.append(Ours(event))
    return found or LeftOut("it tells of no event of CAEP's")


def events_of(events: object) -> Mapping[object, object]:
    """Return the events of a token."""
    return events if isinstance(events, Mapping) else {}


def _data(payload: Mapping[str, object]) -> dict[str, object]:
    data: dict[str, object] = {}
    for name, value in payload.items():
        if name in _INFORMATIVE:
            continue
        one = value[0] if name == "ips" and isinstance(value, list) and value else value
        data[_RENAMED.get(name, name)] = one
    level = data.get("current_level")
    if isinstance(level, str):
        data["current_level"] = level.strip()
    return data


def _subject(named: object, kind: str, payload: Mapping[str, object]) -> dict[str, object]:
    """Return a subject in our own form, of a subject identifier (RFC 9493) or a complex one."""
    if not isinstance(named, Mapping):
        return {}
    if named.get("format") == "complex" or any(
        isinstance(named.get(part), Mapping) for part in ("user", "session", "device")
    ):
        parts = [(part, _identifier(named.get(part))) for part in ("user", "session", "device")]
        return told(parts)
    identifier = _identifier(named)
    principal = str(payload.get("principal", "")).lower()
    if principal == "device" or kind == "device-compliance-change":
        return told([("device", identifier)])
    of_session = named.get("format") == "opaque" and kind.startswith("session-")
    return told([("session" if of_session else "user", identifier)])


def _identifier(named: object) -> str:
    if not isinstance(named, Mapping):
        return ""
    for member in ("id", "sub", "email", "phone_number", "uri", "url"):
        value = named.get(member)
        if isinstance(value, str) and value:
            return value
    return ""
