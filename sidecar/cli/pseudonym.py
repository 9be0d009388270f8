"""`sidecar pseudonym`: what a log line calls somebody, by the keys of the configuration."""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sidecar.cli.exit_status import DONE, Stop
from sidecar.cli.run import add_config
from sidecar.cli.socket_options import plain

if TYPE_CHECKING:
    from sidecar.wire.settings.settings import Settings

_KINDS = ("user", "session", "device", "address")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = (
        "Print the pseudonyms that log lines have for a name where identifiers are keyed: one for "
        "each privacy key, that which is written now first. It reads the keys, and asks no daemon. "
        "The other way round there is none: ask for whom you look for."
    )
    parser.epilog = """\
examples:
  sidecar pseudonym ada@example.com
  sidecar pseudonym --kind address 198.51.100.7
  kubectl logs pod/shop -c sidecar | grep -F "$(sidecar pseudonym ada@example.com)"

exit status: 0 done, 2 bad usage or configuration
"""
    add_config(parser)
    parser.add_argument("name", help="as tokens, events and the configuration have it")
    parser.add_argument("--kind", choices=_KINDS, default="user", help="(default: user)")
    parser.add_argument("--issuer", default="", help="whose name it is, where there are several")
    parser.add_argument("--json", action="store_true", help="one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Print the pseudonyms."""
    from sidecar.wire.names import composed  # noqa: PLC0415 - likewise
    from sidecar.wire.privacy.privacy_keys import PrivacyKey  # noqa: PLC0415 - a command starts quickly
    from sidecar.wire.privacy.pseudonyms import PseudonymKind, pseudonym  # noqa: PLC0415 - likewise

    settings = _settings(Path(arguments.config))
    keys = [PrivacyKey(one.encode()) for one in settings.privacy.keys]
    if not keys:
        raise Stop(
            "There are no privacy keys: identifiers stand in the log as they are.",
            "Pseudonyms need privacy.key_file; see docs/privacy.md.",
        )
    kind = PseudonymKind[arguments.kind.upper()]
    namespace = "" if kind is PseudonymKind.ADDRESS else _namespace(settings, arguments.issuer)
    found = {one.id: pseudonym(one, kind, namespace, composed(arguments.name)) for one in keys}
    if arguments.json:
        json.dump({"kind": arguments.kind, "issuer": namespace, "pseudonyms": found}, sys.stdout)
        print()
    else:
        print("\n".join(found.values()))
    return DONE


def _settings(file: Path) -> "Settings":
    from sidecar.adapters.files.regular_files import read_text  # noqa: PLC0415 - a command starts quickly
    from sidecar.wire.config.settings_reader import read_settings  # noqa: PLC0415 - likewise
    from sidecar.wire.yaml.tree import ConfigError  # noqa: PLC0415 - likewise

    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise Stop(f"{file} cannot be read: {reason}") from None
    try:
        return read_settings(text, str(file), os.environ, read_text)
    except ConfigError as error:
        raise Stop(*(plain(str(problem)) for problem in error.problems)) from None


def _namespace(settings: "Settings", issuer: str) -> str:
    namespaces = settings.tokens.namespaces
    found = namespaces.named(issuer) if issuer else namespaces.sole()
    if found is None:
        known = ", ".join(namespaces.words)
        raise Stop(f"Whose name is it? Say so with --issuer; known are {known}")
    return found
