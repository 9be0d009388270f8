"""A recipient of Security Event Tokens over real HTTP, that answers as a test wants."""

import http.server
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization

from tests.adapters.identity import private_key

Scripted = tuple[int, dict[str, str], bytes]
ACCEPTED: Scripted = (202, {}, b"")


class Recipient:
    """A recipient that keeps what was posted to it, and answers as set, then with 202."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.posts: list[tuple[dict[str, str], bytes]] = []
        self.answers: deque[Scripted] = deque()
        self.always: Scripted = ACCEPTED

    @property
    def tokens(self) -> list[str]:
        return [body.decode() for _, body in self.posts]

    @property
    def claims(self) -> list[dict[str, Any]]:
        """The claims that were posted, unverified."""
        return [claims_of(token) for token in self.tokens]

    @property
    def events(self) -> list[str]:
        """The names of the events, in the order in which they came."""
        return [name_of(claims) for claims in self.claims]


@contextmanager
def receiving() -> Iterator[Recipient]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            size = int(self.headers["content-length"])
            body = self.rfile.read(size)
            if len(body) < size:  # its sender was killed before it had sent all
                self.close_connection = True
                return
            recipient.posts.append(({k.lower(): v for k, v in self.headers.items()}, body))
            status, headers, answer = (
                recipient.answers.popleft() if recipient.answers else recipient.always
            )
            self.send_response(status)
            for name, value in {**headers, "content-length": str(len(answer))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    recipient = Recipient(f"http://127.0.0.1:{server.server_address[1]}/ssf/events")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield recipient
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def pem(algorithm: str = "ES256", number: int = 0) -> bytes:
    """A private key as an operator has it in a file."""
    return private_key(algorithm, number).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def key_file(directory: Path, algorithm: str = "ES256", number: int = 0) -> str:
    """A file with a private key."""
    path = directory / f"{algorithm}-{number}.pem"
    path.write_bytes(pem(algorithm, number))
    return str(path)


def secret_file(directory: Path, *lines: str) -> str:
    """A file with credentials."""
    path = directory / f"secret-{lines[0]}"
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def claims_of(token: str) -> dict[str, Any]:
    """The claims of a token, unverified."""
    claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return claims


def name_of(claims: dict[str, Any]) -> str:
    """The name of the one event in claims."""
    (uri,) = claims["events"]
    return str(uri.rpartition("/")[2])


def verified(token: str, key_set: dict[str, Any], audience: str, issuer: str) -> dict[str, Any]:
    """The claims of a token that the key set vouches for."""
    header = jwt.get_unverified_header(token)
    assert header["typ"] == "secevent+jwt"
    (key,) = (key for key in key_set["keys"] if key["kid"] == header["kid"])
    claims: dict[str, Any] = jwt.decode(
        token,
        jwt.PyJWK(key).key,
        algorithms=[key["alg"]],
        audience=audience,
        issuer=issuer,
        options={"require": ["iss", "jti", "iat", "aud", "events"]},
    )
    return claims
