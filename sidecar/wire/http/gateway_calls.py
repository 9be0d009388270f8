"""Reader of the original call from a gateway's request: method, host, path, token, client.

Every header may come from the client. Those are believed that the configured gateway sets itself,
and no others: `http.gateway` says which, nothing is guessed from what is present. A believed
header that comes twice was sent by the client as well, and the call is refused.

| gateway | method | host | path |
| --- | --- | --- | --- |
| nginx | `X-Original-Method` | `Host`, or that of the URL | `X-Original-URI` or `X-Original-URL` |
| caddy, traefik, haproxy, apache | `X-Forwarded-Method` | `X-Forwarded-Host` | `X-Forwarded-Uri` |
| envoy | the request's own | `Host` | what follows `/v1/ext_authz` |
| none | - | - | - |

A method or host that is not sent stays empty, and `Routes` then takes it for any. So does the
method of a call with `_method` in its query: the app may run another one than was sent. A path
that is not sent is an error: with a gateway that was set up wrongly, every call would be routine.
With `none` and `envoy` only `X-Auth-Context` counts on `/v1/check`, and a call without it is an
error, too.
"""

import ipaddress
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple, assert_never
from urllib.parse import unquote_plus

from sidecar.domain.values import address
from sidecar.wire.http.messages import Request
from sidecar.wire.routes.readings import PathInvalid, normalise
from sidecar.wire.routes.routes import bare_host
from sidecar.wire.settings.settings import ClientAddress, Gateway, Http

MAX_CONTEXTS = 16
MAX_HOPS = 64
"""Proxies that are looked at, from the nearest on."""
EXT_AUTHZ = b"/v1/ext_authz"

KEPT, SHORT = 2048, 256
"""Calls, contexts and clients whose spelling is remembered, the latest used; and their bytes."""

_CONTEXT = re.compile(r"[A-Za-z0-9._-]{1,64}")
_METHOD = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}")
_HOST = re.compile(r"(?:[a-z0-9._~-]{1,253}|\[[0-9a-f:.]{2,45}\])")
_OVERRIDING = re.compile(r"(?:\A|[&;])\s*[_.\[]method", re.IGNORECASE)
"""`_method` in a decoded query: frameworks run that method. PHP makes it of `.method`, too."""
_AS_ONE = re.compile(rb"^(?:bearer|dpop) [^,]*,|,[ \t]*(?:bearer|dpop) ", re.IGNORECASE)
"""Two `Authorization` as one: gateways put a comma between (RFC 9110, 5.2), which no token has."""
_ABSOLUTE = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*://([^/?#]*)(.*)", re.DOTALL)


class InvalidCall(Exception):  # noqa: N818 - named by who must act: the sender
    """The request describes no call, or more than one. The message never repeats what it holds."""


class InvalidCredentials(InvalidCall):
    """The request has more than one token, or none that can be read (RFC 6750, section 3.1)."""


class Original(NamedTuple):
    """The call that asks to pass; `path` is normalised, all else as it came. Empty: not sent."""

    method: str = ""
    host: str = ""
    path: str = ""
    query: str = ""


def original_call(request: Request, gateway: Gateway) -> Original:
    """Return the original call of a request for `/v1/check`; raises `InvalidCall`."""
    match gateway:
        case Gateway.NONE | Gateway.ENVOY:
            return Original()
        case Gateway.NGINX:
            return _nginx(request)
        case Gateway.CADDY | Gateway.TRAEFIK | Gateway.HAPROXY | Gateway.APACHE:
            path = _believed(request, b"x-forwarded-uri")
            if path is None:
                raise InvalidCall("the gateway must send X-Forwarded-Uri")
            method = _believed(request, b"x-forwarded-method")
            return _original(method, _believed(request, b"x-forwarded-host"), path)
        case _ as never:
            assert_never(never)


def ext_authz_call(request: Request) -> Original:
    """Return the original call of Envoy's HTTP service, whose path follows ours.

    Raises `InvalidCall`.

    The target is taken as it came: `/v1/ext_authz/../x` asks for `/x`, not for one of our paths.
    """
    target = request.target[len(EXT_AUTHZ) :] or b"/"
    return _original(request.method.encode("ascii"), request.host, target)


def direct_call(request: Request) -> Original:
    """Return the original call where the request is the call itself, as Envoy sends it over gRPC.

    Raises `InvalidCall`.
    """
    return _original(request.method.encode("latin-1"), request.host, request.target)


def _nginx(request: Request) -> Original:
    uri = _believed(request, b"x-original-uri")
    url = _believed(request, b"x-original-url")
    found: list[tuple[bytes, bytes]] = []
    if uri is not None:
        found.append((request.host, uri))
    if url is not None:
        absolute = _ABSOLUTE.fullmatch(url)
        found.append((absolute[1], absolute[2] or b"/") if absolute else (request.host, url))
    if not found:
        raise InvalidCall("the gateway must send X-Original-URI or X-Original-URL")
    if len({_path(path) for _, path in found}) > 1:
        # The gateway sets one of the two; which one, only its configuration knows.
        raise InvalidCall("X-Original-URI and X-Original-URL differ")
    return _original(_believed(request, b"x-original-method"), *found[-1])


def _original(method: bytes | None, host: bytes | None, target: bytes) -> Original:
    path, _, query = target.partition(b"?")
    read = _known_original if len(path) + len(host or b"") <= SHORT else _read_original
    original = read(method, host, path)
    if not query:
        return original
    # It may hold what is secret, and is not remembered.
    text = query.decode("latin-1")
    sent = "" if _OVERRIDING.search(unquote_plus(text)) else original.method
    return original._replace(method=sent, query=text)


def _read_original(method: bytes | None, host: bytes | None, path: bytes) -> Original:
    return Original(_method(method), _host(host), _path(path))


_known_original = lru_cache(KEPT)(_read_original)


def _believed(request: Request, name: bytes) -> bytes | None:
    if name in request.repeated:
        raise InvalidCall(f"{name.decode('ascii')} comes more than once")
    return request.headers.get(name)


def _method(raw: bytes | None) -> str:
    if raw is None:
        return ""
    text = raw.decode("latin-1")
    if not _METHOD.fullmatch(text):
        raise InvalidCall("the original method is not a method")
    return text


def _host(raw: bytes | None) -> str:
    if not raw:
        return ""
    host = bare_host(raw.decode("latin-1"))
    if not _HOST.fullmatch(host):
        raise InvalidCall("the original host is not a host")
    return host


def _path(raw: bytes) -> str:
    try:
        return normalise(raw)
    except PathInvalid as error:
        raise InvalidCall(str(error)) from None


def contexts_of(values: Iterable[str]) -> tuple[str, ...]:
    """Return the contexts named in lists with commas (`X-Auth-Context`); raises `InvalidCall`."""
    names = tuple(
        dict.fromkeys(
            name for value in values for part in value.split(",") if (name := part.strip())
        )
    )
    if len(names) > MAX_CONTEXTS:
        raise InvalidCall(f"at most {MAX_CONTEXTS} contexts can be asked for")
    if not all(map(_CONTEXT.fullmatch, names)):
        raise InvalidCall("a context is 1 to 64 letters, digits, '.', '_' or '-'")
    return names


def asked_contexts(request: Request) -> tuple[str, ...]:
    """Return the contexts that the request itself asks for; raises `InvalidCall`."""
    if b"x-auth-context" not in request.headers:
        return ()
    values = request.values(b"x-auth-context")
    return (_known_contexts if sum(map(len, values)) <= SHORT else _read_contexts)(values)


def _read_contexts(values: tuple[bytes, ...]) -> tuple[str, ...]:
    return contexts_of(value.decode("latin-1") for value in values)


_known_contexts = lru_cache(KEPT)(_read_contexts)


def asked_call(request: Request, gateway: Gateway) -> tuple[Original, tuple[str, ...]]:
    """Return the original call of a request for `/v1/check`, and the contexts it asks for itself.

    Raises `InvalidCall`, also where it names neither a path nor a context: what is absent is not
    routine.
    """
    original = original_call(request, gateway)
    contexts = asked_contexts(request)
    if not (original.path or contexts):
        raise InvalidCall(
            f"neither a path nor a context is sent: with http.gateway {gateway.value} only"
            " X-Auth-Context counts here"
        )
    return original, contexts


class TokenSources:
    """The places of a token: `Authorization`, and a header or cookie if configured.

    `Bearer` (RFC 6750) or `DPoP` (RFC 9449).

    Two different tokens in one request are an error (RFC 6750, section 2): the app might act on
    the one that was not checked.
    """

    def __init__(self, settings: Http) -> None:
        self._header = settings.token_header.lower().encode("latin-1")
        self._cookie = settings.token_cookie.encode("latin-1")

    def token(self, request: Request) -> str:
        """Return the token, empty where there is none; raises `InvalidCall`."""
        authorization = request.headers.get(b"authorization", b"")
        if b"authorization" in request.repeated or (
            b"," in authorization and _AS_ONE.search(authorization)
        ):
            raise InvalidCredentials("authorization comes more than once")
        found = _bearer(authorization)
        if self._header or self._cookie:
            tokens = {found, *self._others(request)} - {b""}
            if len(tokens) > 1:
                raise InvalidCredentials("the request has more than one token")
            found = tokens.pop() if tokens else b""
        return found.decode("latin-1")

    def _others(self, request: Request) -> Iterable[bytes]:
        if self._header:
            for value in request.values(self._header):
                yield _bearer(value) or value
        if self._cookie:
            for line in request.values(b"cookie"):
                for pair in line.split(b";"):
                    name, _, value = pair.partition(b"=")
                    if name.strip() == self._cookie:
                        yield value.strip().strip(b'"')


def _bearer(credentials: bytes) -> bytes:
    scheme, _, token = credentials.partition(b" ")
    return token.strip() if scheme.lower() in (b"bearer", b"dpop") else b""


def dpop_proof(request: Request) -> str | None:
    """Return the proof of a DPoP token, empty if it is missing; None for a token of another scheme.

    Raises `InvalidCredentials` where there are several (RFC 9449, section 4.3).
    """
    scheme, _, _ = request.headers.get(b"authorization", b"").partition(b" ")
    if scheme.lower() != b"dpop":
        return None
    proofs = request.values(b"dpop")
    if len(proofs) > 1:
        raise InvalidCredentials("the request has more than one DPoP proof")
    return proofs[0].decode("latin-1") if proofs else ""


class ClientAddresses:
    """The address of the client that a request came from, as far as the trusted proxies say."""

    def __init__(self, settings: Http) -> None:
        """Raises ValueError for a trusted proxy that is no address or network."""
        self._trusted = tuple(_span(cidr) for cidr in settings.trusted_proxies)
        chosen = settings.client_address
        self._forwarded_for = chosen is not ClientAddress.REAL_IP
        self._real_ip = chosen is ClientAddress.REAL_IP or (
            chosen is ClientAddress.EITHER and settings.gateway in (Gateway.NONE, Gateway.NGINX)
        )
        self._known: dict[tuple[bytes, ...], str] = {}
        self._peers: dict[str, str] = {}

    def client(self, request: Request) -> str:
        """Return the client's address in canonical text; empty where it is unknown.

        Raises `InvalidCall` for an `X-Real-IP` that comes more than once.

        `X-Forwarded-For` is read from the right: each trusted proxy appends whom it was called by,
        so the first that is not trusted is the client. What stands left of it, the client wrote.
        """
        if request.peer:
            known = self._peers.get(request.peer)
            peer = self._peer(request.peer) if known is None else known
            if peer:
                return peer
        headers = request.headers
        if self._forwarded_for and b"x-forwarded-for" in headers:
            return self._walk(request.values(b"x-forwarded-for"))
        if self._real_ip and b"x-real-ip" in headers:
            return self._walk((_believed(request, b"x-real-ip") or b"",))
        return ""

    def _peer(self, peer: str) -> str:
        """Return the address of a peer that is the client; empty: a trusted proxy, or none."""
        found = address.parse(peer)
        is_client = found is not None and not self._is_trusted(found.packed)
        text = found.text if found is not None and is_client else ""
        if len(self._peers) >= KEPT:
            self._peers.clear()
        self._peers[peer] = text
        return text

    def is_from_proxy(self, request: Request) -> bool:
        """Return whether the request came from a trusted proxy, or over a unix socket."""
        peer = address.parse(request.peer) if request.peer else None
        return peer is None or self._is_trusted(peer.packed)

    def _walk(self, values: tuple[bytes, ...]) -> str:
        known = self._known.get(values)
        if known is None:
            known = self._nearest(values)
            if len(self._known) >= KEPT:
                self._known.clear()
            if sum(map(len, values)) <= SHORT:
                self._known[values] = known
        return known

    def _nearest(self, values: Sequence[bytes]) -> str:
        nearest = ""
        hops = b",".join(values).decode("latin-1").rsplit(",", MAX_HOPS)
        for hop in reversed(hops[-MAX_HOPS:]):
            found = address.parse(hop)
            if found is None:
                break
            nearest = found.text
            if not self._is_trusted(found.packed):
                break
        return nearest

    def _is_trusted(self, packed: bytes) -> bool:
        return any(len(low) == len(packed) and low <= packed <= high for low, high in self._trusted)


def _span(cidr: str) -> tuple[bytes, bytes]:
    network = ipaddress.ip_network(cidr, strict=False)
    return network.network_address.packed, network.broadcast_address.packed
