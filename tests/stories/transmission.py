"""A transmitter for the stories: the published examples as signed tokens, and its settings."""

import json
from pathlib import Path
from typing import Any

import httpx
import jwt
import msgspec

from sidecar.adapters.clock import now
from sidecar.domain.values.assurance import DEFAULT_LEVELS, Level
from sidecar.wire.settings.receiver import KnownTransmitter, Receiver, SubjectMatch, SubjectSettings
from sidecar.wire.settings.settings import Assurance, Settings
from tests import plain_http
from tests.adapters.identity import Signer, key_set
from tests.stories.running import empowered, unique

EXAMPLES: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[1] / "cases" / "shared-signals.json").read_text()
)
ISSUERS = sorted({one["claims"]["iss"] for one in EXAMPLES})
SETS = Signer("ES256", kid="sets", number=7)
AUTHORIZATION = "Bearer pushed-by-a-friend"
HEADER = {"typ": "secevent+jwt"}
NAMING = {"sub", "id", "email", "phone_number", "jti", "assertion_id", "catalog_id"}
PROVIDERS = (
    *ISSUERS,
    "https://idp.example.com/3957ea72-1b66-44d6-a044-d805712b9288/",
)


def subjects() -> SubjectSettings:
    """Rules for every format that the examples have."""
    return SubjectSettings(
        user=(
            SubjectMatch(format="iss_sub", issuers=PROVIDERS),
            SubjectMatch(format="email", lower=True),
            SubjectMatch(format="phone_number"),
            SubjectMatch(format="catalog_item", value="{catalog_id}"),
        ),
        device=(SubjectMatch(format="iss_sub", issuers=PROVIDERS),),
        session=(
            SubjectMatch(format="opaque"),
            SubjectMatch(format="jwt_id", issuers=PROVIDERS),
            SubjectMatch(format="saml_assertion_id", issuers=PROVIDERS),
            SubjectMatch(format="ext_id", value="{ext_id}"),
        ),
        tenants=("123456789",),
    )


def transmitters(directory: Path, **changes: Any) -> tuple[KnownTransmitter, ...]:
    """One for each issuer of the examples, all with one key."""
    keys = directory / "transmitter-jwks.json"
    keys.write_bytes(key_set(SETS))
    secret = directory / "authorization"
    secret.write_text(AUTHORIZATION + "\n")
    audiences = {audience for one in EXAMPLES for audience in _listed(one["claims"]["aud"])}
    return tuple(
        KnownTransmitter(
            name=f"t{number}",
            issuer=issuer,
            audiences=tuple(sorted(audiences)),
            jwks_file=str(keys),
            authorization_file=str(secret),
            subjects=subjects(),
            **{"user_wide_proofs": True, **changes},
        )
        for number, issuer in enumerate(ISSUERS)
    )


def receiving(settings: Settings, **changes: Any) -> Settings:
    """The settings of a daemon to whom all of them push."""
    directory = Path(settings.socket.path).parent
    levels = tuple(_with_levels(level) for level in DEFAULT_LEVELS)
    receiver = Receiver(bind="127.0.0.1:0", transmitters=transmitters(directory, **changes))
    settings = empowered(settings, *(one.name for one in receiver.transmitters))
    return msgspec.structs.replace(settings, receiver=receiver, assurance=Assurance(levels=levels))


def _with_levels(level: Level) -> Level:
    if level.name != "mfa":
        return level
    return msgspec.structs.replace(level, acr=(*level.acr, "nist-aal2", "hi-res-scan"))


def _listed(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value]


def fresh(example: dict[str, Any]) -> dict[str, Any]:
    """The claims of an example, of now, about somebody of whom no other test knows."""
    claims = json.loads(json.dumps(example["claims"]))
    claims["jti"] = unique("jti")
    if "sub_id" in claims:
        claims["sub_id"] = _renamed(claims["sub_id"], unique("x").replace("-", ""))
    for payload in claims["events"].values():
        if "ext_id" in payload:
            payload["ext_id"] = unique("external")
    return stamped(claims)


def stamped(claims: dict[str, Any]) -> dict[str, Any]:
    """The claims as if it had all happened now."""
    events = {
        uri: {**payload, **({"event_timestamp": now()} if "event_timestamp" in payload else {})}
        for uri, payload in claims["events"].items()
    }
    return {**claims, "iat": int(now()), "events": events}


def _renamed(subject: dict[str, Any], suffix: str) -> dict[str, Any]:
    return {
        name: _renamed(value, suffix)
        if isinstance(value, dict) and name != "tenant"
        else value + suffix
        if name in NAMING
        else value
        for name, value in subject.items()
    }


def signed(claims: dict[str, Any], signer: Signer = SETS, **header: Any) -> str:
    """The claims as a SET."""
    named = {"kid": signer.kid, **HEADER, **header}
    headers = {name: value for name, value in named.items() if value is not None}
    return jwt.encode(claims, signer.private, signer.algorithm, headers=headers)


def push(url: str, token: str, **headers: str) -> httpx.Response:
    """POST it as RFC 8935 has it; a header given as empty is left out."""
    fields = {
        "Content-Type": "application/secevent+jwt",
        "Accept": "application/json",
        "Authorization": AUTHORIZATION,
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    given = {name: value for name, value in fields.items() if value}
    return plain_http.post(f"{url}/ssf/events", content=token.encode(), headers=given, timeout=20)
