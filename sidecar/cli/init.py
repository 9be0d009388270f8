"""`sidecar init`: from an empty directory to an app of one's own that is protected."""

import argparse
import os
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

from sidecar.adapters.files.atomic_write import write_texts
from sidecar.adapters.listening.taken_ports import taken
from sidecar.adapters.process.interrupts import run_until_interrupt
from sidecar.adapters.tokens.discovery import discover
from sidecar.cli.exit_status import DONE, Stop
from sidecar.cli.init_apps import FRAMEWORKS, app_files
from sidecar.cli.init_commands import print_commands
from sidecar.cli.init_gateways import GATEWAYS, UNQUOTABLE, gateway_directory, gateway_files
from sidecar.cli.init_questions import NONE, Answers, ask
from sidecar.cli.socket_options import address, plain
from sidecar.domain.values.assurance import DEFAULT_LEVELS
from sidecar.domain.values.causes import words_of
from sidecar.service.ports.calls import Unavailable
from sidecar.wire.checks.listeners import LONGEST_SOCKET
from sidecar.wire.config.settings_reader import read_settings
from sidecar.wire.providers.metadata import (
    Offer,
    algorithms_for,
    issuer_of,
    issuer_problem,
    levels_for,
    remarks_on,
)
from sidecar.wire.starter import (
    SOCKET,
    StarterAddresses,
    StarterPlan,
    configuration,
    policy,
    scenario,
)
from sidecar.wire.yaml.tree import ConfigError

CONFIGURATION = "sidecar.yaml"
LEVELS = tuple(level.name for level in DEFAULT_LEVELS)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = (
        "Write what protects an app of yours: a configuration, a policy, a scenario that tests it, "
        "the files of your gateway, a small app in your framework, and the browser's half of a "
        "step-up. Your provider is asked for its keys and for what it offers. In a terminal, and "
        "without --issuer or --audience, what is not given is asked for. Nothing needs root, and "
        "no file is overwritten without --force."
    )
    parser.epilog = """\
examples:
  sidecar init
  sidecar init --issuer https://login.example.com --audience payroll --gateway nginx --out payroll
  sidecar init --issuer https://login.example.com --audience payroll --framework fastapi
  sidecar init --issuer https://login.example.com --audience payroll --acr mfa=gold --offline

exit status: 0 done, 2 bad usage, or the provider does not answer (--offline needs none)
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
    if not text.isdecimal() or not 0 < int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port: 1 to 65535")
    return int(text)


def _acr(text: str) -> tuple[str, str]:
    level, _, value = text.partition("=")
    if level not in LEVELS or not value:
        raise argparse.ArgumentTypeError(f"{text!r} is not LEVEL=VALUE, with {', '.join(LEVELS)}")
    return level, value


def run(arguments: argparse.Namespace) -> int:
    """Ask, discover, write, and say how to go on."""
    answers = ask(arguments)
    out = Path(answers.out)
    _check_place(out, answers)
    ports = _ports(arguments)
    used = _used_ports(ports, answers)
    issuer = issuer_of(answers.issuer)
    if problem := issuer_problem(issuer):
        raise Stop(f"sidecar init: --issuer: {plain(issuer)} {problem}")
    offer = Offer(issuer=issuer) if arguments.offline else _discovered(issuer)
    given: dict[str, list[str]] = {}
    for level, value in arguments.acr:
        given.setdefault(level, []).append(value)
    levels, unplaced = levels_for(offer, given)
    gateway = GATEWAYS.get(answers.gateway)
    plan = StarterPlan(
        issuer=offer.issuer,
        audience=answers.audience,
        app=answers.app,
        setting=gateway.setting if gateway else NONE,
        grpc=gateway.grpc if gateway else False,
        ports=ports,
        levels=levels,
        algorithms=algorithms_for(offer),
    )
    files = _files(plan, answers, out)
    _check_configuration(files)
    _write(out, files, force=arguments.force)
    if not arguments.offline:
        for remark in remarks_on(offer, unplaced):
            print(f"note: {plain(remark)}")
    for port in taken(used):
        print(f"note: somebody listens at port {port} now; {used[port]} names another")
    print_commands(out, answers, ports)
    return DONE


def _check_place(out: Path, answers: Answers) -> None:
    """Raise `Stop` for a directory whose path cannot stand where it has to."""
    socket = str(out.absolute() / SOCKET)
    if len(socket.encode()) > LONGEST_SOCKET:
        raise Stop(
            f"sidecar init: {socket} is too long for the path of a unix socket",
            "Name a directory with a shorter path with --out.",
        )
    if answers.gateway != NONE and set(str(out.absolute())) & UNQUOTABLE:
        raise Stop(
            f"sidecar init: --out: {out.absolute()}: configurations of gateways cannot name a path"
            f" with {' '.join(sorted(UNQUOTABLE))}"
        )


def _ports(arguments: argparse.Namespace) -> StarterAddresses:
    check = arguments.sidecar_port
    return StarterAddresses(
        gateway=arguments.port,
        app=arguments.app_port,
        check=check,
        grpc=check + 1,
        admin=arguments.admin_port,
        between=check + 2,
    )


def _used_ports(ports: StarterAddresses, answers: Answers) -> dict[int, str]:
    """Return the option that names each port in use; raises `Stop` where one is for two."""
    named = [(ports.admin, "--admin-port")]
    if (answers.gateway, answers.framework) != (NONE, NONE):
        named.append((ports.app, "--app-port"))
    if answers.gateway != NONE:
        named += [(ports.gateway, "--port"), (ports.check, "--sidecar-port")]
        if GATEWAYS[answers.gateway].grpc:
            named.append((ports.grpc, "--sidecar-port and one"))
        if answers.gateway == "traefik":
            named.append((ports.between, "--sidecar-port and two"))
    used: dict[int, str] = {}
    for port, option in named:
        if port in used or port > 65535:
            what = f"{port} is no port" if port > 65535 else f"{port} is {used[port]}'s already"
            raise Stop(f"sidecar init: {option}: {what}")
        used[port] = option
    return used


def _discovered(issuer: str) -> Offer:
    try:
        offer = run_until_interrupt(discover, issuer)
    except Unavailable as error:
        raise Stop(
            f"sidecar init: {plain(str(error))}",
            "Give --issuer exactly as the `iss` of its tokens; with --offline it is not asked.",
        ) from error
    print(f"{plain(offer.issuer)}: {offer.keys} usable {'key' if offer.keys == 1 else 'keys'}")
    return offer


def _files(plan: StarterPlan, answers: Answers, out: Path) -> dict[str, str]:
    """Return the text of each file, by its path below `out`."""
    gateway = answers.gateway
    files = {
        CONFIGURATION: configuration(plan),
        "policies/payments.yaml": policy(plan),
        "scenarios/payments.yaml": scenario(plan),
    }
    files |= app_files(answers.framework, plan, answers.client, behind=gateway != NONE)
    if gateway != NONE:
        texts = gateway_files(gateway, gateway_directory(out), plan.ports)
        files |= {f"gateway/{name}": text for name, text in texts.items()}
    return files


def _check_configuration(files: Mapping[str, str]) -> None:
    """Raise `Stop` where the daemon would refuse what would be written."""
    try:
        read_settings(files[CONFIGURATION], CONFIGURATION, {}, _no_secrets)
    except ConfigError as error:
        problems = [f"  {one.field}: {one.message}" for one in error.problems]
        raise Stop(
            "sidecar init: the configuration that this makes would be refused; nothing is written",
            *map(plain, problems),
        ) from error


def _no_secrets(path: str) -> NoReturn:
    raise FileNotFoundError(path)


def _write(out: Path, files: Mapping[str, str], *, force: bool) -> None:
    """Write all files, or none where one is there and must stay."""
    there = [name for name in files if os.path.lexists(out / name)]
    if there and not force:
        raise Stop(
            f"sidecar init: {out} has {', '.join(there)} already; nothing is written",
            "Name another directory with --out, or overwrite them with --force.",
        )
    try:
        write_texts(out, files)
    except OSError as error:
        where = error.filename or out
        raise Stop(
            f"sidecar init: {plain(str(where))} cannot be written: {words_of(error)}",
            "Nothing is written. Name another directory with --out.",
        ) from error
    print(f"wrote into {out}: {', '.join(sorted(files))}")
    if there:
        print(f"overwritten: {', '.join(sorted(there))}")
