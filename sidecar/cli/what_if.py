"""`sidecar what-if`: which policies would fire for a described session, and why or why not."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sidecar.cli.admin_client import add_admin, in_path, open_admin_client
from sidecar.cli.exit_status import DONE, MISTAKE, NEGATIVE, Stop
from sidecar.cli.run import add_config
from sidecar.cli.socket_options import plain

if TYPE_CHECKING:  # loaded when they are needed
    from sidecar.domain.values.namespaces import Namespaces
    from sidecar.tuning.scenario.play import Stage
    from sidecar.tuning.scenario.what_if import WhatIfAnswer, WhatIfQuestion
    from sidecar.wire.settings.settings import Settings

_LEVELS = ("low", "medium", "high")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = (
        "Describe a session that signs in, and a call; see how the configured policies would "
        "answer it, each with its conditions shown. With --then, things happen after the sign-in, "
        "a minute apart, and marks arise as they would in life. Needs no running daemon. Ends "
        "with status 0 if the call (after the last change) may pass, 1 if not. With --session, a "
        "running daemon is asked of a session that it knows, as it now is."
    )
    parser.epilog = """\
examples:
  sidecar what-if --user ada --group finance --ip 203.0.113.9 --acr mfa --context c1
  sidecar what-if --group finance --country DE --acr mfa --context c1 --then country=PT
  sidecar what-if --acr mfa --context c3 --then user-risk=high --then after=5m,sign-in=phr
  sidecar what-if --role admin --acr phr --path /admin/users --at 2026-01-05T23:00:00Z --json
  sidecar what-if --session 4f1c2a --context c1 --url http://10.0.0.7:9090

what --then understands, with commas between what happens at once:
  ip, country, region, asn, coordinates=LAT/LON, anonymizer=KIND+KIND, network, user-agent,
  device, compliant=true|false, user-risk, session-risk, device-risk, signal=NAME:WEIGHT,
  claim=NAME:VALUE, credential, revoked=REASON, sign-in=ACR or AMR+AMR, after=DURATION

exit status: 0 the last call may pass, 1 it may not, 2 bad usage, configuration or input
"""
    add_config(parser)
    parser.add_argument(
        "--policies", metavar="PATH", action="append", default=[], help="instead of the configured"
    )
    _add_session(parser.add_argument_group("the session"))
    call = parser.add_argument_group("the call")
    call.add_argument("--context", action="append", default=[], help="may be given several times")
    call.add_argument("--app", default="", help="(default: the configured one)")
    call.add_argument("--method", default="", help="instead of a context: the call's method,")
    call.add_argument("--host", default="", help="host,")
    call.add_argument("--path", default="", help="and path, to be mapped by the routes")
    live = parser.add_argument_group("a session of a running daemon, instead of a described one")
    live.add_argument("--session", metavar="ID", help="explain a call of this session")
    add_admin(live)
    parser.add_argument("--at", metavar="TIME", help="when it signs in (default: now)")
    parser.add_argument("--then", metavar="KEY=VALUE", action="append", default=[])
    parser.add_argument(
        "--all", action="store_true", help="also policies for other users, apps and contexts"
    )
    parser.add_argument("--json", action="store_true", help="print the explanations as JSON")


def _add_session(group: "argparse._ArgumentGroup") -> None:
    group.add_argument("--user", default="user")
    group.add_argument("--issuer", default="", help="whose user it is, where there are several")
    group.add_argument("--group", action="append", default=[], help="may be given several times")
    group.add_argument("--role", action="append", default=[], help="likewise")
    group.add_argument(
        "--unknown",
        metavar="WHAT",
        action="append",
        default=[],
        choices=["groups", "roles"],
        help="nobody has said the user's groups, or roles: what a token that leaves them out means",
    )
    group.add_argument("--claim", metavar="NAME=VALUE", action="append", default=[])
    group.add_argument("--ip", default="", help="where it is; databases and named places count")
    group.add_argument("--country", help="instead of what the databases say, or without --ip")
    group.add_argument("--region", help="likewise, such as DE-BE")
    group.add_argument("--asn", help="likewise")
    group.add_argument("--coordinates", metavar="LAT/LON", help="likewise")
    group.add_argument("--anonymizer", metavar="KIND", help="likewise: vpn, tor, ...")
    group.add_argument(
        "--proven",
        action="append",
        default=[],
        metavar="IP",
        help="from where the user has signed in before on the device; may be repeated",
    )
    group.add_argument("--network", default="", help="the segment that an agent reports")
    group.add_argument("--user-agent", default="")
    group.add_argument("--device", default="")
    compliance = group.add_mutually_exclusive_group()
    compliance.add_argument("--compliant", action="store_true", default=None)
    compliance.add_argument("--not-compliant", dest="compliant", action="store_false")
    group.add_argument("--acr", default="", help="what the sign-in shows")
    group.add_argument("--amr", action="append", default=[], help="likewise; several times")
    when = group.add_mutually_exclusive_group()
    when.add_argument("--signed-in-ago", metavar="DURATION", default="0s")
    when.add_argument("--auth-time", metavar="SECONDS", type=int, help="since the epoch")
    group.add_argument("--user-risk", choices=_LEVELS, help="reported before the sign-in")
    group.add_argument("--session-risk", choices=_LEVELS, help="likewise")
    group.add_argument("--device-risk", choices=_LEVELS, help="likewise")
    group.add_argument("--score-signal", metavar="NAME=WEIGHT", action="append", default=[])


def run(arguments: argparse.Namespace) -> int:
    """Answer, and say why."""
    if arguments.session is not None:
        return _of_session(arguments)
    from sidecar.tuning.scenario.session_changes import InvalidChange  # noqa: PLC0415 - likewise
    from sidecar.tuning.scenario.stage import read_stage  # noqa: PLC0415 - a command starts quickly
    from sidecar.tuning.scenario.what_if import answer  # noqa: PLC0415 - likewise
    from sidecar.wire.yaml.tree import ConfigError  # noqa: PLC0415 - likewise

    try:
        configuration, stage = read_stage(Path(arguments.config), os.environ, arguments.policies)
    except ConfigError as error:
        for problem in error.problems:
            print(plain(str(problem)), file=sys.stderr)
        return MISTAKE
    arguments.context = _known(arguments.context, configuration.settings)
    _issuer(arguments.issuer, configuration.settings.tokens.namespaces)
    try:
        answers = answer(_question(arguments, stage), stage)
    except InvalidChange as error:
        raise Stop(f"sidecar what-if: {plain(str(error))}") from error
    _print(answers, arguments)
    return DONE if answers[-1].explanation.verdict == "allow" else NEGATIVE


def _of_session(arguments: argparse.Namespace) -> int:
    """Return what a running daemon would answer to a call of a session, and why."""
    import msgspec  # noqa: PLC0415 - a command starts quickly

    from sidecar.cli.explanation_tree import print_explanation  # noqa: PLC0415 - likewise
    from sidecar.domain.explanation.explanation import Explanation  # noqa: PLC0415 - likewise

    for option in ("policies", "then", "at", "path"):
        if getattr(arguments, option):
            raise Stop(f"sidecar what-if: --{option}: is not for a --session of a running daemon")
    query = {"explain": ",".join(arguments.context), "app": arguments.app}
    with open_admin_client("what-if", arguments) as client:
        found = client.get(f"/v1/sessions/{in_path(arguments.session)}", query)
    try:
        explanation = msgspec.convert(found, Explanation)
    except msgspec.ValidationError as error:
        raise Stop(
            "sidecar what-if: the daemon is of another version, and explains otherwise"
        ) from error
    if arguments.json:
        print(msgspec.json.encode(explanation).decode())
    else:
        print_explanation(explanation, every=arguments.all)
    return DONE if explanation.verdict == "allow" else NEGATIVE


def _known(contexts: Sequence[str], settings: "Settings") -> list[str]:
    """Return the contexts by their ids.

    Stops for one that is not configured: no policy would be for it, and all would pass.
    """
    from sidecar.wire.yaml.structs import suggestion  # noqa: PLC0415 - a command starts quickly

    known = frozenset(settings.contexts)
    named = [settings.aliases.get(name, name) for name in contexts]
    for name in named:
        if known and name not in known:
            hint = suggestion(name, known)
            raise Stop(f"sidecar what-if: --context: {plain(name)!r} is not in `contexts`{hint}")
    return named


def _issuer(issuer: str, namespaces: "Namespaces") -> None:
    """Stop for an issuer that is not configured, and where nobody says which of several."""
    from sidecar.wire.yaml.structs import suggestion  # noqa: PLC0415 - a command starts quickly

    known = ", ".join(namespaces.words)
    if issuer and namespaces.named(issuer) is None:
        hint = suggestion(issuer, namespaces.words)
        raise Stop(f"sidecar what-if: --issuer: {plain(issuer)!r} is not in `tokens.issuers`{hint}")
    if not issuer and namespaces.sole() is None:
        raise Stop(f"sidecar what-if: --issuer: is required, as there are several: {plain(known)}")


def _question(arguments: argparse.Namespace, stage: "Stage") -> "WhatIfQuestion":
    """Return the question that was typed; raises InvalidChange."""
    from sidecar.domain.policy.conditional_access import RiskLevel  # noqa: PLC0415 - a command starts quickly
    from sidecar.tuning.scenario.session_changes import (  # noqa: PLC0415 - likewise
        PLACE_KEYS,
        InvalidChange,
        read_claim,
        read_place,
        read_signal,
    )
    from sidecar.tuning.scenario.simulation import Described  # noqa: PLC0415 - likewise
    from sidecar.tuning.scenario.what_if import WhatIfQuestion  # noqa: PLC0415 - likewise
    from sidecar.wire.names import composed  # noqa: PLC0415 - likewise
    from sidecar.wire.routes.readings import PathInvalid, normalise  # noqa: PLC0415 - likewise

    at = _time(arguments.at)
    given = {name: getattr(arguments, name) for name in PLACE_KEYS}
    given = {name: value for name, value in given.items() if value}
    ip, place = read_place(given, stage.place_of) if given else ("", None)

    def level(name: str) -> RiskLevel | None:
        value = getattr(arguments, name)
        return RiskLevel(value) if value else None

    def names(given: list[str]) -> tuple[str, ...]:
        return tuple(composed(name) for name in given)

    described = Described(
        user=composed(arguments.user),
        issuer=arguments.issuer,
        groups=None if "groups" in arguments.unknown else names(arguments.group),
        roles=None if "roles" in arguments.unknown else names(arguments.role),
        claims=tuple(read_claim(text) for text in arguments.claim),
        device=arguments.device,
        compliant=arguments.compliant,
        ip=ip,
        user_agent=arguments.user_agent,
        network=arguments.network,
        acr=arguments.acr,
        amr=tuple(arguments.amr),
        signed_in_ago=_ago(arguments, at),
        proven=_addresses(arguments.proven),
        user_risk=level("user_risk"),
        session_risk=level("session_risk"),
        device_risk=level("device_risk"),
        signals=tuple(read_signal(text) for text in arguments.score_signal),
    )
    try:
        path = normalise(arguments.path) if arguments.path else ""
    except PathInvalid as error:
        raise InvalidChange(f"--path: {error}") from error
    return WhatIfQuestion(
        described=described,
        at=at,
        app=arguments.app,
        contexts=tuple(arguments.context),
        method=arguments.method,
        host=arguments.host,
        path=path,
        place=place,
        thens=tuple(arguments.then),
    )


def _time(text: str | None) -> float:
    from sidecar.adapters import clock  # noqa: PLC0415 - a command starts quickly
    from sidecar.tuning.formats.times import zoned  # noqa: PLC0415 - likewise

    if text is None:
        return float(int(clock.now()))
    try:
        return zoned(text)
    except ValueError as error:
        raise Stop(f"sidecar what-if: --at: {error}") from error


def _addresses(texts: list[str]) -> tuple[str, ...]:
    from sidecar.domain.values.address import canonical  # noqa: PLC0415 - likewise
    from sidecar.tuning.scenario.session_changes import InvalidChange  # noqa: PLC0415 - likewise

    for text in texts:
        if not canonical(text):
            raise InvalidChange(f"--proven: {text} is no IP address")
    return tuple(map(canonical, texts))


def _ago(arguments: argparse.Namespace, at: float) -> float:
    """Return how many seconds before it is first seen the session signed in."""
    from sidecar.wire.yaml import scalars  # noqa: PLC0415 - a command starts quickly

    if arguments.auth_time is not None:
        ago = at - arguments.auth_time
        if not 0 <= ago <= at:
            raise Stop("sidecar what-if: --auth-time: must not be later than --at")
        return float(ago)
    try:
        seconds = scalars.duration(arguments.signed_in_ago)
    except ValueError as error:
        raise Stop(f"sidecar what-if: --signed-in-ago: {error}") from error
    if not 0 <= seconds <= min(at, scalars.LONGEST):
        raise Stop("sidecar what-if: --signed-in-ago: is too long")
    return seconds


def _print(answers: "Sequence[WhatIfAnswer]", arguments: argparse.Namespace) -> None:
    if arguments.json:
        import msgspec  # noqa: PLC0415 - a command starts quickly

        last = answers[-1].explanation
        value: object = answers if arguments.then else last
        print(msgspec.json.encode(value).decode())
        return
    from sidecar.cli import explanation_tree  # noqa: PLC0415 - rich is slow to load

    for one in answers[:-1]:
        change = f"then {one.change}" if one.change else "signed in"
        print(f"{plain(change)}: {one.explanation.verdict}: {plain(one.explanation.why)}")
    if len(answers) > 1:
        print(f"then {plain(answers[-1].change)}:")
    explanation_tree.print_explanation(answers[-1].explanation, every=arguments.all)
