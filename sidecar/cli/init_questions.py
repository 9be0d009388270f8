"""The questions of `sidecar init` in a terminal, where an option does not say it."""

import argparse
import sys
from collections.abc import Collection, Mapping
from typing import NamedTuple

from sidecar.cli.exit_status import Stop
from sidecar.cli.init_apps import FRAMEWORKS
from sidecar.cli.init_gateways import GATEWAYS
from sidecar.wire.checks.url_credentials import credential_in

NONE = "none"
OUT = "sidecar"


class Answers(NamedTuple):
    """The values that were given as options or answered."""

    issuer: str
    audience: str
    app: str
    gateway: str
    framework: str
    client: str
    out: str


def ask(arguments: argparse.Namespace) -> Answers:
    """Return what was given, what is answered in a terminal, and defaults for the rest."""
    given = {name: (getattr(arguments, name) or "").strip() for name in Answers._fields}
    missing = [f"--{name}" for name in ("issuer", "audience") if not given[name]]
    if missing and not _is_terminal():
        raise Stop(
            f"sidecar init: {' and '.join(missing)} must be given: there is no terminal to ask at",
            "Such as: sidecar init --issuer https://login.example.com --audience payroll",
        )
    answers = _asked(given) if missing else _by_default(given)
    if answers.gateway != NONE and _keeps_tokens(answers.framework):
        raise Stop(
            f"sidecar init: --framework {answers.framework} keeps the tokens: a gateway has none to"
            " show",
            "Leave --gateway out, and the app asks the sidecar itself.",
        )
    for name, answer in answers._asdict().items():
        # An address of bytes that are no text, too: Python has made surrogates of them.
        if not answer.isprintable():
            raise Stop(f"sidecar init: --{name}: has a character that is no text: {answer!a}")
    return answers


def _keeps_tokens(framework: str) -> bool:
    return framework != NONE and FRAMEWORKS[framework].keeps_tokens


def _is_terminal() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()


def _by_default(given: Mapping[str, str]) -> Answers:
    audience = given["audience"]
    return Answers(
        issuer=given["issuer"],
        audience=audience,
        app=given["app"] or audience,
        gateway=given["gateway"] or NONE,
        framework=given["framework"] or NONE,
        client=given["client"] or given["app"] or audience,
        out=given["out"] or OUT,
    )


def _asked(given: Mapping[str, str]) -> Answers:
    issuer = given["issuer"] or _answer("Your provider, as the `iss` of its tokens (https://...)")
    audience = given["audience"] or _answer("What tokens for your app have in `aud`")
    app = given["app"] or _answer("What policies call the app", audience)
    some = (*FRAMEWORKS, NONE)
    framework = given["framework"] or _answer("What a first app is written in", NONE, some)
    gateway = given["gateway"] or (NONE if _keeps_tokens(framework) else "")
    return Answers(
        issuer=issuer,
        audience=audience,
        app=app,
        gateway=gateway or _answer("What stands before it", "nginx", (*GATEWAYS, NONE)),
        framework=framework,
        client=given["client"] or _answer("The page's client id at the provider", app),
        out=given["out"] or _answer("Where the files go", OUT),
    )


def _answer(question: str, default: str = "", choices: Collection[str] = ()) -> str:
    """Ask until there is an answer that will do; an empty one takes the default."""
    if choices:
        question = f"{question}: {', '.join(choices)}"
    while True:
        try:
            answer = input(f"{question}{f' [{default}]' if default else ''}: ").strip() or default
        except EOFError:
            raise Stop("sidecar init: ended before all was answered; nothing is written") from None
        if part := credential_in(answer):
            print(f"It must not hold {part}, as it stands in log and probes.")
            continue
        if answer and (not choices or answer in choices):
            return answer
        print(f"One of: {', '.join(choices)}" if choices else "There is no default; please say.")
