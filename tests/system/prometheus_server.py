"""A real Prometheus that scrapes daemons twice a second, with the rules that we ship."""

import json
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.adapters.servers import free_ports
from tests.waiting import eventually
from tools.observability.rules import rules

NEEDS_PROMETHEUS = pytest.mark.skipif(
    not shutil.which("prometheus"), reason="prometheus is not installed"
)
PATIENCE = 90.0
SHORTENED = {" > 21600": " > 20", '{outcome="done"}[15m]': '{outcome="done"}[5s]'}
"""Bounds and windows that no test can wait for."""


def shortened_rules() -> dict[str, Any]:
    """The rules, of which none waits, and keys are old after some seconds."""
    content = rules()
    for group in content["groups"]:
        for rule in group["rules"]:
            if "alert" in rule:
                rule["for"] = "0s"
            for bound, shorter in SHORTENED.items():
                rule["expr"] = rule["expr"].replace(bound, shorter)
    return content


class Prometheus:
    """A running server."""

    def __init__(self, url: str) -> None:
        self._http = httpx.Client(base_url=url, trust_env=False, timeout=30)

    def is_ready(self) -> bool:
        try:
            return self._http.get("/-/ready").status_code == 200
        except httpx.TransportError:
            return False

    def query(self, expr: str) -> list[dict[str, Any]]:
        """The samples of an expression now."""
        reply = self._http.get("/api/v1/query", params={"query": expr}).json()
        assert reply["status"] == "success", (expr, reply)
        result = reply["data"]["result"]
        assert isinstance(result, list)
        return result

    def firing(self) -> set[str]:
        """The names of the alerts that fire now."""
        return {one["metric"]["alertname"] for one in self.query('ALERTS{alertstate="firing"}')}

    def rules(self) -> list[dict[str, Any]]:
        """All rules, with their health and their alerts."""
        groups = self._http.get("/api/v1/rules").json()["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]

    def has_scraped(self, times: int = 2) -> bool:
        """Whether each target was scraped so often."""
        up = self.query("min(count_over_time(up[1h]))")
        return bool(up) and float(up[0]["value"][1]) >= times

    def close(self) -> None:
        self._http.close()


@contextmanager
def prometheus(directory: Path, targets: Mapping[str, str]) -> Iterator[Prometheus]:
    """A server that scrapes `targets`: addresses by the label `instance`."""
    bind = f"127.0.0.1:{free_ports(1)[0]}"
    (directory / "rules.json").write_text(json.dumps(shortened_rules()))
    config = {
        "global": {
            "scrape_interval": "500ms",
            "scrape_timeout": "500ms",
            "evaluation_interval": "500ms",
        },
        "rule_files": [str(directory / "rules.json")],
        "scrape_configs": [
            {
                "job_name": "payroll",
                "static_configs": [
                    {"targets": [address], "labels": {"namespace": "shop", "instance": name}}
                    for name, address in targets.items()
                ],
            }
        ],
    }
    file = directory / "prometheus.yaml"
    file.write_text(json.dumps(config))
    with (directory / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={file}",
                f"--storage.tsdb.path={directory / 'tsdb'}",
                f"--web.listen-address={bind}",
                "--log.level=warn",
            ],
            stdout=log,
            stderr=log,
        )
    server = Prometheus(f"http://{bind}")
    try:
        eventually(server.is_ready, bool, within=PATIENCE)
        yield server
    finally:
        server.close()
        process.terminate()
        process.wait(30)
