"""Imports libraries without what this daemon has no use for, or may never need.

httpx has a command, for which it imports click, rich and pygments where they are; structlog's
console renderer takes rich; redis takes OpenTelemetry. None of it is used by the daemon, and it is
hidden while those packages are imported. What a configuration may need is imported as usual, and
executed when it is first used (`later_modules`).
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from sidecar.adapters.process.later_modules import LaterModules

UNUSED = (
    "better_exceptions",
    "click",
    "greenlet",
    "opentelemetry",
    "pygments",
    "rich",
    "typing_extensions",
)

LATER = {
    # What the store's connections name of it, without the event loops.
    "asyncio": {
        "IncompleteReadError": "asyncio.exceptions",
        "Lock": "asyncio.locks",
        "StreamReader": "asyncio.streams",
        "iscoroutinefunction": "asyncio.coroutines",
    },
    "anyio": {},
    "cryptography.x509": {},
    "httpx": {},
    "importlib.metadata": {},
    "jwt": {},
    "maxminddb": {},
    "multiprocessing": {},
    "prometheus_client": {},
    "prometheus_client.exposition": {},
    "redis": {},
    "redis.asyncio": {},
    "ssl": {"SSLWantReadError": "_ssl", "SSLWantWriteError": "_ssl"},
    "structlog": {"make_filtering_bound_logger": "structlog._native"},
    "urllib.request": {},
    "watchfiles": {},
    "zoneinfo": {},
}
"""What is executed when it is first used, with what of it can be had without."""


@contextmanager
def without(*names: str) -> Iterator[None]:
    """Have imports of these fail, as if they were not installed, unless they are imported yet."""
    hidden = [name for name in names if name not in sys.modules]
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment]  # so Python marks what is not there
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


LaterModules(LATER).install()
with without(*UNUSED):
    import msgspec as _msgspec  # noqa: F401 - imported for its own sake
    import redis.client as _redis  # noqa: F401 - likewise
    import structlog._native as _structlog  # noqa: F401 - likewise
