"""Alerts of calls, events, marks and logs."""

from tools.observability.alert import (
    CRITICAL,
    FLEET,
    INFO,
    ONE,
    WARNING,
    Alert,
    Count,
    Group,
    Level,
    rising,
)

EVENTS = Group(
    "stepup-sidecar.events",
    (
        Alert(
            "SidecarEventsInvalid",
            rising('sidecar_events_refused_total{outcome="invalid"}', "15m", ONE, 20),
            "0m",
            WARNING,
            "Many events at {{ $labels.instance }} cannot be read",
            "More than 20 in 15 minutes. See first who sends them: log lines `event-invalid` at "
            "log.level debug name the field and the source.",
            {'sidecar_events_refused_total{outcome="invalid"}': Count(0, 5)},
        ),
        Alert(
            "SidecarEventsNotTaken",
            rising(
                'sidecar_events_refused_total{outcome=~"overloaded|failed"}',
                "10m",
                f"{ONE}, outcome",
            ),
            "0m",
            CRITICAL,
            "{{ $labels.instance }} could not take events ({{ $labels.outcome }})",
            "Their senders were refused, and each must send them again. See first whether the "
            "store is up and whether a spool is configured, then the queue depths.",
            {'sidecar_events_refused_total{outcome="overloaded"}': Count(0, 1)},
        ),
        Alert(
            "SidecarEventsNotAllowed",
            rising("sidecar_not_allowed_total", "15m", f"{FLEET}, source, type", 5),
            "0m",
            WARNING,
            "{{ $labels.source }} sends {{ $labels.type }}, which it may not say",
            "More than five such events in 15 minutes were refused. See first the line "
            "`event-not-allowed`: it names the key of `sources` that would allow them. If nobody "
            "changed the source, treat it as an attempt.",
            {'sidecar_not_allowed_total{source="app",type="risk-signal"}': Count(0, 1)},
        ),
        Alert(
            "SidecarDeadLetters",
            f"max by ({FLEET}) (sidecar_dead_letters_waiting) > 0",
            "1m",
            WARNING,
            "Events of {{ $labels.job }} were given up and wait for you",
            "They failed again and again. See first `sidecar dead-letters list`: it has the error "
            "of each; put them back when its cause is mended.",
            {"sidecar_dead_letters_waiting": Level(0, 1)},
        ),
        Alert(
            "SidecarFactsSetAside",
            rising("sidecar_facts_set_aside_total", "15m", f"{FLEET}, reason"),
            "0m",
            WARNING,
            "Facts in the store cannot be read ({{ $labels.reason }})",
            "They are left out, and what they may loosen is asked for anew. See first whether two "
            "versions run side by side, or somebody wrote into the store.",
            {'sidecar_facts_set_aside_total{reason="damaged"}': Count(0, 1)},
        ),
        Alert(
            "SidecarSpoolWaiting",
            "sidecar_spool_events > 0",
            "10m",
            WARNING,
            "Events wait in the spool of {{ $labels.instance }}",
            "For ten minutes events have waited on one pod's disk, and no other sidecar knows of "
            "them. See first whether the store is up; do not delete the pod's volume.",
            {"sidecar_spool_events": Level(0, 7)},
        ),
        Alert(
            "SidecarSpoolFailing",
            rising('sidecar_spool_troubles_total{trouble!="torn"}', "15m", f"{ONE}, trouble"),
            "0m",
            CRITICAL,
            "The spool of {{ $labels.instance }} fails ({{ $labels.trouble }})",
            "Events are refused while the store is away, or some may be lost. See first the line "
            "`spool-trouble`, then the space on the volume, spool.max_events and spool.max_bytes.",
            {'sidecar_spool_troubles_total{trouble="full"}': Count(0, 1)},
        ),
        Alert(
            "SidecarQueueFull",
            rising("sidecar_queue_rejected_total", "10m", f"{ONE}, queue"),
            "5m",
            WARNING,
            "The queue {{ $labels.queue }} of {{ $labels.instance }} is full",
            "What finds no place there is shed. See first whether the store is slow or the "
            "container has too little processor time.",
            {'sidecar_queue_rejected_total{queue="rescore"}': Count(0, 1)},
        ),
    ),
)

CALLS = Group(
    "stepup-sidecar.calls",
    (
        Alert(
            "SidecarChecksUnavailable",
            rising('sidecar_checks_total{decision="unavailable"}', "5m", f"{ONE}, context"),
            "2m",
            CRITICAL,
            "{{ $labels.instance }} answers calls in {{ $labels.context }} with 503",
            "It cannot know how sessions stand. See first whether the store is up and the keys of "
            "the issuer are there; when_unknown says what such calls get.",
            {'sidecar_checks_total{decision="unavailable",context="c1"}': Count(0, 1)},
        ),
        Alert(
            "SidecarConnectionsRefused",
            rising(
                'sidecar_door_incidents_total{incident=~"refused|no-descriptor"}',
                "10m",
                f"{ONE}, door, incident",
            ),
            "0m",
            WARNING,
            "{{ $labels.instance }} refuses connections ({{ $labels.door }})",
            "A door has as many connections as it may, or the process has no descriptors left. See "
            "first whether a client leaks connections, then max_connections and `ulimit -n`.",
            {'sidecar_door_incidents_total{door="http",incident="refused"}': Count(0, 1)},
        ),
        Alert(
            "SidecarSharedTableUnused",
            f"sidecar_shared_table_calls == 0 and on ({ONE}) sum by ({ONE}) "
            '(rate(sidecar_checks_total{decision="allow"}[10m])) > 0.1',
            "30m",
            INFO,
            "The shared table of {{ $labels.instance }} stays empty",
            "Checks pass, and none is written down for the app to read, so each call is asked. See "
            "first sidecar_shared_table_failures_total, whether log.checks is set, and whether "
            "the app asks by context and not by path.",
            {
                "sidecar_shared_table_calls": Level(5, 0),
                'sidecar_checks_total{decision="allow",context="c1"}': Count(60, 60),
            },
        ),
    ),
)

SESSIONS = Group(
    "stepup-sidecar.sessions",
    (
        Alert(
            "SidecarManySessionsMarked",
            f"sum by ({FLEET}) (sidecar_marks_active) / sum by ({FLEET}) (sidecar_sessions) > 0.3"
            f" and sum by ({FLEET}) (sidecar_sessions) > 20",
            "10m",
            WARNING,
            "Very many sessions of {{ $labels.job }} are marked",
            "There are marks for more than three sessions in ten: users are asked in crowds. See "
            "first which policy and signal marks them, and whether a policy or a source changed.",
            {"sidecar_marks_active": Level(1, 50), "sidecar_sessions": Level(100, 100)},
        ),
        Alert(
            "SidecarBreakGlassUsed",
            rising("sidecar_break_glass_checks_total", "15m", f"{FLEET}, decision"),
            "0m",
            CRITICAL,
            "An emergency account of {{ $labels.job }} is in use",
            "No policy touches its calls. See first the lines `break-glass-used` for who it is, "
            "and ask its keeper whether it is meant.",
            {'sidecar_break_glass_checks_total{decision="allow"}': Count(0, 1)},
        ),
        Alert(
            "SidecarPromptBudgetExceeded",
            rising("sidecar_prompt_budget_exceeded_total", "1h", FLEET),
            "0m",
            WARNING,
            "Users of {{ $labels.job }} are asked too often",
            "Somebody was asked more often than friction.prompts allows. See first the lines "
            "`prompt-budget-exceeded`, then which policies mark most.",
            {"sidecar_prompt_budget_exceeded_total": Count(0, 1)},
        ),
    ),
)

LOGS = Group(
    "stepup-sidecar.logs",
    (
        Alert(
            "SidecarDecisionsDropped",
            rising("sidecar_decision_log_dropped_total", "10m", f"{ONE}, cause"),
            "0m",
            CRITICAL,
            "Decisions of {{ $labels.instance }} are missing in their log ({{ $labels.cause }})",
            "The log says how many, but not which. See first the line `decisions-dropped`, whether "
            "the output takes records, and whether a smaller share would do.",
            {'sidecar_decision_log_dropped_total{cause="queue"}': Count(0, 1)},
        ),
        Alert(
            "SidecarDecisionLogDown",
            "sidecar_decision_log_up == 0",
            "2m",
            CRITICAL,
            "The decision log of {{ $labels.instance }} cannot be written",
            "Records wait in a bounded queue and are dropped when it is full. See first the line "
            "`decision-log-down`: it has the cause.",
            {"sidecar_decision_log_up": Level(1, 0)},
        ),
        Alert(
            "SidecarLogLinesDropped",
            rising("sidecar_log_lines_dropped_total", "15m", ONE),
            "0m",
            WARNING,
            "Log lines of {{ $labels.instance }} are lost",
            "Nobody reads its standard error fast enough. See first the node's log agent and its "
            "disk.",
            {"sidecar_log_lines_dropped_total": Count(0, 1)},
        ),
    ),
)

GROUPS = (EVENTS, CALLS, SESSIONS, LOGS)
