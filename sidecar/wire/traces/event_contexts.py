"""The trace that an event has: known to whoever knows the event, so that nothing has to carry it.

The ids of an event's trace and of its first span are a digest of the event's key. A sidecar that
hears of an event, logs its mark or challenges a call for it, knows that key, and so the trace;
store and news are as they would be without traces. Which traces are recorded follows from their ids
as well: all sidecars with the same share record the same ones.
"""

import hashlib
from collections.abc import Iterator
from functools import lru_cache

from sidecar.domain.sources.origin import Origins
from sidecar.wire.store.event_keys import key_of_event
from sidecar.wire.traces.trace_context import TraceContext

REMEMBERED = 4096
_LOW = 1 << 64
_NO_EVENT = "@"


def is_in_share(trace: int, share: float) -> bool:
    """Return whether a trace is in a share of all, as OpenTelemetry's sampler by ids has it."""
    return trace % _LOW < round(share * _LOW)


class EventContexts:
    """The contexts of events of one installation, which has a `prefix` in its store."""

    def __init__(self, prefix: str) -> None:
        self._salt = hashlib.blake2b(prefix.encode(), digest_size=16).digest()
        self._digest_of = lru_cache(REMEMBERED)(self._digest)

    def of(self, key: str, share: float) -> TraceContext:
        """Return the context of the event's first span, by its key in all sources."""
        trace, span = self._digest_of(key)
        return TraceContext(trace, span, is_in_share(trace, share))

    def behind(self, origins: Origins, share: float) -> Iterator[TraceContext]:
        """Yield the contexts of the events that brought something about, where these are known."""
        for source, event in origins:
            if not event.startswith(_NO_EVENT):
                yield self.of(key_of_event(source, event), share)

    def _digest(self, key: str) -> tuple[int, int]:
        data = key.encode("utf-8", "surrogatepass")
        digest = hashlib.blake2b(data, digest_size=24, salt=self._salt).digest()
        return int.from_bytes(digest[:16]) or 1, int.from_bytes(digest[16:]) or 1
