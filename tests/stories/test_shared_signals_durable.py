"""Answered with 202 only when it is durable: with the store away, in the spool or not at all."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sidecar.adapters.clock import now
from sidecar.domain.policy.conditional_access import RiskLevel, UserRisk
from sidecar.wire.settings.settings import Settings, SpoolSettings
from tests.adapters.servers import Server, impatient, serving
from tests.domain.scenes import policy
from tests.stories.running import running, token, unique
from tests.stories.transmission import push, receiving, signed
from tests.waiting import eventually

ISSUER = "https://idp.example.com/123456789/"
RISK = "https://schemas.openid.net/secevent/caep/event-type/risk-level-change"
POLICIES = (policy(UserRisk(RiskLevel.MEDIUM), name="risk"),)


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as one:
        yield one


def risk(user: str, token_id: str) -> str:
    return signed(
        {
            "iss": ISSUER,
            "jti": token_id,
            "iat": int(now()),
            "aud": "https://sp.example.com/caep",
            "sub_id": {"format": "iss_sub", "iss": ISSUER, "sub": user},
            "events": {RISK: {"principal": "USER", "current_level": "HIGH"}},
        }
    )


def configured(url: str, spool: Path | None) -> Any:
    def change(settings: Settings, _: int) -> Settings:
        settings = msgspec.structs.replace(settings, store=impatient(url, retries=0))
        if spool is not None:
            settings = msgspec.structs.replace(settings, spool=SpoolSettings(dir=str(spool)))
        return receiving(settings)

    return change


def test_without_a_spool_it_is_to_be_sent_again_and_then_it_counts(server: Server) -> None:
    with running(server.url, POLICIES, 1, configured(server.url, None)) as pods:
        (client,), url = pods.clients, pods.addresses[0].receiver[0]
        user = unique("user")
        weak = token(user, unique("session"))
        assert client.check(weak)["decision"] == "allow"
        text = risk(user, unique("jti"))
        with server.paused():
            answer = push(url, text)
            assert (answer.status_code, answer.content) == (503, b"")
            assert int(answer.headers["retry-after"]) >= 1
        eventually(lambda: push(url, text), lambda answer: answer.status_code == 202)
        eventually(lambda: client.check(weak), lambda heard: heard["decision"] == "step_up")


def test_with_a_spool_it_is_accepted_in_force_at_once_and_counts_once(
    server: Server, tmp_path: Path
) -> None:
    with running(server.url, POLICIES, 1, configured(server.url, tmp_path / "spool")) as pods:
        (client,), url = pods.clients, pods.addresses[0].receiver[0]
        user = unique("user")
        weak = token(user, unique("session"))
        assert client.check(weak)["decision"] == "allow"
        text = risk(user, unique("jti"))
        with server.paused():
            assert push(url, text).status_code == 202
            assert client.check(weak, context="")["step_up_pending"]
            assert push(url, text).status_code == 202
        eventually(lambda: client.check(weak), lambda heard: heard["decision"] == "step_up")
        eventually(lambda: push(url, text), lambda answer: answer.status_code == 202)
