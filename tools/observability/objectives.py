"""The objectives of checks, their recording rules, and the alerts of budgets that burn too fast.

Two windows each, as in chapter 5 of The Site Reliability Workbook: the long one says that it
matters, the short one that it goes on.
"""

from tools.observability.alert import (
    CRITICAL,
    FLEET,
    WARNING,
    Alert,
    Count,
    Group,
    Planted,
    Recording,
)

WINDOWS = ("5m", "30m", "1h", "6h")
UNAVAILABLE = 0.001
"""The share of checks that may be answered with 503."""
SLOW = 0.01
"""The share of checks that may take longer than `BOUND`."""
BOUND = "0.05"
"""Seconds, as the bucket of the histogram is called."""


def _recordings() -> tuple[Recording, ...]:
    rules = []
    for window in WINDOWS:
        unavailable = f'rate(sidecar_checks_total{{decision="unavailable"}}[{window}])'
        rules.append(
            Recording(
                f"sidecar:checks_unavailable:ratio_rate{window}",
                f"sum by ({FLEET}) ({unavailable}) / "
                f"(sum by ({FLEET}) (rate(sidecar_checks_total[{window}])) > 0)",
            )
        )
        fast = f'rate(sidecar_check_seconds_bucket{{le="{BOUND}"}}[{window}])'
        rules.append(
            Recording(
                f"sidecar:checks_slow:ratio_rate{window}",
                f"1 - sum by ({FLEET}) ({fast}) / "
                f"(sum by ({FLEET}) (rate(sidecar_check_seconds_count[{window}])) > 0)",
            )
        )
    return tuple(rules)


def _burns(name: str, factor: float, budget: float, long: str, short: str) -> str:
    limit = f"{factor * budget:g}"
    return (
        f"sidecar:{name}:ratio_rate{long} > {limit} and sidecar:{name}:ratio_rate{short} > {limit}"
    )


_ERRORS: Planted = {
    'sidecar_checks_total{decision="allow",context="c1"}': Count(100, 50),
    'sidecar_checks_total{decision="unavailable",context="c1"}': Count(0, 50),
}
_SLOW: Planted = {
    "sidecar_check_seconds_count": Count(100, 100),
    f'sidecar_check_seconds_bucket{{le="{BOUND}"}}': Count(100, 50),
}
_FAST_WORDS = "At this pace the budget of a month is used up in two days."
_SLOW_WORDS = "At this pace the budget of a month is used up in five days."


def _alert(name: str, which: str, severity: str, planted: Planted) -> Alert:
    is_error = which == "checks_unavailable"
    budget = UNAVAILABLE if is_error else SLOW
    is_fast = severity == CRITICAL
    factor, long, short = (14.4, "1h", "5m") if is_fast else (6.0, "6h", "30m")
    what = (
        "Checks of {{ $labels.job }} are answered with 503"
        if is_error
        else "Checks of {{ $labels.job }} are slow"
    )
    first = (
        "See first whether the store and the issuers' keys are there."
        if is_error
        else "See first whether the store is slow, then whether containers are throttled."
    )
    target = (
        "Of a thousand checks 999 are to be decided."
        if is_error
        else "Of a hundred checks 99 are to be answered within 50 ms."
    )
    return Alert(
        name,
        _burns(which, factor, budget, long, short),
        "2m" if is_fast else "15m",
        severity,
        what,
        f"{target} {_FAST_WORDS if is_fast else _SLOW_WORDS} {first}",
        planted,
    )


OBJECTIVES = Group(
    "stepup-sidecar.objectives",
    (
        _alert("SidecarErrorBudgetBurns", "checks_unavailable", CRITICAL, _ERRORS),
        _alert("SidecarErrorBudgetBurns", "checks_unavailable", WARNING, _ERRORS),
        _alert("SidecarLatencyBudgetBurns", "checks_slow", CRITICAL, _SLOW),
        _alert("SidecarLatencyBudgetBurns", "checks_slow", WARNING, _SLOW),
    ),
    _recordings(),
)
