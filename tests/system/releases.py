"""Daemons of other releases, and of another year, as processes of this tree."""

import sys
from typing import Final

_RUN = """
sys.argv = ["sidecar", *sys.argv[4:]]
from sidecar.cli.main import main
sys.exit(main())
"""

_LATER = """
import sys, sidecar
sidecar.__version__ = "9.0.0"
from sidecar.wire.facts import values
values.VERSION = b"\\x84"
"""

_AT = """
import sys, time
ahead = {at!r} - time.time()
real = time.time
time.time = lambda: real() + ahead
"""

LATER: Final = (sys.executable, "-c", _LATER + _RUN)
"""Runs a daemon as of a later release, whose facts are of a later version."""


def running_at(moment: float) -> tuple[str, ...]:
    """What runs a daemon whose clock starts at that moment (seconds since the epoch)."""
    return (sys.executable, "-c", _AT.format(at=moment) + _RUN)
