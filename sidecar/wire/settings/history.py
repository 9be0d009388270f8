"""Settings of the history: what happened to whom, and why. Part of `settings`."""

from typing import Annotated

import msgspec

from sidecar.wire.settings.reload import Live
from sidecar.wire.yaml.scalars import Duration


class HistorySettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The history of each user in the store, which `sidecar history` reads: docs/history.md."""

    enabled: Live[bool] = True  # without it nothing is written; what was written goes with its age
    # of a user, or a device; the oldest go
    entries: Live[Annotated[int, msgspec.Meta(ge=1, le=10000)]] = 500
    age: Live[Duration] = 2592000.0  # older ones go
