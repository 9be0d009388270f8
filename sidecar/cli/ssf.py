"""`sidecar ssf`: set up and look after the streams of a transmitter of Shared Signals."""

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from sidecar.cli.actions import add_action
from sidecar.cli.exit_status import DONE, NEGATIVE, Stop
from sidecar.cli.run import add_config
from sidecar.cli.socket_options import address, plain, seconds
from sidecar.domain.values.causes import words_of

if TYPE_CHECKING:  # loaded when it is needed
    from sidecar.wire.settings.receiver import KnownTransmitter

_STATUSES = {"enable": "enabled", "pause": "paused", "disable": "disabled"}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = (
        "Ask a transmitter that `receiver.transmitters` names for its metadata, or for a stream of "
        "events: make it, look at it, change it, have it verified. Prints the transmitter's answer "
        "as JSON."
    )
    parser.epilog = """\
examples:
  sidecar ssf discover idp
  sidecar ssf create idp --endpoint https://payroll.example.com/ssf/events
  sidecar ssf create mdm --event device-compliance-change
  sidecar ssf show idp
  sidecar ssf update idp --event session-revoked --event device-compliance-change
  sidecar ssf verify idp
  sidecar ssf status idp --stream f67e39a0
  sidecar ssf pause idp --reason "maintenance until noon"
  sidecar ssf enable idp
  sidecar ssf disable idp --stream f67e39a0
  sidecar ssf add-subject idp --subject '{"format": "email", "email": "ada@example.com"}'
  sidecar ssf remove-subject idp --subject '{"format": "opaque", "id": "d1"}'
  sidecar ssf delete idp --stream f67e39a0

exit status: 0 done, 1 the transmitter refuses, 2 bad usage, or it does not answer
"""
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True, dest="action")
    add_action(actions, parser, "discover", "show its metadata")
    _add_wishes(add_action(actions, parser, "create", "make a stream"))
    add_action(actions, parser, "show", "show our streams, or one")
    _add_wishes(add_action(actions, parser, "update", "change what is given of a stream"))
    add_action(actions, parser, "verify", "have it send a verification event")
    add_action(actions, parser, "status", "show whether a stream carries events")
    for name, status in _STATUSES.items():
        action = add_action(actions, parser, name, f"have a stream {status}")
        action.add_argument("--reason", metavar="TEXT", default="", help="why, for the other end")
    for name in ("add", "remove"):
        action = add_action(actions, parser, f"{name}-subject", f"{name} a subject")
        action.add_argument("--subject", metavar="JSON", required=True, help="as RFC 9493 has it")
    add_action(actions, parser, "delete", "take a stream away")
    for name, action in actions.choices.items():
        action.add_argument("transmitter", metavar="NAME", help="as `receiver.transmitters` has it")
        if name not in {"discover", "create"}:
            action.add_argument(
                "--stream", metavar="ID", default="", help="which; not needed if there is one"
            )
        action.add_argument(
            "--token-file",
            metavar="FILE",
            default="",
            help="a file with the token to show there (default: the transmitter's `token_file`)",
        )
        action.add_argument(
            "--timeout", metavar="SECONDS", type=seconds, default=10.0, help="(default: 10)"
        )
        add_config(action)


def _add_wishes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--endpoint",
        metavar="URL",
        type=address,
        default="",
        help="where it is to push, with the `authorization_file`'s content; "
        "without it a new stream is polled",
    )
    parser.add_argument(
        "--event",
        metavar="TYPE",
        action="append",
        default=[],
        help="a type of events, such as session-revoked; may be repeated "
        "(default for a new stream: the transmitter's `events`, else all that are known here)",
    )
    parser.add_argument("--description", metavar="TEXT", default="", help="for people there")


def run(arguments: argparse.Namespace) -> int:
    """Ask, and print what comes back."""
    from sidecar.adapters.process.interrupts import run_until_interrupt  # noqa: PLC0415 - a command starts quickly
    from sidecar.cli.ssf_actions import Session  # noqa: PLC0415 - likewise
    from sidecar.service.ports.calls import Overloaded, Unavailable  # noqa: PLC0415 - likewise
    from sidecar.shared_signals.adapters.transmitter_client import TransmitterRefused  # noqa: PLC0415 - likewise

    known = _transmitter(arguments)
    session = Session(known, arguments)
    try:
        text, problem = run_until_interrupt(session.act)
    except TransmitterRefused as error:
        raise Stop(f"sidecar ssf: {known.name}: {error}", status=NEGATIVE) from None
    except Overloaded as error:
        wait = f"asks to be left alone for {error.retry_after} s"
        raise Stop(f"sidecar ssf: {known.name} {wait}") from None
    except Unavailable as error:
        raise Stop(f"sidecar ssf: {known.name}: {plain(str(error))}") from None
    if text:
        print(text)
    if problem:
        raise Stop(f"sidecar ssf: {known.name}: {plain(problem)}", status=NEGATIVE)
    return DONE


def _transmitter(arguments: argparse.Namespace) -> "KnownTransmitter":
    from sidecar.adapters.files.regular_files import read_text  # noqa: PLC0415 - starts quickly
    from sidecar.wire.config.settings_reader import ConfigError, read_settings  # noqa: PLC0415 - likewise

    file = arguments.config
    try:
        settings = read_settings(Path(file).read_text("utf-8"), file, os.environ, read_text)
    except OSError as error:
        raise Stop(f"{file}: cannot be read: {words_of(error)}") from None
    except UnicodeDecodeError:
        raise Stop(f"{file}: is not UTF-8 text") from None
    except ConfigError as error:
        raise Stop(*(plain(str(problem)) for problem in error.problems)) from None
    known = {one.name: one for one in settings.receiver.transmitters}
    if arguments.transmitter not in known:
        names = ", ".join(known) or "none"
        name = plain(arguments.transmitter)
        raise Stop(f"sidecar ssf: no transmitter {name!r} in {file}; there are: {names}")
    return known[arguments.transmitter]
