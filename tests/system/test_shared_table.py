"""A daemon as a process, and an app that reads its table: with its group, and without."""

import base64
import json
import os
import pwd
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from stepup_client import Refused, SharedView, VerifiedToken
from stepup_client.local import LocalClient
from stepup_client.shared.checks import SharedChecks

from tests.adapters.identity import Signer, key_set
from tests.adapters.servers import Server
from tests.stories.running import ISSUER, token
from tests.system.processes import Process, daemons, level
from tests.waiting import eventually

GROUP = 54321
NOBODY = 65534
IP = "192.0.2.1"


@pytest.fixture(scope="module")
def directory() -> Iterator[Path]:
    """A directory that other users reach, as a pod's volume is; pytest's own are for one user."""
    with tempfile.TemporaryDirectory(prefix="pod-") as made:
        Path(made).chmod(0o755)
        yield Path(made)


@pytest.fixture(scope="module")
def sidecar(directory: Path, valkey_server: Server) -> Iterator[Process]:
    table: dict[str, object] = {"enabled": True}
    if os.geteuid() == 0:
        table["group"] = str(GROUP)
    with daemons(directory, valkey_server.url, "one", extra={"shared_table": table}) as running:
        yield running[0]


class App:
    """An app that has verified a token."""

    def __init__(self, sidecar: Process, session: str) -> None:
        self.token = token("ada", session)
        self.shown = VerifiedToken(
            self.token,
            issuer=ISSUER,
            user="ada",
            session=session,
            auth_time=self._auth_time(),
            acr="single-factor",
        )
        self.view = SharedView(socket=str(sidecar.socket))
        self.client = LocalClient(str(sidecar.socket))
        self.checks = SharedChecks(self.client, self.view)

    def _auth_time(self) -> int:
        payload = self.token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return int(claims["auth_time"])

    def allows(self) -> bool:
        return self.view.allows(self.shown, "c1", ip=IP)

    def is_refused(self) -> bool:
        try:
            self.client.check(self.token, context="c1", ip=IP)
        except Refused:
            return True
        return False

    def passes(self) -> bool:
        return self.checks.check(self.shown, context="c1", ip=IP).allowed


@contextmanager
def app_of(sidecar: Process, session: str) -> Iterator[App]:
    app = App(sidecar, session)
    with app.client:
        yield app


def test_an_app_decides_by_itself_until_the_sidecar_takes_it_back(sidecar: Process) -> None:
    with app_of(sidecar, "s1") as app:
        assert not app.allows()
        assert app.passes()
        assert app.allows(), app.view.trouble
        checks = level(sidecar, "sidecar_checks_total")
        assert all(app.passes() for _ in range(100))
        assert level(sidecar, "sidecar_checks_total") == checks
        assert level(sidecar, "sidecar_shared_table_calls") == 1
        written = 'sidecar_shared_table_writes_total{outcome="written"}'
        assert level(sidecar, written) == 1
        restricted = {"subject": {"session": "s1"}, "data": {"segment": "restricted"}}
        app.client.event({"type": "network-change", **restricted})
        assert not app.allows()
        assert not app.passes()
        assert level(sidecar, "sidecar_shared_table_calls") == 0


def test_what_was_taken_back_is_in_the_table_again_once_it_passes(sidecar: Process) -> None:
    with app_of(sidecar, "s5") as app:
        for agent in ("one", "two", "one"):
            seen = {"context": "c1", "ip": IP, "user_agent": agent}
            assert app.client.check(app.token, **seen).allowed
            assert app.view.allows(app.shown, "c1", ip=IP, user_agent=agent), app.view.trouble


def test_a_token_whose_key_its_issuer_withdraws_is_in_the_table_no_more(
    sidecar: Process, directory: Path
) -> None:
    file = directory / "jwks.json"
    keys = file.read_bytes()
    with app_of(sidecar, "s3") as app:
        assert app.passes()
        assert app.allows()
        file.write_bytes(key_set(Signer("ES256", number=1)))
        eventually(app.is_refused, bool)
        assert not app.allows()
        file.write_bytes(keys)
        eventually(app.is_refused, lambda refused: not refused)


@pytest.mark.skipif(os.geteuid() != 0, reason="takes the right to become others")
@pytest.mark.parametrize(("groups", "reads"), [((GROUP,), True), ((), False), ((NOBODY,), False)])
def test_only_the_apps_group_reads_the_table(
    sidecar: Process, groups: tuple[int, ...], reads: bool
) -> None:
    with app_of(sidecar, "s4") as app:
        # A table whose keys were others begins anew, and is none for a moment.
        eventually(lambda: app.passes() and app.allows(), bool)
        view = SharedView(str(sidecar.socket.parent / "decisions.table"), owner=os.geteuid())
        found = as_another(groups, lambda: (view.allows(app.shown, "c1", ip=IP), view.trouble))
    assert found == f"({reads}, {('' if reads else view_trouble(sidecar))!r})"


def view_trouble(sidecar: Process) -> str:
    return f"[Errno 13] Permission denied: '{sidecar.socket.parent / 'decisions.table'}'"


def as_another(groups: tuple[int, ...], work: Callable[[], object]) -> str:
    """Do something as a user of these groups alone, in a process of its own."""
    nobody = pwd.getpwuid(NOBODY)
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups(groups)
            os.setgid(nobody.pw_gid)
            os.setuid(nobody.pw_uid)
            os.write(writes, str(work()).encode())
        finally:
            os._exit(0)
    os.close(writes)
    with os.fdopen(reads, "rb") as answer:
        found = answer.read().decode()
    os.waitpid(child, 0)
    return found


def test_what_a_sidecar_that_is_gone_has_written_is_not_believed(sidecar: Process) -> None:
    """It is killed, lives again, and ends: the last of these tests, which need no daemon then."""
    with app_of(sidecar, "s2") as app:
        assert app.passes()
        assert app.allows()
        sidecar.process.kill()
        sidecar.process.wait()
        eventually(app.allows, lambda passes: not passes)
        sidecar.start()
        assert not app.allows()
        eventually(lambda: app.passes() and app.allows(), bool)
        assert sidecar.end() == 0
        assert not app.allows()
        assert not (sidecar.socket.parent / "decisions.table").exists()
