"""Whether what a sidecar publishes at one server of the store comes back to it.

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
    """What was sent of late and not heard yet."""

    def __init__(self) -> None:
        self._missed = 0
        self._since = math.inf

    def sent(self, now: float) -> None:
        """A sign was published."""
        self._missed += 1
        self._since = min(self._since, now)

    def heard(self) -> None:
        """One was heard, or nobody listens just now."""
        self._missed, self._since = 0, math.inf

    def silent_since(self, now: float) -> float:
        """Since when nothing is heard of what is sent; infinite: it is, as far as is known."""
        silent = self._missed > MISSED and now - self._since > PATIENCE
        return self._since if silent else math.inf
