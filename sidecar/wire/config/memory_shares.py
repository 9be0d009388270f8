"""Shares of the memory that a sidecar may take, by how much of it there is.

The costs are measured: `python -m benchmarks.memory`. They are of sessions on a device of their own
and of tokens without long lists; for what costs more, `service.view.memory_guard` looks at the
whole.
"""

from typing import NamedTuple

from sidecar.wire.settings.settings import Sessions, Settings, Tokens

EMPTY = 96 << 20
"""Bytes of a daemon without sessions, and of what it works with."""

SESSION = 8 << 10
TOKEN = 5 << 10
"""Bytes of one session in the view, and of one verified token.

Of many sessions each takes half of that, as all but the latest lie packed.
"""

USED = 0.85
"""Part of the limit that is planned with: memory is given back late, and in pieces."""

OF_SESSIONS = 0.75
"""Part of what is left that the view gets; the rest is for tokens."""

LEAST = 100


class Shares(NamedTuple):
    """Sessions and tokens that are kept, and what is amiss with that; empty: nothing."""

    sessions: int
    tokens: int
    trouble: str = ""


def shares_of(settings: Settings, limit: int | None) -> Shares:
    """Return how many are kept within a limit of bytes (None: there is none).

    A number that is configured stands, and is reported where it does not fit; the default is the
    most that is chosen, and gives way.
    """
    view, cache = settings.sessions.view, settings.tokens.cache
    if limit is None:
        return Shares(view, cache)
    room = max(0.0, limit * USED - EMPTY)
    sessions = max(LEAST, int(room * OF_SESSIONS / SESSION))
    tokens = max(LEAST, int(room * (1 - OF_SESSIONS) / TOKEN))
    if view == Sessions().view:
        view = min(view, sessions)
    if cache == Tokens().cache:
        cache = min(cache, tokens)
    needed = int(EMPTY + view * SESSION + cache * TOKEN)
    if needed <= max(limit, EMPTY + LEAST * (SESSION + TOKEN)) * USED + (SESSION + TOKEN):
        return Shares(view, cache)
    trouble = (
        f"{view:,} sessions (sessions.view) and {cache:,} tokens (tokens.cache) need some "
        f"{_mib(needed)} MiB, and {_mib(limit)} MiB are there: lower them, or raise the limit to "
        f"{_mib(int(needed / USED))} MiB"
    )
    return Shares(view, cache, trouble)


def _mib(count: int) -> str:
    return f"{count / (1 << 20):,.0f}"
