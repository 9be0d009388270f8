"""A backend-for-frontend: its page has a cookie, and the tokens stay here.

Where a payment is challenged, the page (browser/step-up.js) keeps the call and opens /sign-in with
the `acr_values` and `max_age` of the challenge; it repeats the call once when its user is back.

    pip install stepup-client flask httpx
    flask --app app run --port 8080

A client that has a secret at its provider gets it from the file that CLIENT_SECRET_FILE names.
Tokens are kept in this process; where there are several, keep them in a store that all share.
"""

import base64
import hashlib
import os
import re
import secrets
import threading
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

import httpx
import jwt
import settings
from flask import Flask, Response, abort, g, redirect, request, send_from_directory, session
from stepup_client import returning
from stepup_client.flask import StepUp
from stepup_client.gate import Gate

HERE = Path(__file__).parent
TRUSTED_PROXIES = 0  # how many proxies of yours append to X-Forwarded-For
SOCKET = os.environ.get("SIDECAR_SOCKET", str(HERE / "sidecar.sock"))
CALLBACK = f"{settings.URL}/callback"
ALGORITHMS = ("RS256", "PS256", "ES256", "ES384", "EdDSA")
ASKED = {"acr_values": r"[\x21-\x7e ]{1,256}", "max_age": "[0-9]{1,9}"}
"""What a challenge may ask for: it goes into the authorization request as it came."""
MOST_SESSIONS = 100_000
MOST_SIGN_INS = 3  # at a time in one browser: they are in its cookie
LONGEST_WAY_BACK = 512
IS_SECURE = settings.URL.startswith("https://")

app = Flask(__name__, static_folder=HERE / "browser", static_url_path="/static")
app.config.update(
    # The cookie has the sign-ins that are under way and the name of a session, signed. A key of its
    # own for each start: the sessions end with this process, too.
    SECRET_KEY=secrets.token_bytes(32),
    SESSION_COOKIE_NAME="__Host-session" if IS_SECURE else "session",
    SESSION_COOKIE_SECURE=IS_SECURE,
    SESSION_COOKIE_HTTPONLY=True,
    SESSION_COOKIE_SAMESITE="Lax",
)


class Session(NamedTuple):
    """Somebody who has signed in."""

    subject: str
    token: str


sessions: dict[str, Session] = {}
turn = threading.Lock()


def present() -> Session | None:
    """Return the session of the browser that calls."""
    return sessions.get(session.get("id", ""))


def kept_token(_request: object) -> str | None:
    """Return the access token of whoever calls."""
    found = present()
    return found.token if found else None


step_up = StepUp(Gate(socket=SOCKET, trusted_proxies=TRUSTED_PROXIES, token=kept_token))


@app.before_request
def refuse_other_sites() -> None:
    """Refuse what pages of other origins send: the cookie may go along with it."""
    if request.method in {"GET", "HEAD", "OPTIONS"}:
        return
    here = request.headers.get("Origin") == settings.URL
    if request.headers.get("Sec-Fetch-Site", "same-origin" if here else "") != "same-origin":
        abort(403)


@app.errorhandler(httpx.HTTPError)
def report_provider_away(_error: httpx.HTTPError) -> tuple[str, int]:
    """Answer where the provider cannot be reached."""
    return "The provider does not answer.", 503


@app.get("/")
def page() -> Response:
    """Return the page."""
    return send_from_directory(HERE / "browser", "index.html")


@app.get("/accounts")
@step_up()
def accounts() -> dict[str, object]:
    """Return what a routine call sees."""
    return {"subject": g.sidecar.subject}


@app.post("/payments/<int:number>")
@step_up("c1")
def pay(number: int) -> dict[str, int]:
    """Pay: a sensitive call."""
    return {"paid": number}


@app.get("/sign-in")
def sign_in() -> Any:
    """Send a browser to the provider, asked for as the challenge says (RFC 9470, section 4)."""
    way_back = returning.address(request.args.get("return_to", "/"), default="")
    if not way_back or len(way_back) > LONGEST_WAY_BACK:
        abort(400, "return_to is no path of this app, or too long")
    asked = {name: request.args[name] for name in ASKED if name in request.args}
    if not all(re.fullmatch(ASKED[name], value) for name, value in asked.items()):
        abort(400, "acr_values or max_age cannot be asked for")
    state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
    digest = hashlib.sha256(verifier.encode()).digest()
    under_way = session.get("sign_ins", [])[1 - MOST_SIGN_INS :]
    session["sign_ins"] = [*under_way, [state, nonce, verifier, way_back]]
    query = {
        **settings.PARAMETERS,
        **asked,
        "response_type": "code",
        "client_id": settings.CLIENT_ID,
        "redirect_uri": CALLBACK,
        "scope": settings.SCOPE,
        "state": state,
        "nonce": nonce,
        "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
        "code_challenge_method": "S256",
    }
    address = metadata()["authorization_endpoint"]
    return redirect(f"{address}{'&' if '?' in address else '?'}{urlencode(query)}")


@app.get("/callback")
def callback() -> Any:
    """Take the provider's answer, keep the tokens, and send the browser back."""
    under_way = {one[0]: one[1:] for one in session.get("sign_ins", [])}
    state = request.args.get("state", "")
    if state not in under_way:
        abort(400, "this browser has begun no such sign-in, or it is over")
    nonce, verifier, way_back = under_way.pop(state)
    session["sign_ins"] = [[state, *rest] for state, rest in under_way.items()]
    # RFC 9207: the answer of another provider must not be redeemed here.
    named = metadata().get("authorization_response_iss_parameter_supported", False)
    if request.args.get("iss", None if named else settings.ISSUER) != settings.ISSUER:
        abort(400, "the answer is another provider's")
    if error := request.args.get("error"):
        known = re.fullmatch(r"[a-z_]{1,64}", error)
        return redirect(with_error(way_back, error if known else "server_error"))
    found = redeem(request.args.get("code", ""), verifier, nonce)
    before = session.get("subject", found.subject)
    with turn:
        sessions.pop(session.get("id", ""), None)
        if len(sessions) >= MOST_SESSIONS:
            sessions.pop(next(iter(sessions)))
        # A new name at each sign-in: who knew the old one has nothing of the new session.
        session["id"] = secrets.token_urlsafe(32)
        sessions[session["id"]] = found
    session["subject"] = found.subject
    # Another user than the one whose call it was must not make it.
    return redirect(way_back if before == found.subject else with_error(way_back, "another_user"))


@app.post("/sign-out")
def sign_out() -> dict[str, bool]:
    """Forget the tokens of this browser; the provider's own session goes on."""
    with turn:
        sessions.pop(session.get("id", ""), None)
    session.clear()
    return {"signed_out": True}


def redeem(code: str, verifier: str, nonce: str) -> Session:
    """Redeem the code, and return whose tokens these are (OpenID Connect Core 1.0, 3.1.3)."""
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": CALLBACK,
        "code_verifier": verifier,
        "client_id": settings.CLIENT_ID,
    }
    if file := os.environ.get("CLIENT_SECRET_FILE"):
        form["client_secret"] = Path(file).read_text(encoding="utf-8").strip()
    answer = httpx.post(metadata()["token_endpoint"], data=form)
    if answer.status_code != 200:
        abort(502, "the provider does not redeem the code")
    tokens = answer.json()
    try:
        key = keys().get_signing_key_from_jwt(tokens["id_token"])
        claims = jwt.decode(
            tokens["id_token"],
            key,
            algorithms=list(ALGORITHMS),
            audience=settings.CLIENT_ID,
            issuer=settings.ISSUER,
            options={"require": ["exp", "iat", "sub"]},
        )
    except (jwt.PyJWTError, KeyError):
        abort(502, "the provider's ID token is not good")
    if claims.get("nonce") != nonce:
        abort(400, "the answer is to another sign-in")
    return Session(claims["sub"], tokens["access_token"])


@cache
def metadata() -> dict[str, Any]:
    """Return what the provider says of itself (OpenID Connect Discovery 1.0)."""
    address = f"{settings.ISSUER.rstrip('/')}/.well-known/openid-configuration"
    found: dict[str, Any] = httpx.get(address).raise_for_status().json()
    if found["issuer"] != settings.ISSUER:
        raise ValueError(f"{address} is not of {settings.ISSUER}")
    return found


@cache
def keys() -> jwt.PyJWKClient:
    """Return the provider's keys, which are fetched as they are needed."""
    return jwt.PyJWKClient(metadata()["jwks_uri"])


def with_error(way_back: str, error: str) -> str:
    """Return the way back with what went wrong, for the page to show."""
    return f"{way_back}{'&' if '?' in way_back else '?'}{urlencode({'error': error})}"
