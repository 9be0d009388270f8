"""Asks the sidecar in this pod about calls. Needs the standard library alone.

What the clients return and raise is here: `from stepup_client import Refused, Unreachable`. Each
client is in a module of its own: `local`, `pool`, `on_asyncio`, `on_trio`, and one for each
framework. `SharedView` reads what need not be asked, of the tokens that the app has verified.
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
from stepup_client.shared.view import SharedView, VerifiedToken

__version__ = "0.1.0"

__all__ = (
    "Change",
    "Decision",
    "Mismatched",
    "Reason",
    "Receipt",
    "Refused",
    "SharedView",
    "Stale",
    "Unreachable",
    "VerifiedToken",
)
