"""Subject matching of announcements and streams (SSF 1.0, "Subject Matching").

A simple subject stands for the user, the session or the device that it names. Of a complex one
each member must match where both sides have it: what is not said matches everything.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from sidecar.domain.evaluation.announcement import Announcement
from sidecar.shared_signals.wire.outbound import issuer_of
from sidecar.wire.subjects.subject_ids import (
    Aliases,
    Complex,
    Email,
    IssuerSubject,
    Opaque,
    Simple,
    SubjectId,
)

_Key = tuple[str, str]
"""How something is named: a format, with the issuer where it has one, and the name."""

NO_ISSUERS: Mapping[str, str] = MappingProxyType({})


class StreamSubjects:
    """The subjects that were added to a stream, or removed from it."""

    def __init__(
        self,
        subjects: Iterable[SubjectId],
        subject_issuer: str,
        subject_issuers: Mapping[str, str] = NO_ISSUERS,
    ) -> None:
        self._issuer = subject_issuer
        self._issuers = subject_issuers
        self._simple: set[_Key] = set()
        self._complex: list[Complex] = []
        for subject in subjects:
            if isinstance(subject, Complex):
                self._complex.append(subject)
            else:
                self._simple |= _keys(subject)

    def match(self, announcement: Announcement) -> bool:
        """Return whether one of them matches whom the announcement is about."""
        session, device = announcement.session, announcement.device
        names = {*self._user(announcement), ("id", session)}
        if device:
            names.add(("id", device))
        return not names.isdisjoint(self._simple) or any(
            self._matches(subject, announcement) for subject in self._complex
        )

    def _user(self, announcement: Announcement) -> set[_Key]:
        """Return how a subject can name the user: of an issuer that is not known, as anybody's."""
        user = announcement.user
        issuer = issuer_of(announcement, self._issuer, self._issuers)
        return {
            ("id", user),
            (f"sub of {issuer}" if issuer else "sub", user),
            ("email", user.casefold()),
        }

    def _matches(self, subject: Complex, announcement: Announcement) -> bool:
        ours = {
            "user": self._user(announcement),
            "session": {("id", announcement.session)},
            "device": {("id", announcement.device)} if announcement.device else set(),
        }
        for name, member in subject.members:
            known = ours.get(name)
            if known and known.isdisjoint(_keys(member)):
                return False
        return True


def _keys(subject: Simple) -> set[_Key]:
    match subject:
        case Opaque(id=text):
            return {("id", text)}
        case IssuerSubject(iss=iss, sub=sub):
            return {("sub", sub), (f"sub of {iss}", sub)}
        case Email(email=email):
            return {("email", email.casefold())}
        case Aliases(identifiers=identifiers):
            return {key for one in identifiers for key in _keys(one)}
        case _:
            return set()
