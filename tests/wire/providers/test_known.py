"""Each provider is known by its URL or its metadata, and its cures name its own page."""

from pathlib import Path

import pytest

from sidecar.wire.providers.known import (
    AUTH0,
    AUTHENTIK,
    ENTRA,
    GOOGLE,
    KEYCLOAK,
    OIDC_PROVIDER,
    OKTA,
    OTHER,
    PINGFEDERATE,
    PINGONE,
    PROVIDERS,
    ZITADEL,
    KnownProvider,
    provider_of,
)

PAGES = Path(__file__).parents[3] / "docs" / "providers"
KNOWN = [
    (KEYCLOAK, "https://login.example.com/realms/staff", "", {}),
    (KEYCLOAK, "https://sso.example/x", "/x/protocol/openid-connect/auth", {}),
    (ENTRA, "https://login.microsoftonline.com/1111/v2.0", "", {}),
    (ENTRA, "https://sts.windows.net/1111/", "", {}),
    (OKTA, "https://example.okta.com/oauth2/default", "", {}),
    (OKTA, "https://id.example.com/oauth2/default", "/oauth2/default/v1/authorize", {}),
    (AUTH0, "https://example.eu.auth0.com/", "", {}),
    (AUTH0, "https://id.example.com/", "/authorize", {"mfa_challenge_endpoint": "x"}),
    (AUTHENTIK, "https://auth.example.com/application/o/payroll/", "", {}),
    (ZITADEL, "https://example.zitadel.cloud", "", {}),
    (ZITADEL, "https://id.example.com", "/oauth/v2/authorize", {}),
    (PINGONE, "https://auth.pingone.com/8f5c/as", "", {}),
    (PINGONE, "https://auth.pingone.com.au/8f5c/as", "", {}),
    (PINGFEDERATE, "https://sso.example.com", "/as", {"ping_end_session_endpoint": "x"}),
    (OTHER, "https://auth.pingone.com.example/8f5c/as", "", {}),
    (GOOGLE, "https://accounts.google.com", "", {}),
    (
        OIDC_PROVIDER,
        "https://id.example.com",
        "/auth",
        {"jwks_uri": "https://id.example.com/jwks", "claims_parameter_supported": False},
    ),
    (OTHER, "https://id.example.com", "/authorize", {}),
    (OTHER, "https://auth0.com.example", "", {}),
    (OTHER, "no URL", "", {}),
]


@pytest.mark.parametrize(("provider", "issuer", "asked", "more"), KNOWN)
def test_a_provider_is_known_by_its_url_or_its_metadata(
    provider: KnownProvider, issuer: str, asked: str, more: dict[str, object]
) -> None:
    metadata = {"authorization_endpoint": f"https://id.example.com{asked}", **more}
    assert provider_of(issuer, metadata) is provider


@pytest.mark.parametrize("provider", PROVIDERS, ids=[one.name for one in PROVIDERS])
def test_each_claim_has_a_cure_that_names_the_page(provider: KnownProvider) -> None:
    assert (PAGES / f"{provider.page}.md").is_file()
    for claim in ("sid", "auth_time", "acr", "amr", "groups", "aud", "claims"):
        cure = provider.cure(claim)
        assert cure.startswith(f"{provider.name}: ")
        assert f"docs/providers/{provider.page}.md" in cure
    assert provider.cure("department") == provider.cure("claims")


def test_what_was_not_run_here_is_marked_with_its_date() -> None:
    for provider in PROVIDERS:
        dated = "from its documentation as of 2026-11-30" in provider.cure("sid")
        assert dated is (provider not in (OIDC_PROVIDER, OTHER)), provider.name
