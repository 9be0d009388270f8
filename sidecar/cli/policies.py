"""`sidecar policies`: signed bundles of policies, and which of them the fleet judges by."""

import argparse

from sidecar.cli import policy_bundles, policy_fleet
from sidecar.cli.actions import add_action
from sidecar.cli.run import add_config


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = (
        "Policies for a whole fleet from one place: build a bundle of them, sign it, put it where "
        "the sidecars look (policies.bundle), and have it in force on all of them at one moment. "
        "Keys and signatures are those of minisign."
    )
    parser.epilog = """\
examples:
  sidecar policies keygen --key policies.key --public-key policies.pub
  sidecar policies build fleet --sequence 7 --config sidecar.yaml
  sidecar policies sign policies-7.tar --key policies.key
  sidecar policies verify policies-7.tar --public-key policies.pub
  sidecar policies show policies-7.tar
  sidecar policies activate 7 --reason "ticket 4711: payroll asks abroad"
  sidecar policies rollback --reason "ticket 4712: too many prompts"
  sidecar policies list

exit status: 0 done, 1 refused or not verified, 2 bad usage, configuration or input
"""
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True, dest="action")
    _keygen(add_action(actions, parser, "keygen", "make a pair of keys"))
    _build(add_action(actions, parser, "build", "make a bundle of a directory, once it is right"))
    _sign(add_action(actions, parser, "sign", "sign a bundle"))
    _verify(add_action(actions, parser, "verify", "verify a bundle and its signature"))
    _show(add_action(actions, parser, "show", "show what is in a bundle"))
    policy_fleet.configure_activate(
        add_action(actions, parser, "activate", "have a bundle in force on all sidecars")
    )
    policy_fleet.configure_rollback(
        add_action(actions, parser, "rollback", "have an earlier bundle in force again")
    )
    policy_fleet.configure_list(
        add_action(actions, parser, "list", "list what is in force, and what was")
    )


def run(arguments: argparse.Namespace) -> int:
    """Do as asked."""
    match arguments.action:
        case "keygen":
            return policy_bundles.make_keys(arguments)
        case "build":
            return policy_bundles.build(arguments)
        case "sign":
            return policy_bundles.sign(arguments)
        case "verify":
            return policy_bundles.verify(arguments)
        case "show":
            return policy_bundles.show(arguments)
        case _:
            return policy_fleet.run(arguments)


def _keygen(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--key", metavar="FILE", required=True, help="where the secret key goes")
    parser.add_argument(
        "--public-key", metavar="FILE", required=True, help="where the public key goes"
    )
    _add_password(parser)
    parser.add_argument(
        "--unencrypted", action="store_true", help="no password: the file alone is the key"
    )


def _build(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "directory", metavar="DIR", help="with policies/*.yaml, and maybe places.yaml and lists/*"
    )
    parser.add_argument(
        "--sequence", type=int, required=True, metavar="N", help="its number: higher than before"
    )
    parser.add_argument(
        "--out", metavar="FILE", help="where it goes (default: policies-N.tar here)"
    )
    parser.add_argument(
        "--made-at",
        type=int,
        metavar="SECONDS",
        help="since the epoch (default: $SOURCE_DATE_EPOCH, else now)",
    )
    add_config(parser)


def _sign(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", metavar="FILE", help="the bundle; the signature goes beside it")
    parser.add_argument("--key", metavar="FILE", required=True, help="the secret key")
    _add_password(parser)
    parser.add_argument("--comment", help="what the signature says of itself, in a line")


def _verify(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", metavar="FILE", help="the bundle; its signature lies beside it")
    parser.add_argument(
        "--public-key",
        metavar="KEY",
        action="append",
        required=True,
        help="a public key, or a file of one; any of them may have signed",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def _show(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", metavar="FILE", help="the bundle; nobody asks who signed it")
    parser.add_argument("--json", action="store_true", help="print JSON")


def _add_password(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--password-file", metavar="FILE", help="the key's password (default: it is asked for)"
    )
