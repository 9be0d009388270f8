"""Writes records to standard output, in a thread: a reader that stalls stops nobody else."""

import os
from collections.abc import Sequence

import trio

from sidecar.domain.values.causes import words_of
from sidecar.service.decisions.decision_log import OutputFailed
from sidecar.wire.decision_log.chain import Chain

STDOUT = 1


class StreamOutput:
    """The port `service.decisions.RecordOutput`, on a descriptor. `chain` None: there is none."""

    def __init__(self, chain: Chain | None, descriptor: int = STDOUT) -> None:
        self._chain = chain
        self._descriptor = descriptor
        self._torn = False

    async def write(self, records: Sequence[bytes]) -> None:
        """Write records. Raises `OutputFailed`: what was written then, nobody knows."""
        lines = records if self._chain is None else [*map(self._chain.link, records)]
        data = b"".join(line + b"\n" for line in lines)
        if self._torn:
            data = b"\n" + data
        try:
            await trio.to_thread.run_sync(self._put, data, abandon_on_cancel=True)
        except OSError as error:
            self._torn = True
            raise OutputFailed(f"standard output: {words_of(error)}", len(records)) from None
        self._torn = False

    def _put(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            left = left[os.write(self._descriptor, left) :]
