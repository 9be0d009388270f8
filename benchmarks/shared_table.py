"""The decision in the app's own process: what a look-up in the shared table costs.

Usage: python -m benchmarks.shared_table [--quick]

The table is a real file with as many calls as are said; the look-ups are of calls all over it.
Shown are processor times of one look-up, medians of the rounds: with a token that the app has kept
since its last call, with one that it has just verified, and of a call that is not there; beside
them what it takes to have one that was just verified, the keyed hash alone, which the second and
the third need, and a look-up in a dictionary.
"""

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path

from rich.console import Console
from rich.table import Table as Printed
from stepup_client import SharedView, VerifiedToken

from sidecar.adapters.shared_memory.table_files import TableFiles, boot_id
from sidecar.wire.shared_table.layout import (
    KEY_BYTES,
    ContextBit,
    Description,
    TableSession,
    call_text,
    key_of,
    shown_text,
)
from sidecar.wire.shared_table.table import ClockReading, TableOrigin, TableWriter

IP, AGENT = "192.0.2.1", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
CONTEXTS = {f"c{number}": ContextBit(number, 1 << 62) for number in range(1, 21)}
SIGNATURE = "s" * 86
"""As long as one of ES256 is."""


def token_of(number: int) -> str:
    return f"{'h' * 40}.{'p' * 600}.{number:0>86}"


def shown(number: int) -> VerifiedToken:
    return VerifiedToken(
        token_of(number),
        issuer="https://id.example",
        user=f"user-{number}",
        session=f"session-{number}",
        auth_time=1_700_000_000,
        acr="mfa",
    )


def filled(files: TableFiles, calls: int) -> TableWriter:
    """Make a table with so many calls, that nobody writes to any more."""
    key = os.urandom(KEY_BYTES)
    now = ClockReading(time.time_ns(), time.monotonic_ns())
    words = files.make(2 * calls).words
    table = TableWriter(
        words, TableOrigin(boot_id(), 1, key), Description(CONTEXTS), patience=1 << 60, now=now
    )
    for number in range(calls):
        whose = TableSession("https://id.example", f"user-{number}", f"session-{number}")
        text = call_text(shown_text(whose, 1_700_000_000, "mfa", token_of(number)), IP, AGENT)
        table.publish(key_of(text, key), 0b111, now.wall / 1e9 + 3600)
    table.beat(now, now.monotonic)
    table.go_live()
    return table


def measured(work: Callable[[], object], times: int) -> float:
    """Return the microseconds of processor time that one of `times` takes."""
    begun = time.process_time_ns()
    work()
    return (time.process_time_ns() - begun) / times / 1000


KEPT, VERIFIED = "with a token that was kept", "with a token just verified"


def costs(calls: int, looks: int, rounds: int) -> dict[str, list[float]]:
    """Return what each look-up costs, in each round, where the table has so many calls."""
    with tempfile.TemporaryDirectory() as directory:
        path = str(Path(directory) / "table")
        files = TableFiles(path)
        table = filled(files, calls)
        view = SharedView(path, owner=os.geteuid())
        step = max(1, calls // looks)
        numbers = range(0, step * looks, step)
        kept = [shown(number % calls) for number in numbers]
        strangers = [shown(calls + number) for number in numbers]
        found = sum(view.allows(one, "c1", ip=IP, user_agent=AGENT) for one in kept)
        if found < looks * 0.97:  # a two-hundredth finds no slot: that much, by the keys' chance
            raise SystemExit(f"only {found} of {looks} are found: {view.trouble}")
        by_token = {one.token: True for one in kept}
        text = f"{kept[0].text}9\0{IP}{AGENT}".encode()

        def look(tokens: list[VerifiedToken]) -> None:
            allows = view.allows
            for one in tokens:
                allows(one, "c1", ip=IP, user_agent=AGENT)

        def verified() -> list[VerifiedToken]:
            return [shown(number % calls) for number in numbers]

        # Neither to make them nor to free them is part of a look-up.
        fresh: list[VerifiedToken] = []
        ways: dict[str, Callable[[], object]] = {
            KEPT: lambda: look(kept),
            VERIFIED: lambda: look(fresh),
            "of a call that is not there": lambda: look(strangers),
            "to have one that was just verified": verified,
            "the keyed hash alone": lambda: [
                blake2b(text, key=table.key, digest_size=16).digest() for _ in numbers
            ],
            "a dictionary by token": lambda: [by_token[one.token] for one in kept],
        }
        found_in: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(rounds):  # in turn: what else the machine does meets all of them
            for name, work in ways.items():
                if name == VERIFIED:
                    fresh[:] = verified()
                found_in[name].append(measured(work, looks))
        return found_in


def main() -> None:
    """Measure tables of several sizes."""
    quick = "--quick" in sys.argv
    sizes = (1000, 10_000) if quick else (1000, 10_000, 100_000)
    looks, rounds = (1000, 3) if quick else (1000, 25)
    found = {size: costs(size, looks, rounds) for size in sizes}
    printed = Printed("a look-up", *(f"{size:,} calls" for size in sizes))
    for name in found[sizes[0]]:
        printed.add_row(name, *(f"{statistics.median(found[size][name]):.2f} us" for size in sizes))
    Console().print(printed)


if __name__ == "__main__":
    main()
