"""The table of observations: how each kind is counted and logged, a row each.

Log lines say what an operator or an auditor would ask for: marks, clearings and revocations
always, checks only where `log.checks` is set, and of refused tokens, which anybody can send, the
first of a kind in a minute with a count of those left out.
"""

from itertools import product

from sidecar.adapters.telemetry import occasional_lines
from sidecar.adapters.telemetry.declarations import (
    DEBUG,
    ERROR,
    INFO,
    ISSUER,
    WARNING,
    By,
    ConfiguredNames,
    LogLine,
    MetricKind,
    MetricLabel,
    counter,
    gauge,
    histogram,
    nobody,
    one_of,
    row,
)
from sidecar.adapters.telemetry.label_values import (
    claims_of,
    credentials_of,
    databases_of,
    doors_of,
    issuers_of,
    key_holders_of,
    reloaded_of,
    sources_of,
)
from sidecar.adapters.telemetry.optional_rows import (
    BUNDLES,
    DECISION_LOG,
    INJECTION,
    SHARED_SIGNALS,
    SHARED_TABLE,
    TRACES,
)
from sidecar.domain.evaluation.decision import Verdict
from sidecar.domain.facts.fact_kinds import ACTS, SIGNALS
from sidecar.domain.sources.shedding import Bottleneck, Need
from sidecar.service.observations import (
    observations,
    operator,
)
from sidecar.wire.events.operator_acts import Act
from sidecar.wire.http.unasked import Exemption
from sidecar.wire.settings.settings import Settings
from sidecar.wire.tokens.claims import Flaw

SIGNAL_TO_MARK_BUCKETS = (0.002, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0)
STORE_BUCKETS = (1e-3, 1e-2, 0.1, 1.0)
STALL_BUCKETS = (0.01, 0.1, 0.5, 1.0)
_CAP = 1000

_EVENTS = (*SIGNALS, *ACTS)
_CONSOLE_REFUSAL = one_of("reason", operator.ConsoleRefusal)
_EVENT_TYPE = MetricLabel("type", values=_EVENTS, other="unknown")
_POLICY = MetricLabel("policy", cap=_CAP)
_SOURCE = MetricLabel("source", among=ConfiguredNames.SOURCES)
_DOOR_INCIDENTS = counter(
    "sidecar_door_incidents_total",
    "Clients refused or cut off, by door and what happened.",
    *("door", "incident"),
    series=lambda settings: product(doors_of(settings), ("refused", "no-descriptor")),
)


def _introspects(settings: Settings) -> bool:
    return any(issuer.introspection.endpoint for issuer in settings.tokens.issuers)


def _has_break_glass(settings: Settings) -> bool:
    emergency = settings.break_glass
    return bool(emergency.users or emergency.groups or emergency.accounts)


def _spools(settings: Settings) -> bool:
    return bool(settings.spool.dir)


_SESSIONS = (
    row(
        observations.Marked,
        counter(
            "sidecar_marks_total",
            "Marks set, by policy, signal and the policy's state.",
            *(_POLICY, one_of("signal", (*_EVENTS, "policy")), "state"),
        ),
        histogram(
            "sidecar_signal_to_mark_seconds",
            "From an event's arrival to the mark it brought being in the store.",
            "signal_to_mark_seconds",
            SIGNAL_TO_MARK_BUCKETS,
            exemplar="trace",
        ),
        LogLine(
            By("report_only", {True: "session-would-be-marked", False: "session-marked"}),
            INFO,
            "session subject issuer? policy signal contexts since reason=text again? trace?",
            like=("policy",),
        ),
    ),
    row(
        observations.Cleared,
        counter(
            "sidecar_marks_cleared_total",
            "Marks that bind no longer, by reason.",
            one_of("reason", observations.ClearReason),
            wanted=nobody,
        ),
        LogLine(
            "mark-cleared",
            INFO,
            "session subject issuer? policy cleared_by=reason reason=text again? trace?",
            like=("policy", "reason"),
        ),
    ),
    row(
        observations.RevokedSession,
        counter("sidecar_sessions_revoked_total", "Sessions revoked."),
        LogLine("session-revoked", INFO, "session subject reason issuer? again? trace?", like=()),
    ),
    row(
        observations.BreakGlassUsed,
        counter(
            "sidecar_break_glass_checks_total",
            "Checks of emergency accounts.",
            one_of("decision", Verdict),
            wanted=_has_break_glass,
        ),
        LogLine("break-glass-used", WARNING, "session subject decision context issuer?"),
    ),
    row(
        observations.PromptBudgetExceeded,
        counter(
            "sidecar_prompt_budget_exceeded_total",
            "Users who were asked too often.",
            wanted=lambda settings: settings.friction.prompts > 0,
        ),
        LogLine("prompt-budget-exceeded", WARNING, "subject prompts budget seconds issuer?"),
    ),
    row(
        observations.ReportedOnly,
        counter(
            "sidecar_report_only_total",
            "Checks of which a report-only policy asked something: what the answer would have "
            "been, and what it was.",
            *(_POLICY, "decision", "answered"),
        ),
        occasional_lines.reported_only,
    ),
    row(
        observations.Rescored,
        counter(
            "sidecar_rescored_sessions_total",
            "Live sessions scored anew, by cause.",
            MetricLabel("cause", values=_EVENTS, cap=_CAP),
            amount="sessions",
        ),
        LogLine("sessions-rescored", DEBUG, "cause sessions"),
    ),
    row(
        observations.ViewEvicted,
        counter(
            "sidecar_view_evictions_total",
            "Sessions put out of the local view to make room.",
            amount="sessions",
        ),
    ),
)

_CALLS = (
    row(observations.Checked, occasional_lines.checked),
    row(
        observations.PassedUnasked,
        counter(
            "sidecar_calls_unasked_total",
            "Calls that passed unasked, by reason.",
            one_of("reason", Exemption),
            wanted=nobody,
        ),
    ),
    row(observations.ProofSpent, counter("sidecar_proofs_spent_total", "Proofs spent.", "outcome")),
    row(
        observations.TokenRefused,
        counter("sidecar_invalid_tokens_total", "Access tokens not believed, by reason.", "reason"),
        LogLine(
            "token-refused",
            By("reason", {Flaw.EXPIRED: INFO}, WARNING),  # that tokens expire is as it should be
            "reason issuer? detail",
            minutely=("reason", ISSUER),
        ),
    ),
    row(
        observations.ClaimMissing,
        counter(
            "sidecar_token_claims_missing_total",
            "Verified tokens that lack a claim that is needed; the issuer by its position in "
            "tokens.issuers.",
            *(ISSUER, "claim"),
            series=claims_of,
        ),
        occasional_lines.claim_missing,
    ),
    row(
        observations.KeysRefreshed,
        counter(
            "sidecar_jwks_refreshes_total",
            "Refreshes of an issuer's keys; the issuer by its position in tokens.issuers.",
            *(ISSUER, "outcome"),
            series=lambda settings: product(key_holders_of(settings), observations.KeysOutcome),
        ),
        gauge(
            "sidecar_jwks_last_success_timestamp_seconds",
            "When an issuer's keys were fetched last; the issuer by its position in "
            "tokens.issuers.",
            ISSUER,
            kind=MetricKind.MOMENT,
            when="done",
        ),
        LogLine(
            By("outcome", {observations.KeysOutcome.DONE: "keys-refreshed"}, "keys-not-refreshed"),
            By("outcome", {observations.KeysOutcome.DONE: DEBUG}, WARNING),
            "issuer outcome detail",
        ),
    ),
    row(
        observations.Introspected,
        counter(
            "sidecar_introspections_total",
            "Questions about opaque tokens; the issuer by its position in tokens.issuers.",
            *(ISSUER, "outcome"),
        ),
        histogram(
            "sidecar_introspection_seconds",
            "Time until an issuer answered about an opaque token, or did not.",
            "seconds",
            STORE_BUCKETS,
            when="was_asked",
            wanted=_introspects,
        ),
        occasional_lines.introspected,
    ),
    row(observations.DoorIncident, _DOOR_INCIDENTS, occasional_lines.door_incident),
    row(
        observations.CredentialRefused,
        _DOOR_INCIDENTS,
        LogLine("{0.door}-credential-refused", WARNING, "address", minutely=()),
    ),
)

_INTAKE = (
    row(
        observations.EventTaken,
        counter(
            "sidecar_events_total",
            "Events at the doors, by type and fate.",
            *(_EVENT_TYPE, one_of("outcome", observations.EventOutcome)),
            wanted=nobody,
        ),
        counter(
            "sidecar_events_refused_total",
            "Events that were not taken although their source may say them, by fate.",
            one_of("outcome", observations.REFUSED),
            when="is_refused",
        ),
        LogLine(
            "event-{0.outcome}",
            By(
                "outcome",
                {
                    observations.EventOutcome.FAILED: ERROR,
                    observations.EventOutcome.OVERLOADED: WARNING,
                },
                DEBUG,
            ),
            "type id source label detail",
        ),
    ),
    row(
        observations.EventNotAllowed,
        counter(
            "sidecar_not_allowed_total",
            "Events that their source may not say, by source and type.",
            *(_SOURCE, _EVENT_TYPE),
            series=lambda settings: product(sources_of(settings), SIGNALS),
        ),
        LogLine(
            "event-not-allowed",
            WARNING,
            "source type key detail",
            minutely=(_SOURCE, _EVENT_TYPE),
            silently=True,
        ),
    ),
    row(
        operator.ConsoleSignIn,
        counter(
            "sidecar_console_sign_ins_total",
            "Operators who signed in at the console, or out.",
            one_of("step", operator.ConsoleStep),
            wanted=nobody,
        ),
        LogLine(
            By(
                "step",
                {
                    operator.ConsoleStep.IN: "console-sign-in",
                    operator.ConsoleStep.OUT: "console-sign-out",
                },
            ),
            INFO,
            "operator address subject?",
        ),
    ),
    row(
        operator.ConsoleRefused,
        counter(
            "sidecar_console_refusals_total",
            "Sign-ins at the console by an OpenID provider that were refused.",
            _CONSOLE_REFUSAL,
            wanted=nobody,
        ),
        LogLine(
            "console-refused",
            WARNING,
            "reason address detail operator?",
            minutely=(_CONSOLE_REFUSAL,),
        ),
    ),
    row(
        observations.EventShed,
        counter(
            "sidecar_events_shed_total",
            "Events that were answered `overloaded`, by type, need and what was too full for them.",
            *(_EVENT_TYPE, one_of("need", Need, "needed"), one_of("bottleneck", Bottleneck, "of")),
            wanted=nobody,
        ),
        LogLine(
            "events-shed",
            WARNING,
            "need=needed bottleneck=of",
            minutely=("needed", "of"),
        ),
    ),
    row(
        operator.OperatorActed,
        counter(
            "sidecar_operator_acts_total",
            "Operators' acts on sessions, users and devices, by what was done and its outcome.",
            *(one_of("act", Act), one_of("outcome", operator.ActOutcome)),
            wanted=nobody,
        ),
        LogLine(  # each act, since somebody will ask who did it, and why
            "operator-act",
            By(
                "outcome",
                {operator.ActOutcome.DONE: INFO, operator.ActOutcome.SPOOLED: INFO},
                WARNING,
            ),
            "act? on? outcome? operator? session? user? device? issuer? id? reason? detail?",
        ),
    ),
    row(
        observations.SpoolIncident,
        counter(
            "sidecar_spool_troubles_total",
            "Times that the spool began to fail.",
            one_of("trouble", observations.SpoolTrouble),
            wanted=_spools,
        ),
        LogLine(
            "spool-trouble",
            By("trouble", {observations.SpoolTrouble.TORN: WARNING}, ERROR),
            "trouble detail",
        ),
    ),
    row(
        observations.SpoolReplayed,
        counter(
            "sidecar_spool_replayed_total",
            "Spooled events that were handed to the store.",
            amount="events",
            wanted=_spools,
        ),
        LogLine("spool-replayed", INFO, "events duplicates left"),
    ),
    row(
        observations.Buried,
        counter(
            "sidecar_dead_letters_total",
            "Events given up after their tries.",
            one_of("reason", observations.DeadReason),
        ),
        LogLine("dead-letter", ERROR, "type id=event reason error tries"),
    ),
    row(
        observations.FactsSetAside,
        counter(
            "sidecar_facts_set_aside_total",
            "What records hold that was set aside as it came, by why it cannot be read.",
            one_of("reason", observations.SetAsideReason),
            amount="facts",
        ),
        LogLine(
            "facts-set-aside",
            WARNING,
            "reason facts group",
            minutely=(one_of("reason", observations.SetAsideReason),),
        ),
    ),
    row(
        observations.WorkClaimed,
        counter(
            "sidecar_work_claimed_total",
            "Work taken over from sidecars that did not finish it.",
            amount="entries",
        ),
    ),
    row(
        observations.QueueRejected,
        counter("sidecar_queue_rejected_total", "What a full queue turned away.", "queue"),
    ),
)

_STORE = (
    row(
        observations.StoreUp,
        gauge("sidecar_store_up", "Whether the store answers and takes writes.", amount="up"),
        occasional_lines.store_up,
    ),
    row(
        observations.StoreLost,
        counter(
            "sidecar_store_losses_total",
            "Losses of the store, by how they were noticed.",
            one_of("kind", observations.StoreLoss, "loss"),
        ),
        LogLine(
            "store-lost",
            By("loss", {observations.StoreLoss.REPORTED: WARNING}, ERROR),
            "kind=loss floor slots=spans",
        ),
    ),
    row(observations.StoreWrittenBack, LogLine("store-written-back", INFO, "records")),
    row(observations.StoreEvicts, occasional_lines.store_evicts),
    row(observations.FormsDisagree, LogLine("privacy-forms-disagree", ERROR, "detail")),
    row(
        observations.LinkState,
        gauge(
            "sidecar_news_up", "Whether this sidecar hears the other sidecars' news.", amount="up"
        ),
        LogLine("news-{0.state}", By("up", {True: INFO}, WARNING), "detail"),
    ),
)

_CONFIGURATION = (
    row(
        observations.Reloaded,
        counter(
            "sidecar_reloads_total",
            "Changed files taken up or refused.",
            *("what", "outcome"),
            series=lambda settings: product(
                reloaded_of(settings), (observations.ReloadOutcome.REFUSED,)
            ),
        ),
        LogLine(
            "reload-{0.outcome}",
            By(
                "outcome",
                {
                    observations.ReloadOutcome.APPLIED: INFO,
                    observations.ReloadOutcome.REFUSED: ERROR,
                },
                DEBUG,
            ),
            "what detail keys?",
        ),
    ),
    row(
        observations.ConfigurationRead,
        gauge(
            "sidecar_config_last_reload_successful",
            "Whether the configuration could be taken up when it was read last.",
            amount="successful",
        ),
        gauge(
            "sidecar_config_last_reload_success_timestamp_seconds",
            "When the configuration was taken up last.",
            kind=MetricKind.MOMENT,
            when="successful",
        ),
        gauge(
            "sidecar_policy_set_info",
            "A digest of the policies in force.",
            MetricLabel("hash", "policy_set"),
            kind=MetricKind.INFO,
            when="successful",
        ),
    ),
    row(
        observations.RestartRequired,
        gauge(
            "sidecar_restart_required",
            "Whether changed configuration waits for a restart.",
            amount="waits",
        ),
        occasional_lines.restart_required,
    ),
    row(
        observations.ConfigurationWarned,
        LogLine("configuration-warning", WARNING, "code field message"),
    ),
    row(
        observations.SecretRead,
        gauge(
            "sidecar_credential_failing",
            "Whether the file of a credential, by its key, held none when it was last looked at.",
            MetricLabel("credential", "field"),
            amount="failing",
            series=credentials_of,
        ),
        LogLine(
            By("failing", {True: "secret-not-read"}, "secret-read"),
            By("failing", {True: WARNING}, INFO),
            "field reason?",
        ),
    ),
    row(
        observations.AcrUnoffered,
        gauge(
            "sidecar_acr_values_not_offered",
            "What policies can ask an issuer for as acr_values and its discovery does not list; "
            "the issuer by its position in tokens.issuers.",
            ISSUER,
            amount="count",
            series=issuers_of,
        ),
        occasional_lines.acr_unoffered,
    ),
    row(
        observations.GeographyLoaded,
        gauge(
            "sidecar_geo_database_build_timestamp_seconds",
            "Build time of the geography database in use.",
            "database",
            each="builds",
        ),
    ),
    row(
        observations.GeographyFailed,
        counter(
            "sidecar_geo_lookup_errors_total",
            "Look-ups that met a broken record.",
            wanted=lambda settings: any(databases_of(settings)),
        ),
        LogLine("geography-lookup-failed", DEBUG, "database detail"),
    ),
)

TABLE = (
    *(*_SESSIONS, *_CALLS, *DECISION_LOG, *TRACES, *BUNDLES, *SHARED_TABLE),
    *(*_INTAKE, *_STORE, *_CONFIGURATION, *SHARED_SIGNALS, *INJECTION),
    row(
        observations.WorkerFailed,
        counter(
            "sidecar_worker_errors_total", "Errors that a worker met and went on from.", "where"
        ),
        counter(
            "sidecar_unexpected_errors_total",
            "The same errors, wherever they were met: each is a defect.",
        ),
        occasional_lines.worker_failed,
    ),
    row(
        observations.LoopStalled,
        histogram(
            "sidecar_loop_stall_seconds",
            "Rounds of the event loop of 1 ms or more: for so long nothing new is noticed.",
            "seconds",
            STALL_BUCKETS,
        ),
        occasional_lines.loop_stalled,
    ),
    row(observations.DaemonEvent, occasional_lines.as_it_says),
)
"""A row for each kind of observation; a test holds that none is missing."""
