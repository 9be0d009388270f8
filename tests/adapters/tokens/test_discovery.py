"""The findings about a provider, and the refusals where there are none."""

import json

import pytest
import trio

from sidecar.adapters.tokens.discovery import discover
from sidecar.service.ports.calls import Unavailable
from tests.adapters.identity import Answer, Provider, Signer, key_set, serve

WELL_KNOWN = "/.well-known/openid-configuration"


@pytest.fixture
async def provider(nursery: trio.Nursery) -> Provider:
    provider = await serve(nursery)
    provider.paths["/jwks"] = Answer(key_set(Signer(kid="one")))
    return provider


def publish(provider: Provider, issuer: str, **more: object) -> None:
    metadata = {"issuer": issuer, "jwks_uri": f"{provider.url}/jwks", **more}
    provider.paths[WELL_KNOWN] = Answer(json.dumps(metadata).encode())


async def test_it_says_what_the_provider_offers_and_how_many_keys_can_be_used(
    provider: Provider,
) -> None:
    publish(provider, provider.url, acr_values_supported=["a", 7, "a"], claims_supported=["sid"])
    offer = await discover(provider.url)
    assert (offer.keys, offer.acr_values, offer.claims) == (1, ("a", "7"), ("sid",))


async def test_an_issuer_whose_name_ends_with_a_slash_is_found_without_it(
    provider: Provider,
) -> None:
    publish(provider, f"{provider.url}/")
    assert (await discover(provider.url)).issuer == f"{provider.url}/"


async def test_each_failure_names_the_address(provider: Provider) -> None:
    at = WELL_KNOWN.replace(".", r"\.")
    with pytest.raises(Unavailable, match=f"{provider.url}{at}.*404"):
        await discover(provider.url)
    publish(provider, "https://other.example")
    with pytest.raises(Unavailable, match=f"{at}.*of the issuer 'https://other.example'"):
        await discover(provider.url)
    publish(provider, provider.url)
    provider.paths["/jwks"] = Answer(b"{}")
    with pytest.raises(Unavailable, match=f"{provider.url}/jwks: "):
        await discover(provider.url)
    with pytest.raises(Unavailable, match=r"http://127\.0\.0\.1:9/.*: "):
        await discover("http://127.0.0.1:9")
