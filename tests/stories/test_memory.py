"""More live sessions than a daemon has memory for: they are read when they are asked for."""

import msgspec
import pytest
import trio

from benchmarks.memory import weigh
from sidecar.adapters.process.memory import resident
from sidecar.domain.policy.conditional_access import Networks, Selection
from sidecar.wire.config.memory_shares import LEAST
from sidecar.wire.settings.settings import Memory, Settings
from tests import plain_http
from tests.adapters.servers import Server
from tests.domain.scenes import policy
from tests.stories.running import Pods, running, token, unique
from tests.waiting import eventually

POLICIES = (policy(Networks(Selection(frozenset({"restricted"}))), name="segment"),)
MIB = 1 << 20
SHIPPED = 256


def tight(settings: Settings, _: int) -> Settings:
    return msgspec.structs.replace(settings, memory=Memory(limit=64 * MIB))


def metric(pods: Pods, name: str) -> float:
    text = plain_http.get(f"{pods.addresses[0].admin[0]}/metrics").text
    return next(float(x.split()[-1]) for x in text.splitlines() if x.startswith(f"{name} "))


def test_what_does_not_fit_is_read_when_it_is_asked_for(valkey_server: Server) -> None:
    with running(valkey_server.url, POLICIES, 1, tight) as pods:
        (client,) = pods.clients
        first = unique("session")
        marked = token(unique("user"), first)
        assert client.check(marked)["decision"] == "allow"
        client.event("network-change", {"session": first}, data={"segment": "restricted"})
        eventually(lambda: client.check(marked)["decision"], lambda one: one == "step_up")
        for _ in range(LEAST + 20):
            assert client.check(token(unique("user"), unique("session")))["decision"] == "allow"
        assert metric(pods, "sidecar_view_limit") == LEAST
        assert metric(pods, "sidecar_view_sessions") == LEAST
        assert metric(pods, "sidecar_tokens_limit") == LEAST
        assert client.check(marked)["decision"] == "step_up"


@pytest.mark.long
@pytest.mark.parametrize("groups", [0, 150])
def test_twenty_thousand_sessions_stay_within_the_memory_of_the_shipped_pod(groups: int) -> None:
    found = trio.run(weigh, 20_000, f"{SHIPPED}MiB", groups)
    assert max(held for _, held in found) < SHIPPED * MIB
    assert resident() > 0
