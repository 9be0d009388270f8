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

from tests.adapters.identity import key_set
from tests.adapters.servers import free_ports
from tests.stories.running import SIGNER, eventually, token

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
        self.port, self.admin = free_ports(2)
        self._issuer = issuer
        bin_directory = Path(sys.prefix) / "bin"
        self.environment = {**os.environ, "PATH": f"{bin_directory}:{os.environ['PATH']}"}
        self.environment["SIDECAR_SOCKET"] = str(directory / "sidecar.sock")

    def write(self, name: str, text: str) -> None:
        text = text.replace("https://id.example.com", self._issuer)
        text = text.replace(":8181", f":{self.port}").replace(":9090", f":{self.admin}")
        file = self.directory / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)

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
            return httpx.get(f"http://127.0.0.1:{self.admin}/readyz").status_code == 200
        except httpx.TransportError:
            return False


def test_the_quick_start_goes_as_it_says(tmp_path: Path) -> None:
    blocks = BLOCK.findall(PAGE)
    config, policies = (text for language, text in blocks if language == "yaml")
    making, *commands = (text for language, text in blocks if language == "sh")
    assert "mkdir payroll" in making  # tmp_path stands for it
    with provider() as issuer:
        reader = Reader(tmp_path, issuer)
        reader.write("sidecar.yaml", config)
        reader.write("policies/payments.yaml", policies)
        (tmp_path / "token").write_text(token("ada", "s-1", issuer=issuer))
        validate, run, *asking = commands
        assert run.strip() == OWN
        told = reader.does(validate)
        assert told.returncode == 0, told.stdout + told.stderr
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
            # A policy that asks for what the provider does not offer is told of at the reload.
            assert "acr-not-offered" not in (tmp_path / "log").read_text()
            reader.write("policies/payments.yaml", policies.replace("mfa", "phishing-resistant"))
            line = eventually(lambda: told_of(tmp_path / "log", "acr-not-offered"), bool)[0]
            assert (line["issuer"], line["asked"]) == (issuer, ["phr phrh"])
            assert (line["policies"], line["offered"]) == (["risky-payments"], ["mfa"])


def told_of(log: Path, event: str) -> list[Any]:
    """The log's lines of an event."""
    lines = [json.loads(line) for line in log.read_text().splitlines() if event in line]
    return [line for line in lines if line["event"] == event]


def stronger(reader: Reader, issuer: str) -> int:
    """The exit status of a payment after a sign-in with several factors just now."""
    text = token("ada", "s-1", issuer=issuer, acr="mfa", age=0)
    (reader.directory / "stronger-token").write_text(text)
    asked = "sidecar check --token-file stronger-token --method POST --path /payments/7"
    return reader.does(asked).returncode
