import pytest
import yaml

from sidecar.domain.values.assurance import Level
from sidecar.wire.config.settings_reader import read_settings
from sidecar.wire.policies.policy_files import read_policies
from sidecar.wire.starter import StarterAddresses, StarterPlan, configuration, policy, scenario

PLAN = StarterPlan(issuer="https://id.example/", audience="payroll", app="payroll")
LEVELS = (
    Level("single-factor", ("urn:one",)),
    Level("mfa", ("urn:two", "mfa"), (frozenset("ab"),)),
)
PLANS = {
    "the app alone": PLAN,
    "a gateway by HTTP": PLAN._replace(setting="nginx"),
    "a gateway by gRPC": PLAN._replace(grpc=True),
    "a provider's levels": PLAN._replace(levels=LEVELS, algorithms=("ES256", "RS256")),
    "names that YAML reads otherwise": PLAN._replace(app="yes", audience='a "b" \\'),
    "a name that no challenge can hold": PLAN._replace(app='pay"roll'),
}


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_what_is_written_is_read_as_it_was_meant(plan: StarterPlan) -> None:
    settings = read_settings(configuration(plan), "sidecar.yaml", {}, str)
    assert settings.app.id == plan.app
    (issuer,) = settings.tokens.issuers
    assert (issuer.issuer, issuer.audiences) == (plan.issuer, (plan.audience,))
    assert settings.http.enabled == (plan.grpc or plan.setting != "none")
    assert [one.id for one in read_policies([("p.yaml", policy(plan))], settings)] == [
        "payments-at-risk"
    ]
    assert len(yaml.safe_load(scenario(plan))["scenarios"]) == 2


def test_a_scenario_shows_levels_as_the_provider_names_them() -> None:
    text = scenario(PLAN._replace(levels=LEVELS))
    assert 'acr: "urn:one"' in text
    assert 'sign_in: "urn:two"' in text


def test_ports_replace_the_shipped_ones_and_no_other_number() -> None:
    ports = StarterAddresses(gateway=1, app=2, check=3, grpc=4, admin=5, between=6)
    assert ports.fit("listen 8000; at :8080 :8181 :8182 :8183 x8000 80001") == (
        "listen 1; at :2 :3 :4 :6 x8000 80001"
    )
