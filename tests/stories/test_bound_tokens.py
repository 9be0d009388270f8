"""Tokens bound to a key or a certificate, before a whole daemon that verifies it."""

import itertools
from collections.abc import Iterator
from typing import Any

import httpx
import msgspec
import pytest

from sidecar.adapters.clock import now
from sidecar.domain.policy.conditional_access import Signals
from sidecar.wire.settings.settings import Gateway, Settings
from sidecar.wire.settings.tokens import Binding, CertificateForm, Possession
from sidecar.wire.tokens.dpop import token_hash
from sidecar.wire.tokens.jwks import thumbprint_of_client
from tests import plain_http
from tests.adapters.identity import Signer
from tests.adapters.servers import Server
from tests.domain.scenes import policy
from tests.stories.running import Pods, running, token, unique
from tests.wire.tokens.proofs import proof

POLICIES = (policy(Signals(frozenset({"token-binding-change"})), name="binding"),)
HOST = "app.example"
KEYS = [Signer("ES256", number=number) for number in range(2)]
_numbers = itertools.count()


def verifying(settings: Settings, _: int) -> Settings:
    binding = Binding(
        possession=Possession.VERIFY,
        certificate_header="X-Client-Cert-Thumbprint",
        certificate_form=CertificateForm.HEX,
    )
    return msgspec.structs.replace(
        settings,
        http=msgspec.structs.replace(settings.http, gateway=Gateway.CADDY),
        tokens=msgspec.structs.replace(settings.tokens, binding=binding),
    )


@pytest.fixture(scope="module")
def pods(valkey_server: Server) -> Iterator[Pods]:
    with running(valkey_server.url, POLICIES, 1, verifying) as one:
        yield one


def bound(key: Signer, **more: Any) -> dict[str, Any]:
    return {"cnf": {"jkt": thumbprint_of_client(key.jwk())}, **more}


def call(pods: Pods, token: str, scheme: str = "DPoP", **headers: str) -> httpx.Response:
    """A POST of /pay/7 that Caddy asks about."""
    fields = {
        "Authorization": f"{scheme} {token}",
        "X-Forwarded-Method": "POST",
        "X-Forwarded-Host": HOST,
        "X-Forwarded-Uri": "/pay/7?a=b",
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    return plain_http.get(f"{pods.addresses[0].http[0]}/v1/check", headers=fields)


def shown(token: str, key: Signer = KEYS[0], **changes: Any) -> str:
    claims = {"jti": f"j{next(_numbers)}", "iat": int(now()), "ath": token_hash(token)}
    return proof(key, **{**claims, **changes})


def test_a_token_of_a_key_passes_with_a_proof_and_once_a_proof(pods: Pods) -> None:
    mine = token(unique("user"), unique("session"), **bound(KEYS[0]))
    dpop = shown(mine)
    assert call(pods, mine, DPoP=dpop).status_code == 200
    again = call(pods, mine, DPoP=dpop)
    assert again.status_code == 401
    challenge = again.headers["www-authenticate"]
    assert challenge.startswith('DPoP error="invalid_dpop_proof", error_description="')
    assert 'algs="ES256 EdDSA Ed25519 PS256 RS256"' in challenge
    assert call(pods, mine, DPoP=shown(mine)).status_code == 200


@pytest.mark.parametrize("iat", [int("9" * 400), -int("9" * 400), "1000", True, 10**300])
def test_a_proof_of_whatever_time_is_refused_and_breaks_nothing(pods: Pods, iat: Any) -> None:
    mine = token(unique("user"), unique("session"), **bound(KEYS[0]))
    refused = call(pods, mine, DPoP=shown(mine, iat=iat))
    assert refused.status_code == 401
    assert 'error="invalid_dpop_proof"' in refused.headers["www-authenticate"]


@pytest.mark.parametrize("scheme", ["Bearer", "DPoP"])
def test_a_stolen_token_is_no_use_without_its_key(pods: Pods, scheme: str) -> None:
    mine = token(unique("user"), unique("session"), **bound(KEYS[0]))
    refused = call(pods, mine, scheme)
    assert refused.status_code == 401
    assert refused.headers["www-authenticate"].startswith('DPoP error="invalid_token"')
    forged = call(pods, mine, DPoP=shown(mine, KEYS[1]))
    assert 'error="invalid_dpop_proof"' in forged.headers["www-authenticate"]


def test_a_token_of_a_certificate_passes_over_that_certificate(pods: Pods) -> None:
    digest = "ab" * 32
    thumbprint = "q6urq6urq6urq6urq6urq6urq6urq6urq6urq6urq6s"
    mine = token(unique("user"), unique("session"), cnf={"x5t#S256": thumbprint})
    assert call(pods, mine, "Bearer", X_Client_Cert_Thumbprint=digest).status_code == 200
    for other in ({}, {"X_Client_Cert_Thumbprint": "cd" * 32}):
        refused = call(pods, mine, "Bearer", **other)
        assert refused.status_code == 401
        assert refused.headers["www-authenticate"] == (
            'Bearer error="invalid_token", '
            'error_description="the client\'s certificate is not the one of the token"'
        )
    broken = call(pods, mine, "Bearer", X_Client_Cert_Thumbprint="zz")
    assert broken.status_code == 400


def test_two_proofs_are_an_invalid_request(pods: Pods) -> None:
    mine = token(unique("user"), unique("session"), **bound(KEYS[0]))
    headers = [("Authorization", f"DPoP {mine}"), ("X-Forwarded-Uri", "/pay/7")]
    headers += [("DPoP", shown(mine)), ("DPoP", shown(mine))]
    refused = plain_http.get(f"{pods.addresses[0].http[0]}/v1/check", headers=headers)
    assert refused.status_code == 400


def test_another_key_without_another_sign_in_is_a_signal_and_a_step_up_answers_it(
    pods: Pods,
) -> None:
    user, session = unique("user"), unique("session")
    first = token(user, session, **bound(KEYS[0]))
    assert call(pods, first, DPoP=shown(first)).status_code == 200
    second = token(user, session, **bound(KEYS[1]))
    refused = call(pods, second, DPoP=shown(second, KEYS[1]))
    assert refused.status_code == 401
    assert refused.headers["www-authenticate"].startswith(
        'DPoP error="insufficient_user_authentication"'
    )
    (reason,) = refused.json()["reasons"]
    assert reason["policy"] == "binding"
    assert "token-binding-change" in reason["text"]


def test_an_app_that_asks_itself_may_report_what_its_client_showed(pods: Pods) -> None:
    mine = token(unique("user"), unique("session"), **bound(KEYS[0]))
    asked = {"op": "check", "token": mine, "method": "POST", "host": HOST, "path": "/pay/7"}
    dpop = shown(mine)
    assert pods.clients[0].ask(**asked, dpop=dpop)["decision"] == "allow"
    assert pods.clients[0].ask(**asked, dpop=dpop)["error"] == "invalid_token"
    assert pods.clients[0].ask(**asked)["decision"] == "allow", "who asks so has seen to it"
