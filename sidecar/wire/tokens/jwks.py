"""JWK Sets: which of their keys may verify which tokens (RFC 7517; RFC 8725, section 3).

PyJWT makes the key objects but looks at neither `use`, nor `key_ops`, nor the key's `alg`. It does
not know `Ed25519`, the name that RFC 9864 has for what `EdDSA` means with such a key.
"""

import base64
import contextlib
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple, TypeAlias, cast

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt.algorithms import Algorithm, ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from jwt.api_jws import PyJWS, register_algorithm
from jwt.exceptions import InvalidKeyError

from sidecar.wire.tokens.jws import bounded_object

PublicKey: TypeAlias = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey

MIN_RSA_BITS = 2048
MAX_RSA_BITS = 8192
MAX_RSA_EXPONENT = 2**32
MAX_KEYS = 256
MAX_CANDIDATES = 4
"""How many keys a token without a `kid`, or with a `kid` that several keys share, may try."""

_CURVES = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}
_RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_ED25519 = ("EdDSA", "Ed25519")  # RFC 8037; RFC 9864, which deprecates the first
ALGORITHMS = frozenset({*_RSA, *_CURVES.values(), *_ED25519})
"""What an issuer may be configured to sign with; never `none`, never a shared secret."""


def _register(register: Callable[[str, Algorithm], None]) -> None:
    with contextlib.suppress(ValueError):  # a later PyJWT may know it
        register("Ed25519", OKPAlgorithm())


JWS = PyJWS()
"""PyJWT's signatures by each of `ALGORITHMS`; `jwt.encode` and `jwt.decode` know them, too."""
_register(JWS.register_algorithm)
_register(register_algorithm)


class InvalidKeySet(Exception):  # noqa: N818 - named by who must act: who serves the keys
    """The document is no JWK Set, or none of its keys can verify a token."""


class Key(NamedTuple):
    """A public key, and the algorithms it may verify.

    `id` is the same across refreshes: the key's `kid`, its `alg` and its thumbprint.
    """

    id: str
    key_id: str | None
    algorithms: frozenset[str]
    public: PublicKey


class KeySet:
    """The usable keys of one issuer."""

    __slots__ = ("_by_algorithm", "_by_key_id", "ids")

    def __init__(self, keys: Iterable[Key] = ()) -> None:
        self._by_key_id: dict[tuple[str, str], tuple[Key, ...]] = {}
        self._by_algorithm: dict[str, tuple[Key, ...]] = {}
        unique = {key.id: key for key in keys}
        self.ids = frozenset(unique)
        for key in unique.values():
            for algorithm in key.algorithms:
                self._by_algorithm[algorithm] = (*self._by_algorithm.get(algorithm, ()), key)
                if key.key_id is not None:
                    place = (key.key_id, algorithm)
                    self._by_key_id[place] = (*self._by_key_id.get(place, ()), key)

    @property
    def key_ids(self) -> tuple[str | None, ...]:
        """Return what they are called, each name once."""
        names = (key.key_id for keys in self._by_algorithm.values() for key in keys)
        return tuple(dict.fromkeys(names))

    def candidates(self, key_id: str | None, algorithm: str) -> tuple[Key, ...]:
        """Return the keys that may have signed; for a token without a `kid` every key that fits."""
        if key_id is None:
            return self._by_algorithm.get(algorithm, ())[:MAX_CANDIDATES]
        return self._by_key_id.get((key_id, algorithm), ())[:MAX_CANDIDATES]


def key_set_of(raw: bytes) -> KeySet:
    """Read a JWK Set; raises `InvalidKeySet` if it has no usable key.

    Keys that cannot or must not verify tokens are left out, as RFC 7517, section 5, advises.
    """
    try:
        members = bounded_object(raw).get("keys")
    except ValueError:
        raise InvalidKeySet("the key set is not a plain JSON object") from None
    if not isinstance(members, list):
        raise InvalidKeySet("the key set has no list of keys")
    if len(members) > MAX_KEYS:
        raise InvalidKeySet("the key set has too many keys")
    keys = [key for member in members if (key := _key(member)) is not None]
    if not keys:
        raise InvalidKeySet("the key set has no key that can verify a token")
    return KeySet(keys)


def _key(jwk: object) -> Key | None:
    if not isinstance(jwk, dict) or not _meant_to_verify(jwk):
        return None
    key_id, meant_for = jwk.get("kid"), jwk.get("alg")
    if not isinstance(key_id, str | None) or not isinstance(meant_for, str | None):
        return None
    try:
        public, algorithms = _public(jwk)
    except (InvalidKeyError, ValueError, TypeError, OverflowError):
        return None  # members are missing, of another type, or no point on the curve
    if meant_for is not None:
        algorithms &= {meant_for}
    if not algorithms:
        return None
    identity = json.dumps([key_id, meant_for, _thumbprint(jwk)])
    return Key(identity, key_id, algorithms, public)


def signed_by(jws: str, algorithm: str, key: PublicKey) -> bool:
    """Return whether this key, one for the algorithm, signed a compact JWS that `jws` has read."""
    signed, _, signature = jws.rpartition(".")
    raw = base64.urlsafe_b64decode(signature + "=" * (-len(signature) % 4))
    return bool(JWS.get_algorithm_by_name(algorithm).verify(signed.encode(), key, raw))


def key_of_client(jwk: object, algorithm: str) -> PublicKey | None:
    """Return the key that a client brings itself, if it fits the algorithm (RFC 9449, 4.2)."""
    key = _key(jwk)
    return None if key is None or algorithm not in key.algorithms else key.public


def thumbprint_of_client(jwk: object) -> str:
    """RFC 7638, section 3.2: only the members that its kind of key needs."""
    members = jwk if isinstance(jwk, dict) else {}
    names = _MEMBERS.get(str(members.get("kty")), ())
    return _thumbprint({name: members[name] for name in names if name in members})


_MEMBERS = {"RSA": ("e", "kty", "n"), "EC": ("crv", "kty", "x", "y"), "OKP": ("crv", "kty", "x")}


def _meant_to_verify(jwk: Mapping[str, object]) -> bool:
    operations = jwk.get("key_ops", ["verify"])
    return (
        jwk.get("use", "sig") == "sig"
        and isinstance(operations, list)
        and "verify" in operations
        and "d" not in jwk  # a private key that everybody can read proves nothing
    )


def _public(jwk: dict[str, object]) -> tuple[PublicKey, frozenset[str]]:
    match jwk.get("kty"), jwk.get("crv"):
        case "RSA", _:
            rsa = cast("RSAPublicKey", RSAAlgorithm.from_jwk(jwk))
            exponent = rsa.public_numbers().e
            if not MIN_RSA_BITS <= rsa.key_size <= MAX_RSA_BITS or exponent > MAX_RSA_EXPONENT:
                raise ValueError("an RSA key of this size is not safe to use")
            if _is_roca(rsa.public_numbers().n):
                raise ValueError("an RSA key of this kind can be factored")
            return rsa, frozenset(_RSA)
        case "EC", str(curve) if curve in _CURVES:
            return cast("EllipticCurvePublicKey", ECAlgorithm.from_jwk(jwk)), frozenset(
                {_CURVES[curve]}
            )
        case "OKP", "Ed25519":
            return cast("Ed25519PublicKey", OKPAlgorithm.from_jwk(jwk)), frozenset(_ED25519)
        case _:  # `oct` among them: a secret that is published is none
            raise ValueError("no kind of key that verifies tokens")


_PRIMES = tuple(n for n in range(3, 168) if all(n % m for m in range(2, n)))
_POWERS = tuple((prime, frozenset(pow(65537, n, prime) for n in range(prime))) for prime in _PRIMES)


def _is_roca(modulus: int) -> bool:
    """Return whether the primes of a chip's key can be found from its modulus (CVE-2017-15361).

    Infineon's library took primes of the form `k * M + 65537**a mod M`, where M is a product of
    small primes. So the modulus is a power of 65537 modulo each of them, as one of another kind is
    with a chance of one to 2**150 or so.
    """
    return all(modulus % prime in powers for prime, powers in _POWERS)


def _thumbprint(jwk: Mapping[str, object]) -> str:
    """RFC 7638: over the members that make the key, in name order."""
    members = {name: jwk[name] for name in ("crv", "e", "kty", "n", "x", "y") if name in jwk}
    canonical = json.dumps(members, separators=(",", ":"), sort_keys=True)
    digest = hashlib.sha256(canonical.encode()).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")
