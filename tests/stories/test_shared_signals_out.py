"""Whole daemons send a recipient, over real HTTP, what they find of sessions."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sidecar.domain.policy.conditional_access import Changed, Circumstance
from sidecar.wire.settings.settings import Settings
from sidecar.wire.settings.transmitter import FixedStream, Push, Transmitter
from sidecar.wire.settings.transmitter import Recipient as RecipientSettings
from tests import plain_http
from tests.adapters.recipients import Recipient, key_file, receiving, secret_file, verified
from tests.adapters.servers import Server
from tests.domain.scenes import policy
from tests.stories.running import ISSUER, Pods, running, token, unique
from tests.waiting import eventually, into_next_second

POLICIES = (policy(Changed((Circumstance.COUNTRY,)), name="moved"),)
BERLIN, LISBON = "192.0.2.1", "198.51.100.1"
TRANSMITTER = "https://sidecars.example/tenant"
CREDENTIAL = "a-credential-of-iga"
ASSURANCE = "assurance-level-change"
BEARER = {"Authorization": f"Bearer {CREDENTIAL}"}


@pytest.fixture
def recipient() -> Iterator[Recipient]:
    with receiving() as one:
        yield one


@pytest.fixture
def pods(valkey_server: Server, tmp_path: Path, recipient: Recipient) -> Iterator[Pods]:
    with valkey_server.client() as client:
        client.flushall()

    transmitter = Transmitter(
        issuer=TRANSMITTER,
        bind="127.0.0.1:0",
        key_files=(key_file(tmp_path),),
        push=Push(retry_base=0.05, retry_cap=0.1),
        poll_wait=5.0,
        recipients=(
            RecipientSettings(
                name="iga",
                audience=("https://iga.example",),
                credentials_file=secret_file(tmp_path, CREDENTIAL),
                max_streams=2,
                stream=FixedStream(
                    push_to=recipient.url,
                    authorization_file=secret_file(tmp_path, "Bearer shown-to-iga"),
                ),
            ),
        ),
    )

    def change(settings: Settings, _: int) -> Settings:
        return msgspec.structs.replace(settings, transmitter=transmitter)

    with running(valkey_server.url, POLICIES, change=change) as both:
        with valkey_server.client() as client:
            eventually(lambda: client.hlen("su:{transmitter}:streams"), bool)
        yield both


def about(recipient: Recipient, session: str) -> list[dict[str, Any]]:
    return [
        one for one in recipient.claims if one["sub_id"].get("session", {}).get("id") == session
    ]


def events_about(recipient: Recipient, session: str) -> list[str]:
    return [next(iter(one["events"])).rpartition("/")[2] for one in about(recipient, session)]


def test_a_mark_and_its_proof_arrive_signed_and_once(pods: Pods, recipient: Recipient) -> None:
    a, b = pods.clients
    user, session = unique("user"), unique("session")
    weak = token(user, session)
    assert a.check(weak, ip=BERLIN)["decision"] == "allow"
    # Where the session was is saved behind the answer: the other may be asked before that.
    eventually(lambda: b.check(weak, ip=LISBON)["decision"], lambda one: one == "step_up")
    eventually(lambda: events_about(recipient, session), lambda n: "session-presented" in n)
    into_next_second()
    strong = token(user, session, age=0, acr="mfa")
    assert b.check(strong, ip=LISBON)["decision"] == "allow"
    eventually(lambda: events_about(recipient, session).count(ASSURANCE), lambda n: n == 2)

    key_set = plain_http.get(f"{pods.addresses[0].transmitter[0]}/tenant/jwks.json").json()
    tokens = [
        verified(one, key_set, "https://iga.example", TRANSMITTER) for one in recipient.tokens
    ]
    heard = {
        (event.rpartition("/")[2], body.get("change_direction")): (claims, body)
        for claims in tokens
        for event, body in claims["events"].items()
    }
    claims, fell = heard["assurance-level-change", "decrease"]
    assert (fell["previous_level"], fell["current_level"]) == ("single-factor", "none")
    assert fell["reason_admin"]["en"].startswith("moved: country: PT, since ")
    assert claims["sub_id"] == {
        "format": "complex",
        "user": {"format": "iss_sub", "iss": ISSUER, "sub": user},
        "session": {"format": "opaque", "id": session},
    }
    assert "sub" not in claims
    assert "exp" not in claims
    _, rose = heard["assurance-level-change", "increase"]
    assert (rose["previous_level"], rose["current_level"]) == ("none", "mfa")
    presented, _ = heard["session-presented", None]
    assert presented["txn"] == claims["txn"]
    assert len({one["jti"] for one in tokens}) == len(tokens)
    headers = [headers for headers, _ in recipient.posts]
    assert {one["authorization"] for one in headers} == {"Bearer shown-to-iga"}
    assert {one["content-type"] for one in headers} == {"application/secevent+jwt"}


def test_a_revocation_and_a_risen_risk_arrive(pods: Pods, recipient: Recipient) -> None:
    a, b = pods.clients
    user, session = unique("user"), unique("session")
    weak = token(user, session)
    assert a.check(weak)["decision"] == "allow"
    b.event("risk-signal", {"session": session}, data={"name": "malware", "weight": 80})
    (risk,) = eventually(lambda: about(recipient, session), bool)
    (body,) = risk["events"].values()
    assert (body["previous_level"], body["current_level"]) == ("LOW", "HIGH")
    assert body["principal"] == "SESSION"
    b.event("session-revoked", {"user": user}, data={"reason": "left the company"})
    _, revoked = eventually(lambda: about(recipient, session), lambda all_: len(all_) == 2)
    (body,) = revoked["events"].values()
    assert body["reason_admin"] == {"en": "left the company"}


def test_after_an_outage_everything_arrives_in_order(pods: Pods, recipient: Recipient) -> None:
    a, _ = pods.clients
    recipient.answers.extend([(503, {}, b""), (503, {"Retry-After": "0"}, b""), (500, {}, b"")])
    user, session = unique("user"), unique("session")
    weak = token(user, session)
    a.check(weak, ip=BERLIN)
    a.check(weak, ip=LISBON)
    eventually(lambda: about(recipient, session), bool)
    a.event("session-revoked", {"session": session})
    names = eventually(lambda: events_about(recipient, session), lambda n: "session-revoked" in n)
    ids = [one["jti"] for one in about(recipient, session)]
    assert ids[0] == ids[1] == ids[2] == ids[3]
    assert len(set(ids)) == len(ids) - 3
    assert names[-1] == "session-revoked"


def test_a_recipient_can_poll_a_stream_that_it_made_itself(pods: Pods) -> None:
    a, b = pods.clients
    # Either sidecar answers: what they know of streams lies in the store.
    one, other = (f"{address.transmitter[0]}/tenant/ssf" for address in pods.addresses)
    made = plain_http.post(f"{one}/stream", headers=BEARER, json={}).json()
    poll = f"{other}/poll/{made['stream_id']}"
    assert made["delivery"]["endpoint_url"] == f"{TRANSMITTER}/ssf/poll/{made['stream_id']}"
    empty = plain_http.post(poll, headers=BEARER, json={"returnImmediately": True}).json()
    assert empty == {"sets": {}, "moreAvailable": False}
    session = unique("session")
    weak = token(unique("user"), session)
    a.check(weak, ip=BERLIN)
    b.check(weak, ip=LISBON)

    def waiting() -> dict[str, str]:
        answer = plain_http.post(poll, headers=BEARER, json={"maxEvents": 5}, timeout=10).json()
        sets: dict[str, str] = answer["sets"]
        return sets

    sets = eventually(waiting, lambda sets: len(sets) == 3)
    assert set(waiting()) == set(sets)  # until they are acknowledged
    done = plain_http.post(
        poll, headers=BEARER, json={"ack": list(sets), "returnImmediately": True}
    ).json()
    assert done == {"sets": {}, "moreAvailable": False}
