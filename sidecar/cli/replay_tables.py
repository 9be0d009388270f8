"""A replay's report as text: what stands out. The whole of it is in the JSON and the HTML."""

import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from sidecar.cli.socket_options import plain
from sidecar.domain.values.durations import spelled
from sidecar.domain.values.moments import to_minute
from sidecar.domain.values.plural import counted, verb
from sidecar.tuning.report.report import (
    SIGNATURES_UNKNOWN,
    Comparison,
    Curve,
    Labels,
    Pair,
    PolicyFigures,
    Prompts,
    Recording,
    Report,
    SetFigures,
)

_BARS = " ▁▂▃▄▅▆▇█"
_FEW = 10
_NAMED = 3
"""Recordings that are named one by one."""
_SHORT = 14
"""Cells of so many letters never wrap."""
_WIDTH = 120
"""Of a report that goes to a file or a pipe."""
_FIGURE = re.compile(r"-|[-+]?[0-9.,]+%?")


def print_report(report: Report) -> None:
    """Print it."""
    console = Console()
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console = Console(width=_WIDTH)
    _recording(console, report.recording)
    asked = "calls that meet a mark" if report.model.prompt_at == "check" else "marks"
    after = spelled(report.model.answer_after)
    answers = f"answered after {after}" if report.model.answers else "ignored"
    console.print(f"Prompts are counted at {asked}, and are {answers}.\n", highlight=False)
    for figures in report.sets:
        _set(console, figures, report)
    for comparison in report.comparisons:
        _comparison(console, comparison)


def _recording(console: Console, recording: Recording) -> None:
    parts = [
        counted(recording.occurrences, "occurrence"),
        counted(recording.calls, "call"),
        counted(recording.sessions, "session"),
        counted(recording.users, "user"),
    ]
    line = ", ".join(parts)
    if recording.begins is not None and recording.ends is not None:
        line += f", from {to_minute(recording.begins)} to {to_minute(recording.ends)}"
    console.print(line, highlight=False)
    console.print(
        f"{counted(recording.records, 'line')} of {_files(recording)}",
        highlight=False,
        markup=False,
    )
    left_out = {
        "could not be read": recording.bad,
        "with nothing to replay": recording.skipped,
        "came too late for the window": recording.late,
        f"{verb(recording.repeated, 'was', 'were')} repeated": recording.repeated,
        f"of the log {verb(recording.passed_over, 'was', 'were')} passed over": (
            recording.passed_over
        ),
        "of the log about marks": recording.marked_lines,
    }
    for what, count in left_out.items():
        if count:
            console.print(f"{counted(count, 'line')} {what}", highlight=False)
    if recording.beside:
        beside = counted(recording.beside, "occurrence")
        console.print(f"{beside} beside another of the same line", highlight=False)
    if recording.tokens:
        signed = "each well signed" if recording.verified else SIGNATURES_UNKNOWN
        tokens = f"{counted(recording.tokens, 'whole token')}, {signed}"
        console.print(tokens, highlight=False, markup=False)
    if recording.left_out:
        _heading(console, "What was left out, and why")
    for one in recording.left_out:
        first = "; ".join(map(plain, one.first))
        more = "; ..." if one.records > len(one.first) else ""
        line = f"{one.records:>9,}  {plain(one.reason)} ({first}{more})"
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    if recording.ownerless_sessions:
        console.print(
            f"{counted(recording.ownerless_sessions, 'session')} began without a user",
            highlight=False,
        )


def _files(recording: Recording) -> str:
    """Return what was read, and what it was taken for; many files by their number."""
    if len(recording.files) <= _NAMED:
        pairs = zip(recording.files, recording.formats, strict=False)
        return ", ".join(f"{plain(file)} ({kind})" for file, kind in pairs)
    kinds = Counter(recording.formats)
    return ", ".join(f"{counted(count, 'file')} ({kind})" for kind, count in kinds.items())


def _set(console: Console, figures: SetFigures, report: Report) -> None:
    _heading(console, f"Policies of {plain(figures.name)}")
    _policies(console, figures.policies)
    if figures.never_fired:
        console.print(
            "Never fired: " + ", ".join(figures.never_fired), highlight=False, markup=False
        )
    _heading(console, "What set the marks")
    _rows(
        console,
        ("policy", "signal", "triggers"),
        ((t.policy, t.signal, t.triggers) for t in figures.triggers[: 2 * _FEW]),
    )
    _heading(console, "Prompts")
    _prompts(console, figures.prompts, report)
    if figures.worst_users:
        _rows(
            console,
            ("worst-hit user", "prompts", "days", "most on a day"),
            ((u.user, u.prompts, u.days, u.most) for u in figures.worst_users[:_FEW]),
        )
    if figures.flapping:
        _heading(console, f"Marked again within {spelled(report.model.flap_within)}")
        _rows(
            console,
            ("session", "user", "policy", "times"),
            ((f.session, f.user, f.policy, f.times) for f in figures.flapping[:_FEW]),
        )
    _pairs(console, figures.pairs)
    for curve in figures.curves:
        _curve(console, curve, labelled=figures.labels is not None)
    if figures.labels is not None:
        _attacks(console, figures.labels, figures.policies)
    console.print()


def _policies(console: Console, policies: Iterable[PolicyFigures]) -> None:
    _rows(
        console,
        ("policy", "state", "triggers", "sessions", "prompts", "refusals", "flaps"),
        ((p.id, p.state, p.triggers, p.sessions, p.prompts, p.refusals, p.flaps) for p in policies),
    )


def _attacks(console: Console, labels: Labels, policies: Iterable[PolicyFigures]) -> None:
    _heading(console, "Attacks")
    console.print(
        f"{labels.detected} of {labels.attacked} attacked sessions detected"
        f" ({_rate(labels.detection_rate)}); {labels.false_sessions} of"
        f" {labels.legitimate} legitimate ones asked or refused"
        f" ({_rate(labels.false_rate)}), by {counted(labels.false_prompts, 'prompt')}",
        highlight=False,
    )
    _rows(
        console,
        ("policy", "detected", "rate", "false sessions", "false rate"),
        (
            (p.id, p.detected, _rate(p.detection_rate), p.false_sessions, _rate(p.false_rate))
            for p in policies
        ),
    )


def _prompts(console: Console, prompts: Prompts, report: Report) -> None:
    budget = report.model.budget
    console.print(
        f"{counted(prompts.total, 'prompt')} to {counted(prompts.users, 'user')}; a user and day: "
        f"mean {prompts.mean:g}, p50 {prompts.p50}, p95 {prompts.p95}, most {prompts.most}\n"
        f"{prompts.repeated:,} within {spelled(report.model.repeat_within)} of the one before; "
        f"{counted(prompts.users_over_budget, 'user')} on {counted(prompts.over_budget, 'day')} "
        f"above {budget}; {counted(prompts.refusals, 'refusal')}",
        highlight=False,
    )
    console.print(f"by hour  {_bars(prompts.by_hour)}  0 to 23 ({report.model.timezone})")


def _bars(counts: Sequence[int]) -> str:
    most = max(counts, default=0) or 1
    return "".join(_BARS[-(-count * (len(_BARS) - 1) // most)] for count in counts)


def _pairs(console: Console, pairs: Iterable[Pair]) -> None:
    together = sorted((p for p in pairs if p.a != p.b and p.both), key=lambda p: -p.both)
    if not together:
        return
    _heading(console, "Policies that ask together")
    _rows(
        console,
        ("policy", "and", "both", "first only", "second only", "both: step-up", "both: deny"),
        ((p.a, p.b, p.both, p.a_only, p.b_only, p.step_up, p.deny) for p in together[:_FEW]),
    )


def _curve(console: Console, curve: Curve, *, labelled: bool) -> None:
    note = ", report-only: what it would have asked" if curve.report_only else ""
    _heading(console, f"{curve.policy}: {curve.kind}, now {curve.current}{note}")
    names = ["at", "prompts", "change", "refusals", "triggers"]
    if labelled:
        names += ["detection", "false"]
    _rows(
        console,
        names,
        (
            (
                f"{p.value:g}" if isinstance(p.value, float) else p.value,
                *(p.prompts, f"{p.change:+}", p.refusals, p.triggers),
                *((_rate(p.detection_rate), _rate(p.false_rate)) if labelled else ()),
            )
            for p in curve.points
        ),
    )


def _comparison(console: Console, comparison: Comparison) -> None:
    _heading(console, f"{plain(comparison.before)} -> {plain(comparison.after)}")
    rows = [
        *((d.figure, d.before, d.after, d.change) for d in comparison.figures),
        *((f"triggers of {d.figure}", d.before, d.after, d.change) for d in comparison.policies),
        *(
            (f"prompts of {u.user}", u.before, u.after, u.after - u.before)
            for u in comparison.users
        ),
    ]
    _rows(console, ("figure", "before", "after", "change"), rows)


def _heading(console: Console, text: str) -> None:
    console.print()
    console.print(Text(text, style="bold"))


def _rows(
    console: Console,
    names: Sequence[str],
    rows: Iterable[Sequence[str | float | None]],
) -> None:
    """Print a table; where the terminal is narrow, names wrap, and figures do not."""
    cells_of = [[_cell(value) for value in row] for row in rows]
    table = Table(box=None, pad_edge=False, header_style="dim")
    for at, name in enumerate(names):
        cells = [row[at] for row in cells_of]
        is_text = not all(map(_FIGURE.fullmatch, cells))
        table.add_column(
            name,
            justify="left" if is_text else "right",
            overflow="fold",
            no_wrap=max(map(len, cells), default=0) <= _SHORT,
        )
    for row in cells_of:
        table.add_row(*map(Text, row))
    console.print(table)


def _cell(value: str | float | None) -> str:
    if value is None:
        return "-"
    return (
        plain(value) if isinstance(value, str) else f"{value:,g}" if value % 1 else f"{value:,.0f}"
    )


def _rate(rate: float | None) -> str:
    return "-" if rate is None else f"{rate:.1%}"
