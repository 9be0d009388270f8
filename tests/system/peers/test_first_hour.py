"""From an empty directory to an app that is protected, with a provider, a gateway and a browser.

No file is edited by hand: what `sidecar init` writes is run as it is, by the commands it tells.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import (
    monotonic,
    time,  # noqa: TID251 - the second that the proof must be later than
)

import httpx
import pytest

from tests.adapters.servers import free_ports
from tests.stories.running import eventually, unique
from tests.system.gateways.programs import program
from tests.system.peers.chromium import PROGRAM, Tab, browsing
from tests.system.peers.programs import HERE, installed, node

pytestmark = [
    pytest.mark.skipif(not installed("oidc-provider"), reason="oidc-provider is not installed"),
    pytest.mark.skipif(program("nginx") is None, reason="nginx is not installed"),
    pytest.mark.skipif(PROGRAM is None, reason="chromium is not installed"),
]
NOBODY = 65534
PATIENCE = 60.0
"""Seconds that a busy machine may take for a step. How long all of them take is recorded."""
PATH = "/usr/local/bin:/usr/bin:/bin"
"""As of a user of Debian who has activated no environment of Python's."""


def as_nobody(command: str) -> list[str]:
    """The command as a user without rights; of a user who is not root it is that already."""
    words = shlex.split(command)
    if os.geteuid() != 0:
        return words
    who = (f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
    # Nobody may read all, and write nothing: this Python may lie in the home of root.
    reads = ("--inh-caps=-all,+dac_read_search", "--ambient-caps=-all,+dac_read_search")
    return ["setpriv", *who, *reads, "--bounding-set=-all,+dac_read_search", *words]


@contextmanager
def shell(directory: Path, command: str) -> Iterator[subprocess.Popen[bytes]]:
    """A command that goes on, in a directory; its output is told where the test fails."""
    log = directory / f"{unique('output')}.log"
    where, _, then = command.rpartition(" && ")
    there = directory / shlex.split(where)[1] if where else directory
    with log.open("wb") as output:
        process = subprocess.Popen(
            as_nobody(then),
            cwd=there,
            env={"PATH": PATH, "HOME": str(directory), "TMPDIR": str(directory)},
            stdout=output,
            stderr=output,
        )
    try:
        yield process
    except BaseException:
        print(f"--- {command}\n{log.read_text(errors='replace')}")  # noqa: T201 - shown on failure
        raise
    finally:
        process.terminate()
        process.wait(PATIENCE)


def contents(directory: Path) -> dict[str, bytes]:
    """What `sidecar init` has written, by path: nobody must have to edit it."""
    files = [one for one in (directory / "payroll").rglob("*") if one.is_file()]
    return {str(file): file.read_bytes() for file in files}


def answers(url: str) -> bool:
    try:
        return httpx.get(url).status_code == 200
    except httpx.TransportError:
        return False


class Person:
    """Somebody at the page, who signs in at the provider's page as they are asked to."""

    def __init__(self, tab: Tab, page: str) -> None:
        self.tab = tab
        self.name = unique("ada")
        tab.open(page)

    def sign_in(self, methods: str) -> None:
        self.tab.fill_in("user", self.name)
        self.tab.fill_in("methods", methods)
        self.tab.click("button")

    def sees(self, text: str) -> None:
        self.tab.await_value("document.querySelector('output')?.textContent", text)


@pytest.fixture
def directory() -> Iterator[Path]:
    """An empty directory of somebody without rights, with a path that is short enough."""
    with tempfile.TemporaryDirectory(prefix="first-") as name:
        if os.geteuid() == 0:
            shutil.chown(name, NOBODY, NOBODY)
        yield Path(name)


def test_an_empty_directory_becomes_a_protected_app_without_an_edit_and_without_root(
    directory: Path, record_testsuite_property: Callable[[str, object], None]
) -> None:
    gateway, app, check, _, admin = free_ports(5)
    page = f"http://127.0.0.1:{gateway}/"
    with ExitStack() as stack:
        issuer = stack.enter_context(node(HERE / "provider.mjs", page))
        ports = f"--port {gateway} --app-port {app} --sidecar-port {check} --admin-port {admin}"
        names = "--audience payroll --client app --gateway nginx --framework fastapi --out payroll"
        init = f"{sys.executable} -m sidecar init --issuer {issuer} {names} {ports}"
        began = monotonic()
        done = subprocess.run(
            as_nobody(init),
            cwd=directory,
            env={"PATH": PATH},
            capture_output=True,
            text=True,
            check=True,
        )
        written = contents(directory)
        told = re.findall(r"^  (\S.*)$", done.stdout, re.MULTILINE)
        run, serve, proxy, signal, doctor = told
        for command in (run, serve, proxy):
            stack.enter_context(shell(directory, command))
        eventually(lambda: answers(f"http://127.0.0.1:{admin}/readyz"), bool, PATIENCE)
        eventually(lambda: answers(page), bool, PATIENCE)
        person = Person(stack.enter_context(browsing(directory / "profile")), page)

        person.tab.click("#pay")
        person.sign_in("pwd")
        person.sees('200 {"paid":7}')

        for command in (signal.replace("USER", person.name), doctor):
            with shell(directory, command) as asked:
                assert asked.wait(PATIENCE) == 0
        marked = int(time())
        # `auth_time` has whole seconds: a proof in the mark's own second would be none yet.
        eventually(lambda: int(time()), lambda now: now > marked)
        person.tab.click("#read")
        person.sees(f'200 {{"subject":"{person.name}"}}')
        person.tab.click("#pay")
        person.sign_in("pwd otp")
        person.sees('200 {"paid":7}')
        record_testsuite_property("first-hour-seconds", round(monotonic() - began, 1))
        assert {name: contents(directory).get(name) for name in written} == written
