"""Shared Signals by poll: whole daemons, a real transmitter over HTTP, one of them polls."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from anyio.from_thread import start_blocking_portal

from sidecar.adapters.clock import now
from sidecar.domain.policy.conditional_access import RiskLevel, UserRisk
from sidecar.wire.settings.receiver import KnownTransmitter, Receiver
from sidecar.wire.settings.settings import Settings
from sidecar.wire.settings.sources import SourceSettings
from tests.adapters.servers import Server
from tests.adapters.transmitter import TOKEN, Transmitter, transmit
from tests.domain.scenes import policy
from tests.stories.running import ISSUER, Pods, running, token, unique
from tests.stories.transmission import SETS, signed
from tests.waiting import eventually


@pytest.fixture(scope="module")
def transmitter() -> Iterator[Transmitter]:
    with start_blocking_portal("trio") as portal:
        future, transmitter = portal.start_task(transmit, SETS)
        yield transmitter
        future.cancel()


@pytest.fixture(scope="module")
def pods(
    valkey_server: Server, transmitter: Transmitter, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pods]:
    with valkey_server.client() as client:
        client.flushall()
    secret = tmp_path_factory.mktemp("secrets") / "token"
    secret.write_text(TOKEN)

    def polling(settings: Settings, _: int) -> Settings:
        known = KnownTransmitter(
            name="idp",
            issuer=transmitter.url,
            audiences=("us",),
            poll_url=f"{transmitter.url}/poll",
            poll_interval=0.01,
            token_file=str(Path(secret)),
        )
        receiver = Receiver(transmitters=(known,))
        # It is no issuer of tokens itself, and speaks for the users of one.
        speaks_for = SourceSettings(name="hub", transmitter="idp", issuers=(ISSUER,))
        sources = (*settings.sources, speaks_for)
        return msgspec.structs.replace(settings, receiver=receiver, sources=sources)

    policies = (policy(UserRisk(RiskLevel.MEDIUM), name="risk"),)
    with running(valkey_server.url, policies, change=polling) as both:
        yield both


def risk(transmitter: Transmitter, user: str, **more: Any) -> tuple[str, str]:
    token_id = unique("jti")
    event = "https://schemas.openid.net/secevent/caep/event-type/risk-level-change"
    claims = {
        "iss": transmitter.url,
        "jti": token_id,
        "iat": int(now()),
        "aud": "us",
        "sub_id": {"format": "iss_sub", "iss": ISSUER, "sub": user},
        "events": {event: {"principal": "USER", "current_level": "HIGH"}},
        **more,
    }
    return token_id, signed(claims)


def test_what_a_transmitter_keeps_for_us_takes_effect_everywhere_and_is_acknowledged(
    pods: Pods, transmitter: Transmitter
) -> None:
    people = {unique("user"): unique("session") for _ in range(5)}
    weak = {user: token(user, session) for user, session in people.items()}
    for one in weak.values():
        assert all(client.check(one)["decision"] == "allow" for client in pods.clients)
    sets = dict(risk(transmitter, user) for user in people)
    transmitter.waiting |= sets
    for one in weak.values():
        for client in pods.clients:
            eventually(lambda: client.check(one), lambda heard: heard["decision"] == "step_up")  # noqa: B023
    eventually(lambda: set(sets) <= set(transmitter.acknowledged), bool)
    assert transmitter.refused == {}


def test_what_is_refused_is_reported_to_the_transmitter(
    pods: Pods, transmitter: Transmitter
) -> None:
    token_id, text = risk(transmitter, "ada", aud="them")
    transmitter.waiting[token_id] = text
    eventually(lambda: token_id in transmitter.refused, bool)
    assert transmitter.refused[token_id]["err"] == "invalid_audience"


def test_a_transmitter_that_is_away_for_a_while_is_asked_again(
    pods: Pods, transmitter: Transmitter
) -> None:
    transmitter.faults = [(500, {}), (503, {"Retry-After": "1"})]
    token_id, text = risk(transmitter, unique("user"))
    transmitter.waiting[token_id] = text
    eventually(lambda: token_id in transmitter.acknowledged, bool, within=20)
    assert transmitter.faults == []
