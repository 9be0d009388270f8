"""Secrets rotate: a running daemon takes up what their files say, and the old ones count no more.

The files are those of a Kubernetes Secret: links through `..data`, which is replaced at once.
"""

import base64
import json
import os
import ssl
import subprocess
import sys
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
import trustme

from sidecar.wire.http.redirects import signature
from tests import plain_http
from tests.adapters.servers import PASSWORD, USER, Server, free_ports, serving
from tests.stories.running import Client, token, unique
from tests.system.processes import Process, daemons, level
from tests.waiting import eventually

OPAQUE = "https://opaque.example"
OLD = {
    "admin": "the-first-admin-credential",
    "store": PASSWORD,
    "source": "the-first-credential-of-mdm",
    "push": "Bearer the-first-of-the-transmitter",
    "redirect": "the-first-key-of-redirects",
    "client": "the-first-secret-of-the-client",
}
NEW = {name: value.replace("first", "second") for name, value in OLD.items()}
NEW["store"] = "another-password"


class Secret:
    """A directory as the kubelet mounts a Secret."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir()
        self._version = 0
        self.put(OLD)
        for name in OLD:
            (directory / name).symlink_to(f"..data/{name}")

    def put(self, values: Mapping[str, str]) -> None:
        self._version += 1
        fresh = self.directory / f"..{self._version}"
        fresh.mkdir()
        for name, value in values.items():
            (fresh / name).write_text(value)
        (self.directory / "..new").symlink_to(fresh.name)
        os.replace(self.directory / "..new", self.directory / "..data")  # noqa: PTH105

    def path(self, name: str) -> str:
        return str(self.directory / name)


class Issuer(HTTPServer):
    """Answers introspection, and keeps what it was shown."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Introspection)
        self.shown: list[str] = []


class Introspection(BaseHTTPRequestHandler):
    server: Issuer

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        basic = self.headers["Authorization"].removeprefix("Basic ")
        self.server.shown.append(base64.b64decode(basic).decode().partition(":")[2])
        body = b'{"active": false}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
        """Say nothing."""


def issue(authority: trustme.CA, tls: Mapping[str, str]) -> None:
    """Put a new certificate in the place of the admin listener's."""
    issued = authority.issue_cert("127.0.0.1", "localhost")
    issued.private_key_pem.write_to_path(tls["key"])
    issued.cert_chain_pems[0].write_to_path(tls["certificate"])


class Rotating:
    """A daemon all of whose secrets stand in files."""

    def __init__(
        self,
        daemon: Process,
        secret: Secret,
        store: Server,
        issuer: Issuer,
        authorities: tuple[trustme.CA, ...],
    ) -> None:
        self.daemon, self.secret, self.store, self.issuer = daemon, secret, store, issuer
        self.authorities = authorities
        heard = json.loads(daemon.config.read_text())
        self.receiver = f"http://{heard['receiver']['bind']}/ssf/events"
        self.http = str(daemon.config.parent / "a.http")

    def admin(self, credential: str) -> int:
        headers = {"Authorization": f"Bearer {credential}"}
        return plain_http.get(f"{self.daemon.admin}/v1/policies", headers=headers).status_code

    def source(self, credential: str) -> str:
        with Client(str(self.daemon.socket)) as client:
            heard = client.ask(
                op="event",
                credential=credential,
                type="session-revoked",
                subject={"session": unique("s"), "user": unique("u")},
            )
        return "ok" if heard["ok"] else str(heard["error"])

    def push(self, authorization: str) -> int:
        headers = {"Authorization": authorization, "Content-Type": "application/secevent+jwt"}
        return plain_http.post(self.receiver, content=b"a.b.c", headers=headers).status_code

    def redirect_is_signed_by(self, key: str) -> bool:
        headers = {
            "Authorization": f"Bearer {token(unique('user'), unique('session'))}",
            "X-Forwarded-Method": "GET",
            "X-Forwarded-Host": "app.example",
            "X-Forwarded-Uri": "/pay/1",
            "Sec-Fetch-Mode": "navigate",
            "Sec-Fetch-Dest": "document",
            "Accept": "text/html",
        }
        with httpx.Client(
            transport=httpx.HTTPTransport(uds=self.http, verify=plain_http.NO_CERTIFICATES)
        ) as client:
            answer = client.get("http://sidecar/v1/check", headers=headers)
        heard = parse_qs(urlsplit(answer.headers["location"]).query)
        (signed,) = heard["return_to_signature"]
        return signed == signature(key, heard["return_to"][0], int(signed.partition(".")[0]))

    def shown(self) -> str:
        with Client(str(self.daemon.socket)) as client:
            client.check(unique("opaque"))
        return self.issuer.shown[-1]

    def change(self, **sections: Any) -> None:
        heard = json.loads(self.daemon.config.read_text())
        aside = self.daemon.config.with_suffix(".new")
        aside.write_text(json.dumps({**heard, **sections}))
        aside.rename(self.daemon.config)


@pytest.fixture(scope="module")
def rotating(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rotating]:
    directory = tmp_path_factory.mktemp("r")
    secret, issuer = Secret(directory / "secret"), Issuer()
    Thread(target=issuer.serve_forever, daemon=True).start()
    opaque = {
        "issuer": OPAQUE,
        "audiences": ["payroll"],
        "namespace": "opaque",
        "introspection": {
            "only": True,
            "endpoint": f"http://127.0.0.1:{issuer.server_port}/introspect",
            "client_id": "sidecar",
            "client_secret_file": secret.path("client"),
        },
    }
    ours = {
        "issuer": "https://id.example",
        "audiences": ["payroll"],
        "jwks_file": str(directory / "jwks.json"),
    }
    admin, receiver = free_ports(2)
    authorities = tuple(trustme.CA() for _ in range(2))
    bundle = directory / "authorities.pem"
    bundle.write_bytes(b"".join(one.cert_pem.bytes() for one in authorities))
    tls = {"certificate": str(directory / "admin.pem"), "key": str(directory / "admin.key")}
    issue(authorities[0], tls)
    with serving() as store, pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(bundle))  # for this process' clients
        extra: dict[str, Any] = {
            "app": {
                "id": "payroll",
                "redirect": {
                    "start": "https://app.example/in",
                    "key_file": secret.path("redirect"),
                },
            },
            "admin": {"bind": f"127.0.0.1:{admin}", "token_file": secret.path("admin"), "tls": tls},
            "store": {
                "url": store.url,
                "username": USER,
                "password_file": secret.path("store"),
                "timeout": "300ms",
            },
            "http": {
                "bind": "127.0.0.1:0",
                "unix": str(directory / "a.http"),
                "gateway": "caddy",
            },
            "tokens": {"issuers": [ours, opaque]},
            "contexts": {"c1": {"name": "Payments", "requires": {"assurance": "mfa"}}},
            "routes": [{"path": "/pay/**", "contexts": ["c1"]}],
            "sources": [
                {"name": "mdm", "token_file": secret.path("source")},
                {"name": "idp", "transmitter": "idp", "issuers": ["opaque"]},
            ],
            "receiver": {
                "bind": f"127.0.0.1:{receiver}",
                "transmitters": [
                    {
                        "name": "idp",
                        "issuer": OPAQUE,
                        "audiences": ["payroll"],
                        "jwks_file": str(directory / "jwks.json"),
                        "events": ["session-revoked"],
                        "authorization_file": secret.path("push"),
                    }
                ],
            },
            "log": {"level": "warning"},
            "assurance": {"skew": "5m"},
        }
        try:
            with daemons(directory, store.url, "a", extra=extra) as (a,):
                yield Rotating(a, secret, store, issuer, authorities)
        finally:
            issuer.shutdown()
            issuer.server_close()


def test_every_secret_rotates_and_the_old_ones_are_refused(rotating: Rotating) -> None:
    at = rotating
    assert (at.admin(OLD["admin"]), at.admin(NEW["admin"])) == (200, 401)
    assert (at.source(OLD["source"]), at.source(NEW["source"])) == ("ok", "not_allowed")
    assert (at.push(OLD["push"]), at.push(NEW["push"])) == (400, 401)
    assert at.redirect_is_signed_by(OLD["redirect"])
    assert at.shown() == OLD["client"]
    with at.store.client() as server:
        server.execute_command("ACL", "SETUSER", USER, f">{NEW['store']}")
        at.secret.put(NEW)
        # What others show is looked at with each use.
        assert (at.admin(OLD["admin"]), at.admin(NEW["admin"])) == (401, 200)
        assert (at.source(OLD["source"]), at.source(NEW["source"])) == ("not_allowed", "ok")
        assert (at.push(OLD["push"]), at.push(NEW["push"])) == (401, 400)
        eventually(lambda: at.redirect_is_signed_by(NEW["redirect"]), bool)
        eventually(at.shown, lambda shown: shown == NEW["client"])
        # The old password goes, and with it whoever is still there by it.
        server.execute_command("ACL", "SETUSER", USER, f"<{OLD['store']}")
        server.execute_command("ACL", "LOG", "RESET")
        server.execute_command("CLIENT", "KILL", "USER", USER)
        assert at.source(NEW["source"]) == "ok"
        eventually(lambda: level(at.daemon, "sidecar_news_up "), lambda up: up == 1)
        assert at.daemon.is_ready()
        assert "auth" not in str(server.execute_command("ACL", "LOG"))
    assert level(at.daemon, "sidecar_restart_required ") == 0
    command = Path(f"/proc/{at.daemon.process.pid}/cmdline").read_text()
    probes = [plain_http.get(f"{at.daemon.admin}{path}").text for path in ("/metrics", "/readyz")]
    heard = "\n".join((at.daemon.log.read_text(), command, *probes))
    assert not any(value in heard for value in (*OLD.values(), *NEW.values()))


def _not_read(at: Rotating, field: str) -> list[dict[str, Any]]:
    return [one for one in at.daemon.lines("secret-not-read") if one["field"] == field]


def test_a_credential_that_cannot_be_read_lets_nobody_in_and_is_reported(
    rotating: Rotating,
) -> None:
    at = rotating
    before = {name: (at.secret.directory / name).read_text() for name in OLD}
    assert at.admin(before["admin"]) == 200
    name = 'sidecar_credential_failing{credential="%s"}'
    assert (
        f"{name % 'store.password_file'} 0.0" in plain_http.get(f"{at.daemon.admin}/metrics").text
    )
    without = {name: text for name, text in before.items() if name not in {"admin", "source"}}
    at.secret.put({**without, "push": "", "source": ""})
    assert at.admin(before["admin"]) == 503, "nobody can be known"
    assert at.source(before["source"]) == "not_allowed"
    assert at.push(before["push"]) == 503, "it is to send again"
    for field in (
        "admin.token_file",
        "sources.mdm.token_file",
        "receiver.transmitters.idp.authorization_file",
    ):
        assert level(at.daemon, name % field) == 1
        (line,) = eventually(lambda field=field: _not_read(at, field), bool)
        assert line["reason"]
    assert at.daemon.is_ready(), "the store's password stays as it was"
    at.secret.put(before)
    assert at.admin(before["admin"]) == 200
    assert at.source(before["source"]) == "ok"
    assert at.push(before["push"]) == 400
    assert level(at.daemon, "sidecar_credential_failing{") == 0


def test_a_refused_configuration_keeps_no_old_secret_in_force(rotating: Rotating) -> None:
    at = rotating
    before = {name: (at.secret.directory / name).read_text() for name in OLD}
    policy = at.daemon.config.parent / "policies" / "one.yaml"
    right = policy.read_text()
    policy.write_text("policies: [{}]")
    newest = {"client": "the-third-secret-of-the-client", "redirect": "the-third-key-of-redirects"}
    at.secret.put({**before, **newest})
    eventually(at.shown, lambda shown: shown == newest["client"])
    eventually(lambda: at.redirect_is_signed_by(newest["redirect"]), bool)
    assert level(at.daemon, "sidecar_config_last_reload_successful ") == 0
    policy.write_text(right)
    eventually(lambda: level(at.daemon, "sidecar_config_last_reload_successful "), bool)


def test_the_admin_listener_speaks_tls_by_the_certificate_of_the_moment(
    rotating: Rotating,
) -> None:
    at = rotating
    first, second = (ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) for _ in at.authorities)
    at.authorities[0].configure_trust(first)
    at.authorities[1].configure_trust(second)
    assert plain_http.get(f"{at.daemon.admin}/livez", verify=first).status_code == 200
    issue(at.authorities[1], json.loads(at.daemon.config.read_text())["admin"]["tls"])
    assert plain_http.get(f"{at.daemon.admin}/livez", verify=second).status_code == 200
    with pytest.raises(httpx.ConnectError):
        plain_http.get(f"{at.daemon.admin}/livez", verify=first)
    command = [sys.executable, "-m", "sidecar", "sessions", "--url", at.daemon.admin]
    command += ["--admin-token-file", at.secret.path("admin")]
    authority = at.daemon.config.parent / "second.pem"
    at.authorities[1].cert_pem.write_to_path(authority)
    done = subprocess.run(
        [*command, "--admin-ca-file", str(authority)], check=False, capture_output=True
    )
    assert (done.returncode, done.stderr) == (0, b"")


def test_the_level_of_the_log_is_taken_up_and_warnings_are_logged_by_name(
    rotating: Rotating,
) -> None:
    at = rotating
    warned = eventually(lambda: at.daemon.lines("configuration-warning"), bool)
    assert [line["code"] for line in warned] == ["skew-wide"]
    assert at.daemon.lines("reload-applied") == []
    assert at.daemon.lines("ready") == []
    at.change(log={"level": "info"}, assurance={"skew": "10m"})
    eventually(lambda: at.daemon.lines("reload-applied"), bool)
    heard = eventually(
        lambda: at.daemon.lines("configuration-warning"), lambda all_: len(all_) == 2
    )
    assert heard[-1]["field"] == "assurance.skew"
    assert level(at.daemon, "sidecar_restart_required ") == 0
    lines = len(at.daemon.lines("reload-applied"))
    name = 'sidecar_reloads_total{outcome="applied",what="config"}'
    before = level(at.daemon, name)
    at.change(log={"level": "error"}, assurance={"skew": "5m"})
    eventually(lambda: level(at.daemon, name), lambda count: count == before + 1)
    assert len(at.daemon.lines("reload-applied")) == lines
