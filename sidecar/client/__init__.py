"""What apps import. Depends on nothing else in this package.

What the clients give and raise is here: `from sidecar.client import Refused, Unreachable`. Each
client is in a module of its own: `local`, `pool`, `on_asyncio`, `on_trio`, and one for each
framework.
"""

from sidecar.client.protocol import (
    Change,
    Decision,
    Mismatched,
    Reason,
    Receipt,
    Refused,
    Stale,
    Unreachable,
)

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
