"""Sessions by their identifier alone, which several users may have: most have it to themselves."""

from sidecar.service.view.live_session import Live


class Namesakes:
    """The sessions of a view, by identifier."""

    __slots__ = ("_by_session",)

    def __init__(self) -> None:
        self._by_session: dict[str, tuple[Live, ...]] = {}

    def __contains__(self, session: str) -> bool:
        return session in self._by_session

    def of(self, session: str) -> tuple[Live, ...]:
        """Return all of this identifier, the first to come first."""
        return self._by_session.get(session, ())

    def add(self, live: Live) -> None:
        """Take up one that is not there."""
        self._by_session[live.session] = (*self.of(live.session), live)

    def discard(self, live: Live) -> None:
        """Let go of one."""
        left = tuple(one for one in self.of(live.session) if one is not live)
        if left:
            self._by_session[live.session] = left
        else:
            self._by_session.pop(live.session, None)
