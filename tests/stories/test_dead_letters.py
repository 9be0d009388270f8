"""An event that the store refuses for good: acknowledged, given up, looked at, put back."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sidecar.domain.policy.conditional_access import RiskLevel, UserRisk
from sidecar.wire.store.keys import StoreKeys, digest
from tests import plain_http
from tests.adapters.servers import Server, serving
from tests.docs.contract import hold
from tests.domain.scenes import policy
from tests.stories.running import ISSUER, Pods, running, token, unique
from tests.stories.spooling import metric, with_spool
from tests.waiting import eventually

RISKY = policy(UserRisk(RiskLevel.MEDIUM), name="risky")
BEARER = {"Authorization": "Bearer operator"}


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as one:
        yield one


def ask(pods: Pods, method: str, path: str) -> Any:
    url = f"{pods.addresses[0].admin[0]}/v1/dead-letters{path}"
    reply = plain_http.request(method, url, headers=BEARER)
    assert reply.status_code == 200, reply.text
    hold("admin", reply)
    return reply.json()


def test_what_the_store_refuses_leaves_the_spool_and_takes_effect_when_it_is_put_back(
    server: Server, tmp_path: Path
) -> None:
    with (
        running(server.url, [RISKY], 1, with_spool(tmp_path, server.url)) as pods,
        server.client() as store,
    ):
        (client,) = pods.clients
        user, other = unique("user"), unique("user")
        key = StoreKeys("su").user_record(digest(ISSUER, user))
        store.set(key, "somebody else's")
        high = {"current_level": "HIGH"}
        reply = client.event("risk-level-change", {"user": user}, id="of-one", data=high)
        assert (reply["ok"], reply["spooled"]) == (True, True)
        assert client.event("risk-level-change", {"user": other}, data=high)["ok"] is True
        (letter,) = eventually(lambda: ask(pods, "GET", "")["letters"], bool, within=60)
        assert (letter["event"], letter["reason"], letter["tries"]) == ("of-one", "refused", 5)
        assert "WRONGTYPE" in letter["error"]
        assert metric(pods, "sidecar_spool_events") == 0
        assert metric(pods, "sidecar_dead_letters_total") == 1
        assert ask(pods, "POST", f"/{letter['id']}/retry")["outcome"] == "failed"
        store.delete(key)
        assert ask(pods, "POST", f"/{letter['id']}/retry")["outcome"] == "done"
        assert ask(pods, "GET", "")["letters"] == []
        eventually(lambda: metric(pods, "sidecar_dead_letters_waiting"), lambda n: n == 0)
        for one in (user, other):
            weak = token(one, unique("session"))
            assert client.check(weak)["decision"] == "step_up"
        again = client.event("risk-level-change", {"user": user}, id="of-one", data=high)
        assert again["duplicate"] is True
