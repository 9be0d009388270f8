"""Exemplars in a real Prometheus, which scrapes a real daemon."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from sidecar.domain.policy.conditional_access import Networks, Selection
from sidecar.wire.settings.settings import Settings
from sidecar.wire.traces.settings import TracesSettings
from tests.adapters.opentelemetry.collecting import collecting
from tests.adapters.servers import Server, free_ports
from tests.domain.scenes import policy
from tests.stories.running import running, token, unique
from tests.waiting import eventually

pytestmark = pytest.mark.long  # its short form: tests/stories/test_traces.py reads the exposition

POLICIES = (policy(Networks(Selection(frozenset({"restricted"}))), name="segment"),)


@pytest.fixture
def prometheus(tmp_path: Path) -> Iterator[Any]:
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("prometheus is not installed")
    started: list[subprocess.Popen[bytes]] = []

    def scraping(target: str) -> str:
        config = tmp_path / "prometheus.yml"
        config.write_text(
            "global: {scrape_interval: 1s}\n"
            f"scrape_configs: [{{job_name: s, static_configs: [{{targets: ['{target}']}}]}}]\n"
        )
        address = f"127.0.0.1:{free_ports(1)[0]}"
        words = [
            program,
            f"--config.file={config}",
            f"--storage.tsdb.path={tmp_path / 'data'}",
            f"--web.listen-address={address}",
            "--enable-feature=exemplar-storage",
        ]
        with (tmp_path / "log").open("wb") as log:
            started.append(subprocess.Popen(words, stdout=log, stderr=log))
        return f"http://{address}/api/v1/query_exemplars"

    yield scraping
    for one in started:
        one.terminate()
        one.wait(20)


def test_a_real_prometheus_keeps_the_exemplars_of_both_histograms(
    valkey_server: Server, prometheus: Any
) -> None:
    with collecting() as collector:

        def change(settings: Settings, _: int) -> Settings:
            traces = TracesSettings(endpoint=collector.url)
            return msgspec.structs.replace(settings, traces=traces)

        with running(valkey_server.url, POLICIES, 1, change) as pods:
            (client,) = pods.clients
            session = unique("session")
            shown = token(unique("user"), session)
            check = collector.one(**{"sidecar.decision.id": client.check(shown)["id"]})
            about = {"session": session, "issuer": "https://id.example"}
            client.event("network-change", about, data={"segment": "restricted"}, id=unique("e"))
            mark = collector.one(name="mark")
            api = prometheus(pods.addresses[0].admin[0].removeprefix("http://"))
            assert mark.trace in kept(api, "sidecar_signal_to_mark_seconds_bucket")
            assert check.trace in kept(api, "sidecar_check_seconds_bucket")


def kept(api: str, query: str) -> set[str]:
    """Return the traces of the exemplars that it has of a metric, once there are any."""

    def asked() -> set[str]:
        try:
            asking = {"query": query, "start": "0", "end": "4102444800"}
            answer = httpx.get(api, params=asking).json()
        except httpx.TransportError:
            return set()
        return {one["labels"]["trace_id"] for found in answer["data"] for one in found["exemplars"]}

    traces: set[str] = eventually(asked, bool)
    return traces
