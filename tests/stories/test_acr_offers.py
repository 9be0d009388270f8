"""A provider's discovery says which `acr` it offers: what is asked for in vain is logged."""

import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from msgspec.structs import replace

from sidecar.adapters.geography.networks import load
from sidecar.adapters.telemetry.logs import LogLines
from sidecar.adapters.telemetry.telemetry import PrometheusTelemetry
from sidecar.daemon.configuration.acr_offers import AcrOffers
from sidecar.daemon.configuration.files import Configuration, evaluator_of
from sidecar.daemon.trust import Trust
from sidecar.domain.policy.conditional_access import Policy
from sidecar.domain.values.assurance import DEFAULT_LEVELS
from sidecar.wire.providers.offered import acr_values_offered
from sidecar.wire.routes.routes import Routes
from sidecar.wire.settings.settings import Assurance, Issuer, Settings, Tokens
from tests.adapters.identity import Answer, Provider, Signer, key_set, serve
from tests.domain.scenes import policy


def configured(issuer: str, *policies: Policy, mfa: tuple[str, ...] = ("mfa",)) -> Configuration:
    levels = tuple(replace(one, acr=mfa) if one.name == "mfa" else one for one in DEFAULT_LEVELS)
    settings = Settings(
        tokens=Tokens(issuers=(Issuer(issuer=issuer, audiences=("api",)),)),
        assurance=Assurance(levels=levels),
    )
    prefixes = load((), ())
    return Configuration(
        Path("sidecar.yaml"),
        settings,
        policies,
        prefixes,
        Routes(()),
        evaluator_of(settings, policies, prefixes),
        frozenset(),
    )


def publish(provider: Provider, **more: Any) -> None:
    metadata = {"issuer": provider.url, "jwks_uri": f"{provider.url}/jwks", **more}
    provider.paths["/jwks"] = Answer(key_set(Signer()))
    provider.paths["/.well-known/openid-configuration"] = Answer(json.dumps(metadata).encode())


class Parts:
    """The daemon's parts that discover and record, at one provider."""

    def __init__(self, configuration: Configuration) -> None:
        self._stream = io.BytesIO()
        self.telemetry = PrometheusTelemetry(configuration.settings, LogLines(self._stream))
        self.acr_offers = AcrOffers(configuration, self.telemetry)
        self._tokens = configuration.settings.tokens

    @asynccontextmanager
    async def discovering(self) -> AsyncIterator[None]:
        """Discovery has answered once."""
        trust = Trust(
            self._tokens,
            on_refresh=lambda *_: None,
            on_answer=lambda *_: None,
            judged=lambda _: None,
            on_metadata=self.acr_offers.learn,
        )
        async with trio.open_nursery() as nursery:
            await nursery.start(trust.run)
            yield
            nursery.cancel_scope.cancel()

    def lines(self) -> list[Any]:
        lines = map(json.loads, self._stream.getvalue().splitlines())
        return [line for line in lines if line["event"].startswith("acr-")]

    def count(self) -> float:
        (line,) = [
            line
            for line in self.telemetry.expose().body.decode().splitlines()
            if line.startswith("sidecar_acr_values_not_offered{")
        ]
        return float(line.rpartition(" ")[2])


PAYMENTS = policy(name="payments")


async def test_an_acr_that_discovery_does_not_list_is_one_warning_with_policy_and_cure(
    nursery: trio.Nursery,
) -> None:
    provider = await serve(nursery)
    publish(provider, acr_values_supported=["1", "2"])
    parts = Parts(configured(provider.url, PAYMENTS))
    assert parts.count() == 0
    async with parts.discovering():
        (line,) = parts.lines()
    assert line["event"] == "acr-not-offered"
    assert (line["asked"], line["policies"]) == (["mfa"], ["payments"])
    assert line["offered"] == ["1", "2"]
    assert "assurance.levels" in line["detail"]
    assert parts.count() == 1
    # Another discovery that finds the same says nothing; policies that ask for what there is do.
    parts.acr_offers.learn(provider.url, {"acr_values_supported": ["1", "2"]})
    parts.acr_offers.use(configured(provider.url, PAYMENTS, mfa=("mfa", "2")))
    assert [line["event"] for line in parts.lines()] == ["acr-not-offered", "acr-offered"]
    assert parts.count() == 0


@pytest.mark.parametrize("more", [{}, {"acr_values_supported": ["mfa"]}])
async def test_nothing_is_said_of_a_provider_that_offers_it_or_does_not_say(
    nursery: trio.Nursery, more: dict[str, object]
) -> None:
    provider = await serve(nursery)
    publish(provider, **more)
    parts = Parts(configured(provider.url, PAYMENTS))
    async with parts.discovering():
        assert parts.lines() == []
        assert parts.count() == 0


@pytest.mark.parametrize(
    ("listed", "read"),
    [
        (["1", 2], {"1", "2"}),
        ([], set()),
        ([None, True, {"a": 1}, "mfa"], {"mfa"}),
        ("mfa", None),
        (None, None),
        ({"mfa": 1}, None),
    ],
)
def test_what_a_provider_lists_is_read_as_text(listed: object, read: set[str] | None) -> None:
    assert acr_values_offered({"acr_values_supported": listed}) == read
