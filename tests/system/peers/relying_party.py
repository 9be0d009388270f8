"""An app's half of the code flow with PKCE, and the person who signs in at the provider's page."""

import base64
import hashlib
import re
import secrets
from typing import Any

import httpx

from sidecar.demo.browser import Challenge
from tests import plain_http

CALLBACK = "http://127.0.0.1/callback"
STEPS = 6


class RelyingParty:
    """One browser and the app it uses. `pages`: what the provider's sign-in page was asked for."""

    def __init__(self, issuer: str, user: str) -> None:
        self._http = httpx.Client(base_url=issuer, verify=plain_http.NO_CERTIFICATES)
        self._user = user
        self._metadata = self._http.get("/.well-known/openid-configuration").json()
        self.pages: list[dict[str, Any]] = []

    def close(self) -> None:
        self._http.close()

    def sign_in(self, methods: str, challenge: Challenge | None = None) -> str:
        """An access token; asked for exactly as the challenge says (RFC 9470, section 4)."""
        verifier, state = secrets.token_urlsafe(48), secrets.token_urlsafe(8)
        digest = hashlib.sha256(verifier.encode()).digest()
        query: dict[str, Any] = {
            "client_id": "app",
            "response_type": "code",
            "scope": "openid",
            "redirect_uri": CALLBACK,
            "state": state,
            "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
        }
        if challenge is not None:
            query["acr_values"] = challenge.acr_values
            if challenge.max_age is not None:
                query["max_age"] = challenge.max_age
        answer = self._http.get(self._metadata["authorization_endpoint"], params=query)
        for _ in range(STEPS):
            location = answer.headers["Location"]
            if location.startswith(CALLBACK):
                break
            answer = self._follow(location, methods)
        returned = httpx.URL(answer.headers["Location"]).params
        assert returned["state"] == state
        assert returned["iss"] == self._metadata["issuer"]  # RFC 9207
        return self._redeem(returned["code"], verifier)

    def log_out(self) -> None:
        """Log out at the provider, by the form of its page (RP-Initiated Logout 1.0)."""
        end = self._metadata["end_session_endpoint"]
        page = self._http.get(end, params={"client_id": "app"}).text
        found = re.search(r'name="xsrf" value="([^"]+)"', page)
        assert found, page
        form = {"xsrf": found[1], "logout": "yes"}
        answer = self._http.post(f"{end}/confirm", data=form)
        assert answer.status_code in {200, 302, 303}, answer.text

    def _follow(self, location: str, methods: str) -> httpx.Response:
        if "/interaction/" not in location:
            return self._http.get(location)
        self.pages.append(self._http.get(location).json())
        return self._http.post(location, data={"user": self._user, "methods": methods})

    def _redeem(self, code: str, verifier: str) -> str:
        answer = self._http.post(
            self._metadata["token_endpoint"],
            data={
                "grant_type": "authorization_code",
                "code": code,
                "redirect_uri": CALLBACK,
                "client_id": "app",
                "code_verifier": verifier,
            },
        )
        assert answer.status_code == 200, answer.text
        token: str = answer.json()["access_token"]
        return token
