"""A process that serves has its start behind it."""

import subprocess
import sys

PROGRAM = """
import gc
import sys
import trio
from sidecar.daemon.process import main

class Program:
    log = None

    def reload(self):
        pass

    async def run(self, draining, *, task_status):
        print(gc.isenabled(), gc.get_freeze_count() > 10_000, len(gc.get_objects()) < 10_000)
        task_status.started()

sys.exit(main("none.yaml", lambda *_: Program()))
"""


def test_the_long_collection_of_a_start_is_done_before_anything_is_served() -> None:
    """It stops the loop, and readiness would say that calls are answered."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["True", "True", "True"]
