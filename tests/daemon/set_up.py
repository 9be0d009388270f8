"""A whole set-up that `sidecar doctor` can examine: good, until a test breaks one thing of it."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import trio
import yaml
from mmdb_writer import MMDBWriter
from netaddr import IPSet

from sidecar.adapters.clock import now
from sidecar.daemon.configuration.examination import Examination, examine
from sidecar.demo.geography import build
from sidecar.domain.explanation.diagnosis import Diagnosis
from tests.adapters.identity import AUDIENCE, Answer, Provider, Signer, key_set
from tests.adapters.servers import PASSWORD, USER, Server

SIGNER = Signer("ES256", kid="k1")
METADATA = "/.well-known/openid-configuration"
POLICY = {
    "id": "payroll-abroad",
    "state": "enabled",
    "users": {"include": {"groups": ["finance"]}, "exclude": {"users": ["break-glass"]}},
    "contexts": {"include": ["c1"]},
    "conditions": {"any": [{"changed": ["country"]}, {"travel_speed": 900}]},
    "grant": {"controls": ["mfa"]},
}


class SetUp:
    """Files in a directory of their own, a provider and a store: changed, and then examined."""

    def __init__(self, directory: Path, places: Path, provider: Provider, server: Server) -> None:
        self.directory = directory
        self.provider = provider
        self.server = server
        self.issuer = provider.url
        self.metadata: dict[str, Any] = {
            "issuer": provider.url,
            "jwks_uri": f"{provider.url}/jwks",
            "authorization_endpoint": f"{provider.url}/auth",
            "claims_parameter_supported": True,
            "acr_values_supported": ["single-factor", "mfa"],
        }
        self.keys = key_set(SIGNER)
        self.claims: dict[str, Any] = {"groups": ["finance"]}
        self.headers: dict[str, Any] = {}
        self.signer = SIGNER
        self.raw_token = ""
        self.policies: list[dict[str, Any]] = [POLICY]
        (directory / "password").write_text(PASSWORD)
        (directory / "mdm").write_text("0123456789abcdef0123456789abcdef")
        (directory / "mdm").chmod(0o600)
        self.settings: dict[str, Any] = {
            "tokens": {"issuers": [{"issuer": provider.url, "audiences": [AUDIENCE]}]},
            "store": {"url": server.url, "username": USER, "password_file": "password"},
            "socket": {"path": str(directory / "sidecar.sock")},
            "contexts": {"c1": {"name": "Payroll"}},
            "routes": [{"path": "/payroll/**", "contexts": ["c1"]}],
            "http": {"gateway": "nginx"},
            "geography": {"city": str(places)},
            "sources": [{"name": "mdm", "token_file": "mdm", "may": ["device-compliance-change"]}],
            "policies": {"path": "policies.yaml"},
        }

    @property
    def first(self) -> dict[str, Any]:
        """The configured issuer."""
        found: dict[str, Any] = self.settings["tokens"]["issuers"][0]
        return found

    @property
    def token(self) -> str:
        at = int(now())
        times = {"iat": at - 10, "auth_time": at - 100, "exp": at + 600}
        given = {"iss": self.issuer, **times, **self.claims}
        return self.raw_token or self.signer.token(self.headers, **given)

    async def examined(self) -> tuple[Diagnosis, ...]:
        """Write everything down, and examine it."""
        config = self.written()
        return await examine(Examination(config, self.token, timeout=20.0))

    def written(self) -> Path:
        """Write everything down; returns the configuration's file."""
        self.provider.paths[METADATA] = Answer(json.dumps(self.metadata).encode())
        self.provider.paths["/jwks"] = Answer(self.keys)
        (self.directory / "policies.yaml").write_text(yaml.safe_dump({"policies": self.policies}))
        config = self.directory / "sidecar.yaml"
        config.write_text(yaml.safe_dump(self.settings))
        return config


def places_of(directory: Path) -> Path:
    """The demo's city database, built today."""
    return build(directory, int(now())).city


def countries_of(directory: Path, built: int = 0) -> Path:
    """A database that has countries, and no coordinates."""
    writer = MMDBWriter(
        ip_version=6, ipv4_compatible=True, database_type="Sample-Country", languages=["en"]
    )
    writer.insert_network(IPSet(["192.0.2.0/24"]), {"country": {"iso_code": "DE"}})
    file = directory / f"countries-{built}.mmdb"
    writer.to_db_file(str(file))
    return file


@asynccontextmanager
async def rewriting(server: Server, change: Callable[[bytes], bytes]) -> AsyncIterator[str]:
    """Relay a server under another address, its answers changed: what another version would say."""

    async def relay(client: trio.SocketStream) -> None:
        behind = await trio.open_unix_socket(str(server.path))
        async with client, behind, trio.open_nursery() as nursery:
            nursery.start_soon(_pump, client, behind, bytes)
            await _pump(behind, client, change)
            nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, relay, listeners)
        yield f"redis://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()


async def _pump(
    here: trio.SocketStream, there: trio.SocketStream, change: Callable[[bytes], bytes]
) -> None:
    with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        async for data in here:
            await there.send_all(change(bytes(data)))
