"""Traces cost nothing where they are off."""

import subprocess
import sys

from sidecar.service.traces.current import CURRENT
from tests.service.memory import MemoryStore, Pod, Tokens

LOADED = """
import sys
import sidecar.daemon.lifecycle, sidecar.daemon.process
for name in sys.modules:
    if "trac" in name.rpartition(".")[2] or "span" in name.rpartition(".")[2]:
        print(name)
"""


def test_without_an_endpoint_nothing_of_them_is_imported() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOADED], capture_output=True, text=True, check=True
    )
    ours = {name for name in done.stdout.split() if name.startswith("sidecar.")}
    # What reads settings and contexts, and counts, is there: values, and no machinery.
    assert ours <= {
        "sidecar.adapters.opentelemetry.traced_calls",
        "sidecar.service.observations.traces",
        "sidecar.service.traces",
        "sidecar.wire.traces",
        "sidecar.wire.traces.spans",
        "sidecar.wire.traces.trace_context",
    }


async def test_without_traces_a_check_is_handed_to_nobody() -> None:
    pod = Pod(MemoryStore(), (), Tokens())
    assert pod.checker._takers is None  # noqa: SLF001 - the one test that a check pays for
    assert CURRENT.get() is None
