"""Records as OTLP has them: logs, in the JSON form of its protocol over HTTP (OTLP 1.x).

The body of each is the whole record, as a file would have it; attributes repeat what is searched
by. Kinds of records and verdicts give the severity.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import msgspec

from sidecar.domain.evaluation.decision import Verdict
from sidecar.wire.decision_log.records import DECISION

_INFO = (9, "INFO")
_WARNING = (13, "WARN")
_SHOWN = ("id", "policy_set", "verdict", "listener", "app", "route", "method")


class _Shown(msgspec.Struct):
    """The members of a record that become attributes, or its moment."""

    time: str
    kind: str
    id: str = ""
    policy_set: str = ""
    verdict: str = ""
    listener: str = ""
    app: str = ""
    route: str = ""
    method: str = ""


_decode = msgspec.json.Decoder(_Shown).decode


def encode_logs(records: Iterable[bytes], resource: Mapping[str, str], version: str) -> bytes:
    """Return the request that exports these records, of a resource with these attributes."""
    scope = {"name": "sidecar.decision_log", "version": version}
    logs = [_log(record) for record in records]
    return msgspec.json.encode(
        {
            "resourceLogs": [
                {
                    "resource": {"attributes": _attributes(resource)},
                    "scopeLogs": [{"scope": scope, "logRecords": logs}],
                }
            ]
        }
    )


def _log(record: bytes) -> dict[str, object]:
    shown = _decode(record)
    is_quiet = shown.kind == DECISION and shown.verdict == Verdict.ALLOW
    number, text = _INFO if is_quiet else _WARNING
    named = {f"sidecar.{name}": getattr(shown, name) for name in _SHOWN}
    nanos = str(round(datetime.fromisoformat(shown.time).timestamp() * 1e6) * 1000)
    return {
        "timeUnixNano": nanos,
        "observedTimeUnixNano": nanos,
        "severityNumber": number,
        "severityText": text,
        "eventName": f"sidecar.{shown.kind}",
        "body": {"stringValue": record.decode()},
        "attributes": _attributes({name: value for name, value in named.items() if value}),
    }


def _attributes(named: Mapping[str, str]) -> Sequence[object]:
    return [{"key": name, "value": {"stringValue": value}} for name, value in named.items()]


class _PartialSuccess(msgspec.Struct):
    rejected: str | int = msgspec.field(default=0, name="rejectedLogRecords")
    message: str = msgspec.field(default="", name="errorMessage")


class _Answer(msgspec.Struct):
    partial: _PartialSuccess | None = msgspec.field(default=None, name="partialSuccess")


def rejected(body: bytes) -> int:
    """Return how many records a collector says that it did not take; 0 where it says nothing."""
    try:
        partial = msgspec.json.decode(body, type=_Answer).partial
        return 0 if partial is None else max(0, int(partial.rejected))
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError):
        return 0
