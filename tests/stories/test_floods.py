"""Under each flood of `benchmarks/floods.py` another peer is answered, and its revocation taken.

How soon is what the benchmark measures. Peers are known by their uids, so that the flood has
one of its own where this runs as root. Elsewhere, and over loopback everywhere, the two are one
peer that shares what it may take: there a connection that is in use stays, and is answered.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from benchmarks import floods
from sidecar.adapters.clock import now
from sidecar.domain.policy.conditional_access import RiskLevel, UserRisk
from sidecar.wire.settings.settings import Grpc, Network, Settings
from sidecar.wire.settings.sources import SourceSettings
from sidecar.wire.settings.tokens import Binding, Possession
from sidecar.wire.store.keys import StoreKeys
from tests import plain_http
from tests.adapters.servers import Server
from tests.domain.scenes import policy
from tests.stories.running import Pods, running, token, unique
from tests.waiting import eventually

POLICIES = (policy(UserRisk(RiskLevel.HIGH), name="risk"),)
SESSIONS = 300
PROOFS = 60
PATIENCE = 30.0
"""Seconds that the peer waits, and the daemon for it and the store, where the machine is busy."""
WAITS = "settle waits"
OVER_HTTP, OVER_NEW_HTTP = 5, 7
APART = os.geteuid() == 0
TURNS = range(8) if APART else (OVER_HTTP,)
"""The ways of `Peer.ask`: over new connections and kept ones, at both doors."""
COMPETING = {"idle connections", "half heads"}
"""Floods of connections over loopback, where a new one has no right to a place before others."""

COUNTED = {
    "idle connections": [
        ("sidecar_door_incidents_total", {"door": "socket", "incident": "made-room"}),
        ("sidecar_door_incidents_total", {"door": "http", "incident": "made-room"}),
    ],
    "half heads": [
        ("sidecar_door_incidents_total", {"door": "socket", "incident": "made-room"}),
        ("sidecar_door_incidents_total", {"door": "http", "incident": "made-room"}),
    ],
    "bad lines": [("sidecar_events_total", {"type": "unknown", "outcome": "invalid"})],
    "resets": [("sidecar_door_incidents_total", {"door": "grpc", "incident": "flooded"})],
    "watchers that do not read": [
        ("sidecar_door_incidents_total", {"door": "socket", "incident": "watch-refused"})
    ],
    "settle waits": [("sidecar_queue_rejected_total", {"queue": "settle-waits"})],
    "proofs": [("sidecar_invalid_tokens_total", {"reason": "proof-replayed"})],
    "unknown keys": [("sidecar_invalid_tokens_total", {"reason": "unknown-key"})],
    "fat tokens": [("sidecar_invalid_tokens_total", {"reason": "too-large"})],
    "sessions of one user": [
        ("sidecar_marks_total", {"signal": "risk-level-change", "state": "enabled"})
    ],
}
"""What shows an operator each flood."""


def small(settings: Settings, _pod: int) -> Settings:
    """A daemon whose places are soon taken, open to both uids."""
    Path(settings.socket.path).parent.chmod(0o755)
    return msgspec.structs.replace(
        settings,
        socket=msgspec.structs.replace(
            settings.socket, mode="0666", max_connections=32, max_watches=8
        ),
        http=msgspec.structs.replace(
            settings.http, max_connections=32, header_timeout=PATIENCE, keep_alive_timeout=600.0
        ),
        store=msgspec.structs.replace(settings.store, timeout=PATIENCE),
        sessions=msgspec.structs.replace(settings.sessions, max_staleness=PATIENCE),
        grpc=Grpc(bind="127.0.0.1:0"),
        sources=(*settings.sources, SourceSettings(name="flood", uids=(floods.NOBODY,))),
        networks=(*settings.networks, Network(name="restricted"), Network(name="office")),
        tokens=msgspec.structs.replace(
            settings.tokens, binding=Binding(possession=Possession.VERIFY)
        ),
    )


@pytest.fixture(scope="module")
def pods(valkey_server: Server) -> Iterator[Pods]:
    with running(valkey_server.url, POLICIES, 1, small) as one, valkey_server.client() as client:
        # A sidecar of the fleet that answers nothing, so that waits do not end.
        fleet = StoreKeys("su").sidecars_index()
        client.zadd(fleet, {b"silent": (now() + 3600) * 1000})
        yield one
        client.zrem(fleet, b"silent")


@pytest.fixture(scope="module")
def client() -> floods.Signer:
    return floods.Signer()


@pytest.fixture(scope="module")
def target(pods: Pods, client: floods.Signer) -> floods.Target:
    bound = token("mallory", "bound", cnf={"jkt": client.thumbprint()})
    where = pods.addresses[0]
    host, _, port = where.http[0].removeprefix("http://").rpartition(":")
    return floods.Target(
        where.socket,
        (host, int(port)),
        (host, int(where.grpc[0].rpartition(":")[2])),
        tuple(token("mallory", f"flood-{n}") for n in range(8)),
        bound,
        (),
        tuple(token("mallory", f"many-{n}") for n in range(SESSIONS)),
    )


def counted(pods: Pods, name: str, labels: dict[str, str]) -> float:
    text = plain_http.get(f"{pods.addresses[0].admin[0]}/metrics").text
    return sum(
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


def answers(peer: floods.Peer, name: str = "") -> set[str]:
    """What the checks of the peer come to, each way of asking twice."""
    turns = [turn for turn in TURNS if turn != OVER_NEW_HTTP or name not in COMPETING]
    return {peer.ask(turn) for turn in 2 * turns}


@pytest.mark.parametrize("name", sorted(floods.FLOODS, key=WAITS.__eq__))
def test_another_peer_is_answered_and_its_revocation_taken(
    pods: Pods, target: floods.Target, client: floods.Signer, name: str
) -> None:
    target = floods.with_proofs(target, client, PROOFS)
    session = unique("calm")
    peer = floods.Peer(target, token("alice", session), patience=PATIENCE)
    before = [counted(pods, *one) for one in COUNTED[name]]
    try:
        assert answers(peer) == {"allow"}
        with floods.flooding(name, target):
            assert answers(peer, name) == {"allow"}
            if APART:
                peer.revoke(session)
            else:
                peer.revoke_over_http(session)
            assert answers(peer, name) == {"deny"}
            for one, known in zip(COUNTED[name], before, strict=True):
                eventually(
                    lambda one=one: counted(pods, *one),
                    lambda n, known=known: n > known,
                    within=PATIENCE,
                )
    finally:
        peer.close()
    assert not peer.refused
