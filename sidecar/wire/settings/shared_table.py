"""The settings of the table that apps read without asking."""

import msgspec

from sidecar.wire.settings.reload import Restart
from sidecar.wire.yaml.scalars import File, PositiveInt


class SharedTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table in shared memory by which apps of the pod let repeated calls pass without asking.

    docs/shared-table.md says what it is for. While `log.checks` is set nothing is in it.
    """

    enabled: Restart[bool] = False  # whether there is one
    # a file on a volume in memory that the apps have, too; empty: `decisions.table` beside the
    # socket
    path: Restart[File] = ""
    # the group that may read it, by name or number; empty: `socket.group`
    group: Restart[str] = ""
    # that it has room for, 48 bytes each; those that find none ask the socket
    sessions: Restart[PositiveInt] = 50000
