"""What one fleet finds another acts upon: our transmitter to our receiver, two stores apart."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sidecar.domain.policy.conditional_access import Changed, Circumstance
from sidecar.wire.settings.receiver import KnownTransmitter, Receiver
from sidecar.wire.settings.settings import Settings
from sidecar.wire.settings.transmitter import FixedStream, Push, Recipient, Transmitter
from tests.adapters.recipients import key_file, secret_file
from tests.adapters.servers import Server, free_ports
from tests.domain.scenes import policy
from tests.stories.running import Pods, empowered, proofs_of_sessions, running, token, unique
from tests.waiting import eventually, into_next_second

ISSUER = "https://signals.example"
AUDIENCE = "https://other-fleet.example"
BERLIN, LISBON = "192.0.2.1", "198.51.100.1"
POLICIES = (
    policy(Changed((Circumstance.COUNTRY,)), name="moved"),
    policy(None, "mfa", name="always"),
)


@pytest.fixture(params=["push", "poll"])
def fleets(valkey_server: Server, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Pods]:
    """The first says what it finds, the second hears of it."""
    pushes = request.param == "push"
    with valkey_server.client() as client:
        client.flushall()
    listening, receiving = free_ports(2)
    shown = secret_file(tmp_path, "Bearer shown-to-the-other-fleet")
    credential = secret_file(tmp_path, "the-credential-of-the-other-fleet")
    transmitter = Transmitter(
        issuer=ISSUER,
        bind=f"127.0.0.1:{listening}",
        key_files=(key_file(tmp_path),),
        push=Push(retry_base=0.05, retry_cap=0.1),
        recipients=(
            Recipient(
                name="other",
                audience=(AUDIENCE,),
                credentials_file=credential,
                stream=FixedStream(
                    push_to=f"http://127.0.0.1:{receiving}/ssf/events" if pushes else "",
                    authorization_file=shown if pushes else "",
                ),
            ),
        ),
    )
    receiver = Receiver(
        bind=f"127.0.0.1:{receiving}" if pushes else "",
        transmitters=(
            KnownTransmitter(
                name="first",
                issuer=ISSUER,
                audiences=(AUDIENCE,),
                jwks_uri=f"http://127.0.0.1:{listening}/jwks.json",
                authorization_file=shown if pushes else "",
                poll_url="" if pushes else f"http://127.0.0.1:{listening}/ssf/poll/other",
                token_file=credential,
                poll_interval=0.1,
            ),
        ),
    )

    def change(settings: Settings, number: int) -> Settings:
        store = msgspec.structs.replace(settings.store, prefix=f"fleet{number}")
        settings = msgspec.structs.replace(settings, store=store)
        if number == 0:
            return msgspec.structs.replace(settings, transmitter=transmitter)
        settings = msgspec.structs.replace(settings, receiver=receiver)
        return proofs_of_sessions(empowered(settings, "first"))  # it learns of proofs by events

    with running(valkey_server.url, POLICIES, change=change) as both:
        yield both


def decided(answer: dict[str, Any], decision: str) -> bool:
    return bool(answer["decision"] == decision)


def test_a_lowered_assurance_a_proof_and_a_revocation_carry_over(fleets: Pods) -> None:
    first, second = fleets.clients
    user, session = unique("user"), unique("session")
    strong = token(user, session, acr="mfa")
    for fleet in (first, second):
        assert decided(fleet.check(strong, ip=BERLIN), "allow")

    assert decided(first.check(strong, ip=LISBON), "step_up")
    eventually(lambda: second.check(strong, ip=BERLIN), lambda one: decided(one, "step_up"))

    into_next_second()
    assert decided(first.check(token(user, session, age=0, acr="mfa"), ip=LISBON), "allow")
    eventually(lambda: second.check(strong, ip=BERLIN), lambda one: decided(one, "allow"))

    first.event("session-revoked", {"session": session}, data={"reason": "left"})
    over = eventually(lambda: second.check(strong, ip=BERLIN), lambda one: decided(one, "deny"))
    assert over["status"] == 401
