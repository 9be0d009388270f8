"""docs/quick-start.md is followed to the letter: its files, its commands, what it says of them."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests import plain_http
from tests.adapters.identity import key_set
from tests.adapters.servers import free_ports
from tests.stories.running import SIGNER, token
from tests.waiting import eventually

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "quick-start.md").read_text()
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
OWN = "sidecar run --config sidecar.yaml"


@contextmanager
def provider() -> Iterator[str]:
    """A provider that has just what discovery needs; gives its issuer."""

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            url = f"http://127.0.0.1:{server.server_port}"
            metadata = {"issuer": url, "jwks_uri": f"{url}/jwks", "acr_values_supported": ["mfa"]}
            body = key_set(SIGNER) if self.path == "/jwks" else json.dumps(metadata).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as it is called
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Reader:
    """Somebody who does what the page says, in a directory of their own."""

    def __init__(self, directory: Path, issuer: str) -> None:
        self.directory = directory
        gateway, app, check, self.admin = free_ports(4)
        self._ports = f" --port {gateway} --app-port {app} --sidecar-port {check}"
        self._ports += f" --admin-port {self.admin}"
        self._issuer = issuer
        bin_directory = Path(sys.prefix) / "bin"
        self.environment = {**os.environ, "PATH": f"{bin_directory}:{os.environ['PATH']}"}
        self.environment["SIDECAR_SOCKET"] = str(directory / "payroll" / "sidecar.sock")

    def initialises(self, command: str) -> None:
        """With this provider's issuer and free ports, and go into the directory that it makes."""
        init, change = command.splitlines()
        assert change == "cd payroll"
        done = self.does(init.replace("https://id.example.com", self._issuer) + self._ports)
        assert done.returncode == 0, done.stdout + done.stderr
        self.directory /= "payroll"

    def reads(self, name: str) -> Any:
        return yaml.safe_load((self.directory / name).read_text())

    def does(self, command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sh", "-c", command],
            cwd=self.directory,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    @contextmanager
    def runs(self, command: str) -> Iterator[None]:
        """In a terminal of its own, until it is ready and as long as the block lasts."""
        with (self.directory / "log").open("wb") as log:
            process = subprocess.Popen(
                command.split(), cwd=self.directory, env=self.environment, stderr=log
            )
        try:
            eventually(lambda: self._is_ready(process), bool, within=30)
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(20)

    def _is_ready(self, process: subprocess.Popen[bytes]) -> bool:
        assert process.poll() is None, (self.directory / "log").read_text()
        try:
            return plain_http.get(f"http://127.0.0.1:{self.admin}/readyz").status_code == 200
        except httpx.TransportError:
            return False


def test_the_quick_start_goes_as_it_says(tmp_path: Path) -> None:
    blocks = BLOCK.findall(PAGE)
    config, policies = (yaml.safe_load(text) for language, text in blocks if language == "yaml")
    making, init, validate, run, *asking = (text for language, text in blocks if language == "sh")
    assert "make set-up" in making
    with provider() as issuer:
        reader = Reader(tmp_path, issuer)
        reader.initialises(init)
        config["tokens"]["issuers"][0]["issuer"] = issuer
        written = reader.reads("sidecar.yaml")
        assert {name: written[name] for name in config} == config
        assert reader.reads("policies/payments.yaml") == policies
        here = reader.directory
        (here / "token").write_text(token("ada", "s-1", issuer=issuer))
        assert run.strip() == OWN
        for line in validate.splitlines():
            heard = reader.does(line)
            assert heard.returncode == 0, heard.stdout + heard.stderr
        with reader.runs(OWN):
            for line in "".join(asking).splitlines():
                if "stronger-token" in line:
                    # The page's client has gone to the provider: a sign-in in a later second.
                    eventually(lambda: stronger(reader, issuer), lambda code: code == 0)
                command, _, said = line.partition("#")
                done = reader.does(command)
                refused = "exit status 1" in said
                assert done.returncode == int(refused), f"{line}\n{done.stdout}{done.stderr}"
                verdict = said.strip().partition(",")[0].partition(":")[0]
                assert verdict in done.stdout, f"{line}\n{done.stdout}"
                assert ("pending" in said) == ("pending" in done.stdout)
                if refused:
                    assert 'acr_values="mfa"' in done.stdout
            # A policy that asks for what the provider does not offer is reported at the reload.
            assert "acr-not-offered" not in (here / "log").read_text()
            file = here / "policies" / "payments.yaml"
            file.write_text(file.read_text().replace("mfa", "phishing-resistant"))
            line = eventually(lambda: heard_of(here / "log", "acr-not-offered"), bool)[0]
            assert (line["issuer"], line["asked"]) == (issuer, ["phr phrh"])
            assert (line["policies"], line["offered"]) == (["payments-at-risk"], ["mfa"])


def heard_of(log: Path, event: str) -> list[Any]:
    """The log's lines of an event."""
    lines = [json.loads(line) for line in log.read_text().splitlines() if event in line]
    return [line for line in lines if line["event"] == event]


def stronger(reader: Reader, issuer: str) -> int:
    """The exit status of a payment after a sign-in with several factors just now."""
    text = token("ada", "s-1", issuer=issuer, acr="mfa", age=0)
    (reader.directory / "stronger-token").write_text(text)
    asked = "sidecar check --token-file stronger-token --method POST --path /payments/7"
    return reader.does(asked).returncode
