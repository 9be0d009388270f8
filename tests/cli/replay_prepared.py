"""What processes that replay may be made to do, in a module that they can import."""

import os
import signal

from sidecar.tuning.replay.replay import Replay


def killed() -> Replay:
    """Be killed, as by a kernel that has no memory left."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def failing() -> Replay:
    """Fail at the start."""
    raise ValueError("the policies are odd")
