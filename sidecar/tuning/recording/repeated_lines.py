"""Reads lines that say again what others said, of the same session or another, at another time.

Nearly all lines of a recording are sessions that are seen. What one says beside its time and its id
is read once, by the plain reader (`occurrences`), and known again by its bytes: the plain reader is
the truth, and whatever is not written in the plainest way is left to it.

Whom a line names is known without reading the rest (`subject_in`).
"""

from typing import Annotated, Literal, NamedTuple

import msgspec

from sidecar.domain.facts.signal import SessionPresented, Subject
from sidecar.domain.values import stamp
from sidecar.domain.values.stamp import Stamp
from sidecar.tuning.formats.times import moment
from sidecar.tuning.recording.occurrences import Occurrence, RecordedCall
from sidecar.wire.events.events import subject_of
from sidecar.wire.events.kinds import EVENTS, MAX_EVENT_ID
from sidecar.wire.events.members import InvalidSignal

KNOWN = 16384
"""So much is known again; beyond that, it is read anew."""

_TOUCHES = EVENTS[SessionPresented.kind].touches

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


class _Named(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    session: str = ""
    user: str = ""
    device: str = ""
    issuer: str = ""


class _Naming(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """An event in our own form, of which only the subject is read."""

    type: str
    subject: _Named
    time: msgspec.Raw = _ABSENT
    id: msgspec.Raw = _ABSENT
    source: msgspec.Raw = _ABSENT
    data: msgspec.Raw = _ABSENT
    label: msgspec.Raw = _ABSENT
    context: msgspec.Raw = _ABSENT
    method: msgspec.Raw = _ABSENT
    path: msgspec.Raw = _ABSENT
    app: msgspec.Raw = _ABSENT
    place: msgspec.Raw = _ABSENT


_decode = msgspec.json.Decoder(_Line).decode
_decode_naming = msgspec.json.Decoder(_Naming).decode
_Said = tuple[bytes, ...]


class SaidAgain(NamedTuple):
    """A line that says of a subject, at a time, what `said` says of whomever it is of."""

    stamp: Stamp
    subject: Subject
    said: Occurrence

    @property
    def call(self) -> RecordedCall | None:
        """Return the call that it describes."""
        return self.said.call

    def occurrence(self) -> Occurrence:
        """Return what the plain reader reads in such a line."""
        said = self.said
        signal = said.signal
        return Occurrence(
            SessionPresented(
                stamp=self.stamp,
                subject=self.subject,
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


Recounted = Occurrence | SaidAgain
"""An occurrence, as it was read: in full, or as what another line said."""


class RepeatedLines:
    """Occurrences that lines have described, but for the time and the id."""

    def __init__(self) -> None:
        self._subjects: dict[bytes, Subject] = {}
        self._said: dict[_Said, Occurrence] = {}

    def read(self, line: bytes) -> SaidAgain | None:
        """Return what a line says; None where the plain reader has to read it."""
        found = _plain(line)
        if found is None:
            return None
        said = self._said.get(_said_in(found))
        if said is None:
            return None
        raw = bytes(found.subject)
        subject = self._subjects.get(raw)
        if subject is None:
            try:
                subject = subject_of(msgspec.json.decode(raw), _TOUCHES)
            except InvalidSignal:
                return None
            self._know(raw, subject)
        return SaidAgain(stamp.at(moment(found.time), found.id), subject, said)

    def _know(self, raw: bytes, subject: Subject) -> None:
        if len(self._subjects) >= KNOWN:
            self._subjects.clear()
        self._subjects[raw] = subject

    def keep(self, line: bytes, occurrence: Occurrence) -> None:
        """Know again what the plain reader has read in a line."""
        found = _plain(line)
        if found is None or not isinstance(occurrence.signal, SessionPresented):
            return
        self._know(bytes(found.subject), occurrence.subject)
        if len(self._said) >= KNOWN:
            self._said.clear()
        self._said[_said_in(found)] = occurrence


def subject_in(line: bytes) -> Subject | None:
    """Return whom a line names, if it can be read; None where the plain reader has to look.

    In a line that cannot be read somebody may be named, too.
    """
    if not line.isascii() or b"\\" in line:
        return None
    try:
        found = _decode_naming(line)
    except msgspec.DecodeError:
        return None
    if found.type not in EVENTS:
        return None
    named = found.subject
    return Subject(named.user, named.device, named.session, named.issuer)


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
