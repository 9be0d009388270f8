"""The end of the story: the counts of marks, a token to play with, and commands to try."""

import os
import shlex
import shutil
import sys
from pathlib import Path

import trio

from sidecar.demo.acts import BERLIN, SENSITIVE, Plot
from sidecar.demo.browser import Astray, Challenge, SignedInUser
from sidecar.demo.cast import Cast, later_second
from sidecar.demo.stage import write_secret
from sidecar.demo.token_signer import LIFETIME
from sidecar.wire.http.messages import Request, Response

STEP_UP_PATH = "/demo/step-up"
KEY = Challenge(acr_values="phr", max_age=0)
_EXPECTED = {
    ("restricted-network", "network-change"),
    ("another-country", "session-presented"),
    ("risky-user", "risk-level-change"),
    ("healthy-devices-only", "device-compliance-change"),
}


async def counted(cast: Cast, _plot: Plot) -> None:
    """Print the marks that were set and cleared, as Prometheus would scrape them."""
    cast.timeline.act(
        "What it looks like from a distance",
        f"{cast.stage.admin}/metrics counts marks by policy and signal, and why they went.",
    )
    marks = await cast.marks(*_EXPECTED)
    cleared = await cast.metric("sidecar_marks_cleared_total")
    missing = _EXPECTED - marks.keys()
    cast.timeline.step(
        "Metrics",
        "sidecar_marks_total",
        f"missing: {missing}" if missing else "each signal counted",
        expected="each signal counted",
    )
    rows = [(policy, signal, str(count)) for (policy, signal), count in sorted(marks.items())]
    rows += [
        ("(cleared)", dict(pairs)["reason"], f"{value:.0f}")
        for pairs, value in sorted(cleared.items())
        if value
    ]
    cast.timeline.table(("policy", "signal", "marks"), rows)


class Playground:
    """Keeps Alice's token fresh in a file, and signs her in again when she is asked to."""

    def __init__(self, cast: Cast, plot: Plot) -> None:
        self._cast = cast
        self._plot = plot
        self.token = cast.stage.directory / "alice.token"

    async def run(self) -> None:
        """Keep the token fresh for ever. It is for the same sign-in, and clears no mark."""
        self._keep(self._plot.token("alice"))
        self._cast.stage.provider.add(STEP_UP_PATH.encode(), self._step_up)
        self._write_environment()
        self._print_commands()
        while True:
            await trio.sleep(LIFETIME / 2)
            self._keep(await self._cast.alice.sign_in())

    async def _step_up(self, request: Request) -> Response:
        if request.method != "POST":
            return Response(405, (("Allow", "POST"),), b"POST signs Alice in again\n")
        await later_second()
        try:
            self._keep(await self._cast.alice.sign_in(KEY))
        except Astray as error:
            return Response(502, (), f"{error}\n".encode())
        return Response(200, (), f"Alice used her key; {self.token} is new\n".encode())

    def _keep(self, signed: SignedInUser) -> None:
        self._plot.keep("alice", signed)
        write_secret(self.token, signed.access_token)

    def _write_environment(self) -> None:
        """Write what a shell needs to know of the demo, for `. ./environment`."""
        stage = self._cast.stage
        known = {
            "SIDECAR_SOCKET": stage.socket,
            "SIDECAR_ADMIN_URL": stage.admin,
            "SIDECAR_ADMIN__TOKEN_FILE": stage.admin_token,
            "DEMO_CHECKS": stage.checks,
            "DEMO_PROVIDER": stage.provider.issuer,
        }
        lines = [f"export {name}={shlex.quote(str(value))}\n" for name, value in known.items()]
        (stage.directory / "environment").write_text("".join(lines))

    def _print_commands(self) -> None:
        stage = self._cast.stage
        session = self._plot.token("alice").session
        sidecar = _command()
        token = shlex.quote(str(self.token))
        admin = f" --url {stage.admin} --admin-token-file {stage.admin_token}"
        emit = f"{sidecar} emit --type network-change --session {session}"
        self._cast.timeline.commands(
            "It is yours now (Ctrl-C ends it and leaves nothing behind). In another terminal:",
            (
                ("where the daemon listens", f"export SIDECAR_SOCKET={stage.socket}"),
                (
                    "may Alice change her bank details?",
                    f"{sidecar} check --token-file {token} --context c1 --ip {BERLIN}",
                ),
                ("a signal: mark her session, then ask again", f"{emit} --data segment=restricted"),
                ("the challenge, as a proxy gets it", _curl(token, stage.checks)),
                (
                    "Alice uses her security key: a new token in the same file",
                    f"curl -X POST {stage.provider.issuer}{STEP_UP_PATH}",
                ),
                ("every session, with its standing", f"{sidecar} sessions{admin}"),
                ("for the tutorials", f"cd {shlex.quote(str(stage.directory))} && . ./environment"),
                ("what was counted", f"curl -s {stage.admin}/metrics | grep ^sidecar_marks"),
                (
                    "the policies; a change is taken up at once",
                    f"$EDITOR {stage.directory / 'policies' / 'payroll.yaml'}",
                ),
            ),
        )


def _curl(token: str, checks: str) -> str:
    method, _, path = SENSITIVE.partition(" ")
    forwarded = {"Method": method, "Uri": path, "For": BERLIN}
    headers = " ".join(f"-H 'X-Forwarded-{name}: {value}'" for name, value in forwarded.items())
    return (
        f'curl -i -H "Authorization: Bearer $(cat {token})" \\\n  {headers} \\\n  {checks}/v1/check'
    )


def _command() -> str:
    """Return how this very program can be called from a shell."""
    if shutil.which("sidecar"):
        return "sidecar"
    beside = Path(sys.executable).parent / "sidecar"
    if os.access(beside, os.X_OK):
        return shlex.quote(os.path.relpath(beside))
    return f"{shlex.quote(sys.executable)} -m sidecar"
