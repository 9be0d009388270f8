"""The sections of a report's page: one for each policy set, one for each before and after."""

from collections.abc import Iterator, Sequence

from sidecar.tuning.report.elements import Figures, escape, name, table
from sidecar.tuning.report.svg import Plot, Series, bars, curves, heat

_HOURS = tuple(f"{hour:02}" for hour in range(24))
_SHOWN = 12
_MATRIX = 24
"""Policies that a matrix has at most: a wider one cannot be read."""


def policy_set(figures: Figures, at: int) -> Iterator[str]:
    """What one policy set did."""
    path = f"sets.{at}"
    yield f'<section id="s{at}"><h2>Policies of {escape(figures.at(f"{path}.name"))}</h2>'
    if figures.at(f"{path}.labels") is not None:
        yield _labels(figures, f"{path}.labels")
    yield _policies(figures, path)
    never = figures.at(f"{path}.never_fired")
    if never:
        yield f"<p>Never fired: {escape(', '.join(never))}.</p>"
    yield "<h3>What set the marks, and when</h3>"
    yield _triggers(figures, path)
    yield _hours(figures, path, at)
    yield "<h3>Prompts</h3>"
    yield from _prompts(figures, f"{path}.prompts", at)
    yield _listed(
        figures,
        f"{path}.worst_users",
        "Users who were asked most",
        ("user", "prompts", "days", "most"),
    )
    yield "<h3>Flapping</h3>"
    yield _listed(
        figures,
        f"{path}.flapping",
        "Sessions that one policy marked again soon",
        ("session", "user", "policy", "times"),
    )
    yield "<h3>How policies act together</h3>"
    yield _pairs(figures, path)
    for curve in range(figures.count(f"{path}.curves")):
        yield from _curve(figures, f"{path}.curves.{curve}", f"k{at}-{curve}")
    yield "</section>"


def comparison(figures: Figures, at: int) -> Iterator[str]:
    """Before and after."""
    path = f"comparisons.{at}"
    before, after = figures.at(f"{path}.before"), figures.at(f"{path}.after")
    yield f'<section id="c{at}"><h2>Before and after</h2>'
    yield f"<p>Before: {escape(before)}. After: {escape(after)}.</p>"
    for part, caption in (("figures", "Figures"), ("policies", "Triggers by policy")):
        yield table(
            caption,
            (part.removesuffix("s").replace("policie", "policy"), "before", "after", "change"),
            (
                name(figures.at(f"{row}.figure"))
                + "".join(figures.cell(f"{row}.{key}") for key in ("before", "after", "change"))
                for row in _rows(figures, f"{path}.{part}")
            ),
        )
    yield _listed(
        figures,
        f"{path}.users",
        "Users whose prompts change most",
        ("user", "before", "after"),
    )
    yield "</section>"


def _rows(figures: Figures, path: str) -> list[str]:
    return [f"{path}.{at}" for at in range(figures.count(path))]


def _listed(figures: Figures, path: str, caption: str, keys: Sequence[str]) -> str:
    return table(
        caption,
        keys,
        ("".join(figures.cell(f"{row}.{key}") for key in keys) for row in _rows(figures, path)),
        shown=_SHOWN,
    )


def _labels(figures: Figures, path: str) -> str:
    def show(key: str) -> str:
        return figures.show(f"{path}.{key}")

    return (
        f"<p>{show('detected')} of {show('attacked')} attacked sessions were detected "
        f"({show('detection_rate')}); {show('false_sessions')} of {show('legitimate')} legitimate "
        f"ones were asked or refused ({show('false_rate')}), by "
        f"{figures.counted(f'{path}.false_prompts', 'prompt')}."
        "</p>"
    )


def _policies(figures: Figures, path: str) -> str:
    keys = ["id", "state", "triggers", "sessions", "prompts", "refusals", "flaps"]
    if figures.at(f"{path}.labels") is not None:
        keys += ["detected", "detection_rate", "false_sessions", "false_rate"]
    return table(
        "Policies; prompts and refusals of report-only ones are what would have been",
        [key.replace("_", " ") for key in keys],
        (
            "".join(figures.cell(f"{row}.{key}") for key in keys)
            for row in _rows(figures, f"{path}.policies")
        ),
    )


def _triggers(figures: Figures, path: str) -> str:
    return _listed(
        figures,
        f"{path}.triggers",
        "Triggers by policy and signal",
        ("policy", "signal", "report_only", "triggers"),
    )


def _hours(figures: Figures, path: str, at: int) -> str:
    rows = [
        (
            figures.at(f"{row}.policy"),
            [f"{row}.triggers.{hour}" for hour in range(24)],
        )
        for row in _rows(figures, f"{path}.hours")
    ]
    if not rows:
        return ""
    plot = Plot(
        f"h{at}",
        "Triggers by policy and hour of day",
        "The stronger the colour, the more.",
    )
    return heat(figures, plot, rows, _HOURS)


def _prompts(figures: Figures, path: str, at: int) -> Iterator[str]:
    def show(key: str) -> str:
        return figures.show(f"{path}.{key}")

    def counted(key: str, noun: str) -> str:
        return figures.counted(f"{path}.{key}", noun)

    yield (
        f"<p>{counted('total', 'prompt')} to {counted('users', 'user')}, {show('answered')} "
        f"answered; {counted('refusals', 'refusal')}. On {counted('user_days', 'day')} of users "
        "there were "
        f"{show('mean')} on the mean, {show('p50')} in the middle (p50), {show('p95')} at p95, "
        f"{show('p99')} at p99, and {show('most')} at most. {show('repeated')} came within "
        f"{figures.show('model.repeat_within')} s of the one before. "
        f"{counted('users_over_budget', 'user')} had more than {figures.show('model.budget')} a "
        f"day, on {counted('over_budget', 'day')}."
        "</p>"
    )
    bins = _rows(figures, f"{path}.distribution")
    yield bars(
        figures,
        Plot(
            f"d{at}",
            "Prompts a user and day",
            "Bars: on how many days of users there were so many prompts.",
        ),
        [f"{row}.user_days" for row in bins],
        [f"{figures.at(f'{row}.prompts')}" for row in bins],
    )
    yield bars(
        figures,
        Plot(f"t{at}", "Prompts by hour of day", "Bars: prompts in each hour of the day."),
        [f"{path}.by_hour.{hour}" for hour in range(24)],
        _HOURS,
    )
    days = _rows(figures, f"{path}.by_day")
    yield bars(
        figures,
        Plot(f"y{at}", "Prompts by day", "Bars: prompts on each day."),
        [f"{row}.prompts" for row in days],
        [figures.at(f"{row}.day") for row in days],
    )


def _pairs(figures: Figures, path: str) -> str:
    rows = {
        (figures.at(f"{row}.a"), figures.at(f"{row}.b")): row
        for row in _rows(figures, f"{path}.pairs")
    }
    policies = list(dict.fromkeys(a for a, _ in rows))[:_MATRIX]
    numbers = {policy: str(at) for at, policy in enumerate(policies, 1)}

    def cells(a: str) -> Iterator[str]:
        yield name(f"{numbers[a]} {a}")
        for b in policies:
            row = rows.get((a, b)) or rows[b, a]
            told = "; ".join(
                f"{key.replace('_', ' ')}: {figures.text(f'{row}.{key}')}"
                for key in ("both", "a_only", "b_only", "step_up", "deny")
            )
            title = f"a: {figures.at(f'{row}.a')}; b: {figures.at(f'{row}.b')}; {told}"
            yield (
                f'<td class="n" title="{escape(title)}" {figures.attributes(f"{row}.both")}>'
                f"{figures.text(f'{row}.both')}</td>"
            )

    matrix = table(
        "Decisions in which both asked; on the diagonal, those in which the policy did",
        ["policy", *numbers.values()],
        ("".join(cells(a)) for a in policies),
    )
    keys = ("a", "b", "both", "a_only", "b_only", "step_up", "deny")
    together = [row for (a, b), row in rows.items() if a != b and figures.at(f"{row}.both")]
    return matrix + table(
        "What pairs decide",
        [key.replace("_", " ") for key in keys],
        ("".join(figures.cell(f"{row}.{key}") for key in keys) for row in together),
        shown=_SHOWN,
    )


def _curve(figures: Figures, path: str, ident: str) -> Iterator[str]:
    policy, kind = figures.at(f"{path}.policy"), figures.at(f"{path}.kind")
    rows = _rows(figures, f"{path}.points")
    along = [figures.at(f"{row}.value") for row in rows]
    current = [at for at, row in enumerate(rows) if figures.at(f"{row}.is_current")]
    labelled = any(figures.at(f"{row}.detected") is not None for row in rows)
    series = [Series("prompts", [f"{row}.prompts" for row in rows], is_rate=False)]
    if labelled:
        for label, key in (("detection", "detection_rate"), ("false", "false_rate")):
            series.append(Series(label, [f"{row}.{key}" for row in rows], is_rate=True))
    note = " (report-only: what it would have asked)" if figures.at(f"{path}.report_only") else ""
    yield f"<h3>{escape(policy)}: {escape(kind)}{note}</h3>"
    yield curves(
        figures,
        Plot(
            ident,
            f"Prompts over {kind} of {policy}",
            "A point for each threshold tried; the dashed line is the present one.",
        ),
        along,
        series,
        current[0] if current else -1,
    )
    keys = ["value", "prompts", "change", "refusals", "triggers"]
    if labelled:
        keys += ["detected", "detection_rate", "false_sessions", "false_rate"]
    yield table(
        f"{policy}: {kind}",
        [key.replace("_", " ") for key in keys],
        ("".join(figures.cell(f"{row}.{key}") for key in keys) for row in rows),
    )
