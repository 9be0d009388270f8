"""An address behind which there are several servers, as a service of Kubernetes may be one."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from sidecar.service.admin import echo
from sidecar.service.view import store_epoch
from sidecar.wire.settings.settings import Settings
from tests import plain_http
from tests.adapters.servers import Server, serving
from tests.chaos.policies import POLICIES
from tests.stories.running import running, token, unique
from tests.waiting import eventually

SUBSCRIBES = b"*2\r\n$10\r\nSSUBSCRIBE"


@contextlib.contextmanager
def before(path: Path, one: Server, other: Server) -> Iterator[None]:
    """Lead each connection that asks for channels to the other server, and all else to the one."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(64)
        threading.Thread(target=_accept, args=(listener, one, other), daemon=True).start()
        yield
        listener.shutdown(socket.SHUT_RDWR)


def _accept(listener: socket.socket, one: Server, other: Server) -> None:
    with contextlib.suppress(OSError):
        while True:
            client, _ = listener.accept()
            threading.Thread(target=_serve, args=(client, one, other), daemon=True).start()


def _serve(client: socket.socket, one: Server, other: Server) -> None:
    """Pass on what is asked, and what is answered: each request is answered before the next."""
    with client, socket.socket(socket.AF_UNIX) as here, socket.socket(socket.AF_UNIX) as there:
        here.connect(str(one.path))
        there.connect(str(other.path))
        for server in (here, there):
            threading.Thread(target=_answer, args=(server, client), daemon=True).start()
        server = here
        with contextlib.suppress(OSError):
            while asked := client.recv(1 << 20):
                server = there if asked.startswith(SUBSCRIBES) else server
                server.sendall(asked)


def _answer(server: socket.socket, client: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while heard := server.recv(1 << 20):
            client.sendall(heard)


def test_a_store_that_is_two_servers_is_down_and_no_event_is_acknowledged_there(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_epoch, "BEAT", 0.1)
    monkeypatch.setattr(echo, "PATIENCE", 0.5)
    path = tmp_path_factory.mktemp("p") / "s"

    def through(settings: Settings, _: int) -> Settings:
        store = msgspec.structs.replace(settings.store, url=f"unix://{path}", prefix="two")
        sessions = msgspec.structs.replace(settings.sessions, max_staleness=2.0)
        return msgspec.structs.replace(settings, store=store, sessions=sessions)

    with (
        serving() as one,
        serving() as other,
        before(path, one, other),
        running("", POLICIES, 1, through) as pods,
    ):
        (client,), admin = pods.clients, pods.addresses[0].admin[0]
        ada = token(unique("ada"), unique("s"))
        heard = "is not heard from it: store.url must lead to one server"
        eventually(lambda: heard in plain_http.get(f"{admin}/readyz").text, bool)
        eventually(lambda: client.check(ada).get("status"), lambda status: status == 503)
        refused = client.event("session-revoked", {"user": unique("eve")})
        assert refused["error"] == "unavailable"
        assert heard in refused["message"]
        assert client.check(ada, context="")["decision"] == "allow"
