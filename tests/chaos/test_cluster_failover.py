"""A master of a Cluster dies under load: what was acknowledged, and on a replica, holds."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from time import monotonic
from typing import Any

import pytest
import redis

from sidecar.domain.policy.conditional_access import Networks, Selection
from sidecar.domain.values.loss import ALL_SLOTS
from sidecar.wire.store.keys import StoreKeys, digest
from sidecar.wire.store.losses import slot_of
from tests.adapters.servers import Server, free_ports, serving
from tests.chaos.load import Loads
from tests.chaos.pods import BOUND, confirmed, heard_once
from tests.domain.scenes import policy
from tests.stories.running import ISSUER, running
from tests.waiting import eventually

POLICIES = (policy(Networks(Selection(frozenset({"restricted"}))), name="segment"),)
MASTERS = 3
EDGES = [0, 5461, 10923, ALL_SLOTS]


def call(server: Server, *command: object) -> Any:
    with server.client() as client:
        return client.execute_command(*command)


@contextmanager
def cluster() -> Iterator[list[Server]]:
    """Three masters and, in the same order, a replica of each, all in touch."""
    with ExitStack() as stack:
        ports = free_ports(4 * MASTERS)
        servers = [
            stack.enter_context(
                serving(
                    *("--cluster-enabled", "yes", "--cluster-port", str(bus)),
                    *("--cluster-node-timeout", "1500", "--repl-diskless-sync-delay", "0"),
                    port=port,
                )
            )
            for port, bus in zip(ports[: 2 * MASTERS], ports[2 * MASTERS :], strict=True)
        ]
        masters, replicas = servers[:MASTERS], servers[MASTERS:]
        for n, master in enumerate(masters):
            call(master, "CLUSTER", "ADDSLOTSRANGE", EDGES[n], EDGES[n + 1] - 1)
        for server in servers[1:]:
            call(server, "CLUSTER", "MEET", "127.0.0.1", ports[0], ports[2 * MASTERS])
        for server in servers:
            eventually(
                lambda server=server: int(call(server, "CLUSTER INFO")["cluster_known_nodes"]),
                lambda known: known == len(servers),
                within=30,
            )
        for master, replica in zip(masters, replicas, strict=True):
            node = call(master, "CLUSTER", "MYID")
            eventually(lambda r=replica, n=node: replicate(r, n), bool, within=30)
        for server in servers:
            eventually(
                lambda server=server: call(server, "CLUSTER INFO")["cluster_state"],
                lambda state: state == "ok",
                within=30,
            )
        for replica in replicas:
            # A master that is killed before its replica is in step stays dead for long.
            eventually(
                lambda replica=replica: call(replica, "INFO", "replication")["master_link_status"],
                lambda state: state == "up",
                within=30,
            )
        yield servers


def replicate(replica: Server, node: Any) -> bool:
    """Whether it may; it does not know the master at once."""
    try:
        return bool(call(replica, "CLUSTER", "REPLICATE", node))
    except redis.ResponseError:
        return False


def owner_of(user: str) -> int:
    slot = slot_of(StoreKeys("su").user_record(digest(ISSUER, user)))
    return next(n for n in range(MASTERS) if slot < EDGES[n + 1])


@pytest.fixture(scope="module")
def servers() -> Iterator[list[Server]]:
    with cluster() as six:
        yield six


def test_under_load_a_mark_that_a_replica_confirmed_survives_the_death_of_its_master(
    servers: list[Server],
) -> None:
    hosts = ",".join(f"127.0.0.1:{server.port}" for server in servers[:MASTERS])
    victim = 0
    with running(f"redis+cluster://{hosts}", POLICIES, change=confirmed) as pods:
        sockets = [address.socket for address in pods.addresses]
        with Loads(sockets, bound=BOUND) as loads:
            eventually(lambda: len(loads.acknowledged), at_least(20))
            servers[victim].stop()
            died = monotonic()
            before = len(loads.acknowledged)
            replica = servers[MASTERS + victim]
            eventually(lambda: call(replica, "ROLE")[0], lambda role: role == b"master", within=30)
            # Its heir has no replica to confirm anything until a node comes back.
            servers[victim].path.unlink(missing_ok=True)
            servers[victim].start()
            # Recovery is automatic: users of the dead master's slots are served again.
            eventually(
                lambda: sum(owner_of(one.user) == victim for one in loads.acknowledged[before:]),
                at_least(2),
                within=30,
            )
            eventually(lambda: loads.total("checks"), lambda count: count > 20, within=30)
        assert loads.total("refused") > 0
        assert any(owner_of(one.user) == victim for one in loads.acknowledged)
        loads.must_hold(sockets)
        heard_once(pods, loads, died)
    # A sidecar that starts now has nothing but the store to know it from.
    alive = f"127.0.0.1:{servers[1].port}"
    with running(f"redis+cluster://{alive}", POLICIES, count=1) as later:
        loads.must_hold([later.addresses[0].socket])


def at_least(count: int) -> Any:
    return lambda found: found >= count
