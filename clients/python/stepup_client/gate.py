"""Checks a call of any framework: makes the question to the sidecar, and the client's answer.

No I/O here: `doors` asks the sidecar, and the framework's module brings requests and answers.
"""

from __future__ import annotations

import ipaddress
import json
import logging
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple
from urllib.parse import quote, unquote_plus

from stepup_client.connection.protocol import Decision, Refused, Unreachable
from stepup_client.enforcement.readings import is_read_alike

logger = logging.getLogger("stepup_client")

_LONGEST_AGENT = 1024
_SEGMENT_SAFE = "/-._~!$&'()*+,=:@"
"""RFC 3986, section 3.3, without `;`, which servers read differently."""

_TITLES = {
    "step-up-required": "A stronger or fresher sign-in is required",
    "invalid-token": "A valid token is required",
    "denied": "Access is denied",
    "unavailable": "This cannot be decided now",
    "invalid-request": "The request is not valid",
    "unknown-context": "The context is not configured",
}
_AS_ONE = re.compile(r"^(?:bearer|dpop) [^,]*,|,[ \t]*(?:bearer|dpop) ", re.IGNORECASE)
"""Two `Authorization` as one: servers put a comma between, which no token has."""
_OVERRIDING = re.compile(r"x[^a-z0-9](?:http[^a-z0-9])?method(?:[^a-z0-9]override)?", re.IGNORECASE)
_METHOD_IN_QUERY = re.compile(r"(?:\A|[&;])\s*[_.\[]method", re.IGNORECASE)
"""PHP makes `_method` of `.method`, too."""
_EVENT_STREAM = re.compile(r"\s*text/event-stream\s*(;|$)", re.IGNORECASE)


@dataclass(frozen=True)
class Gate:
    """The settings by which calls are checked.

    `socket`: the sidecar's path (empty: `SIDECAR_SOCKET`, else the usual one); `timeout` in
    seconds, for each step; `connections` at a time.

    `cookie`: take the token from this cookie where `Authorization: Bearer` brings none.
    `token`: the same for an app that keeps the token itself, as in a session on the server: it is
    called with the framework's request and gives the token, or None. Where there is one, a request
    that brings another one is refused.
    `trusted_proxies`: how many proxies of your own append to `X-Forwarded-For` before a request
    is here; 0 takes the address that the server gives.

    `fail`: what happens where the sidecar is gone. `closed`: 503 with `Retry-After`; `open`: the
    call passes; or the names of contexts: calls in these and in no others pass.

    `unchecked`: methods that pass without being asked about; `preflight`: so do a browser's CORS
    preflights. Both are for handlers that distinguish methods: a handler that answers OPTIONS as it
    answers POST would be open.

    `routes`: send method and path to the sidecar, so that its own `routes` add contexts.
    `recheck` and `patience` in seconds: how often an open stream is checked again though no
    change of it was heard of, and how long it may live on with the sidecar gone.
    """

    socket: str = ""
    timeout: float = 2.0
    connections: int = 16
    cookie: str = ""
    token: Callable[[Any], str | None] | None = None
    trusted_proxies: int = 0
    fail: Literal["closed", "open"] | Collection[str] = "closed"
    unchecked: Collection[str] = ()
    preflight: bool = False
    routes: bool = True
    recheck: float = 30.0
    patience: float = 10.0

    def __post_init__(self) -> None:
        """Raises ValueError for a text that is neither `closed` nor `open`: meant as a name."""
        if isinstance(self.fail, str) and self.fail not in ("closed", "open"):
            raise ValueError("fail is 'closed', 'open' or a collection of contexts")
        if isinstance(self.unchecked, str):
            raise ValueError("unchecked is a collection of methods")  # noqa: TRY004 - its content
        if self.token is not None and not callable(self.token):
            raise TypeError("token is a function of the request")

    def is_open_for(self, contexts: Collection[str]) -> bool:
        """Return whether a call passes where nobody can be asked."""
        if isinstance(self.fail, str):
            return self.fail == "open"
        return bool(contexts) and set(contexts) <= set(self.fail)


class Incoming(NamedTuple):
    """A request as the server gives it. `path` is decoded, as the app's own routing reads it.

    `kept` is the token that the app itself keeps for whoever calls (`Gate.token`).
    `target` is the request line's path, undecoded; empty where the server does not give it.
    `overrides`: something in it (`X-HTTP-Method-Override`) may make the app run another method.
    """

    method: str
    path: str
    peer: str
    authorization: tuple[str, ...] = ()
    cookies: tuple[str, ...] = ()
    forwarded_for: tuple[str, ...] = ()
    user_agent: str = ""
    is_preflight: bool = False
    target: str = ""
    overrides: bool = False
    kept: str = ""


class Reply(NamedTuple):
    """The client's answer in the handler's place. `kind` is the end of the body's URN."""

    kind: str
    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


def before_asking(gate: Gate, incoming: Incoming) -> Decision | Reply | None:
    """Decide what needs nobody to be asked; else return None.

    A path of two readings is refused, and some calls pass.
    """
    if gate.routes and (refusal := refused_path(incoming)) is not None:
        # Nobody is asked: `fail: open` must not let pass what would be refused anyway.
        return refusal
    return UNASKED if passes_unasked(gate, incoming) else None


def refused_path(incoming: Incoming) -> Reply | None:
    """Return the answer to a request whose path servers read in different ways, else None.

    Whatever is decided by a path is decided after this.
    """
    if is_read_alike(incoming.path, incoming.target):
        return None
    return _reply("invalid-request", 400, "servers read this path in different ways")


def passes_unasked(gate: Gate, incoming: Incoming) -> bool:
    """Return whether its method, or what it is for, lets a request pass unasked."""
    if incoming.overrides:  # nobody here knows which method the app will run
        return False
    return incoming.method in gate.unchecked or (gate.preflight and incoming.is_preflight)


def with_kept(gate: Gate, incoming: Incoming, request: Any) -> Incoming:
    """Return the request with the token that the app keeps for it (`Gate.token`)."""
    return incoming if gate.token is None else incoming._replace(kept=gate.token(request) or "")


def question(gate: Gate, incoming: Incoming, contexts: Collection[str]) -> dict[str, Any] | Reply:
    """Return the arguments of `check`, or the answer to a request that cannot be asked about."""
    if len(incoming.authorization) > 1 or any(map(_AS_ONE.search, incoming.authorization)):
        return _reply("invalid-request", 400, "Authorization comes more than once")
    tokens = {_bearer(value) for value in incoming.authorization} - {""}
    if gate.cookie:
        tokens |= _cookie_values(incoming.cookies, gate.cookie)
    if incoming.kept:
        tokens.add(_plain(incoming.kept))
    if len(tokens) > 1:
        # RFC 6750, section 2: the app might act on the one that was not checked.
        return _reply("invalid-request", 400, "the request has more than one token")
    asked: dict[str, Any] = {
        "token": tokens.pop() if tokens else "",
        "context": tuple(contexts),
        "ip": client_address(gate, incoming),
        "user_agent": _plain(incoming.user_agent)[:_LONGEST_AGENT],
    }
    if gate.routes:
        # A method that is not sent could be any: all routes of the path count.
        asked["method"] = "" if incoming.overrides else incoming.method
        asked["path"] = quote(incoming.path, safe=_SEGMENT_SAFE, errors="surrogatepass")
    return asked


def is_preflight(method: str, origins: Sequence[str], requested: Sequence[str]) -> bool:
    """Return whether a request is a CORS preflight.

    That is OPTIONS with one origin and one requested method.
    """
    return (
        method == "OPTIONS"
        and len(origins) == len(requested) == 1
        and bool(origins[0] and requested[0])
    )


def is_overriding(header_names: Iterable[str], query: str) -> bool:
    """Return whether frameworks may run another method for a request than its own.

    They read a header, however its name is spelled, or `_method` in the query. What stands in a
    body cannot be seen here.
    """
    return bool(_METHOD_IN_QUERY.search(unquote_plus(query))) or any(
        map(_OVERRIDING.fullmatch, header_names)
    )


def client_address(gate: Gate, incoming: Incoming) -> str:
    """Return the client's address: as many steps from the right as there are trusted proxies.

    Each of these proxies has appended whom it was called by; what stands left of that, the client
    wrote. A request that came over fewer has bypassed them: then only the peer is known.
    """
    hops = [hop for value in incoming.forwarded_for for hop in value.split(",")]
    chosen = incoming.peer
    if 0 < gate.trusted_proxies <= len(hops):
        chosen = hops[-gate.trusted_proxies]
    return _address(chosen)


def outcome(decision: Decision) -> Decision | Reply:
    """Return the decision if the call passes, else the client's answer (RFC 9470, RFC 9457)."""
    if decision.allowed:
        return decision
    kind = "step-up-required" if decision.decision == "step_up" else "denied"
    members: dict[str, object] = {}
    if decision.acr_values:
        members["acr_values"] = decision.acr_values
    if decision.max_age is not None:
        members["max_age"] = decision.max_age
    if decision.reasons:
        members["reasons"] = [
            {"policy": why.policy, "signal": why.signal, "text": why.text}
            for why in decision.reasons
        ]
    return _reply(
        kind, decision.status, decision.message, decision.www_authenticate, members=members
    )


def refused(gate: Gate, contexts: Collection[str], error: Refused) -> Decision | Reply:
    """Return the answer where the sidecar gave no decision, and said why."""
    if error.error == "invalid_token":
        status = error.status if error.reply.get("status") else 401
        return _reply("invalid-token", status, error.message, error.www_authenticate)
    if error.error == "overloaded":
        return unreached(gate, contexts, error)
    if error.error in ("unavailable", "refused"):
        # It was asked, and `when_unknown` says that such a call must wait.
        return _reply("unavailable", 503, error.message, retry_after=error.retry_after)
    if error.error == "unknown_context":
        # The handler names it, and no client can help that: whoever wrote it must see it.
        logger.error("a call is refused: %s", error)
        return _reply("unknown-context", 400, error.message)
    return _reply("invalid-request", 400, error.message)


def unreached(
    gate: Gate, contexts: Collection[str], error: Unreachable | Refused
) -> Decision | Reply:
    """Decide where nobody can be asked (`Gate.fail`), and log it each time."""
    names = ",".join(sorted(contexts)) or "routine"
    if gate.is_open_for(contexts):
        logger.warning("a call passes unchecked (%s): %s", names, error)
        return Decision("allow", 200, message="nobody was asked", decided=False)
    logger.warning("a call is turned away (%s): %s", names, error)
    after = error.retry_after if isinstance(error, Refused) else 1
    return _reply("unavailable", 503, retry_after=after)


def is_event_stream(content_type: str) -> bool:
    """Return whether a response goes on and on (server-sent events)."""
    return bool(_EVENT_STREAM.match(content_type))


class Public:
    """Paths that are not checked: exact ones, and `/static/*` for all below."""

    def __init__(self, paths: Iterable[str]) -> None:
        """Raises ValueError for a text, or a pattern that is neither or can match no call."""
        paths = paths if isinstance(paths, str) else tuple(paths)
        if isinstance(paths, str) or any("*" in path.removesuffix("/*") for path in paths):
            raise ValueError("public is a collection of paths; '/*' may stand at the end of one")
        for path in paths:
            if not path.startswith("/") or not is_read_alike(path.removesuffix("/*")):
                raise ValueError(
                    f"public can match no call by {path!r}: write it decoded, from '/'"
                )
        self._exact = frozenset(path for path in paths if not path.endswith("/*"))
        self._below = tuple(path[:-1] for path in paths if path.endswith("/*"))

    def judge(self, incoming: Incoming) -> Reply | bool:
        """Return whether a request passes unasked; an answer where its path does not show that."""
        if not (self._exact or self._below):
            return False
        return refused_path(incoming) or self.covers(incoming.path)

    def covers(self, path: str) -> bool:
        """Return whether a path that all servers read alike is one of them."""
        # With a percent sign left in it, who decodes it again may find anything.
        return path in self._exact or (path.startswith(self._below) and "%" not in path)


UNASKED = Decision("allow", 200, message="this method is not asked about", decided=False)


def _reply(  # noqa: PLR0913 - the parts of an answer
    kind: str,
    status: int,
    detail: str = "",
    challenge: str = "",
    *,
    retry_after: int = 0,
    members: dict[str, object] | None = None,
) -> Reply:
    body: dict[str, object] = {
        "type": f"urn:stepup-sidecar:problem:{kind}",
        "title": _TITLES[kind],
        "status": status,
    }
    if detail:
        body["detail"] = detail
    body |= members or {}
    headers = [("Content-Type", "application/problem+json"), ("Cache-Control", "no-store")]
    if status == 401 or challenge:
        # RFC 9110, section 15.5.2: a 401 has a challenge.
        headers.append(("WWW-Authenticate", _plain(challenge) or "Bearer"))
    if status == 503:
        headers.append(("Retry-After", str(max(1, retry_after))))
    encoded = json.dumps(body, separators=(",", ":")).encode()
    headers.append(("Content-Length", str(len(encoded))))
    return Reply(kind, status, tuple(headers), encoded)


def _bearer(credentials: str) -> str:
    scheme, _, token = credentials.strip().partition(" ")
    return _plain(token.strip()) if scheme.lower() == "bearer" else ""


def _cookie_values(lines: Iterable[str], name: str) -> set[str]:
    pairs = (pair.partition("=") for line in lines for pair in line.split(";"))
    values = {_plain(value.strip().strip('"')) for key, _, value in pairs if key.strip() == name}
    return values - {""}


def _plain(text: str) -> str:
    """Replace what is not printable ASCII in a text, so that nothing can be injected."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(letter if " " <= letter <= "~" else "?" for letter in text)


def _address(text: str) -> str:
    """Return an address without port and brackets; empty for what is none (a unix socket)."""
    text = text.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        return str(ipaddress.ip_address(text.partition("%")[0]))
    except ValueError:
        return ""
