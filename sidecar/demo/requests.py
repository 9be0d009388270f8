"""Requests to the provider, read strictly: RFC 6749, RFC 7636, OpenID Connect Core 1.0."""

import re
from collections.abc import Mapping
from typing import NamedTuple

from sidecar.wire.http.form_fields import UnreadableFields, single_fields
from sidecar.wire.http.messages import Request

_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")
_VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")
_SECONDS = re.compile(r"[0-9]{1,9}")
_FORM = b"application/x-www-form-urlencoded"
_MOST_PARAMETERS = 40


class RefusedRequest(Exception):  # noqa: N818 - named by who must act: the sender
    """The request is refused. `code` is the error code of the RFC that defines the parameter."""

    def __init__(self, code: str, description: str) -> None:
        super().__init__(f"{code}: {description}")
        self.code = code
        self.description = description


class Client(NamedTuple):
    """A public client: its name, and the one address that people are sent back to."""

    name: str
    redirect_uri: str


class Authorization(NamedTuple):
    """A request to `/authorize`. `max_age` is in seconds; None: any age will do."""

    scope: frozenset[str]
    challenge: str
    nonce: str = ""
    acr_values: tuple[str, ...] = ()
    max_age: int | None = None
    login_hint: str = ""
    prompt: str = ""


class Redemption(NamedTuple):
    """A code that is handed in, and what proves that the right client does."""

    code: str
    verifier: str


def parameters_of(request: Request, *methods: str) -> dict[str, str]:
    """Return the parameters of a GET's query or a POST's form; raises `RefusedRequest`.

    None may come twice, and one without a value counts as left out (RFC 6749, section 3.1).
    """
    if request.method not in methods:
        raise RefusedRequest("method_not_allowed", f"use {' or '.join(methods)}")
    if request.method == "POST":
        kind = request.headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
        if kind != _FORM:
            raise RefusedRequest("invalid_request", "the body must be a form")
        raw = request.body
    else:
        raw = request.target.partition(b"?")[2]
    try:
        return single_fields(raw, _MOST_PARAMETERS, blank=False)
    except UnreadableFields as error:
        raise RefusedRequest("invalid_request", f"parameters: {error}") from None


def destination_of(parameters: Mapping[str, str], client: Client) -> str:
    """Return where the answer goes.

    Raises `RefusedRequest` for another client, or another address.
    """
    _is_from(parameters, client)
    if parameters.get("redirect_uri") != client.redirect_uri:
        raise RefusedRequest("invalid_request", "redirect_uri is not registered")
    return client.redirect_uri


def decode_authorization(parameters: Mapping[str, str]) -> Authorization:
    """Read the rest of an authorization request; raises `RefusedRequest`."""
    if parameters.get("response_type") != "code":
        raise RefusedRequest("unsupported_response_type", "response_type must be code")
    challenge = parameters.get("code_challenge", "")
    if parameters.get("code_challenge_method") != "S256" or not _CHALLENGE.fullmatch(challenge):
        raise RefusedRequest("invalid_request", "a code_challenge by S256 is required")
    max_age = parameters.get("max_age")
    if max_age is not None and not _SECONDS.fullmatch(max_age):
        raise RefusedRequest("invalid_request", "max_age must be a number of seconds")
    prompt = parameters.get("prompt", "")
    if prompt not in ("", "none", "login"):
        raise RefusedRequest("invalid_request", "prompt must be none or login")
    return Authorization(
        scope=frozenset(parameters.get("scope", "").split()),
        challenge=challenge,
        nonce=parameters.get("nonce", ""),
        acr_values=tuple(parameters.get("acr_values", "").split()),
        max_age=None if max_age is None else int(max_age),
        login_hint=parameters.get("login_hint", ""),
        prompt=prompt,
    )


def decode_redemption(parameters: Mapping[str, str], client: Client) -> Redemption:
    """Read a token request (RFC 6749, section 4.1.3); raises `RefusedRequest`."""
    _is_from(parameters, client)
    if parameters.get("grant_type") != "authorization_code":
        raise RefusedRequest("unsupported_grant_type", "grant_type must be authorization_code")
    if parameters.get("redirect_uri") != client.redirect_uri:
        raise RefusedRequest("invalid_grant", "redirect_uri is not the one of the authorization")
    verifier = parameters.get("code_verifier", "")
    if not _VERIFIER.fullmatch(verifier) or "code" not in parameters:
        raise RefusedRequest("invalid_request", "code and code_verifier are required")
    return Redemption(parameters["code"], verifier)


def cookie_of(request: Request, name: str) -> str:
    """Return a cookie's value; empty where it is not sent."""
    for line in request.values(b"cookie"):
        for pair in line.decode("latin-1").split(";"):
            found, _, value = pair.strip().partition("=")
            if found == name:
                return value
    return ""


def _is_from(parameters: Mapping[str, str], client: Client) -> None:
    if parameters.get("client_id") != client.name:
        raise RefusedRequest("invalid_client", "the client is not known")
