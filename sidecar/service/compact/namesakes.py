"""Sessions by their identifier alone, which several users may have: most have it to themselves."""

from sidecar.service.view.live_session import Live


class Namesakes:
    """The sessions of a view, by identifier."""

    __slots__ = ("_by_session",)

    def __init__(self) -> None:
        self._by_session: dict[str, Live | tuple[Live, ...]] = {}

    def __contains__(self, session: str) -> bool:
        return session in self._by_session

    def of(self, session: str) -> tuple[Live, ...]:
        """Return all of this identifier, the first to come first."""
        found = self._by_session.get(session, ())
        return found if isinstance(found, tuple) else (found,)

    def add(self, live: Live) -> None:
        """Take up one that is not there."""
        self._put(live.session, (*self.of(live.session), live))

    def discard(self, live: Live) -> None:
        """Let go of one."""
        self._put(live.session, tuple(one for one in self.of(live.session) if one is not live))

    def _put(self, session: str, lives: tuple[Live, ...]) -> None:
        if lives:
            self._by_session[session] = lives[0] if len(lives) == 1 else lives
        else:
            self._by_session.pop(session, None)
