"""nginx, Traefik and Envoy ask a real central sidecar over TLS, as the shipped examples say."""

import http.client
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import pytest
import trustme

from tests import plain_http
from tests.adapters.servers import free_ports, serving
from tests.stories.running import token, unique
from tests.system.gateways.central_gateways import ASKING, Asking, Place
from tests.system.gateways.programs import GATEWAYS, Ports
from tests.system.gateways.programs import running as gateway_running
from tests.system.gateways.stack import App
from tests.system.processes import daemons

CREDENTIAL = "the-credential-of-the-edge-gateway"
PROGRAMS = {"ingress-nginx": "nginx", "traefik": "traefik", "envoy-gateway": "envoy"}
ALWAYS = {"x-sidecar-subject", "x-sidecar-decision", "x-sidecar-session", "x-sidecar-assurance"}
OURS = {*ALWAYS, "x-sidecar-decision-id", "x-sidecar-step-up"}
"""What the app believes; the last of them the sidecar says of some calls alone."""
OVERRIDES = (
    *("X-HTTP-Method-Override", "x-http-method-override", "X-HTTP-Method", "X-Method-Override"),
    *("X_HTTP_METHOD_OVERRIDE", "X-HTTP_Method", "X.Method.Override", "X-Original-Method"),
)
"""Headers by which an app may run another method than the one that was judged."""


class Edge:
    """A central sidecar, an app, and a gateway between that asks before it hands a call on."""

    def __init__(self, name: str, directory: Path, place: Place) -> None:
        self.name, self.directory, self.place = name, directory, place
        self.app = App()

    @contextmanager
    def gateway(self, *, known: bool, central: int = 0) -> Iterator[str]:
        """The gateway's address; one that is not known shows nothing of its own."""
        (port,) = free_ports(1)
        place = self.place._replace(gateway=port, app=self.app.port)
        place = place._replace(central=central or place.central)
        if not known:
            place = place._replace(credential="", certificate=None, key=None)
        at = self.directory / unique("gateway")
        at.mkdir()
        arguments = ASKING[self.name].arguments(at, place)
        ports = Ports(port, self.app.port, 0, 0)
        with gateway_running(PROGRAMS[self.name], at, ports, arguments):
            yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module", params=ASKING)
def edge(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Edge]:
    asking: Asking = ASKING[request.param]
    if not GATEWAYS[PROGRAMS[request.param]].installed:
        pytest.skip(f"{PROGRAMS[request.param]} is not installed")
    at = tmp_path_factory.mktemp("edge")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(at / "ca.pem"))
    for name, certified in {"tls": "localhost", "edge": "gateway.edge.svc"}.items():
        certificate = authority.issue_cert(certified)
        certificate.cert_chain_pems[0].write_to_path(str(at / f"{name}.crt"))
        certificate.private_key_pem.write_to_path(str(at / f"{name}.key"))
    (at / "credential").write_text(CREDENTIAL)
    (central,) = free_ports(1)
    extra = {
        "http": {"enabled": False, "gateway": asking.setting},
        "central": {
            "bind": f"127.0.0.1:{central}",
            "tls_cert_file": str(at / "tls.crt"),
            "tls_key_file": str(at / "tls.key"),
            "client_ca_file": str(at / "ca.pem"),
            "askers": [
                {"name": "ingress-nginx", "token_file": str(at / "credential")},
                {"name": "mesh", "certificate_names": ["gateway.edge.svc"]},
            ],
        },
    }
    place = Place(0, 0, central, at / "ca.pem")
    if asking.by_certificate:
        place = place._replace(certificate=at / "edge.crt", key=at / "edge.key")
    else:
        place = place._replace(credential=CREDENTIAL)
    with serving() as store, daemons(at, store.url, "central", extra=extra):
        edge = Edge(request.param, at, place)
        serves = threading.Thread(target=edge.app.serve_forever)
        serves.start()
        try:
            yield edge
        finally:
            edge.app.shutdown()
            edge.app.server_close()
            serves.join()


def called(url: str, user: str = "", **headers: str) -> httpx.Response:
    shown = {"authorization": f"Bearer {token(user, unique('s'))}"} if user else {}
    return plain_http.get(f"{url}/reports?q=1", headers={**shown, **headers}, timeout=20)


def test_a_call_passes_with_what_the_sidecar_says_and_without_what_the_client_claims(
    edge: Edge,
) -> None:
    with edge.gateway(known=True) as url:
        edge.app.seen.clear()
        answer = called(url, "alice", **dict.fromkeys(OURS, "forged"))
    assert (answer.status_code, answer.text) == (200, "/reports?q=1")
    (seen,) = edge.app.seen
    assert seen.target == "/reports?q=1"
    for name in OURS:
        assert "forged" not in seen.heard(name), name
    for name in ALWAYS:
        assert len(seen.heard(name)) == 1
    assert seen.heard("x-sidecar-decision") == ["allow"]
    assert not seen.heard("x-sidecar-credential")


ALIASES = ("X_Sidecar_Subject", "X-Sidecar_Session", "X.Sidecar.Step.Up", "X!Sidecar~Assurance")
"""Spellings of what the app believes: CGI, WSGI and PHP make the same variable of them."""


@pytest.mark.parametrize("name", ALIASES)
def test_no_spelling_of_what_the_sidecar_says_reaches_the_app(edge: Edge, name: str) -> None:
    with edge.gateway(known=True) as url:
        edge.app.seen.clear()
        answer = called(url, "alice", **{name: "forged"})
    assert answer.status_code in {200, 400}
    assert "forged" not in str([seen.headers for seen in edge.app.seen])


def test_no_header_makes_the_app_run_another_method_than_was_judged(edge: Edge) -> None:
    with edge.gateway(known=True) as url:
        edge.app.seen.clear()
        for name in OVERRIDES:
            assert called(url, "alice", **{name: "PUT"}).status_code in {200, 400}
        assert called(url, "alice").status_code == 200
    for seen in edge.app.seen:
        assert not [name for name, _ in seen.headers if "method" in name.lower()], seen.headers


@pytest.mark.parametrize("shown", [{}, {"authorization": "Bearer no.such.token"}], ids=len)
def test_a_call_without_a_good_token_does_not_reach_the_app(
    edge: Edge, shown: dict[str, str]
) -> None:
    with edge.gateway(known=True) as url:
        edge.app.seen.clear()
        answer = called(url, **shown)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert not edge.app.seen


@pytest.mark.parametrize("upgrade", ["h2c", "websocket, h2c"])
def test_no_tunnel_but_a_websocket_reaches_the_app(edge: Edge, upgrade: str) -> None:
    """Further calls in it would be asked about by nobody. ingress-nginx says that it lets them."""
    if edge.name == "ingress-nginx":
        pytest.skip("its example says so")
    asks = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": upgrade, "HTTP2-Settings": "AAMAA"}
    with edge.gateway(known=True) as url:
        edge.app.seen.clear()
        assert called(url, "alice", **asks).status_code in {200, 403}
    assert not {name for seen in edge.app.seen for name, _ in seen.headers} & {
        "Upgrade",
        "upgrade",
        "HTTP2-Settings",
        "http2-settings",
    }


def test_a_websocket_passes_by_the_route_that_traefik_has_for_it(edge: Edge) -> None:
    if edge.name != "traefik":
        pytest.skip("its example alone has a route for it")
    fields = {"Connection": "keep-alive, Upgrade", "Upgrade": "WebSocket"}
    fields["Authorization"] = f"Bearer {token('alice', unique('s'))}"
    with edge.gateway(known=True) as url:
        edge.app.seen.clear()
        with closing(http.client.HTTPConnection(url.removeprefix("http://"), timeout=20)) as asked:
            asked.request("GET", "/reports", headers=fields)
            assert asked.getresponse().status == 101
    (seen,) = edge.app.seen
    assert seen.heard("Upgrade") == ["websocket"]


def test_a_sidecar_that_is_gone_lets_nothing_pass(edge: Edge) -> None:
    (nobody,) = free_ports(1)
    edge.app.seen.clear()
    with edge.gateway(known=True, central=nobody) as url:
        answer = called(url, "alice")
    assert answer.status_code in {500, 502, 503}
    assert not edge.app.seen


def test_a_gateway_that_does_not_show_who_it_is_lets_nothing_pass(edge: Edge) -> None:
    with edge.gateway(known=False) as url:
        edge.app.seen.clear()
        answer = called(url, "alice")
    assert answer.status_code == 403
    assert not edge.app.seen
