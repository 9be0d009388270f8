"""The fault matrix: what each outside part does to checks, probe, metric and log when it fails.

`tests.chaos.test_faults` holds a real daemon to it, and `python -m tests.chaos.faults` writes it
into `docs/faults.md`.
"""

from pathlib import Path
from typing import NamedTuple, TypeAlias

PAGE = Path(__file__).parents[2] / "docs" / "faults.md"
BEGIN, END = "<!-- faults: begin -->\n", "<!-- faults: end -->\n"


class Cell(NamedTuple):
    """What is seen of a fault from outside.

    `routine` and `sensitive` are what checks answer, `event` what becomes of an event that comes
    meanwhile. `/readyz` answers `ready`, and says `words` at `condition`; a `condition` that is
    empty stays well. `metric` is a series and its value, or `+` where it grows; `log` the event of
    a line that has `logged` in its detail.
    """

    part: str
    fault: str
    how: str
    routine: str
    sensitive: str
    event: str
    ready: int
    condition: str
    words: str
    metric: str
    value: str
    log: str
    logged: str
    note: str = ""


class Senseless(NamedTuple):
    """A cell that cannot come up, and why."""

    part: str
    fault: str
    why: str


Row: TypeAlias = Cell | Senseless

STORE, KEYS, GEOGRAPHY, POLICIES = "store", "issuer's keys", "geography", "policy file"
SPOOL, TRANSMITTER = "spool's disk", "transmitter's keys"
POLLED, PUSHED = "transmitter that is polled", "recipient that is pushed to"
FAULTS = ("slow", "gone", "refusing", "full", "lying")


class _Of(NamedTuple):
    """A fault of an HTTP server: how it comes, and what is said of it."""

    fault: str
    how: str
    words: str


_GONE = _Of("gone", "nobody listens there", "Connection refused")
_REFUSING = _Of("refusing", "every request gets a 503", "status 503")
_PAGE = "the answer is a page for people"
_KEY_SETS = (
    _Of("slow", "the answer does not come within `jwks_timeout`", "did not answer in time"),
    _GONE,
    _REFUSING,
    _Of("full", "the answer is larger than 1 MiB", "the answer is too large"),
    _Of("lying", _PAGE, "the key set is not a plain JSON object"),
)
_POLLS = (
    _Of("slow", "the answer does not come within `poll_timeout`", "it did not answer in time"),
    _GONE,
    _REFUSING,
    _Of("full", "the answer is larger than 16 MiB", "the answer is too large"),
    _Of("lying", _PAGE, "the answer is not what was expected"),
)
_PUSHES = (
    _Of("slow", "the answer does not come within `push.timeout`", "no answer in time"),
    _GONE,
    _REFUSING,
    _Of("full", "every push gets a 429", "status 429"),
    _Of("lying", "it answers that all is well elsewhere (302)", "status 302"),
)

_WELL = Cell("", "", "", "200", "200", "ok", 200, "", "", "", "+", "", "")
"""The checks go on, and so do events; what comes of the fault is counted."""


def _of_keys(of: _Of, part: str, issuer: str, condition: str, words: str) -> Cell:
    outcome = "refused" if of.fault == "lying" else "failed"
    return _WELL._replace(
        part=part,
        fault=of.fault,
        how=of.how,
        condition=condition,
        words=f"{words}{'' if of.fault == 'lying' else _where(of, 'jwks')}{of.words}",
        metric=f'sidecar_jwks_refreshes_total{{issuer="{issuer}",outcome="{outcome}"}}',
        log="keys-not-refreshed",
        logged=of.words,
    )


def _where(of: _Of, path: str) -> str:
    between = {"gone": "Error connecting to 127.0.0.1: ", "refusing": "the answer has "}
    return f"http://127.0.0.1/{path}: {between.get(of.fault, '')}"


def _held(of: _Of) -> Cell:
    words = "the keys of https://id.example cannot be renewed: "
    cell = _of_keys(of, KEYS, "0", "keys", words)
    note = "for `tokens.jwks_max_staleness`"
    return cell._replace(how=f"{of.how}; keys are held", note=note)


def _never_had(of: _Of) -> Cell:
    cell = _of_keys(of, KEYS, "1", "keys", "no keys of https://late.example: ")
    note = "calls with other issuers' tokens are answered; with no keys of any, `/readyz` is 503"
    how = f"{of.how}; keys were never had"
    return cell._replace(how=how, routine="503", sensitive="503", note=note)


def _of_transmitter(of: _Of) -> Cell:
    words = "no keys of transmitter late: "
    cell = _of_keys(of, TRANSMITTER, "transmitter idp", "transmitters", words)
    return cell._replace(event="202; 503 where keys were never had")


def _polled(of: _Of) -> Cell:
    return _WELL._replace(
        part=POLLED,
        fault=of.fault,
        how=of.how,
        condition="transmitters",
        words=f"nothing is fetched from transmitter hub: {_where(of, 'poll')}{of.words}",
        metric='sidecar_polls_total{outcome="failed",transmitter="hub"}',
        log="poll-failed",
        logged=of.words,
        note="what waits there comes later; at the sidecar that polls",
    )


def _pushed(of: _Of) -> Cell:
    return _WELL._replace(
        part=PUSHED,
        fault=of.fault,
        how=of.how,
        metric='sidecar_transmitted_events_total{event="session-revoked",outcome="retried"}',
        log="shared-signal-retried",
        logged=of.words,
        note="tried again until `push.give_up`; at the sidecar that delivers",
    )


_AWAY = Cell(
    STORE,
    "gone",
    "the server is killed",
    "200",
    "503",
    "ok, spooled",
    503,
    "store",
    "",
    "sidecar_store_up",
    "0",
    "store-down",
    "",
)
_STORE: tuple[Row, ...] = (
    _AWAY._replace(
        fault="slow",
        how="the server is stopped, its connections open: no answer within `store.timeout`",
        words="it did not answer in time",
        logged="it did not answer in time",
    ),
    _AWAY._replace(
        words="Connection refused",
        logged="Connection refused",
        note="or what `when_unknown` says",
    ),
    _AWAY._replace(
        fault="refusing",
        how="its user has no rights to channels any more",
        words="lacks the right &su:*",
        logged="lacks the right &su:*",
        note="[rights](store.md)",
    ),
    _AWAY._replace(
        fault="full",
        how="`maxmemory` is reached under `noeviction`",
        words="used memory > 'maxmemory'",
        logged="used memory > 'maxmemory'",
    ),
    _AWAY._replace(
        fault="lying",
        how="it has forgotten all that it acknowledged, under the live link (FLUSHALL)",
        sensitive="200",
        event="ok",
        ready=200,
        condition="",
        metric="sidecar_store_losses_total",
        value="+",
        log="store-lost",
        note="of sessions that a sidecar holds, and writes back; others must sign in anew",
    ),
)

_FILE = Cell(
    POLICIES,
    "gone",
    "the only file is removed",
    "200",
    "200; 401 in the restricted segment, as before",
    "ok",
    200,
    "policies",
    "the changed configuration is refused",
    "sidecar_config_last_reload_successful",
    "0",
    "reload-refused",
    "",
    "what was in force stays so",
)
_FILES: tuple[Row, ...] = (
    Senseless(POLICIES, "slow", "read at the start and after a change, beside the event loop"),
    _FILE._replace(logged="policies"),
    _FILE._replace(fault="refusing", how="a link that leads nowhere", logged="policies"),
    Senseless(POLICIES, "full", "it is only read"),
    _FILE._replace(fault="lying", how="what it says is no policy", logged="policies"),
)
_DATABASE = _FILE._replace(
    part=GEOGRAPHY,
    condition="geography",
    words="the changed database is refused",
    sensitive="200",
    metric='sidecar_reloads_total{outcome="refused",what="geography city"}',
    value="+",
    how="the file is removed",
    logged="",
    note="addresses are looked up in the old one",
)
_DATABASES: tuple[Row, ...] = (
    Senseless(GEOGRAPHY, "slow", "a database is read whole into memory, beside the event loop"),
    _DATABASE,
    _DATABASE._replace(fault="refusing", how="it is a directory, which no one can read as a file"),
    Senseless(GEOGRAPHY, "full", "it is only read"),
    _DATABASE._replace(fault="lying", how="its content is not that of a database"),
)

_DISK = Cell(
    SPOOL,
    "gone",
    "the store is away, and the directory is removed",
    "200",
    "503",
    "unavailable",
    503,
    "spool",
    "the spool cannot be written: No such file or directory",
    'sidecar_spool_troubles_total{trouble="write"}',
    "+",
    "spool-trouble",
    "No such file or directory",
    "not acknowledged: the sender keeps it",
)
_DISKS: tuple[Row, ...] = (
    Senseless(SPOOL, "slow", "the sender of an event waits for the disk, and nobody else does"),
    _DISK,
    _DISK._replace(
        fault="refusing",
        how="the store is away, and no file may grow (as on a disk that is full)",
        words="the spool cannot be written: File too large",
        logged="File too large",
    ),
    _DISK._replace(
        fault="full",
        how="the store is away, and `spool.max_events` wait",
        event="overloaded",
        words="the spool is full",
        metric='sidecar_spool_troubles_total{trouble="full"}',
        logged="the spool is full",
        note="a tenth is kept free for revocations",
    ),
    _DISK._replace(
        fault="lying",
        how="what was written is other content when the store is back",
        sensitive="200",
        event="ok",
        ready=200,
        words="is damaged",
        metric='sidecar_spool_troubles_total{trouble="damaged"}',
        logged="is damaged",
        note="what can be read is handed in; the file is set aside as `.damaged`",
    ),
)

MATRIX: tuple[Row, ...] = (
    *_STORE,
    *map(_held, _KEY_SETS),
    *map(_never_had, _KEY_SETS),
    *_DATABASES,
    *_FILES,
    *_DISKS,
    *map(_of_transmitter, _KEY_SETS),
    *map(_polled, _POLLS),
    *map(_pushed, _PUSHES),
)


def cells(fault: str, *parts: str) -> tuple[Cell, ...]:
    """The cells of these parts with this fault."""
    return tuple(
        row for row in MATRIX if isinstance(row, Cell) and row.fault == fault and row.part in parts
    )


def table() -> str:
    """The matrix, for people."""
    head = ("part", "fault", "routine", "sensitive", "an event", "`/readyz`", "metric", "log")
    lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    for row in MATRIX:
        match row:
            case Senseless():
                lines.append(f"| {row.part} | {row.fault}: no case, {row.why} | | | | | | |")
            case Cell():
                ready = f"{row.ready}"
                if row.condition:
                    ready += f", `{row.condition}`: {row.words}" if row.words else ""
                value = "grows" if row.value == "+" else f"= {row.value}"
                note = f" ({row.note})" if row.note else ""
                parts = (
                    row.part,
                    f"{row.fault}: {row.how}",
                    row.routine,
                    f"{row.sensitive}{note}",
                    row.event,
                    ready,
                    f"`{row.metric}` {value}",
                    f"`{row.log}`",
                )
                lines.append(f"| {' | '.join(parts)} |")
    return "\n".join(lines)


def page() -> str:
    """The page, with the matrix in it."""
    text = PAGE.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    return f"{before}{begin}\n{table()}\n\n{end}{after}"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
