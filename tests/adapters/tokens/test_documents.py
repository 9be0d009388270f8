import gzip
import os
from pathlib import Path

import pytest
import trio

from sidecar.adapters.tokens.documents import (
    MAX_BYTES,
    Documents,
    check_onward,
    is_permitted,
    read_file,
)
from sidecar.service.ports.calls import Unavailable
from tests.adapters.identity import Answer, Provider, serve

NO_HTTP = "it hung up, or does not speak HTTP (remote protocol error)"


@pytest.fixture
async def provider(nursery: trio.Nursery) -> Provider:
    return await serve(nursery)


async def refused(url: str) -> str:
    with pytest.raises(Unavailable) as caught:
        await Documents().fetch(url)
    return str(caught.value)


async def test_a_document_is_fetched(provider: Provider) -> None:
    provider.paths["/jwks"] = Answer(b"{}")
    assert await Documents().fetch(provider.url + "/jwks") == b"{}"


async def test_an_error_status_is_reported(provider: Provider) -> None:
    provider.paths["/jwks"] = Answer(b"{}", status=500)
    assert "500" in await refused(provider.url + "/jwks")


async def test_the_size_limit_is_exact(provider: Provider) -> None:
    provider.paths["/fits"] = Answer(b"x" * MAX_BYTES)
    provider.paths["/huge"] = Answer(b"x" * (MAX_BYTES + 1))
    assert len(await Documents().fetch(provider.url + "/fits")) == MAX_BYTES
    assert "too large" in await refused(provider.url + "/huge")


async def test_a_compressed_answer_is_not_unpacked(provider: Provider) -> None:
    packed = gzip.compress(b"{}")
    provider.paths["/jwks"] = Answer(packed, headers={"Content-Encoding": "gzip"})
    assert "compressed" in await refused(provider.url + "/jwks")


async def test_a_redirect_is_followed_within_the_scheme(provider: Provider) -> None:
    provider.paths["/old"] = Answer(status=302, headers={"Location": "/new"})
    provider.paths["/new"] = Answer(b"{}")
    assert await Documents().fetch(provider.url + "/old") == b"{}"


@pytest.mark.parametrize(
    "target", ["https://127.0.0.1:1/", "http://192.0.2.1/", "file:///etc/passwd", "//192.0.2.1/"]
)
async def test_a_redirect_out_of_bounds_is_refused_unasked(provider: Provider, target: str) -> None:
    provider.paths["/old"] = Answer(status=301, headers={"Location": target})
    message = await refused(provider.url + "/old")
    assert "scheme" in message or "must be https" in message


NOWHERE = (
    "https://a..b/",
    "https://xn--zzzzzz/",
    f"https://{'a' * 64}/",
    f"https://{'a.' * 200}b/",
    "https://[::g]/",
    "https://h:port/",
    "https://h/\ud800",
)
"""What is no address: libraries differ on what they raise, and when."""


@pytest.mark.parametrize("url", NOWHERE)
async def test_what_is_no_address_is_unavailable(url: str) -> None:
    assert await refused(url)
    is_permitted(url)


PROXIES = (
    "user:tiger5@127.0.0.1:1",
    "http://user:tiger5@127.0.0.1:1",
    "//user:tiger5@127.0.0.1:1",
    "ftp://user:tiger5@127.0.0.1:1",
    "socks5://user:tiger5@127.0.0.1:1",
    "http://user:tiger5/x@127.0.0.1:1",
    "http://user:tiger5@127.0.0.1:port",
    "http://[user:tiger5@127.0.0.1",
    "http://user:tiger5@a..b",
)


@pytest.mark.parametrize("proxy", PROXIES)
async def test_the_password_of_a_proxy_stands_nowhere(
    proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    assert "tiger5" not in await refused("https://id.example/jwks")


async def test_a_redirect_to_what_is_no_address_is_unavailable(provider: Provider) -> None:
    for url in ("https://a..b/", "//xn--zzzzzz/", "//[::g]/", "http://127.0.0.1:port/"):
        provider.paths["/old"] = Answer(status=302, headers={"Location": url})
        assert await refused(provider.url + "/old")


async def test_a_redirect_leads_to_no_other_port_of_this_machine(
    provider: Provider, nursery: trio.Nursery
) -> None:
    neighbour = await serve(nursery)
    neighbour.paths["/admin"] = Answer(b"{}")
    for host in ("127.0.0.1", "localhost", "127.9.9.9"):
        provider.paths["/old"] = Answer(
            status=302, headers={"Location": f"http://{host}:{neighbour.port}/admin"}
        )
        assert "must not send us to" in await refused(provider.url + "/old")
    assert neighbour.asked == []


HERE = ("https://id.example/x", "https://localhost:8443/x", "http://127.0.0.1:8080/x")


@pytest.mark.parametrize(
    ("there", "from_where"),
    [
        ("https://other.example:8443/jwks", HERE),
        ("https://127.0.0.1:8443/jwks", HERE[1:2]),
        ("http://localhost:8080/jwks", HERE[2:]),
        ("http://127.0.0.1:8443/jwks", ()),
        ("http://127.0.0.1:9090/jwks", ()),
        ("https://[::1]:9090/jwks", ()),
        ("https://127.1:9090/jwks", ()),
        ("https://0x7f000001/jwks", ()),
        ("https://0.0.0.0:9090/jwks", ()),
        ("https://[::]/jwks", ()),
        ("https://[::ffff:127.0.0.1]/jwks", ()),
        ("https://a.localhost./jwks", ()),
        ("http://id.example/jwks", ()),
        ("jwks", ()),
    ],
)
def test_a_document_leads_from_nowhere_else_to_this_machine(
    there: str, from_where: tuple[str, ...]
) -> None:
    for here in HERE:
        if here in from_where:
            check_onward(here, there)
        else:
            with pytest.raises(Unavailable):
                check_onward(here, there)


async def test_a_failure_names_the_address_and_nothing_that_is_secret_in_it(
    provider: Provider,
) -> None:
    provider.paths["/jwks?key=s3cret"] = Answer(status=503)
    message = await refused(f"http://me:s3cret@127.0.0.1:{provider.port}/jwks?key=s3cret")
    assert message == f"{provider.url}/jwks: the answer has status 503"


async def test_redirects_that_never_end_do(provider: Provider) -> None:
    provider.paths["/round"] = Answer(status=307, headers={"Location": "/round"})
    assert "too many" in await refused(provider.url + "/round")


async def test_nobody_listening_is_unavailable(provider: Provider) -> None:
    async with await trio.open_tcp_stream("127.0.0.1", provider.port):
        pass
    listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
    port = listener.socket.getsockname()[1]
    await listener.aclose()
    url = f"http://127.0.0.1:{port}/"
    refusal = await refused(url)
    assert refusal.startswith(f"{url}: ")
    assert refusal.endswith(": Connection refused")


async def test_an_answer_that_is_no_http_is_unavailable(nursery: trio.Nursery) -> None:
    async def babble(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(b"garbage\r\n\r\n")
        await stream.aclose()

    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    nursery.start_soon(trio.serve_listeners, babble, listeners)
    port = listeners[0].socket.getsockname()[1]
    url = f"http://127.0.0.1:{port}/"
    assert await refused(url) == f"{url}: {NO_HTTP}"


async def test_an_answer_that_breaks_off_is_unavailable(provider: Provider) -> None:
    provider.paths["/jwks"] = Answer(b"{", headers={"Content-Length": "2"})
    assert await refused(provider.url + "/jwks") == f"{provider.url}/jwks: {NO_HTTP}"


@pytest.mark.parametrize(
    ("url", "permitted"),
    [
        ("https://id.example/jwks", True),
        ("http://127.0.0.1:8080/jwks", True),
        ("http://127.9.9.9/jwks", True),
        ("http://[::1]/jwks", True),
        ("http://localhost/jwks", True),
        ("http://id.example/jwks", False),
        ("http://localhost.id.example/jwks", False),
        ("http://10.0.0.1/jwks", False),
        ("ftp://localhost/jwks", False),
        ("file:///jwks", False),
        ("https://", False),
        ("jwks", False),
        ("", False),
        ("http://[::1/jwks", False),
    ],
)
def test_keys_come_over_https_or_from_this_machine(url: str, permitted: bool) -> None:
    assert is_permitted(url) is permitted


async def test_a_file_is_read_within_bounds(tmp_path: Path) -> None:
    file = tmp_path / "jwks.json"
    file.write_bytes(b"x" * MAX_BYTES)
    assert len(await read_file(str(file))) == MAX_BYTES
    file.write_bytes(b"x" * (MAX_BYTES + 1))
    with pytest.raises(Unavailable, match="too large"):
        await read_file(str(file))


@pytest.mark.parametrize("name", ["missing", ".", "pipe"])
async def test_a_file_that_cannot_be_read_is_unavailable(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(Unavailable, match="cannot be read"):
        await read_file(str(tmp_path / name))
