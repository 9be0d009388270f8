"""A small OpenID provider of a test's own: real HTTP, real keys, and faults when a test asks."""

import base64
import hashlib
import json
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from sidecar.adapters.clock import now
from tests.adapters.identity import Signer, key_set

SIGNER = Signer("ES256", "of-the-provider")
CLIENT, SECRET = "the-console", "the secret of the console: %&+"


class OpenIdServer:
    """What it answers, and how it goes wrong.

    `user` is who signs in, at once. `tamper` changes the claims of an ID token and `sign` how it is
    signed; `returned` changes the parameters with which browsers go back. While `gate` is shut
    nothing is answered.
    """

    def __init__(self, port: int) -> None:
        self.issuer = f"http://127.0.0.1:{port}"
        self.user = "alice"
        self.groups: dict[str, object] = {}
        self.metadata: dict[str, Any] = {}
        self.tamper: Callable[[dict[str, Any]], dict[str, Any]] = dict
        self.sign: Callable[[dict[str, Any]], str] = lambda claims: SIGNER.token(**claims)
        self.returned: Callable[[dict[str, str]], dict[str, str]] = dict
        self.checks_verifier = True
        self.status = 200
        self.gate = threading.Event()
        self.gate.set()
        self.asked: list[str] = []
        self._codes: dict[str, tuple[str, dict[str, str]]] = {}

    def answer(self, path: str, form: dict[str, str], shown: str) -> tuple[int, bytes, str]:
        """Status, body and where to: to a GET, or with a form to a POST."""
        where = urlsplit(path)
        self.asked.append(where.path)
        self.gate.wait(60)
        query = {name: values[0] for name, values in parse_qs(where.query).items()}
        match where.path:
            case "/.well-known/openid-configuration":
                return 200, json.dumps(self._metadata()).encode(), ""
            case "/jwks":
                return 200, key_set(SIGNER), ""
            case "/authorize":
                return 303, b"", self._authorize(query)
            case "/token":
                status, members = self._redeem(form, shown)
                return status, json.dumps(members).encode(), ""
            case _:
                return 404, b"", ""

    def _metadata(self) -> dict[str, Any]:
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/jwks",
            "authorization_response_iss_parameter_supported": True,
            **self.metadata,
        }

    def _authorize(self, query: dict[str, str]) -> str:
        code = secrets.token_urlsafe(16)
        self._codes[code] = self.user, query
        answer = {"code": code, "state": query["state"], "iss": self.issuer, "session_state": "x"}
        return f"{query['redirect_uri']}?{urlencode(self.returned(answer))}"

    def _redeem(self, form: dict[str, str], shown: str) -> tuple[int, dict[str, Any]]:
        own = f"Basic {base64.b64encode(f'{CLIENT}:{quoted(SECRET)}'.encode()).decode()}"
        if shown != own:
            return 401, {"error": "invalid_client"}
        user, asked = self._codes.pop(form.get("code", ""), ("", {}))
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        fits = base64.urlsafe_b64encode(digest).decode().rstrip("=") == asked.get("code_challenge")
        if not user or (self.checks_verifier and not fits):
            return 400, {"error": "invalid_grant"}
        issued = int(now())
        claims = {
            "iss": self.issuer,
            "sub": user,
            "aud": CLIENT,
            "azp": None,
            "iat": issued,
            "exp": issued + 300,
            "auth_time": issued,
            "nonce": asked["nonce"],
            "groups": self.groups.get(user, []),
        }
        return self.status, {"id_token": self.sign(self.tamper(claims)), "token_type": "Bearer"}


def quoted(secret: str) -> str:
    """A secret as it is in a form (RFC 6749, section 2.3.1)."""
    return urlencode({"": secret})[1:]


@contextmanager
def serving_openid() -> Iterator[OpenIdServer]:
    """A provider on a free port, as long as the block lasts."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        server.daemon_threads = True
        provider = OpenIdServer(server.server_address[1])
        server.provider = provider  # type: ignore[attr-defined] # what its handlers ask
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield provider
        finally:
            provider.gate.set()
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        """Answer."""
        self._answer({})

    def do_POST(self) -> None:
        """Answer to a form."""
        raw = self.rfile.read(int(self.headers.get("content-length", "0"))).decode()
        self._answer({name: values[0] for name, values in parse_qs(raw).items()})

    def _answer(self, form: dict[str, str]) -> None:
        provider: OpenIdServer = self.server.provider  # type: ignore[attr-defined] # set above
        status, body, location = provider.answer(
            self.path, form, self.headers.get("authorization", "")
        )
        self.send_response(status)
        if location:
            self.send_header("Location", location)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
