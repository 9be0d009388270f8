"""Reads lines that say again what others said, of the same session or another, at another time.

Nearly all lines of a recording are sessions that are seen. What one says beside its time and its id
is read once, by the plain reader (`occurrences`), and known again by its bytes: the plain reader is
the truth, and whatever is not written in the plainest way is left to it.
"""

from typing import Annotated, Literal

import msgspec

from sidecar.domain.facts.signal import SessionPresented, Subject
from sidecar.domain.values import stamp
from sidecar.tuning.formats.times import moment
from sidecar.tuning.recording.occurrences import Occurrence
from sidecar.wire.events.kinds import MAX_EVENT_ID

KNOWN = 16384
"""So much is known again; beyond that, it is read anew."""

_ABSENT = msgspec.Raw()


class _Line(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A session that was seen, and nothing that the time of the line says anything about."""

    type: Literal["session-presented"]
    time: float
    id: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_EVENT_ID)]
    subject: msgspec.Raw
    data: msgspec.Raw = _ABSENT
    label: msgspec.Raw = _ABSENT
    context: msgspec.Raw = _ABSENT
    method: msgspec.Raw = _ABSENT
    path: msgspec.Raw = _ABSENT
    app: msgspec.Raw = _ABSENT
    place: msgspec.Raw = _ABSENT


_decode = msgspec.json.Decoder(_Line).decode
_Said = tuple[bytes, ...]


class RepeatedLines:
    """Occurrences that lines have described, but for the time and the id."""

    def __init__(self) -> None:
        self._subjects: dict[bytes, Subject] = {}
        self._said: dict[_Said, Occurrence] = {}

    def read(self, line: bytes) -> Occurrence | None:
        """Return what a line says; None where the plain reader has to read it."""
        found = _plain(line)
        if found is None:
            return None
        subject = self._subjects.get(bytes(found.subject))
        said = self._said.get(_said_in(found))
        if subject is None or said is None:
            return None
        signal = said.signal
        at = stamp.at(moment(found.time), found.id)
        return Occurrence(
            SessionPresented(
                stamp=at,
                subject=subject,
                source=signal.source,
                ip=getattr(signal, "ip", ""),
                user_agent=getattr(signal, "user_agent", ""),
            ),
            True,
            said.call,
            said.app,
            said.authentication,
            said.claims,
            said.place,
            said.attack,
        )

    def keep(self, line: bytes, occurrence: Occurrence) -> None:
        """Know again what the plain reader has read in a line."""
        found = _plain(line)
        if found is None or not isinstance(occurrence.signal, SessionPresented):
            return
        for known in (self._subjects, self._said):
            if len(known) >= KNOWN:
                known.clear()
        self._subjects[bytes(found.subject)] = occurrence.signal.subject
        self._said[_said_in(found)] = occurrence


def _plain(line: bytes) -> _Line | None:
    """Return the parts of a line that is written plainly."""
    # Beyond ASCII, and after escapes, what is passed over here may be what the plain reader mends.
    if not line.isascii() or b"\\" in line:
        return None
    try:
        found = _decode(line)
        moment(found.time)
    except (msgspec.DecodeError, ValueError):
        return None
    return found if found.id.isprintable() else None


def _said_in(found: _Line) -> _Said:
    return (
        bytes(found.data),
        bytes(found.label),
        bytes(found.context),
        bytes(found.method),
        bytes(found.path),
        bytes(found.app),
        bytes(found.place),
    )
