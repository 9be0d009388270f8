"""The prompts of a user, as fields of the user's record: one for each session and moment.

Several policies that mark a session at the same moment are one prompt, and every sidecar that logs
it writes the same field. `alert:` fields name the window in which a budget was found exceeded.
"""

from collections.abc import Iterable, Mapping

from sidecar.domain.values.lattice import Record
from sidecar.domain.values.stamp import MICROSECONDS
from sidecar.wire.store.keys import SessionName

_PROMPT = b"prompt:"
_DIGITS = 16


def prompt_fields(name: SessionName, moments: Iterable[int]) -> Record:
    """Return the prompts of a session at these moments (microseconds)."""
    return {
        _PROMPT + f"{name.session}|{moment:0{_DIGITS}d}".encode(): f"{moment:0{_DIGITS}d}".encode()
        for moment in moments
    }


def prompts_since(record: Mapping[bytes, bytes], now: float, per: float) -> int:
    """Return how many prompts a user had in the `per` seconds before `now`."""
    begin = f"{max(0, int((now - per) * MICROSECONDS)):0{_DIGITS}d}".encode()
    return sum(1 for field, at in record.items() if field.startswith(_PROMPT) and at > begin)


def alert_field(now: float, per: float) -> bytes:
    """Return the field by which a sidecar claims to report an exceeded budget, once in a window."""
    return b"alert:" + str(int(now // per)).encode()
