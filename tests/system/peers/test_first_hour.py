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
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import time  # noqa: TID251 - the second that the proof must be later than

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
    search = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"], "/usr/sbin"])
    with log.open("wb") as output:
        process = subprocess.Popen(
            as_nobody(then),
            cwd=there,
            env={"PATH": search, "HOME": str(directory), "TMPDIR": str(directory)},
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
        process.wait(15)


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
    directory: Path,
) -> None:
    gateway, app, check, _, admin = free_ports(5)
    page = f"http://127.0.0.1:{gateway}/"
    with ExitStack() as stack:
        issuer = stack.enter_context(node(HERE / "provider.mjs", page))
        ports = f"--port {gateway} --app-port {app} --sidecar-port {check} --admin-port {admin}"
        names = "--audience payroll --client app --gateway nginx --framework fastapi --out payroll"
        init = f"{sys.executable} -m sidecar init --issuer {issuer} {names} {ports}"
        done = subprocess.run(
            as_nobody(init), cwd=directory, capture_output=True, text=True, check=True
        )
        told = re.findall(r"^  (\S.*)$", done.stdout, re.MULTILINE)
        run, serve, proxy, signal = told
        for command in (run, serve, proxy):
            stack.enter_context(shell(directory, command))
        eventually(lambda: answers(f"http://127.0.0.1:{admin}/readyz"), bool, 30)
        eventually(lambda: answers(page), bool, 30)
        person = Person(stack.enter_context(browsing(directory / "profile")), page)

        person.tab.click("#pay")
        person.sign_in("pwd")
        person.sees('200 {"paid":7}')

        with shell(directory, signal.replace("USER", person.name)) as emit:
            assert emit.wait(20) == 0
        marked = int(time())
        # `auth_time` has whole seconds: a proof in the mark's own second would be none yet.
        eventually(lambda: int(time()), lambda now: now > marked)
        person.tab.click("#read")
        person.sees(f'200 {{"subject":"{person.name}"}}')
        person.tab.click("#pay")
        person.sign_in("pwd otp")
        person.sees('200 {"paid":7}')
