"""What sessions take in the store, by kind of key, as the server itself counts it.

Usage: python -m benchmarks.engine.stored [SESSIONS] [browsers]

Each of SESSIONS (10,000) users makes one call, whose token is of one sign-in and sets no mark. With
`browsers` their names are UUIDs, and the calls have a browser's user agent.
"""

import sys
import tempfile
import uuid
from collections import Counter
from pathlib import Path

import redis

from benchmarks.engine.events import quiet
from benchmarks.engine.stage import Sizes, Stage

OWN = ("session", "user", "index", "locator")
"""The kinds of keys that a session of one sign-in needs."""

_KINDS = {
    (b"u", b"s"): "session",
    (b"u", b"f"): "user",
    (b"u", b"x"): "index",
    (b"s", b"l"): "locator",
    (b"u", b"h"): "history",
    (b"d", b"f"): "device",
    (b"d", b"x"): "index of devices",
}
_AT_ONCE = 1000


def by_kind(client: redis.Redis, sessions: int) -> dict[str, float]:
    """Return the bytes (MEMORY USAGE) of the keys of each kind, for each of so many sessions."""
    total: Counter[str] = Counter()
    keys: list[bytes] = list(client.scan_iter(b"su:{[uds]*", count=_AT_ONCE))
    for first in range(0, len(keys), _AT_ONCE):
        some = keys[first : first + _AT_ONCE]
        pipe = client.pipeline(transaction=False)
        for key in some:
            pipe.memory_usage(key, samples=0)
        for key, size in zip(some, pipe.execute(), strict=True):
            kind = _KINDS.get((key[4:5], key.rpartition(b"}:")[2][:1]))
            if kind is not None:
                total[kind] += size or 0
    return {kind: total[kind] / sessions for kind in _KINDS.values() if total[kind]}


def in_words(each: dict[str, float]) -> str:
    """Return bytes by kind in one line."""
    return ", ".join(f"{kind} {size:,.0f}" for kind, size in each.items())


BROWSER = (
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0"
    " Safari/537.36"
)


def _named(kind: str, n: int) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_DNS, f"{kind}-{n}"))


def _line(stage: Stage, n: int, *, browsers: bool) -> bytes:
    if not browsers:
        return stage.check(n)
    names = {"sub": _named("user", n), "sid": _named("session", n), "deviceid": _named("device", n)}
    return stage.check(n, stage.token(n, **names, amr=["pwd", "mfa"]), user_agent=BROWSER)


def main() -> None:
    """Have a daemon write sessions, and show what they take."""
    sessions = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    browsers = "browsers" in sys.argv[2:]
    with tempfile.TemporaryDirectory() as directory:
        stage = Stage(Path(directory), Sizes.of(quick=True), quick=True)
        with stage.daemons(1) as (client, (daemon,)):
            link = daemon.link()
            for first in range(0, sessions, 100):
                some = range(first, min(first + 100, sessions))
                link.sure(*(_line(stage, n, browsers=browsers) for n in some))
            link.close()
            quiet(daemon)
            each = by_kind(client, sessions)
    own = sum(each[kind] for kind in OWN)
    print(f"{sessions:,} sessions: {own:,.0f} B each, of these " + in_words(each))


if __name__ == "__main__":
    main()
