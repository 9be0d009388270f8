"""Draws a frame of `sidecar top`: for a terminal in colours, elsewhere as plain text."""

from collections.abc import Iterator, Mapping
from datetime import timedelta

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from sidecar.cli.socket_options import plain
from sidecar.cli.top_frame import Frame
from sidecar.domain.values.moments import to_second

_GOOD = "good"
_STATES = {_GOOD: "green", "limping": "yellow"}
_VERDICTS = {"allow": "green", "step_up": "yellow", "deny": "red"}
NOTHING = "-"


def drawn(frame: Frame, trouble: str = "") -> RenderableType:
    """Return a frame; `trouble` says why it is an old one."""
    parts: list[RenderableType] = [_head(frame, trouble), Text(), _facts(frame)]
    bad = [one for one in frame.conditions if one.get("state") != _GOOD]
    if bad:
        parts += [Text(), Text("not as it should be", style="bold")]
        parts += [_condition(one) for one in bad]
    parts += [Text(), Text("latest marks", style="bold"), _marks(frame)]
    return Group(*parts)


def print_frame(frame: Frame, console: Console) -> None:
    """Print one frame."""
    console.print(drawn(frame))


def _head(frame: Frame, trouble: str) -> Text:
    head = Text("sidecar top", style="bold")
    head.append(f"  {plain(frame.url)}  {plain(frame.version)}  {to_second(frame.at)}", "dim")
    if trouble:
        head.append(f"\n{plain(trouble)}", "bold red")
    return head


def _facts(frame: Frame) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    for name, text in _rows(frame):
        table.add_row(name, text)
    return table


def _rows(frame: Frame) -> Iterator[tuple[str, Text]]:
    is_ready = frame.status == "ok"
    yield "ready", Text("yes" if is_ready else "no", "green" if is_ready else "bold red")
    yield "checks", _checks(frame)
    half, most = (NOTHING if one is None else _brief(one) for one in frame.check_seconds)
    yield "answered in", Text(f"{half} half of them, {most} 99 of 100")
    yield "events", Text(f"{frame.events:,.1f}/s  ({frame.events_total:,.0f} since the start)")
    yield (
        "marks",
        Text(
            f"{frame.marks:,.1f}/s  ({frame.marks_total:,.0f} since the start),"
            f" {frame.marks_active:,} bind now"
        ),
    )
    yield "sessions", Text(f"{frame.sessions:,}")
    yield "store", _store(frame)
    yield "policies", _policies(frame)
    yield "keys", Text(_ages({f"issuer {name}": age for name, age in frame.keys.items()}))
    yield "databases", Text(_ages(frame.databases))
    if frame.rescore.get("state") == "running":
        done, expected = frame.rescore.get("done", 0), frame.rescore.get("expected", 0)
        yield "re-score", Text(f"{done:,} of {expected:,} sessions", "yellow")


def _checks(frame: Frame) -> Text:
    text = Text(f"{sum(frame.checks.values()):,.1f}/s")
    for verdict, rate in frame.checks.items():
        if frame.checks_total.get(verdict):
            total = frame.checks_total[verdict]
            text.append(f"  {plain(verdict)} {rate:,.1f}/s ({total:,.0f})", _VERDICTS.get(verdict))
    return text


def _store(frame: Frame) -> Text:
    text = Text("up", "green") if frame.store_up else Text("down", "bold red")
    text.append(f", {frame.store_staleness:.1f} s behind", "default")
    if frame.spooled:
        text.append(f", {frame.spooled:,} events wait on disk", "yellow")
    if frame.dead_letters:
        text.append(f", {frame.dead_letters:,} dead letters", "yellow")
    return text


def _policies(frame: Frame) -> Text:
    text = Text(plain(frame.policy_set) or NOTHING)
    if frame.loaded_age is not None:
        text.append(f", read {_age(frame.loaded_age)} ago")
    if frame.reload_failed:
        text.append(", the newest files were refused: see the log", "bold red")
    if frame.restart_required:
        text.append(", some settings wait for a restart", "yellow")
    return text


def _ages(ages: Mapping[str, float]) -> str:
    return ", ".join(f"{plain(name)}: {_age(age)}" for name, age in ages.items()) or NOTHING


def _condition(one: Mapping[str, str]) -> Text:
    state = one.get("state", "")
    text = Text(f"  {plain(one.get('name', ''))}: ")
    text.append(plain(state), _STATES.get(state, "bold red"))
    return text.append(f"  {plain(one.get('reason', ''))}")


def _marks(frame: Frame) -> RenderableType:
    if not frame.latest_marks:
        return Text("  none", "dim")
    table = Table.grid(padding=(0, 2))
    for _ in range(4):
        table.add_column(no_wrap=True, overflow="ellipsis", max_width=32)
    table.add_column(overflow="ellipsis")
    for mark in frame.latest_marks:
        since = to_second(mark.since) if mark.since else "from the sign-in"
        words = (f"  {since}", plain(mark.user), plain(mark.session), plain(mark.policy))
        table.add_row(*map(Text, words), Text(plain(mark.reason)))
    return table


def _brief(seconds: float) -> str:
    return f"{seconds * 1000:.2f} ms" if seconds < 1 else f"{seconds:.1f} s"


def _age(seconds: float) -> str:
    """Return an age as one or two units."""
    whole = timedelta(seconds=max(0, round(seconds)))
    if whole.days:
        return f"{whole.days} d"
    minutes, rest = divmod(whole.seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min" if minutes else f"{rest} s"
