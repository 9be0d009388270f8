"""Which announcements a stream is about (SSF 1.0, "Subject Matching").

A simple subject stands for the user, the session or the device that it names. Of a complex one
each member must match where both sides have it: what is not said matches everything.
"""

from collections.abc import Iterable

from sidecar.domain.announcement import Announcement
from sidecar.wire.subject_ids import (
    Aliases,
    Complex,
    Email,
    IssuerSubject,
    Opaque,
    Simple,
    SubjectId,
)


class Subjects:
    """The subjects that were added to a stream, or removed from it."""

    def __init__(self, subjects: Iterable[SubjectId], subject_issuer: str) -> None:
        self._issuer = subject_issuer
        self._simple: set[tuple[str, str]] = set()
        self._complex: list[Complex] = []
        for subject in subjects:
            if isinstance(subject, Complex):
                self._complex.append(subject)
            else:
                self._simple |= _keys(subject, subject_issuer)

    def match(self, announcement: Announcement) -> bool:
        """Whether one of them matches whom the announcement is about."""
        user, session, device = announcement.user, announcement.session, announcement.device
        names = {("id", user), ("user", user), ("id", session), ("email", user.casefold())}
        if device:
            names.add(("id", device))
        return not names.isdisjoint(self._simple) or any(
            self._matches(subject, announcement) for subject in self._complex
        )

    def _matches(self, subject: Complex, announcement: Announcement) -> bool:
        user = announcement.user
        ours = {
            "user": {("id", user), ("user", user), ("email", user.casefold())},
            "session": {("id", announcement.session)},
            "device": {("id", announcement.device)} if announcement.device else set(),
        }
        for name, member in subject.members:
            known = ours.get(name)
            if known and known.isdisjoint(_keys(member, self._issuer)):
                return False
        return True


def _keys(subject: Simple, issuer: str) -> set[tuple[str, str]]:
    match subject:
        case Opaque(id=text):
            return {("id", text)}
        case IssuerSubject(iss=iss, sub=sub):
            return {("user", sub)} if not issuer or iss == issuer else set()
        case Email(email=email):
            return {("email", email.casefold())}
        case Aliases(identifiers=identifiers):
            return {key for one in identifiers for key in _keys(one, issuer)}
        case _:
            return set()
