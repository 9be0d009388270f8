"""The store loses something under two daemons: it is noticed, and nobody is let in by it.

Bob's user is revoked and Eve's risk is high, as one daemon knows; neither has a session in any
view, so that nothing but the store knows. Ada's is in a view, and nothing is wrong with her.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import msgspec
import pytest

from sidecar.domain.values.loss import ALL_SLOTS
from sidecar.wire.settings.settings import Eviction, Settings
from sidecar.wire.store.keys import StoreKeys, digest
from sidecar.wire.store.losses import slot_of
from tests import plain_http
from tests.adapters.servers import Server, free_ports, serving
from tests.chaos.policies import POLICIES
from tests.stories.running import ISSUER, Pods, running, token, unique
from tests.waiting import eventually

AFTER = float(os.environ.get("SIDECAR_CHAOS_SECONDS", "2")) / 2
"""Seconds for which nobody may be let in after all have noticed."""
MASTERS = 3
EDGES = [0, 5461, 10923, ALL_SLOTS]


def losses(pods: Pods) -> list[float]:
    """How many losses each daemon has noticed or heard of."""
    found = []
    for address in pods.addresses:
        text = plain_http.get(address.admin[0] + "/metrics").text
        lines = [one for one in text.splitlines() if one.startswith("sidecar_store_losses_total{")]
        assert lines  # from the start, with 0
        found.append(sum(float(one.split()[-1]) for one in lines))
    return found


class Company:
    """Bob and Eve, who may never be let in, and Ada, of whom nothing is lost."""

    def __init__(self, pods: Pods, *, bob: str = "", eve: str = "") -> None:
        self.pods = pods
        self.bob, self.eve = bob or unique("bob"), eve or unique("eve")
        self.bad = [token(self.bob, unique("s")), token(self.eve, unique("s"))]
        self.ada = token(unique("ada"), unique("s"))
        first = pods.clients[0]
        assert first.check(self.ada)["decision"] == "allow"
        assert first.event("session-revoked", {"user": self.bob})["ok"]
        risk = {"current_level": "HIGH"}
        assert first.event("risk-level-change", {"user": self.eve}, data=risk)["ok"]

    def none_is_let_in(self) -> None:
        for client in self.pods.clients:
            for bad in self.bad:
                assert client.check(bad).get("decision") != "allow"

    def watch_until_all_notice(self, before: list[float]) -> None:
        """Watch both all the while, and for some time after all have noticed."""

        def look() -> list[float]:
            self.none_is_let_in()
            return losses(self.pods)

        eventually(
            look, lambda found: all(a > b for a, b in zip(found, before, strict=True)), within=30
        )
        until = monotonic() + AFTER
        while monotonic() < until:
            self.none_is_let_in()

    def ada_is_let_in(self) -> None:
        client = self.pods.clients[0]
        eventually(lambda: client.check(self.ada)["decision"], lambda one: one == "allow")


def seen_whole(pods: Pods) -> None:
    """Wait until each daemon has looked at the store once more since now."""
    for daemon in pods.daemons:
        services = daemon._services  # noqa: SLF001 - there is no door that says
        assert services is not None
        turn = services.wired.view.view.turn
        eventually(
            lambda view=services.wired.view.view: view.turn, lambda now, turn=turn: now > turn + 1
        )


def test_a_store_that_is_flushed_under_a_live_link_lets_nobody_in() -> None:
    with serving() as server, running(server.url, POLICIES) as pods:
        company = Company(pods)
        seen_whole(pods)
        before = losses(pods)
        with server.client() as client:
            client.flushall()
        company.watch_until_all_notice(before)
        company.ada_is_let_in()


def test_a_revoked_user_whose_session_one_daemon_serves_stays_revoked_at_the_other() -> None:
    with serving() as server, running(server.url, POLICIES) as pods:
        company = Company(pods)
        assert pods.clients[0].check(company.bad[0])["status"] == 401
        seen_whole(pods)
        with server.client() as client:
            client.flushall()
        eventually(
            lambda: pods.clients[1].check(company.bad[0], context=""),
            lambda one: one.get("error") == "invalid_token" or one["decision"] == "deny",
        )


@contextmanager
def cluster() -> Iterator[list[Server]]:
    """Masters alone: one that comes back has nothing, and keeps its slots."""
    with ExitStack() as stack:
        ports = free_ports(2 * MASTERS)
        servers = [
            stack.enter_context(
                serving("--cluster-enabled", "yes", "--cluster-port", str(bus), port=port)
            )
            for port, bus in zip(ports[:MASTERS], ports[MASTERS:], strict=True)
        ]
        for n, server in enumerate(servers):
            call(server, "CLUSTER", "ADDSLOTSRANGE", EDGES[n], EDGES[n + 1] - 1)
            call(server, "CLUSTER", "MEET", "127.0.0.1", ports[0], ports[MASTERS])
        for server in servers:
            eventually(
                lambda server=server: call(server, "CLUSTER INFO")["cluster_state"],
                lambda state: state == "ok",
                within=30,
            )
        yield servers


def call(server: Server, *command: object) -> Any:
    with server.client() as client:
        return client.execute_command(*command)


def user_of(master: int, kind: str) -> str:
    """A user whose records lie on this master."""
    while True:
        user = unique(kind)
        slot = slot_of(StoreKeys("su").user_record(digest(ISSUER, user)))
        if EDGES[master] <= slot < EDGES[master + 1]:
            return user


@pytest.mark.parametrize(
    "victim", [0, *(pytest.param(other, marks=pytest.mark.long) for other in range(1, MASTERS))]
)
def test_one_shard_of_a_cluster_that_comes_back_empty_lets_nobody_in(victim: int) -> None:
    with cluster() as servers:
        hosts = ",".join(f"127.0.0.1:{server.port}" for server in servers)
        with running(f"redis+cluster://{hosts}", POLICIES) as pods:
            company = Company(pods, bob=user_of(victim, "bob"), eve=user_of(victim, "eve"))
            seen_whole(pods)
            before = losses(pods)
            servers[victim].process.kill()
            servers[victim].process.wait()
            servers[victim].path.unlink(missing_ok=True)
            company.none_is_let_in()
            servers[victim].start()
            assert call(servers[victim], "DBSIZE") < 20
            company.watch_until_all_notice(before)


def test_one_shard_of_a_cluster_that_is_flushed_under_a_live_link_lets_nobody_in() -> None:
    with cluster() as servers:
        hosts = ",".join(f"127.0.0.1:{server.port}" for server in servers)
        with running(f"redis+cluster://{hosts}", POLICIES) as pods:
            company = Company(pods, bob=user_of(2, "bob"), eve=user_of(2, "eve"))
            seen_whole(pods)
            before = losses(pods)
            call(servers[2], "FLUSHALL")
            company.watch_until_all_notice(before)


def test_an_older_backup_that_is_restored_lets_nobody_in(tmp_path: Path) -> None:
    backup = tmp_path / "backup.rdb"
    with serving("--save", "") as server, running(server.url, POLICIES) as pods:
        dump = server.path.parent / "dump.rdb"
        seen_whole(pods)
        call(server, "SAVE")
        shutil.copy(dump, backup)
        company = Company(pods)
        seen_whole(pods)
        before = losses(pods)
        server.process.kill()
        server.process.wait()
        server.path.unlink(missing_ok=True)
        shutil.copy(backup, dump)
        server.start()
        assert call(server, "DBSIZE") > 0
        company.watch_until_all_notice(before)
        company.ada_is_let_in()


def accepting(settings: Settings, _: int) -> Settings:
    store = msgspec.structs.replace(settings.store, eviction=Eviction.ACCEPT)
    return msgspec.structs.replace(settings, store=store)


def test_records_that_a_full_store_evicts_let_nobody_in() -> None:
    with (
        serving("--maxmemory-policy", "allkeys-lru") as server,
        running(server.url, POLICIES, change=accepting) as pods,
    ):
        company = Company(pods)
        company.none_is_let_in()
        lone = Company(pods)  # of whom nobody knows but the store
        seen_whole(pods)
        before = losses(pods)
        with server.client() as client:
            names = StoreKeys("su")
            used = int(client.info("memory")["used_memory"])
            client.config_set("maxmemory", used + 2_000_000)
            ours = [names.user_record(digest(ISSUER, user)) for user in (lone.bob, lone.eve)]
            filler = 0
            while client.exists(*ours):
                client.set(f"filler:{filler}", b"x" * 10_000)
                filler += 1
            client.config_set("maxmemory", 0)
        lone.watch_until_all_notice(before)
        company.none_is_let_in()


@pytest.mark.parametrize(
    ("setting", "value", "words"),
    [("maxmemory", "1", "used memory"), ("min-replicas-to-write", "1", "good replicas")],
)
def test_a_store_that_takes_no_writes_is_as_good_as_away_and_says_why(
    setting: str, value: str, words: str
) -> None:
    with serving() as server, running(server.url, POLICIES, change=impatient) as pods:
        ada = token(unique("ada"), unique("s"))
        client = pods.clients[1]
        assert client.check(ada)["decision"] == "allow"
        call(server, "CONFIG", "SET", setting, value)
        eventually(lambda: client.check(ada).get("status"), lambda one: one == 503, within=20)
        assert client.check(ada, context="")["decision"] == "allow"
        admin = pods.addresses[1].admin[0]
        answer = plain_http.get(f"{admin}/readyz")
        assert answer.status_code == 503
        (store,) = (check for check in answer.json()["checks"] if check["name"] == "store")
        assert store["state"] == "bad"
        assert words in store["reason"]
        assert "sidecar_store_up 0.0" in plain_http.get(f"{admin}/metrics").text
        call(server, "CONFIG", "SET", setting, "0")
        eventually(lambda: client.check(ada).get("decision"), lambda one: one == "allow")
        eventually(
            lambda: plain_http.get(f"{admin}/metrics").text,
            lambda text: "sidecar_store_up 1.0" in text,
        )


def impatient(settings: Settings, _: int) -> Settings:
    sessions = msgspec.structs.replace(settings.sessions, max_staleness=3.0)
    return msgspec.structs.replace(settings, sessions=sessions)
