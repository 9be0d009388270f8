"""A small identity provider for the tests: real keys, real JWTs, a real HTTP server."""

import base64
import contextlib
import functools
import json
import re
from dataclasses import dataclass, field
from typing import Any

import jwt
import trio
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from sidecar.wire.tokens.jwks import JWS

NOW = 1_800_000_000.0
ISSUER = "https://id.example"
AUDIENCE = "payroll-api"
CURVES: dict[str, ec.EllipticCurve] = {
    "ES256": ec.SECP256R1(),
    "ES384": ec.SECP384R1(),
    "ES512": ec.SECP521R1(),
}
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", *CURVES, "EdDSA", "Ed25519")

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


@functools.cache
def private_key(algorithm: str, number: int = 0, bits: int = 2048) -> PrivateKey:
    """The `number`th key of a kind; made once, as RSA keys take their time."""
    if algorithm in CURVES:
        return ec.generate_private_key(CURVES[algorithm])
    if algorithm in ("EdDSA", "Ed25519"):
        return ed25519.Ed25519PrivateKey.generate()
    return rsa.generate_private_key(65537, bits)


def claims(**changes: Any) -> dict[str, Any]:
    """Claims of a good token at `NOW`; a change to None leaves the claim out."""
    good = {
        "iss": ISSUER,
        "sub": "alice",
        "aud": AUDIENCE,
        "exp": int(NOW) + 600,
        "iat": int(NOW) - 10,
        "auth_time": int(NOW) - 100,
        "sid": "s-1",
        "azp": "portal",
        "acr": "mfa",
        "amr": ["pwd", "otp"],
    }
    return {name: value for name, value in (good | changes).items() if value is not None}


@dataclass(frozen=True)
class Signer:
    """A signing key with its `kid` (None: without)."""

    algorithm: str = "ES256"
    kid: str | None = "k1"
    number: int = 0
    bits: int = 2048

    @property
    def private(self) -> PrivateKey:
        family = self.algorithm if self.algorithm[0] == "E" else "RSA"
        return private_key(family, self.number, self.bits)

    def jwk(self, **changes: Any) -> dict[str, Any]:
        """Return the public JWK; a change to None leaves the member out."""
        return self._members(self.private.public_key(), changes)

    def leaked_jwk(self, **changes: Any) -> dict[str, Any]:
        """Return the JWK with its private part, as nobody should publish it."""
        return self._members(self.private, changes)

    def _members(self, key: Any, changes: dict[str, Any]) -> dict[str, Any]:
        kind: dict[str, Any] = {
            "R": RSAAlgorithm,
            "P": RSAAlgorithm,
            "Ed": OKPAlgorithm,
            "ES": ECAlgorithm,
        }
        form = kind.get(self.algorithm[0]) or kind[self.algorithm[:2]]
        members = {**json.loads(form.to_jwk(key)), "key_ops": None, "kid": self.kid, **changes}
        return {name: value for name, value in members.items() if value is not None}

    def token(self, headers: dict[str, Any] | None = None, **changes: Any) -> str:
        """Return a signed token with `claims(**changes)`."""
        named = {"kid": self.kid} if self.kid is not None else {}
        return jwt.encode(
            claims(**changes), self.private, self.algorithm, headers={**named, **(headers or {})}
        )

    def raw(self, header: bytes, payload: bytes) -> str:
        """Return a token over these bytes, signed as `algorithm` says, whatever the header says."""
        signed = encode(header) + "." + encode(payload)
        algorithm = JWS.get_algorithm_by_name(self.algorithm)
        return signed + "." + encode(algorithm.sign(signed.encode(), self.private))


ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""Of the curve P-256 (FIPS 186-4, D.1.2.3)."""


def twin(token: str) -> str:
    """Return the other text of a token signed with ES256: of its signature (r, s), (r, n - s)."""
    signed, _, signature = token.rpartition(".")
    raw = base64.urlsafe_b64decode(signature + "==")
    other = ORDER - int.from_bytes(raw[32:])
    return f"{signed}.{encode(raw[:32] + other.to_bytes(32))}"


def encode(raw: bytes) -> str:
    """base64url without padding."""
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def key_set(*keys: Signer | dict[str, Any]) -> bytes:
    """Return a JWK Set."""
    members = [key.jwk() if isinstance(key, Signer) else key for key in keys]
    return json.dumps({"keys": members}).encode()


@dataclass
class Answer:
    """The answer at a path. With a `gate`, not before it is opened."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    gate: trio.Event | None = None


@dataclass
class Provider:
    """An HTTP server on a loopback port: `paths` says what it answers, `asked` what was asked."""

    port: int
    paths: dict[str, Answer] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    asked_now: trio.Event = field(default_factory=trio.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def handle(self, stream: trio.SocketStream) -> None:
        with contextlib.suppress(trio.BrokenResourceError):
            request = b""
            while b"\r\n\r\n" not in request:
                received = await stream.receive_some(65536)
                if not received:
                    return
                request += received
            # Who closes without having read all resets the connection, and the answer may be lost.
            head, _, body = request.partition(b"\r\n\r\n")
            length = re.search(rb"(?i)\ncontent-length: *(\d+)", head)
            while length is not None and len(body) < int(length[1]):
                received = await stream.receive_some(65536)
                if not received:
                    return
                body += received
            path = request.split(b" ", 2)[1].decode()
            self.asked.append(path)
            self.asked_now.set()
            answer = self.paths.get(path, Answer(status=404))
            if answer.gate is not None:
                await answer.gate.wait()
            headers = {"Content-Length": str(len(answer.body)), **answer.headers}
            fields = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
            start = f"HTTP/1.1 {answer.status} Answer\r\nConnection: close\r\n{fields}\r\n"
            await stream.send_all(start.encode() + answer.body)
            await stream.aclose()


async def serve(nursery: trio.Nursery) -> Provider:
    """A provider that serves as long as the nursery lasts."""
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    provider = Provider(listeners[0].socket.getsockname()[1])
    nursery.start_soon(trio.serve_listeners, provider.handle, listeners)
    return provider
