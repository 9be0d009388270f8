"""Private keys that sign Security Event Tokens, from PEM or JWK, and their public halves.

The algorithm follows from the key: RS256 for RSA, ES256 for P-256, EdDSA for Ed25519. A key
without a `kid` is named by its thumbprint (RFC 7638).
"""

import base64
import hashlib
import json
from typing import NamedTuple, TypeAlias, cast

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from jwt.api_jws import PyJWS
from jwt.exceptions import InvalidKeyError

from sidecar.wire.tokens.jwks import MAX_RSA_BITS, MIN_RSA_BITS
from sidecar.wire.tokens.jws import bounded_object

PrivateKey: TypeAlias = RSAPrivateKey | EllipticCurvePrivateKey | Ed25519PrivateKey

_MAX_KEY_ID = 256
_jws = PyJWS()


class InvalidSigningKey(Exception):  # noqa: N818 - the operator must act
    """It is no key to sign with; the message quotes nothing of it."""


class SigningKey(NamedTuple):
    """A private key under its `kid`. Its `repr` shows neither."""

    key_id: str
    algorithm: str
    private: PrivateKey
    public: dict[str, str]

    def __repr__(self) -> str:
        return f"SigningKey(<{self.algorithm}>)"

    def sign(self, payload: bytes, token_type: str) -> str:
        """Return a compact JWS over `payload` whose header says what kind of token it is."""
        headers = {"kid": self.key_id, "typ": token_type}
        return _jws.encode(payload, self.private, algorithm=self.algorithm, headers=headers)


def read_signing_key(raw: bytes) -> SigningKey:
    """Read a key: PEM (PKCS #8 or the older forms, not encrypted), or a private JWK.

    Raises `InvalidSigningKey`.
    """
    if raw.lstrip().startswith(b"{"):
        return _from_jwk(raw)
    try:
        private = load_pem_private_key(raw, password=None)
    except TypeError:
        raise InvalidSigningKey("is encrypted; give a key without a passphrase") from None
    except ValueError:
        raise InvalidSigningKey("is neither a PEM private key nor a JWK") from None
    return _named(private, "")


def _from_jwk(raw: bytes) -> SigningKey:
    try:
        jwk = bounded_object(raw)
    except ValueError:
        raise InvalidSigningKey("is not a JWK: it is no plain JSON object") from None
    if "keys" in jwk:
        raise InvalidSigningKey("is a set of keys; give a file for each")
    if "d" not in jwk:
        raise InvalidSigningKey("is a public key: there is nothing to sign with")
    name = jwk.get("kid", "")
    if not isinstance(name, str) or len(name) > _MAX_KEY_ID:
        raise InvalidSigningKey("has a kid that is no text, or too long")
    try:
        private = _private(jwk)
    except (InvalidKeyError, ValueError, TypeError, OverflowError):
        raise InvalidSigningKey("is a JWK whose members make no key") from None
    return _named(private, name)


def _private(jwk: dict[str, object]) -> object:
    match jwk.get("kty"):
        case "RSA":
            return RSAAlgorithm.from_jwk(jwk)
        case "EC":
            return ECAlgorithm.from_jwk(jwk)
        case "OKP":
            return OKPAlgorithm.from_jwk(jwk)
        case _:
            raise InvalidSigningKey("has a kty that does not sign: use RSA, EC or OKP")


def _named(private: object, name: str) -> SigningKey:
    algorithm, public = _public(private)
    key_id = name or _thumbprint(public)
    published = {**public, "kid": key_id, "use": "sig", "alg": algorithm}
    return SigningKey(key_id, algorithm, cast("PrivateKey", private), published)


def _public(private: object) -> tuple[str, dict[str, str]]:
    match private:
        case RSAPrivateKey():
            if not MIN_RSA_BITS <= private.key_size <= MAX_RSA_BITS:
                bounds = f"{MIN_RSA_BITS} to {MAX_RSA_BITS} bits"
                raise InvalidSigningKey(f"is an RSA key of {private.key_size} bits: use {bounds}")
            public = RSAAlgorithm.to_jwk(private.public_key(), as_dict=True)
            return "RS256", _members(public)
        case EllipticCurvePrivateKey():
            if private.curve.name != "secp256r1":
                raise InvalidSigningKey(f"is on the curve {private.curve.name}: use P-256")
            public = ECAlgorithm.to_jwk(private.public_key(), as_dict=True)
            return "ES256", _members(public)
        case Ed25519PrivateKey():
            public = OKPAlgorithm.to_jwk(private.public_key(), as_dict=True)
            return "EdDSA", _members(public)
        case _:
            raise InvalidSigningKey("is of a kind that is not used here: RSA, P-256 or Ed25519")


def _members(jwk: dict[str, object]) -> dict[str, str]:
    wanted = ("kty", "crv", "n", "e", "x", "y")
    return {name: str(jwk[name]) for name in wanted if name in jwk}


def _thumbprint(public: dict[str, str]) -> str:
    canonical = json.dumps(public, separators=(",", ":"), sort_keys=True)
    digest = hashlib.sha256(canonical.encode()).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")
