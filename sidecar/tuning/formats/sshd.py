"""OpenSSH's log (`auth.log`, `secure`, the journal): sign-ins that it accepted.

A line's time is ISO 8601, or syslog's `Dec 10 06:55:46`, which has neither year nor time zone: it
is taken for UTC, and for the latest year in which it does not lie after the file's own time.
A line of `sshd` is a session of its own: nothing in the log says what was done in it.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime

from sidecar.tuning.formats.foreign_records import FAILED, LeftOut, Ours, sign_in

_LINE = re.compile(
    r"(?:<\d{1,3}>)?(?P<time>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d|\d{4}-\d\d-\d\dT\S+)\s+"
    r"(?P<host>\S+)\s+(?P<program>[^\s\[:]+)(?: [\d.]+)?(?:\[(?P<pid>\d+)\])?:\s(?P<message>.*)"
)
_ACCEPTED = re.compile(
    r"Accepted (?P<method>\S+) for (?P<user>.+?) from (?P<ip>\S+) port \d+(?: ssh\d)?(?P<key>.*)"
)
_FAILED = re.compile(
    r"Failed |Invalid user |.*[Aa]uthentication failure|error: maximum authentication"
)
_PROGRAMS = frozenset({"sshd", "sshd-session", "sshd-auth"})
_METHODS = {
    "password": ("pwd",),
    "publickey": ("swk",),
    "keyboard-interactive/pam": ("pwd",),
    "gssapi-with-mic": ("wia",),
}
_HARDWARE = re.compile(r"-SK\b|\bsk-", re.IGNORECASE)
_DAY = 86_400


def is_one(line: str) -> bool:
    """Return whether this is a line of it."""
    found = _LINE.fullmatch(line.rstrip("\r\n"))
    return found is not None and _program(found) in _PROGRAMS


def _program(found: re.Match[str]) -> str:
    return found["program"].partition("(")[0]  # older systems: `sshd(pam_unix)[123]`


def read(line: str, latest: float) -> Sequence[Ours] | LeftOut:
    """Return the occurrences in one line; none of its times lies after `latest` (seconds).

    Raises ValueError for what is no line of a log.
    """
    found = _LINE.fullmatch(line.rstrip("\r\n"))
    if found is None:
        raise ValueError("is no line of a system log: TIME HOST sshd[PID]: MESSAGE")
    if _program(found) not in _PROGRAMS:
        return LeftOut("another program than sshd wrote it")
    message = found["message"]
    accepted = _ACCEPTED.match(message)
    if accepted is None:
        return LeftOut(FAILED if _FAILED.match(message) else "it is about no sign-in")
    method = accepted["method"]
    amr = ("hwk", "user") if _HARDWARE.search(accepted["key"]) else _METHODS.get(method, ("user",))
    time = _time(found["time"], latest)
    signed_in = sign_in(
        time=time,
        record_id=None,
        user=accepted["user"],
        session=f"{found['host']}/{found['pid'] or '-'}@{time}",
        ip=accepted["ip"],
        amr=amr,
    )
    return [Ours(signed_in)]


def _time(text: str, latest: float) -> object:
    if text[0].isdigit():
        return text
    year = datetime.fromtimestamp(latest + _DAY, UTC).year
    for one in range(year, year - 5, -1):  # the 29th of February is not in every year
        try:
            moment = datetime.strptime(f"{one} {text}", "%Y %b %d %H:%M:%S").replace(tzinfo=UTC)
        except ValueError:
            continue
        if moment.timestamp() <= latest + _DAY:
            return moment.isoformat().replace("+00:00", "Z")
    raise ValueError(f"time: {text!r} is no day of any year")
