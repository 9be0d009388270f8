"""The claims of a JWT are refused as PyJWT refuses them."""

from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jwt.exceptions import InvalidJTIError, InvalidSubjectError
from jwt.types import Options

from sidecar.wire.settings.settings import Issuer
from sidecar.wire.tokens.claims import Flaw, InvalidToken
from sidecar.wire.tokens.registered_claims import check_registered

ISSUER = Issuer(issuer="https://id.example", audiences=("payroll", "api"), jwks_file="x")
KEY = "a secret that is known here: what is compared are the claims"
ODD: st.SearchStrategy[Any] = st.sampled_from(["", "x", 0, 1, False, None, [], {}, ["x"], ["x", 1]])
AUDIENCES: st.SearchStrategy[Any] = ODD | st.sampled_from(["payroll", ["api"], ["x", "api"], [1]])
CLAIMS = st.fixed_dictionaries(
    {},
    optional={
        "iss": st.just(ISSUER.issuer) | ODD,
        "aud": AUDIENCES,
        "sub": st.just("ada") | ODD,
        "exp": st.just(2_000_000_000) | ODD,
        "jti": st.just("1") | ODD,
    },
)


def plainly(claims: dict[str, Any]) -> Flaw | None:
    """Return what PyJWT says is wrong with the claims of a token that it reads itself."""
    token = jwt.PyJWS().encode(jwt.PyJWT()._encode_payload(claims), KEY, "HS256")  # noqa: SLF001 - as they are
    options: Options = {
        "require": ["exp", "iss", "aud", "sub"],
        "verify_exp": False,
        "verify_nbf": False,
        "verify_iat": False,
    }
    try:
        jwt.decode(token, KEY, ["HS256"], options, audience=ISSUER.audiences, issuer=ISSUER.issuer)
    except jwt.MissingRequiredClaimError:
        return Flaw.MISSING_CLAIM
    except jwt.InvalidAudienceError:
        return Flaw.WRONG_AUDIENCE
    except jwt.InvalidIssuerError:
        return Flaw.UNKNOWN_ISSUER
    except (InvalidSubjectError, InvalidJTIError):
        return Flaw.WRONG_TYPE
    return None


@given(CLAIMS)
def test_claims_are_refused_as_pyjwt_refuses_them(claims: dict[str, Any]) -> None:
    expected = plainly(claims)
    if expected is None:
        check_registered(claims, ISSUER)
        return
    with pytest.raises(InvalidToken) as refusal:
        check_registered(claims, ISSUER)
    assert refusal.value.code is expected
