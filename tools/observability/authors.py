"""The dashboard for authors of policies: what policies find, ask and cost."""

from tools.observability.panels import Dashboard, Kind, Limits, Panel, Query, Row, Unit

RATE = "$__rate_interval"
RANGE = "$__range"

_TRIGGERS = Row(
    "What policies find",
    (
        Panel(
            "Marks by policy and signal",
            "Marks set in the chosen time, by policy and the signal that brought them.",
            (
                Query(
                    "sort_desc(sum by (policy, signal) "
                    f'(increase(sidecar_marks_total{{state="enabled"}}[{RANGE}])))',
                    "{{policy}} {{signal}}",
                ),
            ),
            kind=Kind.TABLE,
            width=12,
            height=9,
        ),
        Panel(
            "Marks by policy",
            "Marks set each second, by policy. A step after a change of policy shows what the "
            "change costs.",
            (
                Query(
                    f'sum by (policy) (rate(sidecar_marks_total{{state="enabled"}}[{RATE}]))',
                    "{{policy}}",
                ),
            ),
            Unit.PER_SECOND,
            width=12,
            height=9,
            stacked=True,
        ),
        Panel(
            "Marked share of sessions",
            "Marks that bind, for each live session.",
            (Query("sum(sidecar_marks_active) / sum(sidecar_sessions)", "marks for each session"),),
            Unit.SHARE,
            limits=Limits(0.1, 0.3),
        ),
        Panel(
            "Sessions",
            "Live sessions that sidecars serve, and marks that bind them.",
            (
                Query("sum(sidecar_sessions)", "sessions"),
                Query("sum(sidecar_marks_active)", "marks"),
            ),
        ),
        Panel(
            "Sessions scored anew",
            "Live sessions that were scored anew each second, by cause.",
            (
                Query(
                    f"sum by (cause) (rate(sidecar_rescored_sessions_total[{RATE}]))", "{{cause}}"
                ),
            ),
            Unit.PER_SECOND,
            stacked=True,
        ),
    ),
)

_TRIAL = Row(
    "Report-only against enforced",
    (
        Panel(
            "Would-be marks of report-only policies",
            "Marks that report-only policies would have set in the chosen time.",
            (
                Query(
                    "sort_desc(sum by (policy, signal) "
                    f'(increase(sidecar_marks_total{{state="report-only"}}[{RANGE}])))',
                    "{{policy}} {{signal}}",
                    must_have_data=False,
                ),
            ),
            kind=Kind.TABLE,
            width=12,
        ),
        Panel(
            "What answers would have been",
            "Checks of which a report-only policy asked something, in the chosen time: what the "
            "answer would have been, and what it was.",
            (
                Query(
                    "sort_desc(sum by (policy, decision, answered) "
                    f"(increase(sidecar_report_only_total[{RANGE}])))",
                    "{{policy}}: {{decision}} in place of {{answered}}",
                    must_have_data=False,
                ),
            ),
            kind=Kind.TABLE,
            width=12,
        ),
        Panel(
            "Enforced and report-only",
            "Marks each second of policies that are enforced, and of those that only report.",
            (Query(f"sum by (state) (rate(sidecar_marks_total[{RATE}]))", "{{state}}"),),
            Unit.PER_SECOND,
            width=24,
        ),
    ),
)

_PROMPTS = Row(
    "Prompts and friction",
    (
        Panel(
            "Challenges",
            "Checks that were answered with a challenge, each second, by context.",
            (
                Query(
                    f'sum by (context) (rate(sidecar_checks_total{{decision="step_up"}}[{RATE}]))',
                    "{{context}}",
                ),
            ),
            Unit.PER_SECOND,
            stacked=True,
        ),
        Panel(
            "Challenged share of checks",
            "Of all checks those that were challenged or denied.",
            (
                Query(
                    f'sum(rate(sidecar_checks_total{{decision="step_up"}}[{RATE}])) / '
                    f"sum(rate(sidecar_checks_total[{RATE}]))",
                    "challenged",
                ),
                Query(
                    f'sum(rate(sidecar_checks_total{{decision="deny"}}[{RATE}])) / '
                    f"sum(rate(sidecar_checks_total[{RATE}]))",
                    "denied",
                ),
            ),
            Unit.SHARE,
            limits=Limits(0.05, 0.2),
        ),
        Panel(
            "Users over their prompt budget",
            "Users who were asked more often than friction.prompts allows, within an hour; nothing "
            "where no budget is set.",
            (
                Query(
                    "sum(increase(sidecar_prompt_budget_exceeded_total[1h]))",
                    "users",
                    must_have_data=False,
                ),
            ),
            limits=Limits(1, 10),
        ),
        Panel(
            "Clears by reason",
            "Marks that bind no longer, by reason: `proof` is a step-up, `withdrawn` a cause that "
            "went away, `expired` a session that ended with its mark.",
            (Query(f"sum by (reason) (rate(sidecar_marks_cleared_total[{RATE}]))", "{{reason}}"),),
            Unit.PER_SECOND,
            stacked=True,
        ),
        Panel(
            "Share of marks that were proven",
            "Of the marks that ended, those that a stronger sign-in ended. A low share: users give "
            "up, or causes go away by themselves.",
            (
                Query(
                    f'sum(increase(sidecar_marks_cleared_total{{reason="proof"}}[{RANGE}])) / '
                    f"sum(increase(sidecar_marks_cleared_total[{RANGE}]))",
                    "proven",
                ),
            ),
            Unit.SHARE,
        ),
        Panel(
            "Sessions revoked and emergency accounts",
            "Revoked sessions, and checks of emergency accounts, within an hour.",
            (
                Query("sum(increase(sidecar_sessions_revoked_total[1h]))", "revoked"),
                Query(
                    "sum(increase(sidecar_break_glass_checks_total[1h]))",
                    "emergency accounts",
                    must_have_data=False,
                ),
            ),
        ),
    ),
)

_SIGNALS = Row(
    "Signals",
    (
        Panel(
            "Events by type",
            "Events each second, by type.",
            (Query(f"sum by (type) (rate(sidecar_events_total[{RATE}]))", "{{type}}"),),
            Unit.PER_SECOND,
            width=12,
            stacked=True,
        ),
        Panel(
            "What tokens lack",
            "Verified tokens that lack a claim that is needed, within an hour, by issuer (its "
            "position in tokens.issuers) and claim.",
            (
                Query(
                    "sum by (issuer, claim) (increase(sidecar_token_claims_missing_total[1h]))",
                    "{{issuer}} {{claim}}",
                ),
            ),
            width=12,
            limits=Limits(1, 100),
        ),
    ),
)

AUTHORS = Dashboard(
    "stepup-sidecar-policies",
    "stepup-sidecar / Policies",
    "What policies find, ask and cost: marks, report-only policies, prompts, clears.",
    (_TRIGGERS, _TRIAL, _PROMPTS, _SIGNALS),
)
