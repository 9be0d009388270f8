"""A registry that asks for a token, and the server that gives it, over real HTTP."""

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from sidecar.adapters.bundles import oci
from sidecar.adapters.bundles.http import HttpFiles
from sidecar.adapters.bundles.registry_login import RegistryLogin
from sidecar.wire.bundles.archive import digest_of, pack
from sidecar.wire.bundles.bundle import SignedBytes
from sidecar.wire.bundles.refusal import BundleFlaw, InvalidBundle
from sidecar.wire.bundles.settings import PolicyBundles

ARCHIVE = pack({"policies/a.yaml": b"policies: []"}, sequence=7, made_at=0, policy_set="")
USER, PASSWORD = "robot$fleet", "pull:me"
SCOPE = "repository:team/policies:pull"
SERVICE = "registry.example"


class Registry(ThreadingHTTPServer):
    """Gives what it has to whoever shows a token that it gave, or by `kind` the password."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.realm = f"{self.url}/token"
        self.kind = "Bearer"
        self.grant: bytes | None = None
        self.tokens: list[str] = []
        self.shown: list[tuple[str, str]] = []
        layer = {"mediaType": oci.BUNDLE, "digest": f"sha256:{digest_of(ARCHIVE)}"}
        manifest = {"layers": [{**layer, "size": len(ARCHIVE)}]}
        self.pages = {
            "/v2/team/policies/manifests/7": json.dumps(manifest).encode(),
            f"/v2/team/policies/blobs/sha256:{digest_of(ARCHIVE)}": ARCHIVE,
        }

    def asked(self, path: str) -> list[str]:
        """What was shown at a path."""
        return [shown for at, shown in self.shown if at == path]


class _Handler(BaseHTTPRequestHandler):
    server: Registry

    def do_GET(self) -> None:
        shown, path = self.headers.get("Authorization", ""), urlsplit(self.path).path
        self.server.shown.append((path, shown))
        if path == "/token":
            self._give(shown)
        elif shown in self._good():
            self._answer(200, self.server.pages[path])
        else:
            asks = f'{self.server.kind} realm="{self.server.realm}"'
            if self.server.kind == "Bearer":
                asks += f',service="{SERVICE}",scope="{SCOPE}"'
            self._answer(401, b"", {"WWW-Authenticate": asks})

    def _good(self) -> list[str]:
        if self.server.kind == "Basic":
            return [basic()]
        return [f"Bearer {one}" for one in self.server.tokens]

    def _give(self, shown: str) -> None:
        query = {name: one[0] for name, one in parse_qs(urlsplit(self.path).query).items()}
        if query != {"service": SERVICE, "scope": SCOPE} or shown not in ("", basic()):
            self._answer(401, b"")
            return
        self.server.tokens = [f"token-{len(self.server.shown)}"]
        given = {"access_token": self.server.tokens[0], "expires_in": 300}
        self._answer(200, self.server.grant or json.dumps(given).encode())

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def basic(password: str = PASSWORD) -> str:
    return f"Basic {base64.b64encode(f'{USER}:{password}'.encode()).decode()}"


@pytest.fixture
def registry() -> Iterator[Registry]:
    server = Registry()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


class Pulling:
    """A sidecar that pulls; `now` is its monotonic clock."""

    def __init__(self, registry: Registry, **settings: Any) -> None:
        self.now = 0.0
        given = PolicyBundles(oci=f"{registry.url}/team/policies", **settings)
        login = RegistryLogin(lambda: given, lambda: self.now)
        self.source = oci.RegistrySource(given.oci, HttpFiles(login, lambda: 20.0))

    async def refusal(self) -> str:
        """Return why it gets nothing: it is never taken for a fault of the bundle's author."""
        with pytest.raises(InvalidBundle) as caught:
            await self.source.fetch(7)
        assert caught.value.flaw is BundleFlaw.UNAVAILABLE
        return str(caught.value)


async def test_a_token_is_asked_for_by_password_and_shown_until_it_ends(registry: Registry) -> None:
    pulling = Pulling(registry, username=USER, password=PASSWORD)
    for _ in range(2):
        assert await pulling.source.fetch(7) == SignedBytes(ARCHIVE, "")
    assert registry.asked("/token") == [basic()]
    assert not any(shown.startswith("Basic") for path, shown in registry.shown if path != "/token")
    pulling.now = 291.0
    assert await pulling.source.fetch(7) == SignedBytes(ARCHIVE, "")
    assert len(registry.asked("/token")) == 2
    registry.tokens = ["withdrawn"]
    assert await pulling.source.fetch(7) == SignedBytes(ARCHIVE, "")


async def test_without_a_user_a_token_is_asked_for_by_nobody(registry: Registry) -> None:
    assert await Pulling(registry).source.fetch(7) == SignedBytes(ARCHIVE, "")
    assert registry.asked("/token") == [""]


async def test_a_wrong_password_is_said_and_not_shown(registry: Registry) -> None:
    words = await Pulling(registry, username=USER, password="wrong").refusal()
    assert "no token from" in words
    assert "401" in words
    assert "wrong" not in words


async def test_a_registry_without_a_token_server_takes_the_password(registry: Registry) -> None:
    registry.kind = "Basic"
    pulling = Pulling(registry, username=USER, password=PASSWORD)
    assert await pulling.source.fetch(7) == SignedBytes(ARCHIVE, "")
    assert "401" in await Pulling(registry, username=USER, password="wrong").refusal()
    assert "401" in await Pulling(registry).refusal()


@pytest.mark.parametrize(
    "realm",
    ["https://elsewhere.example/token", "http://localhost:{port}/token", "http://a:b@{host}/token"],
)
async def test_a_password_is_shown_to_no_other_host_than_was_configured(
    registry: Registry, realm: str
) -> None:
    host = registry.url.removeprefix("http://")
    registry.realm = realm.format(host=host, port=registry.server_address[1])
    words = await Pulling(registry, username=USER, password=PASSWORD).refusal()
    assert "which is not policies.bundle.token_server" in words
    assert registry.asked("/token") == []


async def test_the_token_server_that_is_configured_may_be_another_host(registry: Registry) -> None:
    registry.realm = f"http://localhost:{registry.server_address[1]}/token"
    elsewhere = f"http://localhost:{registry.server_address[1]}"
    pulling = Pulling(registry, username=USER, password=PASSWORD, token_server=elsewhere)
    assert await pulling.source.fetch(7) == SignedBytes(ARCHIVE, "")


@pytest.mark.parametrize(
    "grant",
    [b"<html>", b"[]", b'{"token": "a b"}', b'{"token": "a\\r\\nX: y"}', b'{"expires_in": 9}'],
)
async def test_what_is_no_token_is_not_shown(registry: Registry, grant: bytes) -> None:
    registry.grant = grant
    assert "no token from" in await Pulling(registry).refusal()
