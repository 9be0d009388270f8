"""`sidecar run` as processes, for tests that start, reload, kill and end them."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests import plain_http
from tests.adapters.identity import key_set
from tests.adapters.servers import free_ports
from tests.stories.running import ISSUER, SIGNER
from tests.waiting import eventually

POLICY = """\
policies:
  - id: restricted-segment
    state: {state}
    contexts: {{include: [c1]}}
    conditions: {{networks: {{include: [restricted]}}}}
    grant: mfa
"""


class Process:
    """One `sidecar run`."""

    def __init__(
        self,
        directory: Path,
        name: str,
        store: str,
        extra: Mapping[str, Any] | None = None,
        within: Sequence[str] = (),
    ) -> None:
        self.within = within
        self.socket = directory / f"{name}.sock"
        self.config = directory / f"{name}.yaml"
        self.log = directory / f"{name}.log"
        self.config.write_text(
            json.dumps(
                {
                    "app": {"id": "payroll"},
                    "socket": {"path": str(self.socket)},
                    "http": {"bind": "127.0.0.1:0", "unix": str(directory / f"{name}.http")},
                    "admin": {"bind": f"127.0.0.1:{free_ports(1)[0]}"},
                    "store": {"url": store},
                    "tokens": {
                        "issuers": [
                            {
                                "issuer": ISSUER,
                                "audiences": ["payroll"],
                                "jwks_file": str(directory / "jwks.json"),
                            }
                        ]
                    },
                    "contexts": {"c1": {"name": "Payments"}},
                    "policies": {"path": str(directory / "policies")},
                    **(extra or {}),
                }
            )
        )
        admin = json.loads(self.config.read_text())["admin"]
        self.admin = f"{'https' if 'tls' in admin else 'http'}://{admin['bind']}"
        self.start()

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *self.within,
                    sys.executable,
                    "-m",
                    "sidecar",
                    "run",
                    "--config",
                    str(self.config),
                ],
                stderr=log,
                env={**os.environ, "PYTHONPATH": str(Path.cwd())},
            )
        try:
            eventually(self.is_ready, bool, within=60)
        except BaseException:
            self.process.kill()
            self.process.wait()
            raise

    def is_ready(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            return plain_http.get(f"{self.admin}/readyz").status_code == 200
        except httpx.TransportError:
            return False

    def lines(self, event: str) -> list[dict[str, Any]]:
        """The log's lines of an event."""
        name = json.dumps(event)
        lines = [json.loads(one) for one in self.log.read_text().splitlines() if name in one]
        return [line for line in lines if line["event"] == event]

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


def level(sidecar: Process, name: str) -> float:
    """The sum of what a daemon says of a metric; `name` is how its lines begin."""
    text = plain_http.get(f"{sidecar.admin}/metrics").text
    return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(name))


@contextmanager
def daemons(
    directory: Path,
    store: str,
    *names: str,
    extra: Mapping[str, Any] | None = None,
    policies: str = POLICY.format(state="enabled"),
    within: Sequence[str] = (),
) -> Iterator[list[Process]]:
    """`within`: a program that runs each, with its arguments."""
    (directory / "jwks.json").write_bytes(key_set(SIGNER))
    (directory / "policies").mkdir()
    (directory / "policies" / "one.yaml").write_text(policies)
    running: list[Process] = []
    try:
        running.extend(Process(directory, name, store, extra, within) for name in names)
        yield running
    finally:
        # One that is killed would be missed, by whoever waits for all sidecars of this store.
        left = [one.process for one in running if one.process.poll() is None]
        for process in left:
            process.terminate()
        for process in left:
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
