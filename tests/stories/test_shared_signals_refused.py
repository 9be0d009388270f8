"""Security Event Tokens that a whole daemon refuses, over real HTTP, in the words of RFC 8935."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import jwt
import msgspec
import pytest

from sidecar.adapters.clock import now
from sidecar.domain.policy.conditional_access import RiskLevel, UserRisk
from sidecar.shared_signals.wire.verification_state import make_state
from sidecar.wire.settings.settings import Settings
from tests import plain_http
from tests.adapters.identity import Signer, encode
from tests.adapters.servers import Server
from tests.domain.scenes import policy
from tests.stories.running import Pods, running, token, unique
from tests.stories.transmission import (
    AUTHORIZATION,
    HEADER,
    SETS,
    push,
    receiving,
    signed,
)
from tests.waiting import eventually

ISSUER = "https://idp.example.com/123456789/"
OTHER = "https://idp.example.com/3456789/"
AUDIENCE = "https://sp.example.com/caep"
CAEP = "https://schemas.openid.net/secevent/caep/event-type/"
OF_ANOTHER = "Bearer another-friend"


def configured(settings: Settings, _: int) -> Settings:
    """`OTHER` has a secret of its own, and may send nothing but compliance."""
    settings = receiving(settings)
    secret = settings.receiver.transmitters[0].authorization_file + "-other"
    with open(secret, "w") as file:  # noqa: PTH123 - a line
        file.write(OF_ANOTHER)
    return msgspec.structs.replace(
        settings,
        receiver=msgspec.structs.replace(
            settings.receiver,
            max_body_bytes=16384,
            transmitters=tuple(
                msgspec.structs.replace(
                    one, authorization_file=secret, events=("device-compliance-change",)
                )
                if one.issuer == OTHER
                else one
                for one in settings.receiver.transmitters
            ),
        ),
    )


@pytest.fixture(scope="module")
def pods(valkey_server: Server) -> Iterator[Pods]:
    with valkey_server.client() as client:
        client.flushall()
    policies = (policy(UserRisk(RiskLevel.MEDIUM), name="risk"),)
    with running(valkey_server.url, policies, change=configured) as both:
        yield both


@pytest.fixture
def url(pods: Pods) -> str:
    return pods.addresses[0].receiver[0]


def risk(user: str = "ada", level: str = "HIGH", **more: Any) -> dict[str, Any]:
    """The claims of a good SET: a user's risk rose. A change to `...` leaves a claim out."""
    payload = {"principal": "USER", "current_level": level}
    claims = {
        "iss": ISSUER,
        "jti": unique("jti"),
        "iat": int(now()),
        "aud": AUDIENCE,
        "sub_id": {"format": "iss_sub", "iss": ISSUER, "sub": user},
        "events": {f"{CAEP}risk-level-change": payload},
        **more,
    }
    return {name: value for name, value in claims.items() if value is not ...}


def metric(pods: Pods, name: str, index: int = 0) -> float:
    text = plain_http.get(f"{pods.addresses[index].admin[0]}/metrics", timeout=20).text
    return next(float(line.split()[-1]) for line in text.splitlines() if line.startswith(name))


def outcomes(pods: Pods, outcome: str, index: int = 0) -> float:
    return metric(pods, f'sidecar_security_event_tokens_total{{outcome="{outcome}"}}', index)


def with_public_key_as_secret() -> str:
    """HS256, keyed by what everybody can read: the public key (RFC 8725, section 2.1)."""
    public = json.dumps(SETS.jwk()).encode()
    signing = f"{encode(json.dumps({'alg': 'HS256', 'kid': SETS.kid, **HEADER}).encode())}."
    signing += encode(json.dumps(risk()).encode())
    mac = jwt.PyJWS().get_algorithm_by_name("HS256").sign(signing.encode(), public)
    return f"{signing}.{encode(mac)}"


def unsigned() -> str:
    header = json.dumps({"alg": "none", **HEADER}).encode()
    return f"{encode(header)}.{encode(json.dumps(risk()).encode())}."


def spoilt() -> str:
    head, payload, signature = signed(risk()).split(".")
    other = signed(risk()).split(".")[2]
    assert other != signature
    return f"{head}.{payload}.{other}"


STRANGER = Signer("ES256", kid="stranger", number=9)
REFUSED: dict[str, tuple[Callable[[], str], str]] = {
    "no token at all": (lambda: "", "invalid_request"),
    "no JWT": (lambda: "not.a.jwt", "invalid_request"),
    "JSON": (lambda: json.dumps(risk()), "invalid_request"),
    "a token of another type": (lambda: signed(risk(), typ="at+jwt"), "invalid_request"),
    "a token without a type": (lambda: signed(risk(), typ=None), "invalid_request"),
    "an expiry": (lambda: signed(risk(exp=int(now()) + 60)), "invalid_request"),
    "a sub": (lambda: signed(risk(sub="ada")), "invalid_request"),
    "no jti": (lambda: signed(risk(jti=...)), "invalid_request"),
    "no iat": (lambda: signed(risk(iat=...)), "invalid_request"),
    "an iat of last month": (lambda: signed(risk(iat=int(now()) - 2678400)), "invalid_request"),
    "an iat to come": (lambda: signed(risk(iat=int(now()) + 3600)), "invalid_request"),
    "an event to come": (lambda: signed(risk(toe=int(now()) + 3600)), "invalid_request"),
    "no events": (lambda: signed(risk(events={})), "invalid_request"),
    "no subject": (lambda: signed(risk(sub_id=...)), "invalid_request"),
    "half a subject": (lambda: signed(risk(sub_id={"format": "email"})), "invalid_request"),
    "an odd level": (lambda: signed(risk(level="EXTREME")), "invalid_request"),
    "alg none": (unsigned, "invalid_key"),
    "a public key as a secret": (with_public_key_as_secret, "invalid_key"),
    "a key that is not published": (lambda: signed(risk(), STRANGER), "invalid_key"),
    "another algorithm": (lambda: signed(risk(), Signer("ES384", kid="sets")), "invalid_key"),
    "another issuer": (lambda: signed(risk(iss="https://evil.example")), "invalid_issuer"),
    "no issuer": (lambda: signed(risk(iss=...)), "invalid_issuer"),
    "another audience": (lambda: signed(risk(aud="https://other.example")), "invalid_audience"),
    "no audience": (lambda: signed(risk(aud=...)), "invalid_audience"),
    "a wrong signature": (spoilt, "authentication_failed"),
    "a stranger's signature": (
        lambda: signed(risk(), Signer("ES256", kid="sets", number=9)),
        "authentication_failed",
    ),
    "a state that nobody gave": (
        lambda: signed(
            risk(
                sub_id={"format": "opaque", "id": "stream"},
                events={
                    "https://schemas.openid.net/secevent/ssf/event-type/verification": {
                        "state": "VGhpcyBpcyBhbiBleGFtcGxlIHN0YXRlIHZhbHVlLgo="
                    }
                },
            )
        ),
        "invalid_state",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_to_be_believed_is_refused_with_its_code(
    pods: Pods, url: str, name: str
) -> None:
    make, err = REFUSED[name]
    before = outcomes(pods, err)
    answer = push(url, make())
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["err"] == err
    assert set(answer.json()) == {"err", "description"}
    assert outcomes(pods, err) == before + 1


def test_the_least_that_is_believed(url: str) -> None:
    answer = push(url, signed(risk()))
    assert (answer.status_code, answer.content) == (202, b"")


def test_a_type_with_its_prefix_and_a_content_type_with_a_parameter_are_the_same(url: str) -> None:
    token_ = signed(risk(), typ="application/secevent+jwt")
    answer = push(url, token_, Content_Type="Application/SecEvent+JWT; charset=utf-8")
    assert answer.status_code == 202


def test_another_content_type_is_an_invalid_request(url: str) -> None:
    for content_type in ("application/json", "application/jwt", ""):
        answer = push(url, signed(risk()), Content_Type=content_type)
        assert (answer.status_code, answer.json()["err"]) == (400, "invalid_request")


def test_a_transmitter_that_does_not_show_its_secret_is_sent_away(url: str) -> None:
    for shown in ("", "Bearer wrong", AUTHORIZATION + "x", AUTHORIZATION.lower()):
        answer = push(url, signed(risk()), Authorization=shown)
        assert (answer.status_code, answer.json()["err"]) == (401, "authentication_failed")
        assert answer.headers["www-authenticate"].startswith("Bearer")


def test_the_secret_of_one_transmitter_is_none_of_another(url: str) -> None:
    answer = push(url, signed(risk()), Authorization=OF_ANOTHER)
    assert (answer.status_code, answer.json()["err"]) == (403, "access_denied")


def test_an_event_that_a_transmitter_may_not_send_is_denied(url: str) -> None:
    answer = push(
        url, signed(risk(iss=OTHER, aud="https://sp.example2.net/caep")), Authorization=OF_ANOTHER
    )
    assert (answer.status_code, answer.json()["err"]) == (400, "access_denied")


def test_a_body_that_is_too_large_is_not_read(url: str) -> None:
    answer = push(url, "x" * 20_000)
    assert (answer.status_code, answer.json()["err"]) == (413, "invalid_request")


def test_there_is_one_address_and_one_method(url: str) -> None:
    assert plain_http.get(f"{url}/ssf/events", timeout=20).status_code == 405
    assert plain_http.post(f"{url}/", timeout=20).status_code == 404


def test_a_known_set_again_is_accepted_at_any_sidecar_and_counts_once(pods: Pods, url: str) -> None:
    a, b = pods.clients
    user = unique("user")
    weak = token(user, unique("session"))
    b.check(weak)
    text = signed(risk(user, toe=now() - 10))
    assert push(url, text).status_code == 202
    eventually(lambda: b.check(weak), lambda answer: answer["decision"] == "step_up")
    low = risk(user, "LOW")
    assert push(url, signed(low)).status_code == 202
    eventually(lambda: b.check(weak), lambda answer: answer["decision"] == "allow")
    before = outcomes(pods, "duplicate", 1)
    assert push(pods.addresses[1].receiver[0], text).status_code == 202
    assert outcomes(pods, "duplicate", 1) == before + 1
    assert a.check(weak)["decision"] == b.check(weak)["decision"] == "allow"


@pytest.mark.parametrize(
    ("claims", "outcome"),
    [
        ({"sub_id": {"format": "did", "url": "did:example:1"}}, "unmatched"),
        (
            {"sub_id": {"format": "iss_sub", "iss": "https://else.example", "sub": "ada"}},
            "unmatched",
        ),
        (
            {
                "sub_id": {
                    "format": "complex",
                    "user": {"format": "iss_sub", "iss": ISSUER, "sub": "ada"},
                    "tenant": {"format": "opaque", "id": "another"},
                }
            },
            "unmatched",
        ),
        (
            {
                "events": {
                    f"{CAEP}risk-level-change": {"principal": "TENANT", "current_level": "HIGH"}
                }
            },
            "ignored",
        ),
        ({"events": {"urn:example:event": {"any": "thing"}}}, "ignored"),
    ],
)
def test_what_concerns_nobody_here_is_accepted_and_counted(
    pods: Pods, url: str, claims: Any, outcome: str
) -> None:
    before = outcomes(pods, outcome)
    answer = push(url, signed(risk(**claims)))
    assert (answer.status_code, answer.content) == (202, b"")
    assert outcomes(pods, outcome) == before + 1


def complex_subject(**members: str) -> dict[str, Any]:
    named = {
        "user": lambda name: {"format": "iss_sub", "iss": ISSUER, "sub": name},
        "device": lambda name: {"format": "iss_sub", "iss": ISSUER, "sub": name},
        "session": lambda name: {"format": "opaque", "id": name},
    }
    return {"format": "complex", **{kind: named[kind](name) for kind, name in members.items()}}


def revocation(**members: str) -> str:
    events: dict[str, Any] = {f"{CAEP}session-revoked": {}}
    return signed(risk(sub_id=complex_subject(**members), events=events))


def test_a_complex_subject_revokes_the_sessions_that_match_all_its_members(
    pods: Pods, url: str
) -> None:
    a = pods.clients[0]
    user, other = unique("user"), unique("user")
    here, there, theirs = unique("session"), unique("session"), unique("session")
    laptop, phone = unique("device"), unique("device")
    tokens = {
        here: token(user, here, deviceid=laptop),
        there: token(user, there, deviceid=phone),
        theirs: token(other, theirs, deviceid=laptop),
    }
    for one in tokens.values():
        assert a.check(one)["decision"] == "allow"

    def alive() -> set[str]:
        return {name for name, one in tokens.items() if a.check(one)["decision"] == "allow"}

    assert push(url, revocation(user=user, session=theirs)).status_code == 202
    assert push(url, revocation(session=here, device=phone)).status_code == 202
    assert alive() == {here, there, theirs}
    assert push(url, revocation(user=user, device=laptop)).status_code == 202
    assert alive() == {there, theirs}
    assert push(url, revocation(user=other, session=theirs, device=laptop)).status_code == 202
    assert alive() == {there}


def test_a_state_that_we_gave_is_known_again(pods: Pods, url: str) -> None:
    state = make_state(AUTHORIZATION, now(), bytes(8))
    event = "https://schemas.openid.net/secevent/ssf/event-type/verification"
    stream = {"format": "opaque", "id": "stream"}
    answer = push(url, signed(risk(sub_id=stream, events={event: {"state": state}})))
    assert answer.status_code == 202
    name = 'sidecar_stream_verified_timestamp_seconds{transmitter="'
    assert abs(metric(pods, name) - now()) < 60
