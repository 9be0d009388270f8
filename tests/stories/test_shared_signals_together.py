"""What one company's sidecars find, another's hear: our transmitter feeds our receiver."""

import json
import socket
from contextlib import AbstractContextManager, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sidecar.cli.main import main
from sidecar.wire.settings.receiver import KnownTransmitter, Receiver
from sidecar.wire.settings.settings import Settings
from sidecar.wire.settings.transmitter import Push, Recipient, Transmitter
from tests import plain_http
from tests.adapters.recipients import key_file, secret_file
from tests.adapters.servers import Server
from tests.stories.running import Pods, empowered, running, token, unique
from tests.waiting import eventually

AUDIENCE = "https://theirs.example"
CREDENTIAL, AUTHORIZATION = "a-credential-of-theirs", "Bearer shown-when-it-pushes"


class Companies:
    """Ours, which says; and theirs, once it listens. Two stores' worth of names on one server."""

    def __init__(self, directory: Path, server: Server) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.issuer = f"http://127.0.0.1:{free.getsockname()[1]}"
        self._directory = directory
        self._server = server
        self.token_file = secret_file(directory, CREDENTIAL)
        self.authorization_file = secret_file(directory, AUTHORIZATION)

    def ours(self, may_push_to: str = "") -> AbstractContextManager[Pods]:
        """Two sidecars, one of which delivers."""
        transmitter = Transmitter(
            issuer=self.issuer,
            bind=self.issuer.removeprefix("http://"),
            key_files=(key_file(self._directory),),
            push=Push(retry_base=0.05, retry_cap=0.1),
            poll_wait=5.0,
            recipients=(
                Recipient(
                    name="theirs",
                    audience=(AUDIENCE,),
                    credentials_file=self.token_file,
                    push_prefixes=(may_push_to,) if may_push_to else (),
                ),
            ),
        )

        def change(settings: Settings, index: int) -> Settings:
            # One address can be bound once: the other sidecar only records.
            own = transmitter if index == 0 else msgspec.structs.replace(transmitter, bind="")
            return msgspec.structs.replace(settings, transmitter=own)

        return running(self._server.url, (), 2, change)

    def theirs(self, poll_url: str = "") -> AbstractContextManager[Pods]:
        """One sidecar that listens: keys by discovery, rules by default."""
        known = KnownTransmitter(
            name="ours",
            issuer=self.issuer,
            audiences=(AUDIENCE,),
            token_file=self.token_file,
            authorization_file="" if poll_url else self.authorization_file,
            poll_url=poll_url,
            poll_interval=0.05,
        )
        receiver = Receiver(bind="" if poll_url else "127.0.0.1:0", transmitters=(known,))

        def change(settings: Settings, _: int) -> Settings:
            store = msgspec.structs.replace(settings.store, prefix="theirs")
            settings = msgspec.structs.replace(settings, store=store, receiver=receiver)
            return empowered(settings, "ours")

        return running(self._server.url, (), 1, change)

    def ssf(self, action: str, *words: str) -> Any:
        """`sidecar ssf ACTION`, as their operator runs it."""
        config = self._directory / "theirs.yaml"
        transmitter = {
            "name": "ours",
            "issuer": self.issuer,
            "audiences": [AUDIENCE],
            "events": ["session-revoked"],
            "token_file": self.token_file,
            "authorization_file": self.authorization_file,
        }
        receiver = {"bind": "127.0.0.1:8443", "transmitters": [transmitter]}
        config.write_text(json.dumps({"receiver": receiver}))
        out = StringIO()
        with redirect_stdout(out):
            status = main(("ssf", action, "ours", "--config", str(config), *words))
        assert status == 0
        return json.loads(out.getvalue()) if out.getvalue().startswith("{") else out.getvalue()


@pytest.fixture
def companies(valkey_server: Server, tmp_path: Path) -> Companies:
    with valkey_server.client() as client:
        client.flushall()
    return Companies(tmp_path, valkey_server)


def a_revocation_travels(ours: Pods, theirs: Pods) -> None:
    """A session that both serve is revoked at one: its next call at the other is refused."""
    user, session = unique("user"), unique("session")
    weak = token(user, session)
    here, there = ours.clients[1], theirs.clients[0]
    assert here.check(weak)["decision"] == there.check(weak)["decision"] == "allow"
    here.event("session-revoked", {"session": session}, data={"reason": "stolen"})
    heard = eventually(lambda: there.check(weak), lambda answer: answer["decision"] == "deny")
    assert heard["reasons"][0]["signal"] == "session-revoked"
    assert heard["reasons"][0]["text"] == "stolen"


def metrics(pods: Pods) -> str:
    return plain_http.get(f"{pods.addresses[0].admin[0]}/metrics", timeout=20).text


def test_by_push(companies: Companies) -> None:
    with companies.theirs() as theirs:
        (url,) = theirs.addresses[0].receiver
        with companies.ours(may_push_to=f"{url}/ssf/") as ours:
            made = companies.ssf("create", "--endpoint", f"{url}/ssf/events")
            assert made["delivery"].get("authorization_header") != AUTHORIZATION
            a_revocation_travels(ours, theirs)
            companies.ssf("verify")
            verified = 'sidecar_stream_verified_timestamp_seconds{transmitter="ours"}'
            eventually(lambda: metrics(theirs), lambda text: verified in text)
            assert 'outcome="invalid_state"} 0.0' in metrics(theirs)


def test_by_poll(companies: Companies) -> None:
    with companies.ours() as ours:
        made = companies.ssf("create")
        with companies.theirs(made["delivery"]["endpoint_url"]) as theirs:
            a_revocation_travels(ours, theirs)
            assert 'sidecar_polls_total{outcome="done",transmitter="ours"}' in metrics(theirs)
