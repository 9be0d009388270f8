"""Asks the sidecar in this pod about calls. Needs the standard library alone.

What the clients return and raise is here: `from stepup_client import Refused, Unreachable`. Each
client is in a module of its own: `local`, `pool`, `on_asyncio`, `on_trio`, and one for each
framework.
"""

from __future__ import annotations

from stepup_client.connection.protocol import (
    Change,
    Decision,
    Mismatched,
    Reason,
    Receipt,
    Refused,
    Stale,
    Unreachable,
)

__version__ = "0.1.0"

__all__ = (
    "Change",
    "Decision",
    "Mismatched",
    "Reason",
    "Receipt",
    "Refused",
    "Stale",
    "Unreachable",
)
