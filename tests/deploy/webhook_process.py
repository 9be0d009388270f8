"""Runs `sidecar inject` as a process, and asks it over TLS as the API server does."""

import ssl
import subprocess
import sysconfig
from pathlib import Path

import httpx

from tests.adapters.servers import free_ports

SIDECAR = Path(sysconfig.get_path("scripts")) / "sidecar"
HOST = "stepup-sidecar-injector.stepup-sidecar.svc"


class Webhook:
    """A running `sidecar inject`, with certificates that it made itself."""

    def __init__(self, directory: Path) -> None:
        self.made = directory / "webhook"
        done = subprocess.run(
            [SIDECAR, "inject", "--make-certificates", self.made],
            capture_output=True,
            text=True,
            check=True,
        )
        self.said = done.stdout
        port, admin = free_ports(2)
        self.admin = f"http://127.0.0.1:{admin}"
        self.process = subprocess.Popen(
            [
                *(SIDECAR, "inject", "--image", "stepup-sidecar:0.1.0"),
                *("--certificate", self.made / "tls.crt", "--key", self.made / "tls.key"),
                *("--bind", f"127.0.0.1:{port}", "--admin", f"127.0.0.1:{admin}"),
            ],
            stderr=subprocess.PIPE,
        )
        self.url = f"https://127.0.0.1:{port}"
        self.trust = ssl.create_default_context(cafile=str(self.made / "ca.crt"))
        self.client = httpx.Client(base_url=self.url, verify=self.trust, timeout=20)

    def post(self, body: bytes, content_type: str = "application/json") -> httpx.Response:
        return self.client.post(
            "/inject?timeout=5s",
            content=body,
            headers={"Content-Type": content_type, "Host": HOST},
            extensions={"sni_hostname": HOST},
        )

    def is_ready(self) -> bool:
        assert self.process.poll() is None, self.process.communicate()[1]
        try:
            return httpx.get(f"{self.admin}/readyz").status_code == 200
        except httpx.TransportError:
            return False
