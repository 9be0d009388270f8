import io
import socket
import ssl
from collections.abc import AsyncIterator, Collection
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
import trustme

from sidecar.adapters.events.guesses import AT_ONCE
from sidecar.adapters.telemetry.logs import LogLines
from sidecar.adapters.telemetry.telemetry import PrometheusTelemetry
from sidecar.service.ports.calls import Overloaded, Unavailable
from sidecar.shared_signals.adapters.receiver_listener import PushApp, push_listener
from sidecar.shared_signals.wire.security_event_tokens import InvalidSet
from sidecar.wire.events.security_event_names import Fault
from sidecar.wire.settings.receiver import KnownTransmitter, Receiver
from sidecar.wire.settings.settings import Settings
from tests import plain_http

SET = {"Content-Type": "application/secevent+jwt"}
FRIEND = KnownTransmitter(name="friend", issuer="https://a.example", audiences=("us",))
OPEN = KnownTransmitter(name="open", issuer="https://b.example", audiences=("us",))


class Taker:
    """Takes SETs, or fails as it is set to."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, tuple[str, ...]]] = []
        self.shown: list[str] = []
        self.fault: Exception | None = None
        self.gate: trio.Event | None = None
        self.came = trio.Event()

    async def take(self, text: str, senders: Collection[str], shown: str = "") -> object:
        self.came.set()
        if self.gate is not None:
            await self.gate.wait()
        if self.fault:
            raise self.fault
        self.taken.append((text, tuple(senders)))
        self.shown.append(shown)
        return None


async def secret() -> str:
    return "Bearer secret"


class Listening:
    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self.taker = Taker()
        self.draining = trio.Event()
        self.telemetry = PrometheusTelemetry(Settings(), LogLines(io.BytesIO()))

    async def open(self, *transmitters: KnownTransmitter, **changes: Any) -> str:
        settings = Receiver(
            **{"bind": "127.0.0.1:0", "transmitters": transmitters or (OPEN,), **changes}
        )
        names = {one.name: secret for one in settings.transmitters if one is FRIEND}
        app = PushApp(
            settings,
            self.taker,
            lambda: names,
            self.telemetry,
            lambda: settings.transmitters,
        )
        listener = push_listener(settings, app, self.telemetry)

        async def run(*, task_status: trio.TaskStatus[list[str]]) -> None:
            await listener.run(draining=self.draining, task_status=task_status)

        (bound,) = await self._nursery.start(run)
        return f"{bound}/ssf/events"

    def metrics(self) -> str:
        return self.telemetry.expose().body.decode()


@pytest.fixture
async def listening(nursery: trio.Nursery) -> AsyncIterator[Listening]:
    yield Listening(nursery)
    nursery.cancel_scope.cancel()


async def post(url: str, body: bytes = b"a.b.c", **headers: str) -> httpx.Response:
    async with httpx.AsyncClient(timeout=20, verify=plain_http.NO_CERTIFICATES) as client:
        return await client.post(url, content=body, headers={**SET, **headers})


async def test_what_is_taken_is_answered_with_202_and_nothing(listening: Listening) -> None:
    url = await listening.open()
    answer = await post(url, b"a.b.c\n")
    assert (answer.status_code, answer.content) == (202, b"")
    assert listening.taker.taken == [("a.b.c", ("open",))]


async def test_what_cannot_be_kept_now_is_to_be_sent_again(listening: Listening) -> None:
    url = await listening.open()
    for fault, seconds in ((Unavailable("gone"), "1"), (Overloaded(7), "7")):
        listening.taker.fault = fault
        answer = await post(url)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, seconds)
        assert answer.content == b""


async def test_every_code_of_rfc_8935_is_answered_as_it_says(listening: Listening) -> None:
    url = await listening.open()
    for fault in Fault:
        listening.taker.fault = InvalidSet(fault, "because")
        answer = await post(url)
        assert answer.status_code == 400
        assert answer.json() == {"err": fault.value, "description": "because"}


async def test_an_error_of_ours_says_nothing_and_is_counted(listening: Listening) -> None:
    url = await listening.open()
    listening.taker.fault = RuntimeError("secret")
    answer = await post(url)
    assert (answer.status_code, answer.content) == (500, b"")
    assert 'sidecar_worker_errors_total{where="receiver"} 1.0' in listening.metrics()


async def test_each_transmitter_shows_its_own_secret_or_none_if_it_has_none(
    listening: Listening,
) -> None:
    url = await listening.open(FRIEND, OPEN)
    await post(url)
    await post(url, Authorization="Bearer wrong")
    await post(url, Authorization="Bearer secret")
    senders = [senders for _, senders in listening.taker.taken]
    assert senders == [("open",), ("open",), ("open", "friend")]
    assert listening.taker.shown == ["", "", "friend"]


async def test_guesses_are_counted_and_slowed_and_keep_no_transmitter_out(
    listening: Listening,
) -> None:
    url = await listening.open(FRIEND)
    answers = [await post(url, Authorization="Bearer wrong") for _ in range(AT_ONCE)]
    assert {answer.status_code for answer in answers} == {401}
    while answers[-1].status_code != 429:
        answers.append(await post(url, Authorization="Bearer wrong"))
    assert answers[-1].headers["retry-after"] == "1"
    assert (await post(url, Authorization="Bearer secret")).status_code == 202
    wrong = 'sidecar_door_incidents_total{door="receiver",incident="wrong-credential"}'
    assert f"{wrong} {len(answers)}.0" in listening.metrics()


async def test_a_transmitter_that_is_polled_opens_no_door(listening: Listening) -> None:
    polled = KnownTransmitter(
        name="polled", issuer="https://c.example", audiences=("us",), poll_url="https://c.example"
    )
    url = await listening.open(FRIEND, polled)
    assert (await post(url)).status_code == 401
    assert (await post(url, Authorization="Bearer secret")).status_code == 202
    assert listening.taker.taken == [("a.b.c", ("friend",))]


async def test_while_a_secret_cannot_be_read_nobody_is_sent_away_for_good(
    nursery: trio.Nursery,
) -> None:
    async def unread() -> str:
        raise Unavailable("the file cannot be read")

    settings = Receiver(bind="127.0.0.1:0", transmitters=(FRIEND,))
    telemetry = PrometheusTelemetry(Settings(), LogLines(io.BytesIO()))
    app = PushApp(
        settings,
        Taker(),
        lambda: {FRIEND.name: unread},
        telemetry,
        lambda: settings.transmitters,
    )
    listener = push_listener(settings, app, telemetry)
    draining = trio.Event()

    async def run(*, task_status: trio.TaskStatus[list[str]]) -> None:
        await listener.run(draining=draining, task_status=task_status)

    (bound,) = await nursery.start(run)
    assert (await post(f"{bound}/ssf/events", Authorization="x")).status_code == 503
    draining.set()


async def test_a_secret_that_comes_twice_is_none(listening: Listening) -> None:
    url = await listening.open(FRIEND)
    async with httpx.AsyncClient(timeout=20, verify=plain_http.NO_CERTIFICATES) as client:
        twice = [*SET.items(), ("Authorization", "Bearer secret"), ("Authorization", "x")]
        assert (await client.post(url, content=b"a", headers=twice)).status_code == 401


async def test_more_than_may_be_answered_at_a_time_are_sent_away(
    listening: Listening, nursery: trio.Nursery
) -> None:
    url = await listening.open(max_requests=1)
    listening.taker.gate = trio.Event()
    nursery.start_soon(post, url)
    await listening.taker.came.wait()
    assert (await post(url)).status_code == 503
    listening.taker.gate.set()
    assert 'door="receiver",incident="refused"} 1.0' in listening.metrics()


async def test_a_body_that_does_not_arrive_is_not_waited_for_for_ever(
    listening: Listening,
) -> None:
    url = httpx.URL(await listening.open(request_timeout=0.2))
    stream = await trio.open_tcp_stream("127.0.0.1", url.port or 0)
    async with stream:
        head = f"POST {url.path} HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n"
        await stream.send_all(head.encode() + b"Content-Type: application/secevent+jwt\r\n\r\na.b")
        answer = await stream.receive_some(65536)
    assert answer.startswith(b"HTTP/1.1 408")
    assert listening.taker.taken == []


async def test_it_speaks_tls_with_its_own_certificate(listening: Listening, tmp_path: Path) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("localhost", "127.0.0.1")
    issued.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    issued.private_key_pem.write_to_path(tmp_path / "key.pem")
    url = await listening.open(
        tls_cert_file=str(tmp_path / "cert.pem"), tls_key_file=str(tmp_path / "key.pem")
    )
    assert url.startswith("https://")
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    async with httpx.AsyncClient(verify=trust, timeout=20) as client:
        assert (await client.post(url, content=b"a.b.c", headers=SET)).status_code == 202


def test_a_certificate_that_is_not_there_keeps_it_from_opening() -> None:
    settings = Receiver(bind="127.0.0.1:0", tls_cert_file="/nowhere", tls_key_file="/nowhere")
    telemetry = PrometheusTelemetry(Settings(), LogLines(io.BytesIO()))
    with pytest.raises(OSError, match="No such file"):
        push_listener(settings, PushApp(settings, Taker(), dict, telemetry, tuple), telemetry)


async def test_an_address_that_is_taken_is_reported(listening: Listening) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match="in use"):
            await listening.open(bind=f"127.0.0.1:{port}")


async def test_it_drains(listening: Listening) -> None:
    url = await listening.open()
    listening.draining.set()

    async def ask_until_nobody_answers() -> None:
        while True:
            await post(url)

    with pytest.raises(httpx.TransportError):
        await ask_until_nobody_answers()
