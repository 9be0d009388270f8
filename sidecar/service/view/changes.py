"""The sessions that have changed since they were last looked at.

Whoever looks at what becomes of sessions need not go through all of them: nothing else has changed,
but for what time does, and that is foreseen (`domain.evaluation.next_change`).
"""

from collections.abc import Callable, Iterable, Iterator

import trio

from sidecar.service.view.live_session import Live


class Changes:
    """The changed sessions; `everything` gives all of them, where all are judged otherwise.

    `on_all` is called where all are, before `add_all` returns. What is published of a session is
    withdrawn before `add` returns.
    """

    def __init__(self, everything: Callable[[], Iterable[Live]]) -> None:
        self._everything = everything
        self._all = False
        self._some: dict[Live, None] = {}
        self._come = trio.Event()
        self.on_all: Callable[[], None] = lambda: None

    def __bool__(self) -> bool:
        return self._all or bool(self._some)

    def add(self, live: Live) -> None:
        """Note that a session has changed, has come or has gone."""
        live.withdraw()
        if not self._some:
            self._come.set()
        self._some[live] = None

    def add_all(self) -> None:
        """Note that all sessions may stand otherwise."""
        self._all = True
        self._come.set()
        self.on_all()

    def take(self) -> Iterator[Live]:
        """Yield what has changed; what changes meanwhile is left for the next time."""
        some, self._some = self._some, {}
        if self._all:
            self._all = False
            some.update(dict.fromkeys(self._everything()))
        self._come = trio.Event()
        yield from some

    async def wait(self) -> None:
        """Wait until something has changed."""
        await self._come.wait()
