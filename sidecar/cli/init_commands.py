"""The commands that `sidecar init` prints at its end, as they can be pasted into this terminal."""

import importlib.util
import os
import shlex
import shutil
import sys
from pathlib import Path

from sidecar.cli.init_apps import FRAMEWORKS
from sidecar.cli.init_gateways import GATEWAYS, gateway_directory
from sidecar.cli.init_questions import NONE, Answers
from sidecar.wire.starter import SOCKET, StarterAddresses

_PLACES = (str(Path(sys.executable).parent), "/usr/local/sbin", "/usr/sbin", "/sbin")
"""What a user's PATH may leave out: where PyPI's gateways are, and Debian's."""


def print_commands(out: Path, answers: Answers, ports: StarterAddresses) -> None:
    """Print how to start it all, then how to see something happen and what is amiss."""
    gateway, framework = answers.gateway, answers.framework
    here = f"./{out}" if str(out).startswith("-") else str(out)  # or it would be an option
    config = shlex.quote(f"{here}/sidecar.yaml")
    commands = [f"{_python('sidecar')} run --config {config}"]
    page = ""
    if framework != NONE:
        commands.append(f"cd {shlex.quote(here)} && {_start(framework, ports)}")
        page = f"http://127.0.0.1:{ports.app if gateway == NONE else ports.gateway}/"
    if gateway != NONE:
        commands.append(_start_gateway(gateway, out))
    print("\nGo on with these, each in a terminal of its own:")
    _print(commands)
    if page:
        starts = FRAMEWORKS[framework]
        client = "a client" if starts.keeps_tokens else "a public client"
        print(f"The page is at {page}: {client} of your provider, {answers.client!r}, with the")
        print(f"redirect URI {page.rstrip('/')}{starts.redirect}")
    socket = shlex.quote(f"{here}/{SOCKET}")
    event = "--type risk-level-change --user USER --data current_level=HIGH"
    probe = f" --gateway-url {page}accounts" if page and gateway != NONE else ""
    print("Then let something happen to a USER, and see what is amiss:")
    _print(
        [
            f"{_python('sidecar')} emit --socket {socket} {event}",
            f"{_python('sidecar')} doctor --config {config}{probe}",
        ]
    )


def _print(commands: list[str]) -> None:
    for command in commands:
        print(f"  {command}")


def _start(framework: str, ports: StarterAddresses) -> str:
    """Return how its app is started; print before what is not installed."""
    command, packages, note, _ = FRAMEWORKS[framework]
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        install = f"{_python('pip')} install {' '.join(packages)}"
        print(f"note: {' and '.join(missing)} cannot be imported here: {install}")
    if note:
        print(f"note: {note}")
    program, _, arguments = command.replace("{port}", str(ports.app)).partition(" ")
    return f"{_python(program) if packages else program} {arguments}"


def _start_gateway(gateway: str, out: Path) -> str:
    command = GATEWAYS[gateway].command.replace("{here}", shlex.quote(str(gateway_directory(out))))
    program, _, arguments = command.partition(" ")
    if shutil.which(program):
        return command
    found = shutil.which(program, path=os.pathsep.join(_PLACES))
    if found is None:
        print(f"note: {program} is not installed here")
    return f"{shlex.quote(found or program)} {arguments}"


def _python(program: str) -> str:
    """Return how a program of this Python is called: by its name, if that means this one here."""
    found = shutil.which(program)
    if found and Path(sys.executable).parent in {Path(found).parent, Path(found).resolve().parent}:
        return program
    here = shlex.quote(sys.executable)
    return here if program == "python" else f"{here} -m {program}"
