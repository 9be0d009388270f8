"""`sidecar verify-log`: whether files of decisions are as they were written."""

import argparse
import json
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from sidecar.cli.exit_status import DONE, NEGATIVE, Stop
from sidecar.domain.values.causes import words_of

if TYPE_CHECKING:
    from sidecar.wire.decision_log.chain import ChainEnd, Digest
    from sidecar.wire.decision_log.verification import ChainFinding, Verified

_TIME = re.compile(rb'\{"time":"([^"]{1,40})"')


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = (
        "Verify files of the decision log whose records are chained (decision_log.chain): each "
        "bears the digest of the one before. Says what is missing, was changed, moved or cut off, "
        "and where. Files may come in any order, as `decisions.log*` gives them."
    )
    parser.epilog = """\
examples:
  sidecar verify-log /var/log/sidecar/decisions.log*
  sidecar verify-log --key-file /run/secrets/chain-key decisions.log.1 decisions.log
  sidecar verify-log --last 4711 decisions.log   # as sidecar_decision_log_chain_records said

Where the chain ended is read from FILE.head, which lies beside the file; without it nothing says
whether the last records are there, unless --last does.

exit status: 0 intact, 1 a fault was found, 2 bad usage or input
"""
    parser.add_argument("files", metavar="FILE", nargs="+", help="a file of decisions")
    parser.add_argument(
        "--key-file",
        action="append",
        default=[],
        metavar="KEY",
        help="a file with the chain's key (chain: keyed); several where it was replaced",
    )
    parser.add_argument("--last", type=int, metavar="N", help="the number that the last record has")
    parser.add_argument("--json", action="store_true", help="one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Verify the files."""
    from sidecar.wire.decision_log.chain import digest_by  # noqa: PLC0415 - a command starts quickly

    digests = [digest_by(_key(file)) for file in arguments.key_file] or [digest_by("")]
    files = _in_order(map(Path, arguments.files))
    found, end = _verified(files, digests, arguments.last)
    if not found.records:
        raise Stop(f"{files[-1]} holds no record of a chain: see decision_log.chain")
    _print(found, end, files, as_json=arguments.json)
    return NEGATIVE if found.findings else DONE


def _key(file: str) -> str:
    from sidecar.adapters.files.regular_files import read_text  # noqa: PLC0415 - a command starts quickly
    from sidecar.wire.config.secret_files import read_secret  # noqa: PLC0415 - likewise
    from sidecar.wire.yaml.scalars import Misspelt  # noqa: PLC0415 - likewise

    try:
        return read_secret(file, read_text)
    except Misspelt as error:
        raise Stop(str(error)) from None


def _in_order(files: Iterable[Path]) -> list[Path]:
    """Return the files by the time of their first records."""
    from sidecar.wire.decision_log.chain import read_record  # noqa: PLC0415 - a command starts quickly

    times: dict[Path, tuple[bytes, int]] = {}
    for file in files:
        if file.name.endswith(".head"):  # as `decisions.log*` names it, too
            continue
        with _opened(file) as stream:
            line = stream.readline(1 << 20)
            time, record = _TIME.match(line), read_record(line.rstrip(b"\n"))
            times[file] = time[1] if time else b"", record.seq if record else 0
    if not times:
        raise Stop("There is no file of decisions among these.")
    return sorted(times, key=times.__getitem__)


def _opened(file: Path) -> BinaryIO:
    try:
        return file.open("rb")
    except OSError as error:
        raise Stop(f"{file} cannot be read: {words_of(error)}") from None


def _verified(
    files: list[Path], digests: "list[Digest]", last: int | None
) -> "tuple[Verified, ChainEnd | None]":
    from sidecar.wire.decision_log.chain import ChainEnd  # noqa: PLC0415 - a command starts quickly
    from sidecar.wire.decision_log.verification import (  # noqa: PLC0415 - likewise
        ChainVerifier,
        lines_of,
    )

    verifier = ChainVerifier(digests)
    for file in files:
        with _opened(file) as stream:
            for line in lines_of(str(file), stream):
                verifier.read(line)
    end = _mark(files[-1], digests)
    if last is not None and (end is None or end.seq < last):
        end = ChainEnd(last, "")
    return verifier.finish(end, str(files[-1])), end


def _mark(file: Path, digests: "list[Digest]") -> "ChainEnd | None":
    """Return where the mark beside a file says that its chain ends."""
    from sidecar.wire.decision_log.chain import read_mark  # noqa: PLC0415 - a command starts quickly

    head = file.with_name(file.name + ".head")
    try:
        text = head.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Stop(f"{head} cannot be read: {words_of(error)}") from None
    for digest in digests:
        end = read_mark(text, digest)
        if end is not None:
            return end
    raise Stop(f"{head} is not of this chain, or of another key: give that by --key-file")


def _print(found: "Verified", end: "ChainEnd | None", files: list[Path], *, as_json: bool) -> None:
    if as_json:
        faults = [_shown(one) for one in found.findings]
        whole = {"records": found.records, "first": found.first, "last": found.last}
        json.dump({**whole, "end_known": end is not None, "faults": faults}, sys.stdout)
        print()
        return
    for one in found.findings:
        shown = _shown(one)
        print(f"{one.file}:{shown['line'] or 'end'}: {one.fault.value}: {one.words}")
    files_ = "1 file" if len(files) == 1 else f"{len(files)} files"
    what = f"{found.records} records in {files_}, {found.first} to {found.last}"
    if not found.findings:
        print(f"intact: {what}")
    else:
        number = len(found.findings)
        print(f"not intact: {'1 fault' if number == 1 else f'{number} faults'}; {what}")
    if found.first > 1:
        print(f"note: what was before record {found.first} is not in these files")
    if found.begun:
        print(f"note: the chain begins anew {found.begun} more times: their records say why")
    if end is None:
        print(f"note: there is no {files[-1].name}.head: whether records follow is not known")


def _shown(one: "ChainFinding") -> dict[str, object]:
    from sidecar.wire.decision_log.verification import END  # noqa: PLC0415 - a command starts quickly

    line = None if one.line == END else one.line
    return {"fault": one.fault.value, "file": one.file, "line": line, "words": one.words}
