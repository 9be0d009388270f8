"""Comparison of the `acr` values that providers offer with those that policies ask them for.

A provider that does not know an `acr` passes over it: the user signs in as before, comes back, and
is asked again. Nobody notices but the user, so it is logged once discovery has answered, and again
when a reload brings policies that ask for something else.
"""

from collections.abc import Mapping

from sidecar.daemon.configuration.files import Configuration
from sidecar.domain.policy.asked_for import demands, unoffered
from sidecar.service.observations.observations import AcrUnoffered, Telemetry
from sidecar.wire.providers.offered import acr_values_offered


class AcrOffers:
    """Records in `telemetry` which `acr` values are asked for in vain."""

    def __init__(self, configuration: Configuration, telemetry: Telemetry) -> None:
        self._configuration = configuration
        self._telemetry = telemetry
        self._offered: dict[str, frozenset[str]] = {}

    def learn(self, issuer: str, metadata: Mapping[str, object]) -> None:
        """Take in what was found at discovery."""
        offered = acr_values_offered(metadata)
        if offered is None:
            self._offered.pop(issuer, None)
        else:
            self._offered[issuer] = offered
        self._judge(issuer)

    def use(self, configuration: Configuration) -> None:
        """Judge by this configuration from now on."""
        self._configuration = configuration
        names = {one.issuer for one in configuration.settings.tokens.issuers}
        self._offered = {name: one for name, one in self._offered.items() if name in names}
        for issuer in self._offered:
            self._judge(issuer)

    def _judge(self, issuer: str) -> None:
        configuration = self._configuration
        offered = self._offered.get(issuer)
        namespace = configuration.settings.tokens.namespaces.named(issuer) or issuer
        asked = demands(configuration.policies, namespace, configuration.evaluator.world.ladder)
        missed = () if offered is None else unoffered(asked, offered)
        self._telemetry.record(
            AcrUnoffered(
                issuer=issuer,
                policies=tuple(dict.fromkeys(one.policy for one in missed)),
                asked=tuple(dict.fromkeys(" ".join(one.acr_values) for one in missed)),
                offered=tuple(sorted(offered or ())),
            )
        )
