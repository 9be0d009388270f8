"""Which keys of the configuration a running daemon takes up, and which wait for a restart.

A key waits unless it stands here: what is forgotten is told as waiting, and never as taken up.
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from sidecar.wire.settings.settings import Settings

LIVE = frozenset(
    {
        *("app", "apps", "assurance", "break_glass", "contexts", "friction", "locations"),
        *("networks", "policies", "risk", "routes", "sources", "tokens"),
        "limits",
        *(
            "admin.token",
            "admin.token_file",
            "admin.operators",
            "geography.least_distance_km",
            "store.eviction",
        ),
        *("store.username", "store.password", "store.password_file"),
        *("store.sentinel_password", "store.sentinel_password_file", "log", "warnings"),
        *("sessions.max_staleness", "sessions.revalidate_interval", "sessions.seen_interval"),
        "sessions.ipv6_prefix",
    }
)
"""Keys that are taken up, each with all below it."""

WAITING = frozenset(
    {"tokens.cache", "tokens.binding.certificate_header", "tokens.binding.certificate_form"}
)
"""Keys below those that wait all the same: the listeners have them."""


def is_live(key: str) -> bool:
    """Whether a change of this key (`section.key`) is taken up without a restart."""
    if key in WAITING:
        return False
    return any(key == one or key.startswith(f"{one}.") for one in LIVE)


def waiting(before: Settings, after: Settings) -> tuple[str, ...]:
    """The keys that differ, and wait for a restart."""
    return tuple(key for key in sorted(_changed(before, after)) if not is_live(key))


def is_taken_up(before: Settings, after: Settings) -> bool:
    """Whether they differ in anything that does not wait."""
    return any(map(is_live, _changed(before, after)))


def _changed(before: Any, after: Any, at: str = "") -> Iterator[str]:
    """The keys that differ; of a list or mapping it is the whole."""
    if before == after:
        return
    if isinstance(before, msgspec.Struct) and type(before) is type(after):
        for name, told in zip(
            before.__struct_fields__, before.__struct_encode_fields__, strict=True
        ):
            key = f"{at}.{told}" if at else told
            yield from _changed(getattr(before, name), getattr(after, name), key)
    else:
        yield at
