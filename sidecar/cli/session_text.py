"""One session for people: how it stands, why, what it has proven, and its timeline in sentences."""

import itertools
import shutil
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sidecar.cli.explanation_tree import points
from sidecar.cli.socket_options import plain
from sidecar.cli.tables import print_fields
from sidecar.domain.values.moments import to_second
from sidecar.domain.values.plural import counted

_KNOWN = (
    *("user", "issuer", "device", "apps", "assurance", "auth_time", "established"),
    *("ip", "country", "network", "prompts"),
)
_INDENT = 22
"""Letters of a moment and the two blanks after it."""

Record = Mapping[str, Any]


def print_session(detail: Record) -> None:
    """Print a session as the admin listener shows it."""
    summary = detail["summary"]
    score = f"score {summary.get('score', 0):g}, {summary.get('level', '')}".rstrip(", ")
    print(plain(f"{summary['session']}: {summary.get('standing', '')}, {score}"))
    print_fields({name: summary.get(name) for name in _KNOWN})
    _section("why it has this score", [*map(_term, detail.get("terms") or ())])
    _section("what policies ask of it", [*map(_mark, summary.get("marks") or ())])
    _section("what it was, and is", [*_changes(detail)])
    proven = [text for text in map(_circumstance, detail.get("proven") or ()) if text]
    _section("what it has proven", [", ".join(proven)] if proven else [])
    _section("timeline", [*_timeline(detail.get("timeline") or ())], indent=_INDENT)
    _section(
        "others have a session of this name",
        [
            f"{one.get('user')} ({one.get('issuer')}): {one.get('standing')}"
            for one in _others(detail)
        ],
    )


def _term(term: Record) -> str:
    given, weight = float(term.get("points", 0)), float(term.get("weight", 0))
    return points(given, str(term.get("name", "")), weight, float(term.get("half_life") or 0))


def _others(detail: Record) -> Sequence[Record]:
    return detail.get("others") or ()


def _section(name: str, lines: Sequence[str], indent: int = 2) -> None:
    """Print lines under a name; on a terminal wrapped to its width."""
    if not lines:
        return
    print(f"\n{name}")
    room = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    for line in map(plain, lines):
        if room <= indent + 20:
            print(f"  {line}")
        else:
            rest = " " * (2 + indent)
            wrapped = textwrap.wrap(line, room - 1, initial_indent="  ", subsequent_indent=rest)
            print("\n".join(wrapped))


def _mark(mark: Record) -> str:
    where = ", ".join(mark.get("contexts") or ()) or "all contexts"
    would = "(tried) " if mark.get("report_only") else ""
    text = f"{would}{mark.get('policy')} for {where}: {mark.get('text', '')}"
    if mark.get("met_until"):
        text += f"; met until {to_second(mark['met_until'])}"
    if mark.get("binds_from"):
        text += f"; it binds from {to_second(mark['binds_from'])}"
    return text


def _changes(detail: Record) -> Iterator[str]:
    """Yield what differs from the start of the session."""
    begun, now = detail.get("baseline") or {}, detail.get("circumstances") or {}
    for name in dict.fromkeys([*begun, *now]):
        before, after = begun.get(name) or "none", now.get(name) or "none"
        if before != after and "@" not in name:
            yield f"{_words(name)}: {before} at the start, {after} now"


def _circumstance(text: str) -> str:
    """Return a circumstance, `kind=value`, in words; empty for one that only the program needs."""
    name, _, value = text.partition("=")
    if value.startswith("unknown ("):
        return ""
    name, _, source = name.partition("@")
    said = f" (said by {source.strip('|')})" if source else ""
    return f"{_words(name)} {value or 'none'}{said}"


def _words(name: str) -> str:
    return name.replace("_", " ")


def _timeline(moments: Sequence[Record]) -> Iterator[str]:
    """Yield a line for each moment; one for all that say the same one after another."""
    for text, alike in itertools.groupby(moments, key=lambda moment: str(moment.get("text", ""))):
        first, *more = (to_second(float(moment.get("time", 0))) for moment in alike)
        again = f", and {counted(len(more), 'time')} more until {more[-1]}" if more else ""
        yield f"{first}  {text}{again}"
