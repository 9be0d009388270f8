"""Writes the generated parts of docs/alerts.md and of the runbook pages."""

from collections.abc import Iterator

from tools.observability.alert import Alert
from tools.observability.rules import ALERTS, GROUPS

BEGIN, END = "<!-- alerts: begin -->\n", "<!-- alerts: end -->\n"


def table() -> Iterator[str]:
    """Yield the lines of the table of alerts, by group."""
    for group in GROUPS:
        yield f"### {group.name.removeprefix('stepup-sidecar.').capitalize()}\n"
        yield "| alert | severity | after | what is wrong, and what to do first |"
        yield "| --- | --- | --- | --- |"
        for alert in group.alerts:
            link = f"[`{alert.name}`](runbooks/{alert.page})"
            yield f"| {link} | {alert.severity} | {alert.wait} | {alert.description} |"
        yield ""


def with_table(page: str) -> str:
    """Return the page of alerts with its table."""
    return _between(page, "\n".join(["", *table()]))


def with_rule(page: str, name: str) -> str:
    """Return a runbook page with what the rules say of its alert."""
    return _between(page, "\n".join(["", *_rules([a for a in ALERTS if a.name == name]), ""]))


def _rules(alerts: list[Alert]) -> Iterator[str]:
    for alert in alerts:
        after = "at once" if alert.wait == "0m" else f"after {alert.wait}"
        yield f"Severity `{alert.severity}`, {after}:\n"
        yield f"```promql\n{alert.expr}\n```\n"
    yield alerts[0].description


def _between(page: str, content: str) -> str:
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    return f"{before}{begin}{content}\n{end}{after}"
