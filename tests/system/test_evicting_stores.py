"""A store that may evict records when it is full is refused at the start, unless it is accepted."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.adapters.servers import serving
from tests.system.processes import daemons
from tests.waiting import eventually


@pytest.fixture
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("e")


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl"])
def test_a_store_that_may_evict_is_refused_with_the_key_that_accepts_it(
    short: Path, policy: str
) -> None:
    with serving("--maxmemory-policy", policy) as server:
        (short / "policies").mkdir()
        (short / "policies" / "none.yaml").write_text("policies: []\n")
        config = short / "sidecar.yaml"
        config.write_text(
            f"store: {{url: 'unix://{server.path}'}}\n"
            f"socket: {{path: {short}/s.sock}}\n"
            "http: {enabled: false}\nadmin: {enabled: false}\n"
            f"policies: {{path: {short}/policies}}\n"
        )
        ended = subprocess.run(
            [sys.executable, "-m", "sidecar", "run", "--config", str(config)],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    assert ended.returncode == 2
    assert f"{config}:" in ended.stderr
    assert f"store.eviction: the store's maxmemory-policy is {policy}" in ended.stderr


def test_a_store_that_may_evict_and_is_accepted_is_warned_of_at_each_start_and_reload(
    short: Path,
) -> None:
    with serving("--maxmemory-policy", "allkeys-lru") as server:
        extra = {"store": {"url": server.url, "eviction": "accept"}}
        with daemons(short, server.url, "a", extra=extra) as (a,):
            eventually(lambda: a.lines("store-evicts"), lambda lines: len(lines) == 1)
            a.config.write_text(a.config.read_text() + "\n")
            eventually(lambda: a.lines("store-evicts"), lambda lines: len(lines) == 2)
            assert {line["level"] for line in a.lines("store-evicts")} == {"warning"}
