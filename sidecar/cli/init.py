"""`sidecar init`: from an empty directory to an app of one's own that is protected."""

import argparse
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

import trio

from sidecar.adapters.discovery import discover
from sidecar.cli.asking import address, plain
from sidecar.cli.init_apps import FRAMEWORKS, app_files, browser_files
from sidecar.cli.init_gateways import GATEWAYS, gateway_files
from sidecar.cli.init_questions import NONE, Answers, ask
from sidecar.cli.stopping import DONE, Stop
from sidecar.domain.assurance import DEFAULT_LEVELS
from sidecar.domain.causes import words_of
from sidecar.service.answers import Unavailable
from sidecar.wire.listener_coherence import LONGEST_SOCKET
from sidecar.wire.provider_metadata import (
    Offer,
    algorithms_for,
    issuer_of,
    levels_for,
    remarks_on,
)
from sidecar.wire.starter import SOCKET, Plan, Ports, configuration, policy, scenario

LEVELS = tuple(level.name for level in DEFAULT_LEVELS)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = (
        "Write what protects an app of yours: a configuration, a policy, a scenario that tests it, "
        "the files of your gateway, a small app in your framework, and the browser's half of a "
        "step-up. Your provider is asked for its keys and for what it "
        "offers. What is not given is asked for, where this runs in a terminal. Nothing needs "
        "root, and no file is overwritten without --force."
    )
    parser.epilog = """\
examples:
  sidecar init
  sidecar init --issuer https://login.example.com --audience payroll --gateway nginx --out payroll
  sidecar init --issuer https://login.example.com --audience payroll --framework fastapi
  sidecar init --issuer https://login.example.com --audience payroll --acr mfa=gold --offline
"""
    add = parser.add_argument
    add("--issuer", metavar="URL", type=address, help="the provider, as the `iss` of its tokens")
    words = "what tokens for the app have in `aud`"
    add("--audience", metavar="NAME", type=address, help=words)
    words = "what policies call the app (default: the audience)"
    add("--app", metavar="NAME", type=address, help=words)
    add("--gateway", choices=(*GATEWAYS, NONE), help="what stands before the app (default: none)")
    add(
        "--framework",
        choices=(*FRAMEWORKS, NONE),
        help="what a small app to begin with is written in (default: none)",
    )
    add("--client", metavar="ID", help="the page's client id at the provider (default: the app)")
    add("--out", metavar="DIR", help="where the files go (default: sidecar)")
    add(
        "--acr",
        metavar="LEVEL=VALUE",
        action="append",
        type=_acr,
        default=[],
        help=f"a value of `acr` of your provider, and the level it shows: {', '.join(LEVELS)}",
    )
    add("--offline", action="store_true", help="do not ask the provider")
    add("--force", action="store_true", help="overwrite files that are there")
    for name, default, what in (
        ("--port", 8000, "the gateway listens"),
        ("--app-port", 8080, "the app listens"),
        ("--sidecar-port", 8181, "the sidecar answers checks (gRPC at the next port)"),
        ("--admin-port", 9090, "the sidecar has metrics and health"),
    ):
        words = f"where {what} (default: {default})"
        add(name, metavar="PORT", type=_port, default=default, help=words)


def _port(text: str) -> int:
    value = int(text)
    if not 0 < value < 65535:
        raise ValueError(text)
    return value


def _acr(text: str) -> tuple[str, str]:
    level, _, value = text.partition("=")
    if level not in LEVELS or not value:
        raise argparse.ArgumentTypeError(f"{text!r} is not LEVEL=VALUE, with {', '.join(LEVELS)}")
    return level, value


def run(arguments: argparse.Namespace) -> int:
    """Ask, discover, write, and tell how to go on."""
    answers = ask(arguments)
    out = Path(answers.out)
    issuer = issuer_of(answers.issuer)
    offer = Offer(issuer=issuer) if arguments.offline else _discovered(issuer)
    told: dict[str, list[str]] = {}
    for level, value in arguments.acr:
        told.setdefault(level, []).append(value)
    levels, unplaced = levels_for(offer, told)
    gateway = GATEWAYS.get(answers.gateway)
    check, admin = arguments.sidecar_port, arguments.admin_port
    plan = Plan(
        issuer=offer.issuer,
        audience=answers.audience,
        app=answers.app,
        setting=gateway.setting if gateway else NONE,
        grpc=gateway.grpc if gateway else False,
        ports=Ports(arguments.port, arguments.app_port, check, check + 1, admin),
        levels=levels,
        algorithms=algorithms_for(offer),
    )
    _write(out, _files(plan, answers, out), force=arguments.force)
    if not arguments.offline:
        for remark in remarks_on(offer, unplaced):
            print(f"note: {plain(remark)}")
    _tell(out, answers, plan.ports)
    return DONE


def _discovered(issuer: str) -> Offer:
    try:
        offer = trio.run(discover, issuer)
    except Unavailable as error:
        raise Stop(
            f"sidecar init: {plain(str(error))}",
            "Give --issuer exactly as the `iss` of its tokens; with --offline it is not asked.",
        ) from error
    print(f"{plain(offer.issuer)}: {offer.keys} usable {'key' if offer.keys == 1 else 'keys'}")
    return offer


def _files(plan: Plan, answers: Answers, out: Path) -> dict[str, str]:
    """Return the text of each file, by its path below `out`."""
    gateway = answers.gateway
    files = {
        "sidecar.yaml": configuration(plan),
        "policies/payments.yaml": policy(plan),
        "scenarios/payments.yaml": scenario(plan),
    }
    texts = app_files(answers.framework, plan, behind=gateway != NONE)
    files |= texts | browser_files(plan.issuer, answers.client)
    if gateway != NONE:
        texts = gateway_files(gateway, _gateway(out), plan.ports)
        files |= {f"gateway/{name}": text for name, text in texts.items()}
    return files


def _gateway(out: Path) -> Path:
    return out.absolute() / "gateway"


def _write(out: Path, files: Mapping[str, str], *, force: bool) -> None:
    """Write all files, or none where one is there and must stay."""
    socket = str(out.absolute() / SOCKET)
    if len(socket.encode()) > LONGEST_SOCKET:
        raise Stop(
            f"sidecar init: {socket} is too long for the path of a unix socket",
            "Name a directory with a shorter path with --out.",
        )
    there = [name for name in files if (out / name).exists()]
    if there and not force:
        raise Stop(
            f"sidecar init: {out} has {', '.join(there)} already",
            "Name another directory with --out, or overwrite them with --force.",
        )
    for name, text in files.items():
        file = out / name
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        except OSError as error:
            raise Stop(f"sidecar init: {file} cannot be written: {words_of(error)}") from error
    print(f"wrote into {plain(str(out))}: {', '.join(sorted(files))}")


def _tell(out: Path, answers: Answers, ports: Ports) -> None:
    """Print the commands to go on with: the daemon, what stands beside it, and a signal."""
    gateway, framework = answers.gateway, answers.framework
    config = shlex.quote(str(out / "sidecar.yaml"))
    socket = shlex.quote(str(out / SOCKET))
    commands = [f"sidecar run --config {config}"]
    if framework != NONE:
        start = FRAMEWORKS[framework].replace("{port}", str(ports.app))
        commands.append(f"cd {shlex.quote(str(out))} && {start}")
    if gateway != NONE:
        here = shlex.quote(str(_gateway(out)))
        commands.append(GATEWAYS[gateway].command.replace("{here}", here))
    event = "--type risk-level-change --user USER --data current_level=HIGH"
    commands.append(f"sidecar emit --socket {socket} {event}")
    print("\nGo on with these, each in a terminal of its own:")
    for command in commands:
        print(f"  {command}")
    if framework != NONE:
        port = ports.app if gateway == NONE else ports.gateway
        at = f"http://127.0.0.1:{port}/"
        print(f"The page is at {at}: a public client {plain(answers.client)!r} of your provider,")
        print("with that address as its redirect URI. What is amiss, `sidecar doctor` tells.")
    sys.stdout.flush()
