"""The members of the records, with what OCSF and ECS call each: the page of reference is this.

OCSF: the class API Activity (6003) with the profiles Security Control and Host; what it has no name
for goes into `unmapped`. ECS: version 8; what it has no name for goes into `sidecar`.
"""

from typing import NamedTuple

from sidecar.wire.decision_log.settings import Mask
from sidecar.wire.privacy.pseudonyms import PseudonymKind


class Masking(NamedTuple):
    """The manner in which a member may be masked, and how it is written by default.

    `pseudonym`: it names somebody. `is_text`: it may quote what was said of somebody. Only those
    with `can_hash` may be written as a digest.
    """

    default: Mask = Mask.KEEP
    pseudonym: PseudonymKind | None = None
    is_text: bool = False
    can_hash: bool = False


class RecordField(NamedTuple):
    """A member of a record: what it is, and its name in OCSF and in ECS."""

    name: str
    meaning: str
    ocsf: str
    ecs: str
    masking: Masking | None = None


def _names(kind: PseudonymKind, default: Mask = Mask.KEEP) -> Masking:
    return Masking(default, kind, can_hash=True)


_NAME = Masking(can_hash=True)
_VALUE = Masking()
_TEXT = Masking(is_text=True)


class ValueNames(NamedTuple):
    """A verdict, and what stands for it in OCSF and in ECS."""

    verdict: str
    ocsf: str
    ecs: str


VERDICTS = (
    ValueNames("allow", "`action_id` 1, Allowed", "`event.type` allowed, `event.outcome` success"),
    ValueNames("step_up", "`action_id` 2, Denied", "`event.type` denied, `event.outcome` failure"),
    ValueNames("deny", "`action_id` 2, Denied", "`event.type` denied, `event.outcome` failure"),
)
"""The verdicts by the words of those schemas, which know no step-up: `verdict` stays beside it."""

FIELDS = (
    RecordField("time", "when the decision was asked for (UTC)", "time", "@timestamp"),
    RecordField(
        "kind",
        "`decision`; `dropped` and `chain` are no decisions, see below",
        "metadata.event_code",
        "event.action",
    ),
    RecordField(
        "id",
        "the decision's id, as in the answer (`X-Sidecar-Decision-Id`) and the history",
        "metadata.uid",
        "event.id",
    ),
    RecordField(
        "policy_set",
        "the digest of the policies that decided, as in `sidecar_policy_set_info`",
        "policy.version",
        "rule.version",
    ),
    RecordField(
        "listener",
        "the door: `socket`, `http`, `grpc`, `authzen`",
        "unmapped.listener",
        "sidecar.listener",
    ),
    RecordField(
        "asker",
        "the source that asked, where the door knows it: by uid, or by its credential",
        "src_endpoint.svc_name",
        "service.origin.name",
        _NAME,
    ),
    RecordField(
        "method",
        "the HTTP method; `_OTHER` for none that is known",
        "http_request.http_method",
        "http.request.method",
    ),
    RecordField(
        "route",
        "the template of `routes` that the call matches, the longest of several; never its path",
        "http_request.url.path",
        "url.path",
    ),
    RecordField(
        "address",
        "the client's address",
        "src_endpoint.ip",
        "source.ip",
        _names(PseudonymKind.ADDRESS, Mask.DROP),
    ),
    RecordField(
        "latency",
        "the time that the check took, at most: `0.1ms`, `1ms`, `10ms`, `100ms`, `1s`, `longer`",
        "unmapped.latency",
        "sidecar.latency",
    ),
    RecordField(
        "repeated",
        "true: as nothing had changed, the answer is that to a call before",
        "unmapped.repeated",
        "sidecar.repeated",
    ),
    RecordField(
        "share",
        "the record is there as its session is in this share of all; absent: it would be anyway",
        "unmapped.share",
        "sidecar.share",
    ),
    RecordField(
        "trace",
        "the id of the trace that the check is in, where there is one ([traces](../traces.md))",
        "metadata.correlation_uid",
        "trace.id",
    ),
    RecordField("verdict", "`allow`, `step_up` or `deny`", "action", "event.type"),
    RecordField("status", "the HTTP status", "http_response.code", "http.response.status_code"),
    RecordField(
        "error",
        "why no policy decided: `invalid_token`, `unavailable`, `unknown_context`",
        "status_detail",
        "error.code",
    ),
    RecordField("app", "the app that was called", "api.service.name", "service.target.name"),
    RecordField(
        "contexts",
        "the authentication contexts that were judged; absent: a routine call",
        "unmapped.contexts",
        "sidecar.contexts",
    ),
    RecordField("user", "the user", "actor.user.uid", "user.id", _names(PseudonymKind.USER)),
    RecordField(
        "session",
        "the session",
        "actor.session.uid",
        "sidecar.session",
        _names(PseudonymKind.SESSION),
    ),
    RecordField(
        "issuer",
        "whose names these are: the namespace of the issuer",
        "actor.session.issuer",
        "user.domain",
        _NAME,
    ),
    RecordField(
        "device",
        "the device that the session is on",
        "device.uid",
        "device.id",
        _names(PseudonymKind.DEVICE),
    ),
    RecordField(
        "assurance",
        "the assurance level that the call's token shows",
        "unmapped.assurance",
        "sidecar.assurance",
    ),
    RecordField(
        "standing",
        "how the session stands: `clear`, `step_up`, `revoked`",
        "unmapped.standing",
        "sidecar.standing",
    ),
    RecordField(
        "pending",
        "true: a mark waits in another context, or does not bind yet",
        "unmapped.pending",
        "sidecar.pending",
    ),
    RecordField(
        "acr_values",
        "what the client is to ask the identity provider for",
        "unmapped.acr_values",
        "sidecar.acr_values",
    ),
    RecordField(
        "max_age",
        "the age in seconds that the sign-in may have",
        "unmapped.max_age",
        "sidecar.max_age",
    ),
    RecordField(
        "controls",
        "the levels and strengths that the policies ask for, `compliant-device`, `block`",
        "unmapped.controls",
        "sidecar.controls",
    ),
    RecordField(
        "reasons",
        "the policies that asked, each with its signal, its causes and a sentence (`text`)",
        "authorizations",
        "rule.name",
    ),
    RecordField(
        "reasons.text",
        "the sentence",
        "authorizations.policy.desc",
        "rule.description",
        _TEXT,
    ),
    RecordField(
        "reasons.causes",
        "what holds: its kind, value, moment (`since`), source and events",
        "unmapped.causes",
        "sidecar.causes",
        _TEXT,
    ),
    RecordField(
        "report_only",
        "the report-only policies that asked, each with what the verdict would have been",
        "unmapped.report_only",
        "sidecar.report_only",
    ),
    RecordField(
        "country",
        "the country of the session's address (ISO 3166-1 alpha-2)",
        "src_endpoint.location.country",
        "source.geo.country_iso_code",
        _VALUE,
    ),
    RecordField(
        "region",
        "its region (ISO 3166-2)",
        "src_endpoint.location.region",
        "source.geo.region_iso_code",
        Masking(Mask.DROP),
    ),
    RecordField(
        "asn",
        "its autonomous system",
        "src_endpoint.autonomous_system.number",
        "source.as.number",
        _VALUE,
    ),
    RecordField(
        "networks",
        "the network segments that it is in, by its address or as sources say",
        "src_endpoint.zone",
        "sidecar.networks",
        _NAME,
    ),
    RecordField(
        "break_glass",
        "true: an emergency account, to which no policy applies",
        "unmapped.break_glass",
        "sidecar.break_glass",
    ),
    RecordField(
        "stale",
        "true: the view was too old to decide, and `when_unknown` did",
        "unmapped.stale",
        "sidecar.stale",
    ),
    RecordField("seq", "the number in the chain", "metadata.sequence", "event.sequence"),
    RecordField("prev", "the digest of the record before", "unmapped.prev", "sidecar.prev"),
    RecordField(
        "digest", "the digest of this record, without this member", "unmapped.digest", "event.hash"
    ),
)
"""Every member, in the order in which they are written."""
