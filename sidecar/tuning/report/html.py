"""A replay's report as one HTML page: no script, nothing from elsewhere, light and dark."""

from collections.abc import Iterator

from sidecar.tuning.report.elements import Figures, escape, moment, name, table
from sidecar.tuning.report.report import SIGNATURES_UNKNOWN, Report
from sidecar.tuning.report.sections import comparison, policy_set

_STYLE = """\
:root{color-scheme:light dark;--ink:#1c2733;--soft:#5b6875;--paper:#fff;--line:#d8dee4;
--fill:#eef2f6;--a:#1f6feb;--b:#b3421f;--c:#1a7f4b}
@media(prefers-color-scheme:dark){:root{--ink:#e3e9ef;--soft:#9aa7b4;--paper:#12181f;
--line:#33404d;--fill:#1b242e;--a:#6aa8ff;--b:#ff9b73;--c:#63d297}}
body{font:16px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);margin:0}
main,header,nav{max-width:60rem;margin:0 auto;padding:0 1rem}
header{padding-top:1.5rem}h1{font-size:1.6rem;margin:0}h2{font-size:1.3rem;margin:2.5rem 0 .5rem;
border-bottom:1px solid var(--line)}h3{font-size:1.05rem;margin:1.75rem 0 .5rem}
nav ul{list-style:none;padding:0;display:flex;flex-wrap:wrap;gap:.25rem 1rem}a{color:var(--a)}
p{max-width:46rem}.soft,.none{color:var(--soft)}.scroll{overflow-x:auto}
table{border-collapse:collapse;font-size:.9rem;margin:.75rem 0}
caption{text-align:left;font-weight:600;padding:.25rem 0}
th,td{padding:.2rem .75rem .2rem 0;border-bottom:1px solid var(--line);text-align:left;
vertical-align:top}thead th{color:var(--soft);font-weight:500}tbody th{font-weight:500}
td.n,th.n{text-align:right}td.n{font-variant-numeric:tabular-nums;white-space:nowrap}
svg{width:100%;height:auto;max-width:56rem;display:block;margin:.5rem 0}
svg .label{font:11px system-ui,sans-serif;fill:var(--soft)}svg .grid{stroke:var(--line)}
svg .bar,svg .heat{fill:var(--a)}svg .now{stroke:var(--soft);stroke-dasharray:4 3}
svg .line{stroke-width:2;fill:none}svg .line.s0{stroke:var(--a)}svg .line.s1{stroke:var(--c)}
svg .line.s2{stroke:var(--b)}svg .point.s0{fill:var(--a)}svg .point.s1{fill:var(--c)}
svg .point.s2{fill:var(--b)}.keys{list-style:none;padding:0;display:flex;gap:1.25rem;
font-size:.85rem}.keys li::before{content:"";display:inline-block;width:.8em;height:.8em;
border-radius:50%;margin-right:.4em}.keys .s0::before{background:var(--a)}
.keys .s1::before{background:var(--c)}.keys .s2::before{background:var(--b)}
figure{margin:1rem 0}figcaption{font-weight:600;font-size:.9rem}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.15rem 1rem}dt{color:var(--soft)}
dd{margin:0}
"""

_REASONS = 12
"""Reasons that are shown at once."""


def render(report: Report) -> str:
    """The page. Its figures are the JSON's."""
    return "".join(_page(Figures(report)))


def _page(figures: Figures) -> Iterator[str]:
    yield '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width,initial-scale=1">'
    yield '<meta http-equiv="Content-Security-Policy" content="default-src '
    yield "'none'; style-src 'unsafe-inline'; img-src data:\">"
    yield f'<title>Replay of policies</title><link rel="icon" href="data:,"><style>{_STYLE}</style>'
    yield "</head><body><header><h1>Replay of policies</h1>"
    yield _summary(figures)
    yield _left_out(figures)
    yield '</header><nav aria-label="Contents"><ul>'
    sets = range(figures.count("sets"))
    comparisons = range(figures.count("comparisons"))
    for at in comparisons:
        yield f'<li><a href="#c{at}">Before and after{_number(at, comparisons)}</a></li>'
    for at in sets:
        name = escape(figures.at(f"sets.{at}.name"))
        yield f'<li><a href="#s{at}">{name}</a></li>'
    yield '<li><a href="#recording">The recording</a></li></ul></nav><main>'
    for at in comparisons:
        yield from comparison(figures, at)
    for at in sets:
        yield from policy_set(figures, at)
    yield from _recording(figures)
    yield "</main></body></html>\n"


def _number(at: int, among: range) -> str:
    return f" {at + 1}" if len(among) > 1 else ""


def _summary(figures: Figures) -> str:
    begins, ends = figures.at("recording.begins"), figures.at("recording.ends")
    when = "" if begins is None else f", from {moment(begins)} to {moment(ends)}"
    where = "calls that meet a mark" if figures.at("model.prompt_at") == "check" else "marks"
    answers = (
        f"answered after {figures.show('model.answer_after')} s"
        if figures.at("model.answers")
        else "never answered"
    )
    return (
        f"<p>{figures.counted('recording.occurrences', 'occurrence')}, of which "
        f"{figures.counted('recording.calls', 'call')}, in "
        f"{figures.counted('recording.sessions', 'session')} of "
        f"{figures.counted('recording.users', 'user')}{when}. Prompts are counted at "
        f"{where}, and are {answers}. Hours and days are those of "
        f"{escape(figures.at('model.timezone'))}.</p>"
    )


def _left_out(figures: Figures) -> str:
    """What was not replayed, and why: it stands before the figures, which it limits."""
    path = "recording.left_out"
    files, formats = figures.at("recording.files"), figures.at("recording.formats")
    read = ", ".join(
        f"{escape(file)} ({escape(kind)})" for file, kind in zip(files, formats, strict=False)
    )
    told = f"<p>{figures.counted('recording.records', 'line')} of {read}{_tokens(figures)}.</p>"
    if not figures.count(path):
        return told
    return told + table(
        "What was left out, and why",
        ("why", "lines", "first"),
        (
            name(figures.at(f"{path}.{at}.reason"))
            + figures.cell(f"{path}.{at}.records")
            + f"<td>{escape('; '.join(figures.at(f'{path}.{at}.first')))}</td>"
            for at in range(figures.count(path))
        ),
        shown=_REASONS,
    )


def _tokens(figures: Figures) -> str:
    if not figures.at("recording.tokens"):
        return ""
    signed = "each well signed" if figures.at("recording.verified") else SIGNATURES_UNKNOWN
    return f", of which {figures.counted('recording.tokens', 'whole token')}, {escape(signed)}"


def _recording(figures: Figures) -> Iterator[str]:
    yield '<section id="recording"><h2>The recording</h2><dl>'
    for what, path in (
        ("Lines that could not be read", "recording.bad"),
        ("Lines with nothing to replay", "recording.skipped"),
        ("Too late for the window", "recording.late"),
        ("Repeated", "recording.repeated"),
        ("Lines of a log that were passed over", "recording.passed_over"),
        ("Lines of a log that tell of marks", "recording.marked_lines"),
        ("Occurrences beside another of their line", "recording.beside"),
        ("Sessions that began without a user", "recording.ownerless_sessions"),
        ("Occurrences with a label", "recording.labelled"),
    ):
        yield f"<dt>{what}</dt><dd>{figures.show(path)}</dd>"
    yield "</dl>"
    marks = figures.at("recording.logged_marks")
    if marks:
        total = ", ".join(f"{escape(policy)} {count:,}" for policy, count in marks.items())
        yield f"<p>Marks that the daemon had logged: {total}.</p>"
    examples = figures.at("recording.examples")
    if examples:
        lines = "".join(f"<li><code>{escape(line)}</code></li>" for line in examples)
        yield f"<details><summary>Lines that could not be read</summary><ul>{lines}</ul></details>"
    yield "</section>"
