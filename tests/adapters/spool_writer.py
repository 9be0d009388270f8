"""Keeps events in a spool and says so, until it is killed: `python -m tests.adapters.spool_writer`.

Arguments: the directory, and (optionally) how many bytes a file may have: then writes begin to
fail as on a full disk.
"""

import resource
import sys

import trio

from sidecar.adapters.files.spool import FileSpool
from sidecar.domain.facts.signal import CredentialChange, Subject
from sidecar.domain.values.stamp import Stamp
from sidecar.service.observations.observations import SpoolIncident
from sidecar.service.ports.calls import Unavailable
from sidecar.wire.settings.settings import SpoolSettings


def event(number: int, user: str = "ada") -> CredentialChange:
    return CredentialChange(
        stamp=Stamp(1_700_000_000_000_000 + number, f"e{number}"), subject=Subject(user)
    )


def say(word: str) -> None:
    print(word, flush=True)  # noqa: T201 - the parent reads it


def reported(incident: SpoolIncident) -> None:
    say(f"reported {incident.trouble} {incident.detail}")


async def main(directory: str, most: int) -> None:
    if most:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    spool = FileSpool(
        SpoolSettings(dir=directory, segment_bytes=65536),
        on_incident=reported,
        on_state=lambda _: None,
    )

    async def keep(first: int) -> None:
        for number in range(first, first + 100_000):
            try:
                await spool.keep(event(number))
            except Unavailable:
                say(f"refused e{number}")
                await trio.sleep(0.01)  # the pace of trying
            else:
                say(f"kept e{number}")

    async with trio.open_nursery() as nursery:
        await nursery.start(spool.run)
        for writer in range(4):
            nursery.start_soon(keep, writer * 1_000_000)


if __name__ == "__main__":
    trio.run(main, sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 0)
