"""TLS to the store, both ways authenticated: through a proxy, as the server at hand has none."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import redis
import trio
import trustme

from sidecar.adapters.redis.links import links_of
from sidecar.adapters.redis.news import RedisNews
from sidecar.adapters.redis.store import RedisStore
from sidecar.domain.values.lattice import Record
from sidecar.service.ports.calls import Unavailable
from sidecar.service.ports.store import BEGAN, Join
from sidecar.wire.settings.settings import StoreSettings
from tests.adapters.servers import Server, impatient

FAR = 4_000_000_000_000
GIVE_UP = 30.0
LARGE = b"x" * 100_000  # many records of TLS, more than one read takes


@asynccontextmanager
async def tls_before(server: Server, context: ssl.SSLContext) -> AsyncIterator[int]:
    async def pump(source: trio.abc.ReceiveStream, sink: trio.abc.SendStream) -> None:
        async for chunk in source:
            await sink.send_all(chunk)

    async def serve(client: trio.SSLStream[trio.SocketStream]) -> None:
        try:
            async with (
                client,
                await trio.open_unix_socket(server.path) as upstream,
                trio.open_nursery() as nursery,
            ):
                nursery.start_soon(pump, upstream, client)
                await pump(client, upstream)
                nursery.cancel_scope.cancel()
        except* (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the client refused our certificate, or just left

    (plain,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, serve, [trio.SSLListener(plain, context)])
        yield plain.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


class Certificates:
    def __init__(self, directory: Path) -> None:
        authority = trustme.CA()
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.context.verify_mode = ssl.CERT_REQUIRED
        authority.configure_trust(self.context)
        authority.issue_cert("127.0.0.1").configure_cert(self.context)
        self.authority, self.own = directory / "ca.pem", directory / "own.pem"
        authority.cert_pem.write_to_path(str(self.authority))
        authority.issue_cert("sidecar").private_key_and_cert_chain_pem.write_to_path(str(self.own))
        self.strange = directory / "strange.pem"
        trustme.CA().cert_pem.write_to_path(str(self.strange))

    def settings(self, port: int, authority: Path) -> StoreSettings:
        return impatient(
            f"rediss://127.0.0.1:{port}",
            tls_ca_file=str(authority),
            tls_cert_file=str(self.own),
            tls_key_file=str(self.own),
        )


async def test_store_and_news_speak_tls(
    valkey_server: Server, valkey: redis.Redis, tmp_path: Path
) -> None:
    certificates = Certificates(tmp_path)
    heard: list[tuple[bytes, Record]] = []
    arrived = trio.Event()

    def deliver(key: bytes, fields: Record) -> None:
        fields.pop(BEGAN, None)
        heard.append((key, fields))
        arrived.set()

    async def restored() -> None:
        await trio.lowlevel.checkpoint()

    async with tls_before(valkey_server, certificates.context) as port:
        settings = certificates.settings(port, certificates.authority)
        store = RedisStore(links_of(settings), settings)
        news = RedisNews(
            links_of(settings), settings, deliver=deliver, lost=lambda _: None, restored=restored
        )
        async with trio.open_nursery() as nursery:
            await nursery.start(store.run)
            await nursery.start(news.run)
            await news.follow(b"k")
            await store.join(Join(b"k", {b"a:1": LARGE}, FAR, 0, publish=b"k"))
            with trio.fail_after(GIVE_UP):
                await arrived.wait()
            nursery.cancel_scope.cancel()
    assert heard == [(b"k", {b"a:1": LARGE})]


async def test_a_server_that_another_authority_vouches_for_is_not_spoken_to(
    valkey_server: Server, tmp_path: Path
) -> None:
    certificates = Certificates(tmp_path)
    async with tls_before(valkey_server, certificates.context) as port:
        settings = certificates.settings(port, certificates.strange)
        store = RedisStore(links_of(settings), settings)
        async with trio.open_nursery() as nursery:
            await nursery.start(store.run)
            with pytest.raises(Unavailable, match=r"(?i)certificate"):
                await store.join(Join(b"k", {b"a:1": b"x"}, FAR, 0))
            nursery.cancel_scope.cancel()


async def test_a_certificate_of_ours_that_is_renewed_counts_for_the_next_connection(
    valkey_server: Server, valkey: redis.Redis, tmp_path: Path
) -> None:
    certificates = Certificates(tmp_path)
    right = certificates.own.read_bytes()
    strange = trustme.CA().issue_cert("sidecar").private_key_and_cert_chain_pem
    async with tls_before(valkey_server, certificates.context) as port:
        settings = certificates.settings(port, certificates.authority)
        store = RedisStore(links_of(settings), settings)
        async with trio.open_nursery() as nursery:
            await nursery.start(store.run)
            await store.join(Join(b"k", {b"a:1": b"x"}, FAR, 0))
            strange.write_to_path(str(certificates.own))
            await store.reconnect()
            with pytest.raises(Unavailable):
                await store.join(Join(b"k", {b"a:2": b"x"}, FAR, 0))
            certificates.own.write_bytes(right)
            with trio.fail_after(GIVE_UP):
                while True:
                    try:
                        await store.join(Join(b"k", {b"a:3": b"x"}, FAR, 0))
                    except Unavailable:
                        continue  # it is tried again after a pause
                    break
            nursery.cancel_scope.cancel()
