"""The dashboard of the fleet: who runs what, and how shared work goes on."""

from tools.observability.panels import Dashboard, Kind, Limits, Panel, Query, Row, Unit

RATE = "$__rate_interval"
BY = "namespace, job, instance"

_WHO = Row(
    "Who runs what",
    (
        Panel(
            "Policy sets",
            "Which sidecar judges by which policies.",
            (Query("sidecar_policy_set_info", "{{instance}}"),),
            kind=Kind.TABLE,
            width=12,
        ),
        Panel(
            "Versions",
            "Which sidecar runs which version.",
            (Query("sidecar_build_info", "{{instance}}"),),
            kind=Kind.TABLE,
            width=12,
        ),
        Panel(
            "Configuration taken up",
            "Seconds since the configuration was taken up, by sidecar: after a change all lines "
            "fall together.",
            (
                Query(
                    "time() - sidecar_config_last_reload_success_timestamp_seconds", "{{instance}}"
                ),
            ),
            Unit.SECONDS,
        ),
        Panel(
            "Restart required",
            "Sidecars of which changed configuration waits for a restart.",
            (Query("sidecar_restart_required", "{{instance}}"),),
            Unit.YES,
            limits=Limits(1, 1),
        ),
        Panel(
            "Time since the start",
            "A line that falls to zero is a restart.",
            (Query("time() - process_start_time_seconds", "{{instance}}"),),
            Unit.SECONDS,
        ),
    ),
)

_BUNDLES = Row(
    "Signed bundles",
    (
        Panel(
            "Bundle in force",
            "The number of the bundle by which a sidecar judges: one line, once a turn is over.",
            (Query("sidecar_policy_bundle_sequence", "{{instance}}", must_have_data=False),),
        ),
        Panel(
            "Waits for the named bundle",
            "Sidecars that do not judge by the bundle that the store names.",
            (Query("sidecar_policy_bundle_waits", "{{instance}}", must_have_data=False),),
            Unit.YES,
            limits=Limits(1, 1),
        ),
        Panel(
            "Bundles refused",
            "Bundles that were named and refused within an hour, by what is wrong.",
            (
                Query(
                    "sum by (flaw) (increase(sidecar_policy_bundles_refused_total[1h]))",
                    "{{flaw}}",
                    must_have_data=False,
                ),
            ),
            limits=Limits(1, 1),
        ),
        Panel(
            "Bundle at hand",
            "The number of the bundle that is fetched and verified before it is activated; 0: none "
            "is newer than what is in force.",
            (
                Query(
                    "sidecar_policy_bundle_at_hand_sequence", "{{instance}}", must_have_data=False
                ),
            ),
        ),
        Panel(
            "Looks at what is published",
            "Within an hour, by outcome.",
            (
                Query(
                    "sum by (outcome) (increase(sidecar_policy_bundle_polls_total[1h]))",
                    "{{outcome}}",
                    must_have_data=False,
                ),
            ),
            stacked=True,
        ),
        Panel(
            "Acts on policies",
            "Operators' activations and rollbacks within a day, by outcome.",
            (
                Query(
                    "sum by (act, outcome) (increase(sidecar_policy_acts_total[1d]))",
                    "{{act}} {{outcome}}",
                    must_have_data=False,
                ),
            ),
        ),
    ),
)

_WORK = Row(
    "Shared work",
    (
        Panel(
            "Re-score of all sessions",
            "Sessions done and expected, in the latest re-score after a change of policies or "
            "databases, by any sidecar.",
            (
                Query("max(sidecar_rescore_sessions_done)", "done"),
                Query("max(sidecar_rescore_sessions_expected)", "expected"),
            ),
        ),
        Panel(
            "Events that touch very many",
            "Sessions done and found so far, of events that concern very many sessions.",
            (
                Query("max(sidecar_fan_out_sessions_done)", "done"),
                Query("max(sidecar_fan_out_sessions_expected)", "found"),
            ),
        ),
        Panel(
            "Work log",
            "Events in the store whose marks may be neither logged nor counted yet.",
            (Query("max(sidecar_work_log_entries)", "entries"),),
            limits=Limits(100, 10000),
        ),
        Panel(
            "Work taken over",
            "Work that a sidecar took over from one that did not finish it, within an hour.",
            (Query(f"sum by ({BY}) (increase(sidecar_work_claimed_total[1h]))", "{{instance}}"),),
            limits=Limits(1, 1000),
        ),
        Panel(
            "Facts set aside",
            "Facts that cannot be read, within an hour, by reason.",
            (Query("sum by (reason) (increase(sidecar_facts_set_aside_total[1h]))", "{{reason}}"),),
            limits=Limits(1, 1),
        ),
        Panel(
            "Operations of the store",
            "Operations each second, by operation, of all sidecars together.",
            (
                Query(
                    f"sum by (operation) (rate(sidecar_store_seconds_count[{RATE}]))",
                    "{{operation}}",
                ),
            ),
            Unit.PER_SECOND,
            stacked=True,
        ),
    ),
)

_VIEW = Row(
    "Views",
    (
        Panel(
            "Sessions by sidecar",
            "Live sessions that a sidecar serves.",
            (Query("sidecar_sessions", "{{instance}}"),),
            stacked=True,
        ),
        Panel(
            "How full views are",
            "Sessions in a sidecar's view, of the most that it holds.",
            (Query("sidecar_view_sessions / sidecar_view_limit", "{{instance}}"),),
            Unit.SHARE,
            limits=Limits(0.8, 1),
        ),
        Panel(
            "Put out of views",
            "Sessions that made room for others, each second; they are read again when they come.",
            (Query(f"sum(rate(sidecar_view_evictions_total[{RATE}]))", "sessions"),),
            Unit.PER_SECOND,
        ),
    ),
)

FLEET = Dashboard(
    "stepup-sidecar-fleet",
    "stepup-sidecar / Fleet",
    "Which sidecar runs what, and the work that sidecars share.",
    (_WHO, _BUNDLES, _WORK, _VIEW),
)
