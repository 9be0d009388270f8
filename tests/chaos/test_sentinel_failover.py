"""A master watched by three sentinels dies under load: what was acknowledged holds."""

from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

import redis

from sidecar.domain.policy.conditional_access import Networks, Selection
from tests.adapters.servers import Server, free_ports, serving
from tests.chaos.load import Loads
from tests.chaos.pods import BOUND, confirmed, heard_once
from tests.domain.scenes import policy
from tests.stories.running import running
from tests.waiting import eventually

POLICIES = (policy(Networks(Selection(frozenset({"restricted"}))), name="segment"),)


@contextmanager
def watched() -> Iterator[tuple[Server, list[int]]]:
    """A master with two replicas in step, and the ports of three sentinels that know all."""
    first, second, third, *sentinels = free_ports(6)
    follows = ("--replicaof", "127.0.0.1", str(first), "--repl-diskless-sync-delay", "0")
    with (
        serving("--repl-diskless-sync-delay", "0", port=first) as master,
        serving(*follows, port=second) as one,
        serving(*follows, port=third) as other,
        serving("--sentinel", port=sentinels[0], config=_sentinel(first)),
        serving("--sentinel", port=sentinels[1], config=_sentinel(first)),
        serving("--sentinel", port=sentinels[2], config=_sentinel(first)),
        redis.Redis(port=sentinels[0], protocol=2) as asked,
    ):
        eventually(lambda: len(asked.sentinel_slaves("main")), lambda known: known == 2, within=30)
        eventually(
            lambda: len(asked.sentinel_sentinels("main")), lambda known: known == 2, within=30
        )
        for replica in (one, other):
            with replica.client() as client:
                eventually(
                    lambda client=client: client.info("replication")["master_link_status"],
                    lambda status: status == "up",
                    within=30,
                )
        yield master, sentinels


def _sentinel(master: int) -> str:
    return (
        f"sentinel monitor main 127.0.0.1 {master} 2\n"
        "sentinel down-after-milliseconds main 500\n"
        "sentinel failover-timeout main 3000\n"
    )


def test_under_load_a_mark_that_a_replica_confirmed_survives_a_sentinel_failover() -> None:
    with watched() as (master, sentinels):
        hosts = ",".join(f"127.0.0.1:{port}" for port in sentinels)
        url = f"redis+sentinel://{hosts}/main"
        with running(url, POLICIES, change=confirmed) as pods:
            sockets = [address.socket for address in pods.addresses]
            with Loads(sockets, bound=BOUND) as loads:
                eventually(lambda: len(loads.acknowledged), lambda count: count >= 20)
                master.stop()
                died = monotonic()
                before = len(loads.acknowledged)
                # Recovery is automatic: one of the replicas has taken over, the other confirms.
                eventually(
                    lambda: len(loads.acknowledged),
                    lambda count: count >= before + 20,
                    within=60,
                )
                eventually(lambda: loads.total("checks"), lambda count: count > 20, within=30)
            assert loads.total("refused") > 0
            loads.must_hold(sockets)
            heard_once(pods, loads, died)
        # A sidecar that starts now has nothing but the new master to know it from.
        with running(url, POLICIES, count=1) as later:
            loads.must_hold([later.addresses[0].socket])
