"""The listeners for others than the pod, when somebody takes all their places."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest

from sidecar.wire.settings.intake import IntakeIssuer, IntakeSettings
from sidecar.wire.settings.receiver import KnownTransmitter, Receiver
from sidecar.wire.settings.settings import Settings
from sidecar.wire.settings.transmitter import Transmitter
from tests import plain_http
from tests.adapters.recipients import key_file
from tests.adapters.servers import Server
from tests.stories.logging_out import CLIENT, signed
from tests.stories.running import ISSUER, Pods, running, token, unique

MOST = 8
HALF = (
    b"",
    b"POST /v1/logout HTTP/1.1\r\nHost: a\r\nX-Slow:",
    b"POST /v1/logout HTTP/1.1\r\nHost: a\r\nContent-Length: 400\r\n\r\nlogout",
)


@pytest.fixture(scope="module")
def pods(valkey_server: Server, tmp_path_factory: Any) -> Iterator[Pods]:
    directory: Path = tmp_path_factory.mktemp("crowded")

    def change(settings: Settings, _: int) -> Settings:
        anywhere: Any = {"bind": "127.0.0.1:0", "max_connections": MOST}
        known = KnownTransmitter(name="idp", issuer=ISSUER, audiences=("us",))
        return msgspec.structs.replace(
            settings,
            admin=msgspec.structs.replace(settings.admin, max_connections=MOST),
            receiver=Receiver(**anywhere, transmitters=(known,)),
            intake=IntakeSettings(
                **anywhere, issuers=(IntakeIssuer(issuer=ISSUER, clients=(CLIENT,)),)
            ),
            transmitter=Transmitter(
                **anywhere, issuer="https://t.example", key_files=(key_file(directory),)
            ),
        )

    with running(valkey_server.url, (), 1, change) as pods:
        yield pods


@contextmanager
def crowded(url: str) -> Iterator[None]:
    """Three times as many connections as there are places, and no whole request on any."""
    at = urlsplit(url)
    with ExitStack() as stack:
        for said in HALF:
            for _ in range(MOST):
                one = stack.enter_context(socket.create_connection((at.hostname, at.port), 20))
                one.sendall(said)
        yield


def test_all_are_answered_and_a_metric_shows_the_crowd(pods: Pods) -> None:
    (here,) = pods.addresses
    user, session = unique("user"), unique("session")
    assert pods.clients[0].check(token(user, session))["decision"] == "allow"
    with crowded(here.intake[0]):
        body = {"logout_token": signed(sub=user, sid=session)}
        assert plain_http.post(f"{here.intake[0]}/v1/logout", data=body).status_code == 200
    assert pods.clients[0].check(token(user, session))["decision"] != "allow"
    with crowded(here.receiver[0]):
        answer = plain_http.post(f"{here.receiver[0]}/ssf/events", content=b"x")
        assert answer.status_code == 400  # it is no token
    with crowded(here.transmitter[0]):
        found = plain_http.get(f"{here.transmitter[0]}/.well-known/ssf-configuration")
        assert found.status_code == 200
    with crowded(here.admin[0]):
        text = plain_http.get(f"{here.admin[0]}/metrics").text
    for door in ("intake", "receiver", "transmitter", "admin"):
        assert f'sidecar_door_incidents_total{{door="{door}",incident="made-room"}}' in text
