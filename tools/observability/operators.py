"""The dashboard for operators: whether sidecars work, and what they need."""

from tools.observability.panels import Dashboard, Kind, Limits, Panel, Query, Row, Unit

RATE = "$__rate_interval"

_NOW = Row(
    "Now",
    (
        Panel(
            "Not ready",
            "Sidecars whose /readyz fails. The table of unmet conditions says why.",
            (Query("count(sidecar_ready == 0) or vector(0)"),),
            kind=Kind.STAT,
            limits=Limits(1, 1),
            width=4,
            height=4,
        ),
        Panel(
            "Sidecars",
            "Sidecars that are scraped.",
            (Query("count(sidecar_build_info)"),),
            kind=Kind.STAT,
            limits=Limits(1, 1, falling=True),
            width=4,
            height=4,
        ),
        Panel(
            "Without store",
            "Sidecars whose store does not answer or takes no writes.",
            (Query("count(sidecar_store_up == 0) or vector(0)"),),
            kind=Kind.STAT,
            limits=Limits(1, 1),
            width=4,
            height=4,
        ),
        Panel(
            "Checks answered with 503",
            "The share of checks that could not be decided, of the last five minutes.",
            (
                Query(
                    'sum(rate(sidecar_checks_total{decision="unavailable"}[5m])) / '
                    "sum(rate(sidecar_checks_total[5m]))"
                ),
            ),
            Unit.SHARE,
            Kind.STAT,
            Limits(0.001, 0.01),
            width=4,
            height=4,
        ),
        Panel(
            "Refused configurations",
            "Sidecars that refused the configuration that was read last; the one before is in "
            "force.",
            (
                Query(
                    "count(sidecar_config_last_reload_successful == 0 and "
                    "sidecar_config_last_reload_success_timestamp_seconds > 0) or vector(0)"
                ),
            ),
            kind=Kind.STAT,
            limits=Limits(1, 1),
            width=4,
            height=4,
        ),
        Panel(
            "Dead letters",
            "Events that were given up and wait in the store: `sidecar dead-letters list`.",
            (Query("max(sidecar_dead_letters_waiting)"),),
            kind=Kind.STAT,
            limits=Limits(1, 10),
            width=4,
            height=4,
        ),
        Panel(
            "Unmet conditions",
            "What /readyz finds wrong: `bad` keeps a sidecar from being ready, `limping` does not.",
            (Query("sidecar_condition_unmet", must_have_data=False),),
            kind=Kind.TABLE,
            width=24,
            height=5,
        ),
    ),
)

_CHECKS = Row(
    "Checks",
    (
        Panel(
            "Checks by decision",
            "Checks answered each second. `unavailable` are 503s, `invalid_token` 401s of tokens "
            "that are not believed.",
            (Query(f"sum by (decision) (rate(sidecar_checks_total[{RATE}]))", "{{decision}}"),),
            Unit.PER_SECOND,
            stacked=True,
        ),
        Panel(
            "Time of a check",
            "How long a check takes, at the median and for the slowest one in a hundred.",
            (
                Query(
                    "histogram_quantile(0.5, sum by (le) "
                    f"(rate(sidecar_check_seconds_bucket[{RATE}])))",
                    "median",
                ),
                Query(
                    "histogram_quantile(0.99, sum by (le) "
                    f"(rate(sidecar_check_seconds_bucket[{RATE}])))",
                    "p99",
                ),
            ),
            Unit.SECONDS,
            limits=Limits(0.05, 0.5),
        ),
        Panel(
            "Contexts that cannot be decided",
            "Sidecars whose view is too old for a context: when_unknown answers its calls.",
            (Query("sum by (context) (sidecar_context_stale)", "{{context}}"),),
            limits=Limits(1, 1),
        ),
    ),
)

_STORE = Row(
    "Store and fleet",
    (
        Panel(
            "Store up",
            "Whether the store answers and takes writes, by sidecar.",
            (Query("sidecar_store_up", "{{instance}}"),),
            Unit.YES,
        ),
        Panel(
            "Age of the view",
            "Seconds for which a sidecar may not know what others know. Above "
            "sessions.max_staleness (10 s) sensitive calls cannot be decided.",
            (Query("sidecar_store_staleness_seconds", "{{instance}}"),),
            Unit.SECONDS,
            limits=Limits(5, 10),
        ),
        Panel(
            "Time of store operations (p99)",
            "The slowest one in a hundred, by operation.",
            (
                Query(
                    "histogram_quantile(0.99, sum by (operation, le) "
                    f"(rate(sidecar_store_seconds_bucket[{RATE}])))",
                    "{{operation}}",
                ),
            ),
            Unit.SECONDS,
            limits=Limits(0.1, 1),
        ),
        Panel(
            "Losses of the store",
            "Signs that the store lost something, within a quarter of an hour.",
            (Query("sum by (kind) (increase(sidecar_store_losses_total[15m]))", "{{kind}}"),),
            limits=Limits(1, 1),
        ),
        Panel(
            "News",
            "Whether a sidecar hears the news of the others.",
            (Query("sidecar_news_up", "{{instance}}"),),
            Unit.YES,
        ),
        Panel(
            "Sidecars by policy set",
            "More than one line at a time: sidecars judge by different policies.",
            (Query("count by (hash) (sidecar_policy_set_info)", "{{hash}}"),),
            stacked=True,
        ),
    ),
)

_KEYS = Row(
    "Keys, sources and databases",
    (
        Panel(
            "Age of issuers' keys",
            "Seconds since the keys of an issuer were fetched; it is named by its position in "
            "tokens.issuers. After tokens.jwks_max_staleness (a day) they are dropped.",
            (
                Query(
                    "max by (issuer) (time() - sidecar_jwks_last_success_timestamp_seconds)",
                    "issuer {{issuer}}",
                ),
            ),
            Unit.SECONDS,
            limits=Limits(3600, 21600),
        ),
        Panel(
            "Refreshes of keys",
            "Refreshes each second, by issuer and outcome.",
            (
                Query(
                    f"sum by (issuer, outcome) (rate(sidecar_jwks_refreshes_total[{RATE}]))",
                    "{{issuer}} {{outcome}}",
                ),
            ),
            Unit.PER_SECOND,
        ),
        Panel(
            "Credentials that cannot be read",
            "Files of credentials that are gone, unreadable or empty.",
            (Query("sum by (credential) (sidecar_credential_failing)", "{{credential}}"),),
            limits=Limits(1, 1),
        ),
        Panel(
            "Events by source that may not say them",
            "Refused events each second, by source and type.",
            (
                Query(
                    f"sum by (source, type) (rate(sidecar_not_allowed_total[{RATE}])) > 0",
                    "{{source}} {{type}}",
                    must_have_data=False,
                ),
            ),
            Unit.PER_SECOND,
        ),
        Panel(
            "Age of geography databases",
            "Seconds since a database was built; the oldest in use.",
            (
                Query(
                    "max by (database) (time() - sidecar_geo_database_build_timestamp_seconds)",
                    "{{database}}",
                ),
            ),
            Unit.SECONDS,
            limits=Limits(30 * 86400.0, 45 * 86400.0),
        ),
        Panel(
            "Shared signals",
            "Security event tokens each second, by outcome; nothing where no receiver is set up.",
            (
                Query(
                    f"sum by (outcome) (rate(sidecar_security_event_tokens_total[{RATE}])) > 0",
                    "{{outcome}}",
                    must_have_data=False,
                ),
            ),
            Unit.PER_SECOND,
        ),
    ),
)

_EVENTS = Row(
    "Events, queues and shedding",
    (
        Panel(
            "Events by outcome",
            "Events at the doors each second. `overloaded` and `failed` were not taken.",
            (Query(f"sum by (outcome) (rate(sidecar_events_total[{RATE}]))", "{{outcome}}"),),
            Unit.PER_SECOND,
            stacked=True,
        ),
        Panel(
            "From signal to mark",
            "From an event's arrival to its mark being in the store.",
            (
                Query(
                    "histogram_quantile(0.5, sum by (le) "
                    f"(rate(sidecar_signal_to_mark_seconds_bucket[{RATE}])))",
                    "median",
                ),
                Query(
                    "histogram_quantile(0.99, sum by (le) "
                    f"(rate(sidecar_signal_to_mark_seconds_bucket[{RATE}])))",
                    "p99",
                ),
            ),
            Unit.SECONDS,
            limits=Limits(1, 5),
        ),
        Panel(
            "Events that wait in spools",
            "Events on sidecars' own disks, until the store is back.",
            (Query("sidecar_spool_events", "{{instance}}", must_have_data=False),),
            limits=Limits(1, 10000),
        ),
        Panel(
            "Queues",
            "What waits in bounded queues, by queue; the fullest sidecar.",
            (Query("max by (queue) (sidecar_queue_depth)", "{{queue}}"),),
        ),
        Panel(
            "Events shed, by need",
            "Events that were answered `overloaded`, each second, by how much they are needed: "
            "what tightens and revocations are the last to go.",
            (
                Query(
                    f"sum by (need) (rate(sidecar_events_shed_total[{RATE}]))",
                    "{{need}}",
                    must_have_data=False,
                ),
            ),
            Unit.PER_SECOND,
            stacked=True,
        ),
        Panel(
            "Events shed, by what was too full",
            "The same, by what there was too little of: a source's rate, the store, the spool, or "
            "what waits to be logged.",
            (
                Query(
                    f"sum by (bottleneck) (rate(sidecar_events_shed_total[{RATE}]))",
                    "{{bottleneck}}",
                    must_have_data=False,
                ),
            ),
            Unit.PER_SECOND,
            stacked=True,
        ),
        Panel(
            "Shed by full queues",
            "What found no place in a queue, each second.",
            (Query(f"sum by (queue) (rate(sidecar_queue_rejected_total[{RATE}]))", "{{queue}}"),),
            Unit.PER_SECOND,
            limits=Limits(0.01, 1),
        ),
        Panel(
            "Connections refused or cut off",
            "By door and incident, each second.",
            (
                Query(
                    f"sum by (door, incident) (rate(sidecar_door_incidents_total[{RATE}]))",
                    "{{door}} {{incident}}",
                ),
            ),
            Unit.PER_SECOND,
        ),
    ),
)

_PROCESS = Row(
    "Process",
    (
        Panel(
            "Memory",
            "Resident memory.",
            (Query("process_resident_memory_bytes", "{{instance}}"),),
            Unit.BYTES,
        ),
        Panel(
            "Processor",
            "Processor seconds each second.",
            (Query(f"rate(process_cpu_seconds_total[{RATE}])", "{{instance}}"),),
            Unit.SHARE,
            limits=Limits(0.8, 1),
        ),
        Panel(
            "Stops of the event loop",
            "Stops of more than half a second within ten minutes: nothing is answered meanwhile.",
            (
                Query(
                    "sum by (instance) (increase(sidecar_loop_stall_seconds_count[10m])) - "
                    "sum by (instance) "
                    '(increase(sidecar_loop_stall_seconds_bucket{le="0.5"}[10m]))',
                    "{{instance}}",
                ),
            ),
            limits=Limits(1, 10),
        ),
        Panel(
            "Log lines and decisions lost",
            "Log lines that nobody read, and decisions that are missing in their log.",
            (
                Query("sum(increase(sidecar_log_lines_dropped_total[15m]))", "log lines"),
                Query(
                    "sum(increase(sidecar_decision_log_dropped_total[15m]))",
                    "decisions",
                    must_have_data=False,
                ),
            ),
            limits=Limits(1, 1),
        ),
        Panel(
            "Unexpected errors",
            "Errors that a worker or a door went on from, within a quarter of an hour.",
            (Query("sum by (instance) (increase(sidecar_unexpected_errors_total[15m]))"),),
            limits=Limits(1, 1),
        ),
        Panel(
            "File descriptors",
            "The share of the descriptors that a process may have and has.",
            (Query("process_open_fds / process_max_fds", "{{instance}}"),),
            Unit.SHARE,
            limits=Limits(0.7, 0.9),
        ),
    ),
)

OPERATORS = Dashboard(
    "stepup-sidecar-operators",
    "stepup-sidecar / Operators",
    "Whether sidecars work: their store, keys, sources, databases, queues and logs.",
    (_NOW, _CHECKS, _STORE, _KEYS, _EVENTS, _PROCESS),
)
