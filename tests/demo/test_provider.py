"""The demo's provider over real HTTP, by its own browser and by hand."""

import base64
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

import httpx
import jwt
import pytest
import trio
from jwt.algorithms import ECAlgorithm

from sidecar.demo.browser import Astray, Browser, Challenge, SignedInUser, parse_challenge
from sidecar.demo.people import ALICE, BOB
from sidecar.demo.provider import CODE_LIFE, Provider
from sidecar.demo.requests import Client
from tests import plain_http

NOW = 1_800_000_000.0
CLIENT = Client("payroll-web", "https://payroll.example/callback")
VERIFIER = "v" * 43
S256 = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
ASKED = {
    "response_type": "code",
    "client_id": CLIENT.name,
    "redirect_uri": CLIENT.redirect_uri,
    "scope": "openid",
    "state": "s-1",
    "nonce": "n-1",
    "code_challenge": S256,
    "code_challenge_method": "S256",
    "login_hint": "alice",
}


class World(NamedTuple):
    """A provider at work, a client of it, and a clock that is turned by hand."""

    issuer: str
    http: httpx.AsyncClient
    clock: list[float]

    async def authorize(self, **changes: str) -> dict[str, str]:
        """Return the parameters of the redirect; a change to nothing leaves a parameter out."""
        query = {name: value for name, value in (ASKED | changes).items() if value}
        answer = await self.http.get(f"{self.issuer}/authorize", params=query)
        assert answer.status_code == 302, answer.text
        assert answer.headers["location"].startswith(CLIENT.redirect_uri + "?")
        parameters = parse_qs(urlsplit(answer.headers["location"]).query)
        return {name: values[0] for name, values in parameters.items()}

    async def redeem(self, code: str, **changes: str) -> httpx.Response:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": CLIENT.redirect_uri,
            "client_id": CLIENT.name,
            "code_verifier": VERIFIER,
        }
        return await self.http.post(f"{self.issuer}/token", data=form | changes)

    def browser(self) -> Browser:
        return Browser(self.http, self.issuer, CLIENT, ALICE)


@asynccontextmanager
async def provider() -> AsyncIterator[World]:
    clock = [NOW]
    async with trio.open_nursery() as nursery:
        serving = Provider(CLIENT, "payroll", clock=lambda: clock[0])
        issuer = await nursery.start(serving.run)
        async with httpx.AsyncClient(trust_env=False, verify=plain_http.NO_CERTIFICATES) as http:
            yield World(issuer, http, clock)
        nursery.cancel_scope.cancel()


def said(signed: SignedInUser) -> dict[str, Any]:
    claims: dict[str, Any] = jwt.decode(signed.access_token, options={"verify_signature": False})
    return claims


async def test_the_code_flow_ends_in_a_token_that_the_published_key_verifies() -> None:
    async with provider() as world:
        signed = await world.browser().sign_in()
        metadata = (await world.http.get(f"{world.issuer}/.well-known/openid-configuration")).json()
        (key,) = (await world.http.get(metadata["jwks_uri"])).json()["keys"]
        header = jwt.get_unverified_header(signed.access_token)
        assert (header["typ"], header["kid"]) == ("at+jwt", key["kid"])
        claims = jwt.decode(
            signed.access_token,
            ECAlgorithm.from_jwk(json.dumps(key)),  # type: ignore[arg-type] # of a public JWK
            ["ES256"],
            audience="payroll",
            issuer=metadata["issuer"],
            options={"verify_exp": False, "verify_iat": False},
        )
    assert claims["sub"] == "alice"
    assert claims["auth_time"] == NOW
    assert (claims["acr"], claims["amr"]) == ("single-factor", ["pwd"])
    assert (claims["groups"], claims["deviceid"]) == (["finance"], "alice-laptop")
    assert claims["client_id"] == claims["azp"] == CLIENT.name
    assert claims["jti"]
    assert claims["exp"] > claims["iat"] == NOW


async def test_a_token_that_is_fetched_again_keeps_session_and_time_of_the_sign_in() -> None:
    async with provider() as world:
        browser = world.browser()
        first = said(await browser.sign_in())
        world.clock[0] += 100
        later = said(await browser.sign_in())
    assert (later["sid"], later["auth_time"]) == (first["sid"], first["auth_time"])
    assert later["iat"] == first["iat"] + 100
    assert later["jti"] != first["jti"]


@pytest.mark.parametrize(
    ("acr_values", "acr", "amr"),
    [
        ("mfa", "mfa", ["pwd", "hwk", "mfa"]),
        ("phr phrh", "phr", ["hwk", "user", "pin"]),
        ("urn:unknown mfa", "mfa", ["pwd", "hwk", "mfa"]),
    ],
)
async def test_acr_values_bring_a_stronger_sign_in_within_the_same_session(
    acr_values: str, acr: str, amr: list[str]
) -> None:
    async with provider() as world:
        browser = world.browser()
        first = said(await browser.sign_in())
        world.clock[0] += 7
        stronger = said(await browser.sign_in(Challenge(acr_values=acr_values)))
    assert (stronger["acr"], stronger["amr"]) == (acr, amr)
    assert (stronger["sid"], stronger["auth_time"]) == (first["sid"], first["auth_time"] + 7)


async def test_a_stronger_sign_in_than_asked_for_will_do() -> None:
    async with provider() as world:
        browser = world.browser()
        first = said(await browser.sign_in(Challenge(acr_values="phr")))
        world.clock[0] += 7
        assert (
            said(await browser.sign_in(Challenge(acr_values="mfa"))).items()
            >= {
                "acr": "phr",
                "auth_time": first["auth_time"],
            }.items()
        )


@pytest.mark.parametrize(("max_age", "again"), [(10, False), (9, True), (0, True)])
async def test_max_age_brings_a_new_sign_in_where_the_old_one_is_older(
    max_age: int, again: bool
) -> None:
    async with provider() as world:
        browser = world.browser()
        await browser.sign_in()
        world.clock[0] += 10
        later = said(await browser.sign_in(Challenge(max_age=max_age)))
    assert later["auth_time"] == (NOW + 10 if again else NOW)


async def test_max_age_zero_asks_even_who_has_signed_in_this_second() -> None:
    async with provider() as world:
        browser = world.browser()
        await browser.sign_in(Challenge(acr_values="phr"))
        assert said(await browser.sign_in(Challenge(max_age=0)))["acr"] == "single-factor"


async def test_a_browser_without_cookies_begins_another_session() -> None:
    async with provider() as world:
        browser = world.browser()
        first = await browser.sign_in()
        browser.forget()
        assert (await browser.sign_in()).session != first.session


async def test_another_person_in_the_same_browser_begins_another_session() -> None:
    async with provider() as world:
        first = await world.browser().sign_in()
        other = await Browser(world.http, world.issuer, CLIENT, BOB).sign_in()
    assert said(other)["sub"] == "bob"
    assert other.session != first.session


async def test_a_code_is_for_one_use() -> None:
    async with provider() as world:
        code = (await world.authorize())["code"]
        assert (await world.redeem(code)).status_code == 200
        again = await world.redeem(code)
    assert (again.status_code, again.json()["error"]) == (400, "invalid_grant")


async def test_a_code_expires() -> None:
    async with provider() as world:
        code = (await world.authorize())["code"]
        world.clock[0] += CODE_LIFE
        assert (await world.redeem(code)).json()["error"] == "invalid_grant"


async def test_a_verifier_that_does_not_fit_uses_up_the_code() -> None:
    async with provider() as world:
        code = (await world.authorize())["code"]
        wrong = await world.redeem(code, code_verifier="w" * 43)
        assert (wrong.status_code, wrong.json()["error"]) == (400, "invalid_grant")
        assert (await world.redeem(code)).json()["error"] == "invalid_grant"


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"client_id": "other"}, "invalid_client"),
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"redirect_uri": "https://other.example/"}, "invalid_grant"),
        ({"code_verifier": "short"}, "invalid_request"),
    ],
)
async def test_a_token_request_is_refused_with_the_code_of_its_rfc(
    change: dict[str, str], error: str
) -> None:
    async with provider() as world:
        refused = await world.redeem((await world.authorize())["code"], **change)
    assert (refused.status_code, refused.json()["error"]) == (400, error)
    assert refused.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"code_challenge": ""}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"max_age": "-1"}, "invalid_request"),
        ({"prompt": "none"}, "login_required"),
        ({"login_hint": "mallory"}, "access_denied"),
        ({"acr_values": "urn:unknown"}, "unmet_authentication_requirements"),
    ],
)
async def test_an_authorization_is_refused_at_the_client_with_its_state(
    change: dict[str, str], error: str
) -> None:
    async with provider() as world:
        answer = await world.authorize(**change)
        issuer = world.issuer
    assert (answer["error"], answer["state"], answer["iss"]) == (error, "s-1", issuer)
    assert "code" not in answer


@pytest.mark.parametrize(
    "change", [{"client_id": "other"}, {"redirect_uri": "https://other.example/"}]
)
async def test_nobody_is_sent_to_an_address_that_is_not_registered(change: dict[str, str]) -> None:
    async with provider() as world:
        answer = await world.http.get(f"{world.issuer}/authorize", params=ASKED | change)
    assert answer.status_code == 400
    assert "location" not in answer.headers


async def test_a_parameter_that_comes_twice_is_refused() -> None:
    async with provider() as world:
        answer = await world.http.get(
            f"{world.issuer}/authorize",
            params=[*ASKED.items(), ("acr_values", "a"), ("state", "x")],
        )
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


async def test_a_form_may_ask_for_authorization_and_only_a_form_for_tokens() -> None:
    async with provider() as world:
        posted = await world.http.post(f"{world.issuer}/authorize", data=ASKED)
        assert posted.status_code == 302
        assert (await world.http.get(f"{world.issuer}/token")).status_code == 405
        plain = await world.http.post(f"{world.issuer}/token", json={})
        assert (plain.status_code, plain.json()["error"]) == (400, "invalid_request")


async def test_a_browser_says_that_the_provider_refuses() -> None:
    async with provider() as world:
        with pytest.raises(Astray, match="none of acr_values"):
            await world.browser().sign_in(Challenge(acr_values="urn:unknown"))


@pytest.mark.parametrize(
    ("header", "challenge"),
    [
        ("Bearer", Challenge()),
        ('Bearer realm="x", error="invalid_token"', Challenge("invalid_token")),
        (
            'Bearer error="insufficient_user_authentication", acr_values="phr phrh", max_age="0"',
            Challenge("insufficient_user_authentication", "phr phrh", 0),
        ),
        ("bearer acr_values=mfa, max_age=5", Challenge("", "mfa", 5)),
    ],
)
def test_a_challenge_is_read(header: str, challenge: Challenge) -> None:
    assert parse_challenge(header) == challenge


def test_another_scheme_is_no_challenge_to_sign_in() -> None:
    with pytest.raises(Astray):
        parse_challenge('Basic realm="x"')
