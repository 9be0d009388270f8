"""Descriptors that the connections of all listeners need, and bounds that fit into a limit.

Each listener bounds its own connections. What they add up to may be more than the process may have
open; then a flood at one door would take the descriptors of all others, of the store's links and of
the spool. So where the sum does not fit, each bound gives way by the same part.
"""

from collections.abc import Iterator

import msgspec

from sidecar.wire.settings.settings import Settings

RESERVED = 128
"""For the program itself, its files, the store's news, keys, geography, spool, transmitters."""

LINGERING = 64
"""At most so many connections that were refused are open, for a moment, to hear why."""

LEAST = 4


def lingering(bound: int) -> int:
    """Return how many refused connections may be open beside those that are served."""
    return min(LINGERING, max(1, bound // 4))


def bounds_of(settings: Settings) -> dict[str, int]:
    """Return the `max_connections` of the listeners that are there, by section."""
    return {name: getattr(settings, name).max_connections for name in _listening(settings)}


def needed_by(settings: Settings) -> int:
    """Return how many descriptors there must be."""
    bounds = bounds_of(settings).values()
    return _reserved_by(settings) + sum(bound + lingering(bound) for bound in bounds)


def _reserved_by(settings: Settings) -> int:
    """Return how many are for all that is no listener's connection."""
    asked = (one.introspection for one in settings.tokens.issuers if one.introspection.endpoint)
    return RESERVED + settings.store.threads + sum(one.concurrent for one in asked)


def fitted(settings: Settings, limit: int) -> Settings:
    """Return the settings with bounds that fit into a limit, no larger than they were.

    Where hardly any descriptors are there each listener keeps a few, and the sum may not fit.
    """
    bounds = bounds_of(settings)
    if needed_by(settings) <= limit:
        return settings
    # A quarter more than it serves a listener may have open, while it refuses.
    part = max(0.0, (limit - _reserved_by(settings)) / (1.25 * sum(bounds.values())))
    sections = {
        name: msgspec.structs.replace(
            getattr(settings, name), max_connections=min(bound, max(LEAST, int(bound * part)))
        )
        for name, bound in bounds.items()
    }
    return msgspec.structs.replace(settings, **sections)


def shortage(settings: Settings, limit: int) -> str:
    """Return what does not fit into a limit, and what is left of it; empty: all fits."""
    bounds = bounds_of(settings)
    needed = needed_by(settings)
    if needed <= limit:
        return ""
    left = bounds_of(fitted(settings, limit))
    each = ", ".join(f"{name} {bound:,} ({left[name]:,})" for name, bound in bounds.items())
    return (
        f"the listeners may need {needed:,} descriptors, and this process may have {limit:,};"
        f" connections, and what is taken of them here: {each}"
    )


def _listening(settings: Settings) -> Iterator[str]:
    yield "socket"
    if settings.http.enabled:
        yield "http"
    if settings.grpc.bind:
        yield "grpc"
    if settings.admin.enabled:
        yield "admin"
    for name in ("receiver", "intake", "central", "transmitter"):
        if getattr(settings, name).bind:
            yield name
