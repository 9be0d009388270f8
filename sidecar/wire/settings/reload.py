"""Declares, beside each key of the settings, what a reload makes of a change of it.

`Live[T]`: the running daemon takes it up. `Restart[T]`: it waits for a restart. A declaration
covers all that stands below a key; a section has none of its own, since its keys have theirs.
"""

import enum
from typing import Annotated, TypeAlias, TypeVar


class Reload(enum.StrEnum):
    """The effect of a reload on a changed key."""

    LIVE = "live"
    RESTART = "restart"


T = TypeVar("T")
Live: TypeAlias = Annotated[T, Reload.LIVE]
Restart: TypeAlias = Annotated[T, Reload.RESTART]
