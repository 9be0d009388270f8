"""An ID token counts where this provider signed it, for this client and this sign-in, just now."""

import hmac
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import msgspec
import pytest
import trio
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sidecar.adapters.clock import now
from sidecar.adapters.console import openid_provider
from sidecar.adapters.console.openid_provider import AT_ONCE, OpenIdProvider, ProviderRefused
from sidecar.service.ports.calls import Unavailable
from sidecar.wire.console.openid import Attempt, ProviderPerson, question_of
from sidecar.wire.settings.admin import OpenIdSettings
from sidecar.wire.tokens.claims import InvalidToken
from tests import plain_http
from tests.adapters.console.openid_server import (
    CLIENT,
    SECRET,
    SIGNER,
    OpenIdServer,
    serving_openid,
)
from tests.adapters.identity import Signer, encode
from tests.waiting import until

ATTEMPT = Attempt("the-state", "the-nonce", "v" * 43)


@pytest.fixture
def server() -> Iterator[OpenIdServer]:
    with serving_openid() as found:
        found.groups = {"alice": ["staff", "security"]}
        yield found


def provider_of(server: OpenIdServer, **changes: Any) -> OpenIdProvider:
    openid = OpenIdSettings(
        issuer=server.issuer,
        client_id=CLIENT,
        client_secret=SECRET,
        redirect_uri="http://127.0.0.1:1/console/sign-in/return",
        operators=("security",),
        timeout=20.0,
    )
    return OpenIdProvider(msgspec.structs.replace(openid, **changes), plain_http.NO_CERTIFICATES)


async def code_of(provider: OpenIdProvider, attempt: Attempt = ATTEMPT) -> str:
    """A code for whoever signs in, got as a browser gets it."""
    address = question_of(provider.openid, await provider.endpoints(), attempt)
    reply = await trio.to_thread.run_sync(plain_http.get, address)
    return parse_qs(urlsplit(reply.headers["location"]).query)["code"][0]


async def redeemed(provider: OpenIdProvider, nonce: str = ATTEMPT.nonce) -> ProviderPerson:
    code = await code_of(provider)
    return await provider.redeem(code, ATTEMPT.verifier, nonce, now())


async def test_a_code_becomes_a_person_and_what_their_roles_follow_from(
    server: OpenIdServer,
) -> None:
    person = await redeemed(provider_of(server))
    assert person == ProviderPerson(server.issuer, "alice", "alice", ("staff", "security"))
    assert person.operator == f"alice@{server.issuer}"


async def test_metadata_and_keys_are_asked_for_once_for_a_while(server: OpenIdServer) -> None:
    provider = provider_of(server)
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(redeemed, provider)
    assert server.asked.count("/.well-known/openid-configuration") == 1
    assert server.asked.count("/jwks") == 1


def _by_the_public_key(claims: dict[str, Any]) -> str:
    """A token whose "secret" is the published key, which a careless verifier would take for one."""
    public = SIGNER.private.public_key().public_bytes(
        Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
    )
    body = encode(b'{"alg":"HS256","typ":"JWT","kid":"of-the-provider"}')
    signed = f"{body}.{encode(msgspec.json.encode(claims))}"
    return f"{signed}.{encode(hmac.digest(public, signed.encode(), 'sha256'))}"


def _unsigned(claims: dict[str, Any]) -> str:
    header = b'{"alg":"none","typ":"JWT"}'
    return f"{encode(header)}.{encode(msgspec.json.encode(claims))}."


def _without(name: str, claims: dict[str, Any]) -> dict[str, Any]:
    return {**claims, name: None}


def _with(changes: dict[str, Any], claims: dict[str, Any]) -> dict[str, Any]:
    return {**claims, **changes}


CLAIMS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "expired": lambda claims: {**claims, "exp": claims["iat"] - 60},
    "of the future": lambda claims: {**claims, "iat": claims["iat"] + 600},
    "without exp": partial(_without, "exp"),
    "without iat": partial(_without, "iat"),
    "without sub": partial(_without, "sub"),
    "without aud": partial(_without, "aud"),
    "for another audience": partial(_with, {"aud": "another-client"}),
    "for several, issued to nobody": partial(_with, {"aud": [CLIENT, "another-client"]}),
    "issued to another client": partial(_with, {"azp": "another-client"}),
    "of another issuer": partial(_with, {"iss": "https://elsewhere.example"}),
    "of another sign-in": partial(_with, {"nonce": "another"}),
    "without nonce": partial(_without, "nonce"),
    "of a name that is none": partial(_with, {"sub": "a\nb"}),
}
SIGNATURES: dict[str, Callable[[dict[str, Any]], str]] = {
    "alg none": _unsigned,
    "HS256 by the public key": _by_the_public_key,
    "a foreign key": lambda claims: Signer("ES256", "of-the-provider-not").token(**claims),
    "an algorithm that is not allowed": lambda claims: Signer("RS512", "k").token(**claims),
    "an access token": lambda claims: SIGNER.token({"typ": "at+jwt"}, **claims),
    "a logout token": lambda claims: SIGNER.token({"typ": "logout+jwt"}, **claims),
    "another signature": lambda claims: SIGNER.token(**claims)[:-8] + "AAAAAAAA",
    "no JWS": lambda _: "opaque",
}


@pytest.mark.parametrize("flaw", CLAIMS)
async def test_an_id_token_of_another_purpose_signs_nobody_in(
    server: OpenIdServer, flaw: str
) -> None:
    server.tamper = CLAIMS[flaw]
    with pytest.raises(InvalidToken):
        await redeemed(provider_of(server))


@pytest.mark.parametrize("flaw", SIGNATURES)
async def test_an_id_token_that_the_provider_did_not_sign_signs_nobody_in(
    server: OpenIdServer, flaw: str
) -> None:
    server.sign = SIGNATURES[flaw]
    with pytest.raises(InvalidToken):
        await redeemed(provider_of(server))


async def test_a_code_of_another_attempt_is_refused_by_its_verifier_and_by_its_nonce(
    server: OpenIdServer,
) -> None:
    provider = provider_of(server)
    stolen = await code_of(provider, Attempt("s", "n", "w" * 43))
    with pytest.raises(ProviderRefused):
        await provider.redeem(stolen, ATTEMPT.verifier, ATTEMPT.nonce, now())
    server.checks_verifier = False
    stolen = await code_of(provider, Attempt("s", "n", "w" * 43))
    with pytest.raises(InvalidToken, match="nonce"):
        await provider.redeem(stolen, ATTEMPT.verifier, ATTEMPT.nonce, now())


async def test_a_code_counts_once(server: OpenIdServer) -> None:
    provider = provider_of(server)
    code = await code_of(provider)
    await provider.redeem(code, ATTEMPT.verifier, ATTEMPT.nonce, now())
    with pytest.raises(ProviderRefused):
        await provider.redeem(code, ATTEMPT.verifier, ATTEMPT.nonce, now())


async def test_a_wrong_secret_is_named_as_ours(server: OpenIdServer) -> None:
    with pytest.raises(ProviderRefused, match="our own credentials"):
        await redeemed(provider_of(server, client_secret="wrong"))


@pytest.mark.parametrize("status", [302, 404, 429, 500])
async def test_an_answer_that_is_none_says_that_the_provider_cannot_be_asked(
    server: OpenIdServer, status: int
) -> None:
    server.status = status
    with pytest.raises(Unavailable, match=str(status)):
        await redeemed(provider_of(server))


async def test_a_provider_that_is_slow_is_given_up_and_left_alone_for_a_moment(
    server: OpenIdServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openid_provider, "PAUSE", 600.0)
    server.gate.clear()
    provider = provider_of(server, timeout=0.2)
    for _ in range(3):
        with pytest.raises(Unavailable, match="did not answer in time"):
            await provider.endpoints()
    assert len(server.asked) <= 1


async def test_a_provider_that_is_back_is_asked_again(
    server: OpenIdServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openid_provider, "PAUSE", 0.0)
    server.metadata = {"token_endpoint": None}
    provider = provider_of(server)
    with pytest.raises(Unavailable, match="token_endpoint"):
        await provider.endpoints()
    server.metadata = {}
    assert (await provider.endpoints()).token == f"{server.issuer}/token"


async def test_codes_that_come_while_many_are_redeemed_are_refused_at_once(
    server: OpenIdServer,
) -> None:
    provider = provider_of(server)
    codes = [await code_of(provider) for _ in range(AT_ONCE + 1)]
    server.gate.clear()
    before = len(server.asked)
    async with trio.open_nursery() as nursery:
        for code in codes[:-1]:
            nursery.start_soon(provider.redeem, code, ATTEMPT.verifier, ATTEMPT.nonce, now())
        await until(lambda: len(server.asked) - before, lambda count: count == AT_ONCE)
        with pytest.raises(Unavailable, match="too many"):
            await provider.redeem(codes[-1], ATTEMPT.verifier, ATTEMPT.nonce, now())
        server.gate.set()
    assert await provider.redeem(codes[-1], ATTEMPT.verifier, ATTEMPT.nonce, now())


@pytest.mark.parametrize(
    "metadata",
    [
        {"issuer": "https://elsewhere.example"},
        {"token_endpoint": None},
        {"token_endpoint": "http://elsewhere.example/token"},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"authorization_endpoint": "https://id.example/authorize#x"},
        {"token_endpoint": "http://127.0.0.1:1/token"},
        {"jwks_uri": "http://elsewhere.example/jwks"},
    ],
    ids=str,
)
async def test_metadata_that_lead_elsewhere_sign_nobody_in(
    server: OpenIdServer, metadata: dict[str, Any]
) -> None:
    server.metadata = metadata
    with pytest.raises(Unavailable):
        await provider_of(server).endpoints()


async def test_a_provider_that_is_gone_is_unavailable() -> None:
    with serving_openid() as server:
        provider = provider_of(server)
    with pytest.raises(Unavailable, match=httpx.URL(server.issuer).host):
        await provider.endpoints()
