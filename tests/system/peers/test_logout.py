"""A logout at a certified OpenID provider, at two sidecars behind nginx (where it is there)."""

from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
from msgspec.structs import replace

from sidecar.wire.settings.intake import IntakeIssuer, IntakeSettings
from sidecar.wire.settings.settings import Gateway, Issuer, Settings, Tokens
from tests import plain_http
from tests.adapters.servers import Server, free_ports
from tests.stories.running import Pods, running
from tests.system.gateways import programs
from tests.system.gateways.stack import App, serving
from tests.system.peers.programs import HERE, installed, node
from tests.system.peers.relying_party import CALLBACK, RelyingParty
from tests.waiting import eventually

pytestmark = pytest.mark.skipif(
    not installed("oidc-provider"), reason="oidc-provider is not installed"
)
NGINX = programs.GATEWAYS["nginx"].installed


class World(NamedTuple):
    """A provider, two sidecars that believe it, and where each of them is asked."""

    issuer: str
    pods: Pods
    urls: tuple[str, ...]

    def statuses(self, token: str) -> tuple[int, ...]:
        """What a call with this token gets at each."""
        headers = {"Authorization": f"Bearer {token}"}
        return tuple(
            plain_http.get(url, headers=headers, timeout=20).status_code for url in self.urls
        )


@pytest.fixture(scope="module")
def world(valkey_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    ports = free_ports(2)
    uri = f"http://127.0.0.1:{ports[0]}/v1/logout"
    with ExitStack() as stack:
        more = (("LOGOUT_URI", uri),)
        issuer = stack.enter_context(node(HERE / "provider.mjs", CALLBACK, more=more))

        def trusting(settings: Settings, index: int) -> Settings:
            issuers = (Issuer(issuer=issuer, audiences=("payroll",), app_claim="client_id"),)
            intake = IntakeSettings(
                bind=f"127.0.0.1:{ports[index]}",
                wait=10.0,
                issuers=(IntakeIssuer(issuer=issuer, clients=("app",)),),
            )
            gateway = Gateway.NGINX if NGINX else Gateway.ENVOY
            return replace(
                settings,
                http=replace(settings.http, gateway=gateway),
                tokens=Tokens(issuers=issuers),
                intake=intake,
            )

        pods = stack.enter_context(running(valkey_server.url, (), change=trusting))
        urls = tuple(f"{one.http[0]}/v1/ext_authz/news" for one in pods.addresses)
        if NGINX:
            urls = tuple(
                _behind_nginx(stack, tmp_path_factory.mktemp("nginx"), one.http[0])
                for one in pods.addresses
            )
        yield World(issuer, pods, urls)


def _behind_nginx(stack: ExitStack, directory: Path, sidecar: str) -> str:
    app = App()
    stack.enter_context(serving(app))
    http = httpx.URL(sidecar).port
    assert http is not None
    gateway, grpc = free_ports(2)
    ports = programs.Ports(gateway=gateway, app=app.port, http=http, grpc=grpc)
    stack.enter_context(programs.running("nginx", directory, ports))
    return f"http://127.0.0.1:{gateway}/news"


def test_a_logout_at_the_provider_ends_that_session_at_both_sidecars(world: World) -> None:
    browsers = [RelyingParty(world.issuer, name) for name in ("ada", "ada", "grace")]
    with closing(browsers[0]), closing(browsers[1]), closing(browsers[2]):
        here, elsewhere, another = (one.sign_in("pwd") for one in browsers)
        for token in (here, elsewhere, another):
            assert world.statuses(token) == (200, 200)
        browsers[0].log_out()
        eventually(
            lambda: world.statuses(here),
            lambda statuses: not set(statuses) - {401, 403},
        )
        for token in (elsewhere, another):
            assert world.statuses(token) == (200, 200)
        # A new sign-in is a new session, and passes.
        assert world.statuses(browsers[0].sign_in("pwd")) == (200, 200)
    name = 'sidecar_logouts_total{outcome="done",request="logout"} 1.0'
    metrics = f"{world.pods.addresses[0].admin[0]}/metrics"
    # It counts once the event is durable; calls are refused from a little before that on.
    eventually(lambda: name in plain_http.get(metrics, timeout=20).text, bool)
