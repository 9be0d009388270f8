"""A provider that ends sessions at the intake listener."""

from typing import Any

import httpx
import msgspec

from sidecar.adapters.clock import now
from sidecar.wire.settings.intake import IntakeIssuer, IntakeSettings
from sidecar.wire.settings.receiver import SubjectMatch
from sidecar.wire.settings.settings import Settings
from tests import plain_http
from tests.adapters.identity import Signer
from tests.stories.running import (
    ISSUER,
    SIGNER,
    Pods,
    unique,
)

CLIENT = "shop"
EVENT = "http://schemas.openid.net/event/backchannel-logout"
ENDPOINT = "https://sidecar.example/v1/global-token-revocation"


def configured(settings: Settings, _: int) -> Settings:
    issuer = IntakeIssuer(
        issuer=ISSUER,
        clients=(CLIENT,),
        endpoints=(ENDPOINT,),
        users=(SubjectMatch(format="iss_sub"), SubjectMatch(format="email", strip="", lower=True)),
    )
    intake = IntakeSettings(bind="127.0.0.1:0", wait=10.0, issuers=(issuer,))
    return msgspec.structs.replace(settings, intake=intake)


def signed(signer: Signer = SIGNER, typ: str | None = "logout+jwt", **changes: Any) -> str:
    """A logout token; a change to `...` leaves a claim out."""
    issued = int(now())
    claims = {
        "iss": ISSUER,
        "aud": CLIENT,
        "iat": issued,
        "exp": issued + 120,
        "jti": unique("logout"),
        "sub": "ada",
        "events": {EVENT: {}},
        **changes,
    }
    usual = dict.fromkeys(("auth_time", "azp", "acr", "amr", "sid"))
    claims = {**usual, **claims}
    kept = {name: None if value is ... else value for name, value in claims.items()}
    return signer.token({"typ": typ} if typ else {"typ": None}, **kept)


def logout(pods: Pods, text: str, index: int = 0, **headers: str) -> httpx.Response:
    url = f"{pods.addresses[index].intake[0]}/v1/logout"
    return plain_http.post(url, data={"logout_token": text}, headers=headers, timeout=20)


def revoke(
    pods: Pods, body: Any, bearer: str | None = None, index: int = 0, **changes: Any
) -> httpx.Response:
    usual = {"aud": ENDPOINT, "events": ..., "sub": ISSUER, "typ": "global-token-revocation+jwt"}
    shown = signed(**{**usual, **changes}) if bearer is None else bearer
    headers = {"Authorization": f"Bearer {shown}"} if shown else {}
    url = f"{pods.addresses[index].intake[0]}/v1/global-token-revocation"
    return plain_http.post(url, json=body, headers=headers, timeout=20)


def iss_sub(user: str, issuer: str = ISSUER) -> dict[str, str]:
    return {"format": "iss_sub", "iss": issuer, "sub": user}
