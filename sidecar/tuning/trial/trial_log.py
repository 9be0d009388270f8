"""Reader of the daemon's log for report-only policies: its JSON lines, read again.

Lines that say something else are passed over, as are lines of other programs: logs are mixed.
"""

from typing import NamedTuple, TypeAlias

import msgspec

from sidecar.tuning.formats.times import moment

WOULD_MARK = "session-would-be-marked"
WOULD_DECIDE = "would-have-decided"


class WouldMark(NamedTuple):
    """At `time` (seconds) a report-only policy would have marked a session, for a signal.

    One line may stand for `marks` of them: the log names the first sessions of an event, and counts
    the others.
    """

    time: float
    policy: str
    session: str
    subject: str
    signal: str
    marks: int = 1


class WouldDecide(NamedTuple):
    """At `time` a call was `answered`; with the policy it would have been answered `decision`."""

    time: float
    policy: str
    session: str
    subject: str
    answered: str
    decision: str


class Other(NamedTuple):
    """Any other line of the daemon's: it ran at `time`."""

    time: float


Logged: TypeAlias = WouldMark | WouldDecide | Other


class _Line(msgspec.Struct, rename={"more": "and"}):
    time: str
    level: str
    event: str
    policy: str = ""
    session: str = ""
    subject: str = ""
    signal: str = ""
    answered: str = ""
    decision: str = ""
    more: int = 0


_DECODER = msgspec.json.Decoder(_Line)


def read_logged(line: bytes) -> Logged | None:
    """Return what a line says; None where it is no line of the daemon's JSON log. Never raises."""
    try:
        line_read = _DECODER.decode(line)
        time = moment(line_read.time)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError, ValueError):
        return None
    who = (line_read.policy, line_read.session, line_read.subject)
    match line_read.event:
        case event if event == WOULD_MARK:
            return WouldMark(time, *who, line_read.signal, 1 + max(line_read.more, 0))
        case event if event == WOULD_DECIDE:
            return WouldDecide(time, *who, line_read.answered or "allow", line_read.decision)
        case _:
            return Other(time)
