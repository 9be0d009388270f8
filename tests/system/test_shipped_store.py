"""The store that deploy/k8s/valkey ships outlives a pod, all pods, and a master's disk.

With Debian's Redis over TLS, and with Valkey without TLS, as the one of our tests has none.
"""

import re
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import redis

from sidecar.adapters.redis.links import call
from sidecar.domain.policy.conditional_access import Networks, Selection
from sidecar.wire.settings.settings import Settings
from tests.domain.scenes import policy
from tests.stories.running import Client, Pods, running, token, unique
from tests.system.shipped_store import CLI, PASSWORDS, REDIS, Kind, ShippedStore, kinds
from tests.waiting import eventually

pytestmark = pytest.mark.skipif(
    CLI is None or REDIS is None, reason="Debian's redis-server and redis-tools are not installed"
)
POLICIES = (policy(Networks(Selection(frozenset({"restricted"}))), name="segment"),)


@pytest.fixture(
    scope="module", params=["redis over tls", pytest.param("valkey", marks=pytest.mark.long)]
)
def started(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ShippedStore]:
    kind: Kind = kinds()[request.param]
    with ShippedStore(tmp_path_factory.mktemp("store"), kind) as store:
        yield store


@pytest.fixture
def store(started: ShippedStore) -> ShippedStore:
    """All three pods, ready."""
    started.start()
    return started


def on(store: ShippedStore, settings: Settings) -> Settings:
    """The daemon's settings, on this store."""
    ours = msgspec.structs.replace(store.settings(), retry_base=0.01, retry_cap=0.1)
    return msgspec.structs.replace(settings, store=ours)


def marked(client: Client) -> str:
    """Mark a session, wait until that is acknowledged, and return its token."""
    session, mark = unique("s"), unique("mark")
    weak = token(unique("ada"), session)
    eventually(lambda: client.check(weak).get("decision"), lambda one: one == "allow", within=60)

    def mark_it() -> Any:
        more = {"id": mark, "data": {"segment": "restricted"}}
        return client.event("network-change", {"session": session}, **more)

    eventually(mark_it, lambda reply: reply["ok"] and not reply.get("spooled"), within=60)
    return weak


def holds(pods: Pods, weak: str) -> None:
    """Wait until every sidecar asks for a step-up."""
    for client in pods.clients:
        eventually(lambda client=client: client.check(weak).get("status"), lambda one: one == 401)


@pytest.mark.long
def test_an_acknowledged_mark_survives_the_loss_of_the_masters_pod(store: ShippedStore) -> None:
    with running("", POLICIES, change=lambda settings, _: on(store, settings)) as pods:
        before = marked(pods.clients[0])
        lost = store.master()
        lost.kill()
        after = marked(pods.clients[1])
        assert store.master() is not lost
        for weak in (before, after):
            holds(pods, weak)
        lost.start()
        eventually(lost.is_ready, bool, within=60, every=0.1)
        assert store.role(lost) == "slave"


@pytest.mark.long
def test_when_all_pods_have_ended_the_first_takes_nothing_for_granted_and_nothing_is_lost(
    store: ShippedStore,
) -> None:
    first = store.pods[0]  # whom all would follow if nobody knew
    if store.master() is first:
        first.kill()
        store.master()
        store.start()
    with running("", POLICIES, 1, change=lambda settings, _: on(store, settings)) as pods:
        weak = marked(pods.clients[0])
    said = len(first.log("server"))
    for pod in store.pods:
        pod.signal(signal.SIGKILL)
    for pod in store.pods:
        pod.kill()
    store.start()
    assert re.search(r"Connecting to \w+ 127", first.log("server")[said:])
    with running("", POLICIES, 1, change=lambda settings, _: on(store, settings)) as pods:
        holds(pods, weak)


@pytest.mark.long
def test_a_master_that_comes_back_without_its_disk_empties_no_replica(store: ShippedStore) -> None:
    with running("", POLICIES, 1, change=lambda settings, _: on(store, settings)) as pods:
        weak = marked(pods.clients[0])
    lost = store.master()
    lost.kill()
    shutil.rmtree(lost.at / "data")
    (lost.at / "data").mkdir()
    lost.start()
    store.start()
    # It may be the master again by now, once it has been given everything by another.
    assert "the master has lost its disk" in lost.log("server")
    assert "REPLICA sync: Finished with success" in lost.log("server")
    with running("", POLICIES, 1, change=lambda settings, _: on(store, settings)) as pods:
        holds(pods, weak)


@pytest.mark.long
def test_a_master_that_lost_its_replicas_takes_no_writes_and_is_not_ready(
    store: ShippedStore,
) -> None:
    master = store.master()
    others = [pod for pod in store.pods if pod is not master]
    for pod in others:
        pod.kill()
    eventually(lambda: master.probe("server"), lambda ready: not ready, within=60, every=0.1)
    eventually(lambda: master.probe("sentinel"), lambda ready: not ready, within=60, every=0.1)
    assert master.probe("server", "alive")
    assert master.probe("sentinel", "alive")
    with (
        store.asked(master, user="sidecar", password="sidecar") as client,
        pytest.raises(redis.ResponseError, match="NOREPLICAS"),
    ):
        client.hset("su:{u1}:f", "a", "b")


FORBIDDEN = [
    ("sidecar", ("GET", "other:key")),
    ("sidecar", ("CONFIG", "GET", "masterauth")),
    ("sidecar", ("REPLICAOF", "NO", "ONE")),
    ("sidecar", ("FLUSHALL",)),
    ("replication", ("HGETALL", "su:{u1}:f")),
    ("watcher", ("HGETALL", "su:{u1}:f")),
    ("watcher", ("CONFIG", "GET", "masterauth")),
]


def test_no_user_may_do_what_is_not_its_own(store: ShippedStore) -> None:
    pod = store.master()
    for user, command in FORBIDDEN:
        with (
            store.asked(pod, user=user, password=user) as client,
            pytest.raises(redis.exceptions.NoPermissionError),
        ):
            call(client, *command)
    with (
        store.asked(pod, user="default", password="sidecar") as client,
        pytest.raises(redis.exceptions.AuthenticationError),
    ):
        client.ping()


def test_a_sidecar_may_ask_sentinels_for_the_master_and_change_nothing(
    store: ShippedStore,
) -> None:
    pod = store.pods[0]
    with store.asked(pod, user="default", password="sentinels", sentinel=True) as client:
        assert "sidecars" in client.sentinel_masters()
        for command in (
            ("SENTINEL", "FAILOVER", "sidecars"),
            ("SENTINEL", "REMOVE", "sidecars"),
            ("SENTINEL", "SET", "sidecars", "quorum", "1"),
            ("SHUTDOWN",),
        ):
            with pytest.raises(redis.exceptions.NoPermissionError):
                call(client, *command)


def test_no_password_is_in_a_log_or_an_argument(store: ShippedStore) -> None:
    for pod in store.pods:
        for role, process in pod.running.items():
            arguments = Path(f"/proc/{process.pid}/cmdline").read_bytes().decode()
            for password in PASSWORDS.values():
                assert password not in pod.log(role)
                assert password not in arguments
