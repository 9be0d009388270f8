"""`sidecar emit`: push an event, or a file of them."""

import argparse
import io
import json
import os
import stat
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any, TextIO

from stepup_client.local import WINDOW, Receipt, Refused

from sidecar.cli.exit_status import DONE, MISTAKE, NEGATIVE, Stop
from sidecar.cli.socket_options import add_socket, open_socket_client, plain, print_json
from sidecar.domain.facts.fact_kinds import SIGNALS
from sidecar.domain.values.causes import words_of
from sidecar.domain.values.plural import counted
from sidecar.wire.config.secret_files import read_secret

_NUMBERS = frozenset({"weight", "half_life", "auth_time", "exp"})
_THEIRS = frozenset({"overloaded", "unavailable"})
_PROGRESS = 500


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = (
        "Push an event to the running daemon: one that the options describe, or each line of a "
        "file of JSON objects (NDJSON; - for standard input)."
    )
    parser.epilog = """\
examples:
  sidecar emit --type risk-level-change --user ada --data current_level=HIGH
  sidecar emit --type device-compliance-change --device d1 \\
      --data '{"current_status": "not-compliant"}' --wait
  sidecar emit events.ndjson
  sidecar emit --credential-file secrets/mdm --type device-compliance-change --device d1 \\
      --data current_status=compliant

exit status: 0 done, 1 turned away for now, or not yet everywhere (--wait), 2 refused, or no daemon
"""
    parser.add_argument("file", metavar="FILE", nargs="?", help="NDJSON instead of the options")
    event = parser.add_argument_group("the event")
    event.add_argument("--type", choices=SIGNALS, metavar="TYPE", help=", ".join(SIGNALS))
    event.add_argument("--user", help="whom it is about")
    event.add_argument("--device")
    event.add_argument("--session")
    event.add_argument("--issuer", help="whose names these are, where there are several issuers")
    event.add_argument(
        "--data",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a member of its data, or a JSON object of several; may be repeated",
    )
    event.add_argument("--time", help="seconds since the epoch, or ISO 8601 (default: now)")
    event.add_argument("--id", help="its id (default: a new one); an id counts once")
    event.add_argument("--source", help="what to call who says so: a label, for people")
    parser.add_argument(
        "--credential-file",
        metavar="FILE",
        help="speak as the source whose credential FILE holds (default: as this uid)",
    )
    event.add_argument(
        "--wait", action="store_true", help="until every live sidecar has taken it, or --timeout"
    )
    add_socket(parser)


def run(arguments: argparse.Namespace) -> int:
    """Push what is given."""
    if arguments.file and arguments.type:
        raise Stop("sidecar emit: name either a FILE or a --type, not both")
    if arguments.file:
        return _emit_file(arguments)
    if not arguments.type:
        raise Stop("sidecar emit: name a --type, or a FILE of events")
    return _emit_one(arguments)


def _emit_one(arguments: argparse.Namespace) -> int:
    event = {**_event(arguments), **_shown(arguments)}
    with open_socket_client(arguments) as client:
        try:
            receipt = client.event(
                event, wait_everywhere=arguments.wait, timeout=min(arguments.timeout, 60.0)
            )
        except Refused as refused:
            raise Stop(
                f"sidecar emit: {plain(str(refused))}",
                status=NEGATIVE if refused.error in _THEIRS else MISTAKE,
            ) from refused
    if arguments.json:
        print_json(receipt.reply)
    else:
        print(f"{plain(receipt.id)}{_fate(receipt)}")
    return NEGATIVE if receipt.settled is False else DONE


def _shown(arguments: argparse.Namespace) -> dict[str, str]:
    """Return the credential that is to be shown; nothing where none is named."""
    if arguments.credential_file is None:
        return {}
    try:
        return {"credential": read_secret(arguments.credential_file, _text)}
    except ValueError as error:
        raise Stop(f"sidecar emit: --credential-file: {plain(str(error))}") from error


def _text(path: str) -> str:
    return Path(path).read_text(encoding="utf-8")


def _fate(receipt: Receipt) -> str:
    notes = []
    if receipt.duplicate:
        notes.append("known already")
    if receipt.spooled:
        notes.append("spooled until the store is back")
    if receipt.settled is not None:
        notes.append("taken everywhere" if receipt.settled else "not yet taken everywhere")
    return f" ({', '.join(notes)})" if notes else ""


def _event(arguments: argparse.Namespace) -> dict[str, Any]:
    subject = {
        name: value
        for name in ("user", "device", "session", "issuer")
        if (value := getattr(arguments, name)) is not None
    }
    event: dict[str, Any] = {"type": arguments.type, "subject": subject}
    event["data"] = _data(arguments.data)
    if arguments.time is not None:
        event["time"] = _time(arguments.time)
    for name in ("id", "source"):
        if getattr(arguments, name) is not None:
            event[name] = getattr(arguments, name)
    return event


def _data(members: Iterable[str]) -> dict[str, Any]:
    """Read `KEY=VALUE`, or a JSON object. A value is text unless key or first letter says more."""
    data: dict[str, Any] = {}
    for member in members:
        if member.lstrip().startswith("{"):
            data |= _json(member, "--data")
            continue
        key, equals, value = member.partition("=")
        if not (key and equals):
            raise Stop(f"sidecar emit: --data {plain(member)!r}: is neither KEY=VALUE nor JSON")
        is_json = key in _NUMBERS or value[:1] in ("[", "{", '"')
        data[key] = _json(value, f"--data {key}") if is_json else value
    return data


def _json(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Stop(f"sidecar emit: {where}: {plain(text[:64])!r} is no JSON") from error


def _time(text: str) -> float:
    from sidecar.tuning.formats.times import moment  # noqa: PLC0415 - a command starts quickly

    try:
        return moment(text)
    except ValueError as error:
        raise Stop(f"sidecar emit: --time {plain(text)!r}: {error}") from error


def _emit_file(arguments: argparse.Namespace) -> int:
    name = "<stdin>" if arguments.file == "-" else arguments.file
    fates: Counter[str] = Counter()
    with _opened(arguments.file) as lines, open_socket_client(arguments) as client:
        numbers: list[int] = []
        shown = _shown(arguments)
        events = ({**event, **shown} for event in _events(lines, name, numbers, fates))
        # What comes through a pipe may come slowly: it is not held back to fill a window.
        window = WINDOW if stat.S_ISREG(os.fstat(lines.fileno()).st_mode) else 1
        for number, outcome in enumerate(client.events(events, window)):
            fate = _fate_of(outcome)
            fates[fate] += 1
            if isinstance(outcome, Refused):
                print(f"{name}:{numbers[number]}: {plain(str(outcome))}", file=sys.stderr)
            if arguments.json:
                print_json(outcome.reply)
            if number % _PROGRESS == 0 and sys.stderr.isatty():
                print(f"\r{counted(fates.total(), 'event')}", end="", file=sys.stderr, flush=True)
    summary = ", ".join(f"{count} {fate}" for fate, count in sorted(fates.items())) or "none"
    start = "\r" if sys.stderr.isatty() else ""
    print(f"{start}{counted(fates.total(), 'event')}: {summary}", file=sys.stderr)
    if fates["refused"]:
        return MISTAKE
    return NEGATIVE if fates["turned away"] else DONE


def _opened(file: str) -> "nullcontext[TextIO] | TextIO":
    if file == "-":
        if isinstance(sys.stdin, io.TextIOWrapper):
            sys.stdin.reconfigure(encoding="utf-8", errors="surrogateescape")
        return nullcontext(sys.stdin)
    try:
        return Path(file).open(encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        raise Stop(f"{file}: {words_of(error)}") from error


def _events(
    lines: Iterable[str], name: str, numbers: list[int], fates: Counter[str]
) -> Iterator[dict[str, Any]]:
    """Yield the events of a file.

    `numbers` gets the line of each. What is no JSON object is printed.
    """
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):
            event = None
        if isinstance(event, dict):
            numbers.append(number)
            yield event
        else:
            fates["refused"] += 1
            print(plain(f"{name}:{number}: is no JSON object"), file=sys.stderr)


def _fate_of(outcome: Receipt | Refused) -> str:
    match outcome:
        case Refused():
            return "turned away" if outcome.error in _THEIRS else "refused"
        case Receipt(duplicate=True):
            return "duplicate"
        case Receipt(spooled=True):
            return "spooled"
        case _:
            return "accepted"
