"""A check that what a sidecar publishes at one server of the store comes back to it.

Behind an address that leads to one server and then to another, each call succeeds, each channel is
acknowledged, and no news is ever heard.
"""

import math

MISSED, PATIENCE = 5, 7.0
"""So many signs, and seconds, go unheard before that counts.

News may be late, and where slots of a Cluster move, their channels are followed some seconds later.
"""

UNHEARD = (
    "what is published at the store is not heard from it: store.url must lead to one server, also"
    " through proxies"
)


class Echo:
    """The signs that were sent of late and not heard yet."""

    def __init__(self) -> None:
        self._missed = 0
        self._since = math.inf

    def sent(self, now: float) -> None:
        """Count a sign that was published."""
        self._missed += 1
        self._since = min(self._since, now)

    def heard(self) -> None:
        """Forget what was sent: a sign was heard, or nobody listens just now."""
        self._missed, self._since = 0, math.inf

    @property
    def is_waiting(self) -> bool:
        """Return whether more than one sign was sent, and none of them was heard."""
        return self._missed > 1

    def silent_since(self, now: float) -> float:
        """Return since when nothing of what is sent is heard; infinite where all of it is."""
        silent = self._missed > MISSED and now - self._since > PATIENCE
        return self._since if silent else math.inf
