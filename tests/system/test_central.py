"""The central listener at the door of a daemon: gateways show who they are, or learn nothing."""

import json
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import trustme

from tests.adapters.servers import free_ports, serving
from tests.stories.running import token
from tests.system.processes import Process, daemons

CREDENTIAL = "the-credential-of-the-edge-gateway"
AUTHORITY, OTHER = trustme.CA(), trustme.CA()
SERVER = AUTHORITY.issue_cert("localhost")
EDGE = AUTHORITY.issue_cert("edge.ingress.svc")
STRANGER = AUTHORITY.issue_cert("stranger.ingress.svc")
IMPOSTOR = OTHER.issue_cert("edge.ingress.svc")


class Central:
    """A daemon that has a central listener, and its gateways."""

    def __init__(self, at: Path, port: int, process: Process) -> None:
        self.credential = at / "edge"
        self.process = process
        self.url = f"https://localhost:{port}"

    @contextmanager
    def client(self, certificate: trustme.LeafCert | None = None) -> Iterator[httpx.Client]:
        trust = ssl.create_default_context()
        AUTHORITY.configure_trust(trust)
        if certificate is not None:
            certificate.configure_cert(trust)
        with httpx.Client(base_url=self.url, verify=trust, timeout=20) as client:
            yield client

    def ask(
        self,
        credential: str | None = None,
        certificate: trustme.LeafCert | None = None,
        **headers: str,
    ) -> httpx.Response:
        shown = {"x-sidecar-credential": credential} if credential is not None else {}
        call = {
            "authorization": f"Bearer {token('alice', 's-1')}",
            "x-original-method": "GET",
            "x-original-uri": "/reports",
        }
        with self.client(certificate) as client:
            return client.get("/v1/check", headers={**call, **shown, **headers})

    def refused(self) -> float:
        text = httpx.get(f"{self.process.admin}/metrics").text
        name = 'sidecar_door_incidents_total{door="central",incident="wrong-credential"} '
        lines = [line for line in text.splitlines() if line.startswith(name)]
        return float(lines[0].removeprefix(name)) if lines else 0


@pytest.fixture(scope="module")
def central(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Central]:
    at = tmp_path_factory.mktemp("central")
    (at / "edge").write_text(CREDENTIAL)
    AUTHORITY.cert_pem.write_to_path(str(at / "ca.pem"))
    SERVER.cert_chain_pems[0].write_to_path(str(at / "tls.crt"))
    SERVER.private_key_pem.write_to_path(str(at / "tls.key"))
    (port,) = free_ports(1)
    extra = {
        "http": {"bind": "127.0.0.1:0", "gateway": "nginx"},
        "central": {
            "bind": f"0.0.0.0:{port}",
            "tls_cert_file": str(at / "tls.crt"),
            "tls_key_file": str(at / "tls.key"),
            "client_ca_file": str(at / "ca.pem"),
            "askers": [
                {"name": "edge", "token_file": str(at / "edge")},
                {"name": "mesh", "certificate_names": ["edge.ingress.svc"]},
            ],
        },
    }
    with serving() as store, daemons(at, store.url, "central", extra=extra) as (process,):
        yield Central(at, port, process)


def test_a_gateway_with_its_credential_is_answered(central: Central) -> None:
    answer = central.ask(CREDENTIAL)
    assert (answer.status_code, answer.headers["x-sidecar-decision"]) == (200, "allow")
    assert answer.headers["x-sidecar-subject"]


def test_a_gateway_with_its_certificate_is_answered(central: Central) -> None:
    assert central.ask(certificate=EDGE).status_code == 200


@pytest.mark.parametrize("credential", [None, "", "wrong", CREDENTIAL[:-1], CREDENTIAL + "x"])
def test_whoever_shows_no_right_credential_learns_nothing(
    central: Central, credential: str | None
) -> None:
    before = central.refused()
    answer = central.ask(credential)
    assert answer.status_code == 403
    assert not [name for name in answer.headers if name.startswith("x-sidecar")]
    assert central.refused() == before + 1
    assert central.process.lines("central-credential-refused")


def test_a_certificate_of_another_name_or_authority_does_not_help(central: Central) -> None:
    assert central.ask(certificate=STRANGER).status_code == 403
    with pytest.raises(httpx.TransportError):
        central.ask(certificate=IMPOSTOR)


def test_a_token_is_judged_as_at_the_data_listener(central: Central) -> None:
    answer = central.ask(CREDENTIAL, authorization="Bearer no.such.token")
    assert answer.status_code == 401
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]


@pytest.mark.parametrize("path", ["/v1/events", "/access/v1/evaluation", "/v1/sessions", "/"])
def test_there_is_nothing_but_checks(central: Central, path: str) -> None:
    with central.client() as client:
        headers = {"x-sidecar-credential": CREDENTIAL, "content-type": "application/json"}
        assert client.post(path, content=b"{}", headers=headers).status_code == 404


def test_a_credential_that_changes_or_goes_counts_at_once(central: Central) -> None:
    central.credential.write_text("another-credential-of-the-edge")
    try:
        assert central.ask(CREDENTIAL).status_code == 403
        assert central.ask("another-credential-of-the-edge").status_code == 200
        central.credential.unlink()
        assert central.ask("another-credential-of-the-edge").status_code == 403
        assert central.ask("").status_code == 403
    finally:
        central.credential.write_text(CREDENTIAL)
    assert central.ask(CREDENTIAL).status_code == 200


def test_no_credential_is_in_the_log(central: Central) -> None:
    central.ask("a-wrong-one-that-somebody-shows")
    text = central.process.log.read_text()
    assert "a-wrong-one-that-somebody-shows" not in text
    assert CREDENTIAL not in text
    assert json.loads(text.splitlines()[0])
