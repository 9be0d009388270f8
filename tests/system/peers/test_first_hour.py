"""From an empty directory to an app that is protected, with a provider, a gateway and a browser.

No file is edited by hand: what `sidecar init` writes is run as it is, by the commands it says.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from time import (
    monotonic,
    time,  # noqa: TID251 - the second that the proof must be later than
)

import pytest

from tests.adapters.servers import free_ports
from tests.system.gateways.programs import program
from tests.system.peers.chromium import PROGRAM, browsing
from tests.system.peers.programs import HERE, installed, node
from tests.system.peers.starting import (
    PATIENCE,
    Person,
    await_page,
    empty_directory,
    initialised,
    shell,
)
from tests.waiting import eventually

pytestmark = [
    pytest.mark.skipif(not installed("oidc-provider"), reason="oidc-provider is not installed"),
    pytest.mark.skipif(program("nginx") is None, reason="nginx is not installed"),
    pytest.mark.skipif(PROGRAM is None, reason="chromium is not installed"),
]


def contents(directory: Path) -> dict[str, bytes]:
    """What `sidecar init` has written, by path: nobody must have to edit it."""
    files = [one for one in (directory / "payroll").rglob("*") if one.is_file()]
    return {str(file): file.read_bytes() for file in files}


@pytest.fixture
def directory() -> Iterator[Path]:
    with empty_directory() as directory:
        yield directory


def test_an_empty_directory_becomes_a_protected_app_without_an_edit_and_without_root(
    directory: Path, record_testsuite_property: Callable[[str, object], None]
) -> None:
    gateway, app, check, _, admin = free_ports(5)
    page = f"http://127.0.0.1:{gateway}/"
    with ExitStack() as stack:
        issuer = stack.enter_context(node(HERE / "provider.mjs", page))
        ports = f"--port {gateway} --app-port {app} --sidecar-port {check} --admin-port {admin}"
        names = "--audience payroll --client app --gateway nginx --framework fastapi --out payroll"
        began = monotonic()
        heard = initialised(directory, f"--issuer {issuer} {names} {ports}")
        written = contents(directory)
        run, serve, proxy, signal, doctor = heard
        for command in (run, serve, proxy):
            stack.enter_context(shell(directory, command))
        await_page(f"http://127.0.0.1:{admin}/readyz")
        await_page(page)
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
