"""The rows of parts that a configuration may ask for.

These are the log of decisions, traces, signed bundles, the table that apps read, shared signals,
and the webhook, which is a process of its own.
"""

from collections.abc import Iterable
from itertools import product

from sidecar.adapters.telemetry import occasional_lines
from sidecar.adapters.telemetry.declarations import (
    DEBUG,
    ERROR,
    INFO,
    WARNING,
    By,
    LogLine,
    MetricKind,
    MetricLabel,
    counter,
    gauge,
    nobody,
    one_of,
    row,
)
from sidecar.service.observations import (
    bundles,
    decision_log,
    injection,
    receiver,
    shared_table,
    traces,
    transmitter,
)
from sidecar.wire.bundles.generations import PolicyAct
from sidecar.wire.bundles.refusal import BundleFlaw
from sidecar.wire.decision_log.settings import DecisionOutput
from sidecar.wire.events.security_event_names import INFORMING, Fault
from sidecar.wire.settings.settings import Settings
from sidecar.wire.settings.transmitter import Announced

_TRANSMITTED = {
    transmitter.TransmissionOutcome.RECORDED: DEBUG,
    transmitter.TransmissionOutcome.HANDED: DEBUG,
    transmitter.TransmissionOutcome.DELIVERED: DEBUG,
    transmitter.TransmissionOutcome.RETRIED: WARNING,
    transmitter.TransmissionOutcome.REFUSED: WARNING,
    transmitter.TransmissionOutcome.DROPPED: WARNING,
    transmitter.TransmissionOutcome.LOST: ERROR,
    transmitter.TransmissionOutcome.GIVEN_UP: ERROR,
}


def _transmitted(settings: Settings) -> Iterable[tuple[str, ...]]:
    """Return what is sent and what becomes of it, where anything is sent."""
    if not settings.transmitter.issuer:
        return ()
    return product(Announced, transmitter.TransmissionOutcome)


def _security_event_token(seen: receiver.SecurityEventTokenTaken) -> str:
    """Return the level; what anybody can send has a line at debug level only."""
    if seen.transmitter and seen.outcome in set(Fault):
        return WARNING
    quiet = (
        seen.outcome in (receiver.SetOutcome.ACCEPTED, receiver.SetOutcome.DUPLICATE)
        or not seen.transmitter
    )
    return DEBUG if quiet else INFO


def _logout(seen: receiver.LogoutTaken) -> str:
    """Return the level; what anybody can send has a line at debug level only."""
    if not seen.issuer:
        return DEBUG
    ended = (
        receiver.LogoutOutcome.DONE,
        receiver.LogoutOutcome.ALL_SESSIONS,
        receiver.LogoutOutcome.UNKNOWN_SESSION,
    )
    return INFO if seen.outcome in ended else WARNING


def _logs(settings: Settings) -> bool:
    return settings.decision_log.output is not DecisionOutput.OFF


def _traces(settings: Settings) -> bool:
    return bool(settings.traces.endpoint)


def _shares(settings: Settings) -> bool:
    return settings.shared_table.enabled


def _bundles(settings: Settings) -> bool:
    return settings.policies.bundle.enabled


def _polls_bundles(settings: Settings) -> bool:
    return settings.policies.bundle.enabled and settings.policies.bundle.poll > 0


DECISION_LOG = (
    row(
        decision_log.DecisionsLogged,
        counter(
            "sidecar_decision_log_records_total",
            "Records written to the log of decisions.",
            amount="records",
            wanted=_logs,
        ),
    ),
    row(
        decision_log.DecisionsDropped,
        counter(
            "sidecar_decision_log_dropped_total",
            "Decisions that are missing in their log, by cause.",
            one_of("cause", decision_log.DropCause),
            amount="records",
            wanted=_logs,
        ),
        LogLine(
            "decisions-dropped",
            WARNING,
            "cause records detail",
            minutely=(one_of("cause", decision_log.DropCause),),
        ),
    ),
    row(
        decision_log.DecisionOutputState,
        gauge(
            "sidecar_decision_log_up",
            "Whether the output of the log of decisions took its last records.",
            amount="up",
            wanted=_logs,
        ),
        LogLine(
            By("up", {True: "decision-log-up"}, "decision-log-down"),
            By("up", {True: INFO}, ERROR),
            "detail?",
        ),
    ),
    row(
        decision_log.DecisionFileOpened,
        counter(
            "sidecar_decision_log_files_total",
            "Files of decisions begun since the start.",
            wanted=_logs,
        ),
        LogLine("decision-file-begun", INFO, "file cause seq digest?"),
    ),
    row(
        decision_log.DecisionFileStuck,
        LogLine("decision-file-not-rotated", ERROR, "detail", minutely=()),
    ),
)

TRACES = (
    row(
        traces.SpansExported,
        counter(
            "sidecar_spans_total", "Spans that a collector took.", amount="spans", wanted=_traces
        ),
    ),
    row(
        traces.SpansDropped,
        counter(
            "sidecar_spans_dropped_total",
            "Spans that never reach a collector, by cause.",
            one_of("cause", traces.SpanDropCause),
            amount="spans",
            wanted=_traces,
        ),
        LogLine(
            "spans-dropped",
            WARNING,
            "cause spans detail",
            minutely=(one_of("cause", traces.SpanDropCause),),
        ),
    ),
    row(
        traces.CollectorState,
        gauge(
            "sidecar_traces_up",
            "Whether the collector took the last spans.",
            amount="up",
            wanted=_traces,
        ),
        LogLine(
            By("up", {True: "traces-up"}, "traces-down"),
            By("up", {True: INFO}, ERROR),
            "detail?",
        ),
    ),
    row(
        traces.ContextRefused,
        counter(
            "sidecar_trace_contexts_refused_total",
            "Trace contexts of callers that were not well formed, by member.",
            one_of("member", traces.ContextMember),
            wanted=_traces,
        ),
    ),
)

BUNDLES = (
    row(
        bundles.BundleInForce,
        gauge(
            "sidecar_policy_bundle_sequence",
            "The number of the bundle of policies that is in force here.",
            amount="sequence",
            wanted=_bundles,
        ),
        gauge(
            "sidecar_policy_bundle_made_timestamp_seconds",
            "When the bundle of policies that is in force here was made.",
            amount="made_at",
            wanted=_bundles,
        ),
        gauge(
            "sidecar_policy_bundle_activation_timestamp_seconds",
            "When this sidecar took up the bundle of policies that is in force here.",
            kind=MetricKind.MOMENT,
            wanted=_bundles,
        ),
        LogLine("policy-bundle-in-force", INFO, "sequence digest term act signed_by by? reason?"),
    ),
    row(
        bundles.BundleNamed,
        gauge(
            "sidecar_policy_bundle_named_sequence",
            "The number of the bundle of policies that the store names for the fleet.",
            amount="sequence",
            wanted=_bundles,
        ),
        gauge(
            "sidecar_policy_bundle_waits",
            "Whether the bundle of policies that the store names is not in force here.",
            amount="waits",
            wanted=_bundles,
        ),
    ),
    row(
        bundles.BundleRefused,
        counter(
            "sidecar_policy_bundles_refused_total",
            "Bundles of policies that were refused here, by what is wrong.",
            one_of("flaw", BundleFlaw),
            wanted=_bundles,
        ),
        LogLine("policy-bundle-refused", ERROR, "sequence flaw detail"),
    ),
    row(
        bundles.BundleCacheFailed,
        counter(
            "sidecar_policy_bundle_cache_failures_total",
            "Verified bundles of policies that could not be kept on disk.",
            wanted=_bundles,
        ),
        LogLine("policy-bundle-not-kept", WARNING, "detail"),
    ),
    row(
        bundles.BundlePolled,
        counter(
            "sidecar_policy_bundle_polls_total",
            "Looks at what is published, by outcome.",
            one_of("outcome", bundles.BundlePollOutcome),
            wanted=_polls_bundles,
        ),
        gauge(
            "sidecar_policy_bundle_at_hand_sequence",
            "The number of the published bundle that is at hand, and not in force; 0: none.",
            amount="sequence",
            wanted=_polls_bundles,
        ),
    ),
    row(
        bundles.BundleAtHand,
        LogLine("policy-bundle-at-hand", INFO, "sequence digest signed_by"),
    ),
    row(
        bundles.BundlePollFailed,
        LogLine("policy-bundle-not-at-hand", WARNING, "flaw detail"),
    ),
    row(
        bundles.PolicySetActed,
        counter(
            "sidecar_policy_acts_total",
            "Operators' acts on the policies of the fleet, by what was done and its outcome.",
            one_of("act", PolicyAct),
            one_of("outcome", bundles.PolicyActOutcome),
            wanted=_bundles,
        ),
        LogLine(
            "policy-act",
            By("outcome", {bundles.PolicyActOutcome.DONE: INFO}, WARNING),
            "act outcome operator sequence reason? detail?",
        ),
    ),
)

SHARED_TABLE = (
    row(
        shared_table.CallPublished,
        counter(
            "sidecar_shared_table_writes_total",
            "Calls written to the shared table, or without a place there.",
            one_of("outcome", shared_table.PublishOutcome),
            wanted=_shares,
        ),
    ),
    row(
        shared_table.SharedTableRenewed,
        counter(
            "sidecar_shared_tables_total",
            "Shared tables begun, by cause.",
            one_of("cause", shared_table.RenewalCause),
            wanted=_shares,
        ),
        LogLine("shared-table-renewed", INFO, "cause slots"),
    ),
    row(
        shared_table.SharedTableFailed,
        counter(
            "sidecar_shared_table_failures_total",
            "Shared tables that could not be made.",
            wanted=_shares,
        ),
        LogLine("shared-table-failed", WARNING, "detail"),
    ),
)

SHARED_SIGNALS = (
    row(
        receiver.SecurityEventTokenTaken,
        counter(
            "sidecar_security_event_tokens_total",
            "Security Event Tokens, by fate.",
            one_of("outcome", (*receiver.SetOutcome, *Fault)),
            wanted=lambda settings: bool(settings.receiver.transmitters),
        ),
        counter(
            "sidecar_security_event_members_left_out_total",
            "Members of security events that only inform and could not be read, by name.",
            one_of("member", (*INFORMING, "toe"), "left_out"),
            each="left_out",
            wanted=nobody,
        ),
        LogLine(
            "security-event-token",
            _security_event_token,
            "outcome transmitter type=event id transaction detail left_out?",
        ),
    ),
    row(
        receiver.LogoutTaken,
        counter(
            "sidecar_logouts_total",
            "Requests of identity providers to end sessions, by kind and outcome.",
            one_of("request", receiver.LOGOUT_REQUESTS),
            one_of("outcome", receiver.LogoutOutcome),
            wanted=lambda settings: bool(settings.intake.issuers),
        ),
        LogLine("logout", _logout, "request outcome issuer id detail"),
    ),
    row(
        receiver.Polled,
        counter(
            "sidecar_polls_total", "Polls of transmitters, by outcome.", *("transmitter", "outcome")
        ),
        occasional_lines.polled,
    ),
    row(
        receiver.StreamVerified,
        gauge(
            "sidecar_stream_verified_timestamp_seconds",
            "When this sidecar last saw a transmitter's stream verified.",
            "transmitter",
            amount="at",
        ),
        LogLine("stream-verified", INFO, "transmitter asked_for"),
    ),
    row(
        receiver.StreamChanged,
        gauge(
            "sidecar_stream_enabled",
            "What a transmitter last said of its stream: 1 enabled, 0 paused or disabled.",
            "transmitter",
            amount="is_enabled",
        ),
        LogLine("stream-changed", WARNING, "transmitter status reason"),
    ),
    row(
        transmitter.Transmitted,
        counter(
            "sidecar_transmitted_events_total",
            "Events sent to others as shared signals, by type and what became of them.",
            MetricLabel(
                "event", values=(*Announced, "verification", "stream-updated"), other="several"
            ),
            "outcome",
            amount="count",
            series=_transmitted,
        ),
        LogLine(
            "shared-signal-{0.outcome}",
            By("outcome", _TRANSMITTED),
            "recipient stream type=event events=count detail",
        ),
    ),
)

INJECTION = (
    row(
        injection.PodReviewed,
        counter(
            "sidecar_injections_total",
            "Pods at the webhook that adds the sidecar, by outcome.",
            one_of("outcome", injection.InjectionOutcome),
            wanted=nobody,
        ),
        LogLine(
            "pod-{0.outcome}",
            By(
                "outcome",
                {
                    injection.InjectionOutcome.ADDED: INFO,
                    injection.InjectionOutcome.LEFT: DEBUG,
                },
                WARNING,
            ),
            "namespace? detail?",
        ),
    ),
)
