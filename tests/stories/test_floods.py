"""Under each flood of `benchmarks/floods.py` another peer is answered, and its revocation taken.

How soon is what the benchmark measures. Here the floods and the peer have one uid.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from benchmarks import floods
from sidecar.adapters.clock import now
from sidecar.domain.policy import RiskLevel, UserRisk
from sidecar.wire.naming import Names
from sidecar.wire.settings import Grpc, Network, Settings
from sidecar.wire.token_settings import Binding, Possession
from tests.adapters.servers import Server
from tests.domain.scenes import policy
from tests.stories.running import Pods, eventually, running, token, unique

POLICIES = (policy(UserRisk(RiskLevel.HIGH), name="risk"),)
SESSIONS = 300
TURNS = 16
WAITS = "settle waits"
KEPT = [5, 7]
"""Turns over HTTP: what waits takes up the places of its uid at the socket, and this is its uid."""

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
"""What tells an operator of each flood."""


def small(settings: Settings, _pod: int) -> Settings:
    """A daemon whose places are soon taken."""
    return msgspec.structs.replace(
        settings,
        socket=msgspec.structs.replace(settings.socket, max_connections=32, max_watches=8),
        http=msgspec.structs.replace(settings.http, max_connections=32),
        grpc=Grpc(bind="127.0.0.1:0"),
        networks=(*settings.networks, Network(name="restricted"), Network(name="office")),
        tokens=msgspec.structs.replace(
            settings.tokens, binding=Binding(possession=Possession.VERIFY)
        ),
    )


@pytest.fixture(scope="module")
def pods(valkey_server: Server) -> Iterator[Pods]:
    with running(valkey_server.url, POLICIES, 1, small) as one:
        # A sidecar of the fleet that answers nothing, so that waits do not end.
        with valkey_server.client() as client:
            client.zadd(Names("su").sidecars_index(), {b"silent": (now() + 3600) * 1000})
        yield one


@pytest.fixture(scope="module")
def target(pods: Pods) -> floods.Target:
    client = floods.Signer()
    bound = token("mallory", "bound", cnf={"jkt": client.thumbprint()})
    where = pods.addresses[0]
    host, _, port = where.http[0].removeprefix("http://").rpartition(":")
    return floods.Target(
        where.socket,
        (host, int(port)),
        (host, int(where.grpc[0].rpartition(":")[2])),
        tuple(token("mallory", f"flood-{n}") for n in range(8)),
        bound,
        tuple(client.proof(bound) for _ in range(60)),
        tuple(token("mallory", f"many-{n}") for n in range(SESSIONS)),
    )


@contextmanager
def flooded(flood: floods.Flood, target: floods.Target) -> Iterator[None]:
    """A thread floods; the first burst is over when this begins."""
    begun, over = threading.Event(), threading.Event()

    def run() -> None:
        for _ in flood(target):
            begun.set()
            if over.is_set():
                return

    thread = threading.Thread(target=run)
    thread.start()
    try:
        begun.wait(30)
        yield
    finally:
        over.set()
        thread.join(30)


def counted(pods: Pods, name: str, labels: dict[str, str]) -> float:
    text = httpx.get(f"{pods.addresses[0].admin[0]}/metrics").text
    return sum(
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


@pytest.mark.parametrize("name", sorted(floods.FLOODS, key=WAITS.__eq__))
def test_another_peer_is_answered_and_its_revocation_taken(
    pods: Pods, target: floods.Target, name: str
) -> None:
    session = unique("calm")
    peer = floods.Peer(target, token("alice", session), patience=30)
    turns = KEPT if name == WAITS else range(TURNS)
    before = [counted(pods, *one) for one in COUNTED[name]]
    try:
        assert peer.ask(0) == "allow"
        with flooded(floods.FLOODS[name], target):
            assert {peer.ask(turn) for turn in turns} == {"allow"}
            peer.revoke(session)
            assert {peer.ask(turn) for turn in turns} == {"deny"}
            for one, known in zip(COUNTED[name], before, strict=True):
                eventually(lambda one=one: counted(pods, *one), lambda n, known=known: n > known)
    finally:
        peer.close()
    assert not peer.refused
