import io
import json
from typing import Any

import jwt
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from sidecar.adapters.telemetry.logs import LogLines
from sidecar.adapters.telemetry.telemetry import PrometheusTelemetry
from sidecar.adapters.tokens.keys import KeySource
from sidecar.service.ports.calls import Unavailable
from sidecar.shared_signals.adapters.set_verifier import SetVerifier
from sidecar.shared_signals.service.receiver import SetReceiver
from sidecar.shared_signals.wire.security_event_tokens import InvalidSet, event_id_of
from sidecar.shared_signals.wire.stream_api import metadata_address
from sidecar.wire.events.security_event_names import Fault
from sidecar.wire.settings.receiver import KnownTransmitter
from sidecar.wire.settings.settings import Issuer, Settings, Tokens
from tests.adapters.identity import ALGORITHMS, Answer, Provider, Signer, encode, key_set, serve

NOW = 1_800_000_000.0
OLD, NEW = Signer(kid="old"), Signer(kid="new", number=1)


@pytest.fixture
async def provider(nursery: trio.Nursery) -> Provider:
    provider = await serve(nursery)
    provider.paths["/jwks"] = Answer(key_set(OLD))
    return provider


def verifier(provider: Provider, **changes: Any) -> SetVerifier:
    transmitter = KnownTransmitter(
        name="idp", issuer=provider.url, audiences=("us", "them"), **changes
    )
    issuer = Issuer(issuer=provider.url, audiences=("us",), jwks_uri=f"{provider.url}/jwks")
    return SetVerifier([(transmitter, KeySource(issuer, Tokens()))], 16384)


def token(provider: Provider, signer: Signer = OLD, **changes: Any) -> str:
    claims = {
        "iss": provider.url,
        "jti": "1",
        "iat": int(NOW),
        "aud": "us",
        "events": {"urn:example:event": {}},
        **changes,
    }
    named = {"kid": signer.kid} if signer.kid else {}
    headers = {"typ": "secevent+jwt", **named}
    return jwt.encode(claims, signer.private, signer.algorithm, headers=headers)


async def refused(verifier_: SetVerifier, text: str) -> Fault:
    with pytest.raises(InvalidSet) as caught:
        await verifier_.verify(text, NOW)
    return caught.value.fault


async def test_a_set_is_believed_with_what_it_says_and_whose_it_is(provider: Provider) -> None:
    verified = await verifier(provider).verify(token(provider, aud=["else", "them"]), NOW)
    assert (verified.token.id, verified.transmitter.name) == ("1", "idp")


async def test_a_key_that_was_rotated_in_a_moment_ago_is_fetched(provider: Provider) -> None:
    known = verifier(provider)
    await known.verify(token(provider), NOW)
    provider.paths["/jwks"] = Answer(key_set(NEW))
    await known.verify(token(provider, NEW), NOW)
    assert await refused(known, token(provider, OLD)) is Fault.INVALID_KEY


async def test_without_a_key_id_a_signature_that_does_not_fit_asks_for_new_keys(
    provider: Provider,
) -> None:
    provider.paths["/jwks"] = Answer(key_set(Signer(kid=None)))
    known = verifier(provider)
    await known.verify(token(provider, Signer(kid=None)), NOW)
    fresh = Signer(kid=None, number=3)
    assert await refused(known, token(provider, fresh)) is Fault.AUTHENTICATION_FAILED
    provider.paths["/jwks"] = Answer(key_set(fresh))
    await known.verify(token(provider, fresh), NOW)


async def test_a_key_that_was_replaced_under_its_kid_is_fetched_at_the_first_set(
    provider: Provider,
) -> None:
    known = verifier(provider)
    await known.verify(token(provider), NOW)
    replaced = Signer(kid="old", number=3)
    provider.paths["/jwks"] = Answer(key_set(replaced))
    await known.verify(token(provider, replaced), NOW)
    assert await refused(known, token(provider, OLD)) is Fault.AUTHENTICATION_FAILED


async def test_while_the_keys_are_not_to_be_had_nothing_is_said_of_a_set(
    provider: Provider,
) -> None:
    provider.paths.clear()
    with pytest.raises(Unavailable):
        await verifier(provider).verify(token(provider), NOW)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_every_allowed_algorithm_works_and_no_other(
    provider: Provider, algorithm: str
) -> None:
    signer = Signer(algorithm, kid="k")
    provider.paths["/jwks"] = Answer(key_set(signer))
    await verifier(provider, algorithms=(algorithm,)).verify(token(provider, signer), NOW)
    others = tuple(one for one in ALGORITHMS if one != algorithm)
    assert await refused(verifier(provider, algorithms=others), token(provider, signer)) is (
        Fault.INVALID_KEY
    )


async def test_an_age_has_bounds_and_clocks_may_differ(provider: Provider) -> None:
    known = verifier(provider, max_age=3600.0, skew=30.0)
    for iat in (NOW - 3629, NOW, NOW + 29):
        await known.verify(token(provider, iat=iat), NOW)
    for iat in (NOW - 3631, NOW + 31):
        assert await refused(known, token(provider, iat=iat)) is Fault.INVALID_REQUEST
    ageless = verifier(provider, max_age=0.0)
    await ageless.verify(token(provider, iat=1), NOW)


async def test_text_that_is_not_ascii_or_too_long_is_refused(provider: Provider) -> None:
    known = verifier(provider)
    assert await refused(known, "ä.b.c") is Fault.INVALID_REQUEST
    assert await refused(known, "a" * 20000) is Fault.INVALID_REQUEST


HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "alg": st.sampled_from(["ES256", "none", "HS256", "RS256", ""]),
        "typ": st.sampled_from(["secevent+jwt", "JWT"]),
        "kid": st.sampled_from(["old", "other"]) | st.none() | st.integers(),
        "crit": st.lists(st.text()),
    },
)
PAYLOADS = st.dictionaries(
    st.sampled_from(["iss", "aud", "jti", "iat", "events", "sub_id", "exp"]),
    st.just("https://idp.example") | st.none() | st.integers() | st.lists(st.text()),
)


def compact(header: Any, payload: Any, signature: bytes) -> str:
    parts = (json.dumps(header).encode(), json.dumps(payload).encode(), signature)
    return ".".join(encode(part) for part in parts)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("keys") / "jwks.json"
    file.write_bytes(key_set(OLD))
    return str(file)


@given(text=st.text() | st.builds(compact, HEADERS, PAYLOADS, st.binary(max_size=80)))
async def test_no_text_is_answered_with_anything_but_a_refusal(keys: str, text: str) -> None:
    issuer = Issuer(issuer="https://idp.example", audiences=("us",), jwks_file=keys)
    transmitter = KnownTransmitter(name="idp", issuer=issuer.issuer, audiences=("us",))
    known = SetVerifier([(transmitter, KeySource(issuer, Tokens()))], 16384)
    with pytest.raises(InvalidSet):
        await known.verify(text, NOW)


@pytest.mark.parametrize("name", ["ssf-configuration", "risc-configuration"])
async def test_keys_are_found_by_the_metadata_of_a_transmitter_old_or_new(
    provider: Provider, name: str
) -> None:
    body = f'{{"issuer": "{provider.url}", "jwks_uri": "{provider.url}/jwks",'
    body += ' "critical_subject_members": ["tenant"]}'
    provider.paths[f"/.well-known/{name}"] = Answer(body.encode())
    found: list[object] = []
    source = KeySource(
        Issuer(issuer=provider.url, audiences=("us",)),
        Tokens(),
        addresses=lambda issuer: (
            metadata_address(issuer),
            metadata_address(issuer, "risc-configuration"),
        ),
        on_metadata=lambda metadata: found.append(metadata["critical_subject_members"]),
    )
    assert [key.key_id for key in await source.find("old", "ES256")] == ["old"]
    assert found == [["tenant"]]


async def test_a_transmitter_is_believed_as_it_is_configured_now_and_not_where_it_is_left_out(
    provider: Provider,
) -> None:
    known = verifier(provider)
    text = token(provider)
    assert (await known.verify(text, NOW)).transmitter.name == "idp"
    ((_, keys),) = known._known.values()  # noqa: SLF001 - they stay
    narrower = KnownTransmitter(name="idp", issuer=provider.url, audiences=("them",))
    known.replace([(narrower, keys)])
    assert await refused(known, text) is Fault.INVALID_AUDIENCE
    known.replace([])
    assert await refused(known, text) is Fault.INVALID_ISSUER
    known.replace([(KnownTransmitter(name="idp", issuer=provider.url, audiences=("us",)), keys)])
    assert (await known.verify(text, NOW)).transmitter.name == "idp"


async def test_a_set_under_way_does_not_outlive_the_trust_in_its_transmitter(
    provider: Provider, nursery: trio.Nursery
) -> None:
    gate = trio.Event()
    provider.paths["/jwks"] = Answer(key_set(OLD), gate=gate)
    known = verifier(provider)
    faults: list[Fault] = []

    async def call() -> None:
        faults.append(await refused(known, token(provider)))

    async with trio.open_nursery() as callers:
        callers.start_soon(call)
        await provider.asked_now.wait()
        known.replace([])
        gate.set()
    assert faults == [Fault.INVALID_ISSUER]
    nursery.cancel_scope.cancel()


class Taking:
    """SETs as they are taken, and the lines that are written of them."""

    def __init__(self, provider: Provider) -> None:
        self._stream = io.BytesIO()
        self.telemetry = PrometheusTelemetry(Settings(), LogLines(self._stream))
        unused: Any = None
        self._receiving = SetReceiver(
            verifier=verifier(provider),
            events=unused,
            rules=unused,
            source_of=unused,
            state_secret=unused,
            clock=lambda: NOW,
            skew=lambda: 60.0,
            telemetry=self.telemetry,
        )

    async def refused(self, text: str, shown: str = "") -> list[Any]:
        with pytest.raises(InvalidSet):
            await self._receiving.take(text, ["idp"], shown)
        lines = [json.loads(line) for line in self._stream.getvalue().splitlines()]
        return [line for line in lines if line["event"] == "security-event-token"]


RISK = "https://schemas.openid.net/secevent/caep/event-type/risk-level-change"


@pytest.mark.parametrize(
    ("changes", "outcome"),
    [
        ({"events": {RISK: {"current_level": "EXTREME"}}}, "invalid_request"),
        ({"events": {RISK: {"current_level": "LOW"}}, "aud": "else"}, "invalid_audience"),
        ({"events": {RISK: {"current_level": "LOW"}}, "iat": NOW + 3600}, "invalid_request"),
        ({"events": {RISK: {"current_level": "LOW"}}, "sub": "ada"}, "invalid_request"),
    ],
)
async def test_a_refusal_of_who_has_signed_is_a_warning_with_transmitter_type_and_id(
    provider: Provider, changes: dict[str, Any], outcome: str
) -> None:
    (line,) = await Taking(provider).refused(token(provider, txn="t-7", **changes))
    assert (line["level"], line["outcome"]) == ("warning", outcome)
    assert (line["transmitter"], line["type"]) == ("idp", "risk-level-change")
    assert line["id"] == event_id_of(provider.url, "1")
    assert line["transaction"] == "t-7"
    assert line["detail"]


@pytest.mark.parametrize("events", [{}, [], None, {"urn:a": 1, "urn:b": 2}])
async def test_what_cannot_be_logged_of_a_refusal_is_empty(provider: Provider, events: Any) -> None:
    (line,) = await Taking(provider).refused(token(provider, events=events))
    assert (line["level"], line["transmitter"], line["type"]) == ("warning", "idp", "")


async def test_what_a_stranger_sends_is_no_line(provider: Provider) -> None:
    forged = token(provider, Signer(kid="old", number=5))
    assert await Taking(provider).refused(forged) == []


async def test_a_forgery_from_who_has_shown_a_credential_is_a_warning_with_its_name(
    provider: Provider,
) -> None:
    forged = token(provider, Signer(kid="old", number=5))
    (line,) = await Taking(provider).refused(forged, shown="idp")
    assert (line["level"], line["outcome"]) == ("warning", "authentication_failed")
    assert (line["transmitter"], line["type"], line["id"]) == ("idp", "", "")
