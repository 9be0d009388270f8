"""Trial calls that show whether a gateway asks as it should, and the meaning of its replies.

All calls are GETs, and change nothing. Those without a token must be refused; what a client may not
say must make no difference: where it does, it reaches the check or the app. A path that no server
reads like another (with dot segments) shows that best, as the check refuses it by itself.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from sidecar.domain.explanation.diagnosis import Diagnosis, Part, doubtful, right, wrong
from sidecar.wire.settings.settings import Gateway

_PART = Part.GATEWAY
MARK = "sidecar-doctor-says-so"
"""A value that no app has by itself."""

_UNFIT = "/sidecar-doctor/%2e%2e/x"
_FIT = "/sidecar-doctor"
_REFUSED = frozenset({401, 403})
_PATHS = ("X-Forwarded-Uri", "X-Original-URI", "X-Original-URL")
_OVERRIDES = ("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override")
_IDENTITY = ("X-Sidecar-Subject", "X-Sidecar-Session", "X-Sidecar-Assurance")


class Trial(NamedTuple):
    """A call to make: more of the path, header lines, and whether with the token."""

    more: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    with_token: bool = False


class GatewayReply(NamedTuple):
    """The reply to a call: a status and all text that there was, or why nothing came."""

    status: int
    text: str = ""
    trouble: str = ""


_FORGED = (("X-Sidecar-Decision", "allow"), *((name, MARK) for name in _IDENTITY))
TRIALS: Mapping[str, Trial] = {
    "plain": Trial(),
    "dot": Trial(_UNFIT),
    "forged": Trial(headers=_FORGED),
    "context": Trial(headers=(("X-Auth-Context", MARK),)),
    "stated": Trial(headers=tuple((name, _FIT) for name in _PATHS)),
    **{name: Trial(headers=((name, _UNFIT),)) for name in _PATHS},
}
"""The calls without a token, by name."""

TRIALS_WITH_TOKEN: Mapping[str, Trial] = {
    "token": Trial(with_token=True),
    "token-forged": Trial(headers=_FORGED, with_token=True),
    "token-override": Trial(headers=tuple((one, MARK) for one in _OVERRIDES), with_token=True),
}
"""Those with one: of these the app's answers show what reached it."""


def diagnose_gateway(replies: Mapping[str, GatewayReply], gateway: Gateway) -> Iterator[Diagnosis]:
    """Return how it stands with a gateway, by its replies to all trials without a token.

    Those to the trials with one are looked at where they are there.
    """
    plain = replies["plain"]
    if plain.trouble:
        cure = "start it, or correct --gateway-url; is it reached from here?"
        yield wrong(_PART, "answer", plain.trouble, cure)
        return
    asks = _asks(plain, replies["stated"], gateway)
    yield asks
    if plain.status not in _REFUSED:
        return
    yield from _paths(plain, replies, gateway)
    yield _dot(replies["dot"], gateway)
    yield _forged(plain, replies["forged"], gateway)
    if _differs(plain, replies["context"]):
        words = f"the client's own X-Auth-Context reaches the check{_change(plain, replies)}"
        yield doubtful(_PART, "context", words, f"have it taken away: {_files(gateway)}")
    if "token" in replies:
        yield from _with_token(replies, gateway)


def _change(plain: GatewayReply, replies: Mapping[str, GatewayReply]) -> str:
    return f": {plain.status} becomes {replies['context'].status}"


def _files(gateway: Gateway) -> str:
    """Return where a configuration is that does so."""
    name = "the gateway's" if gateway is Gateway.NONE else gateway.value
    return f"as deploy/gateways/{name} does" if gateway is not Gateway.NONE else "docs/gateways.md"


def _asks(plain: GatewayReply, stated: GatewayReply, gateway: Gateway) -> Diagnosis:
    """Judge the answer to a call that shows no token."""
    status = plain.status
    if status in _REFUSED:
        return right(_PART, "question", f"a call without a token is refused ({status})")
    if stated.status in _REFUSED:
        words = (
            f"it sends no path ({status}), and passes on what the client says: with X-Forwarded-Uri"
            f" or X-Original-URI of its own the answer is {stated.status}, so that clients choose"
            " the path they are judged by"
        )
        return wrong(_PART, "path", words, _cure_of_path(gateway))
    if status in (400, 500):
        words = f"each call ends with {status}: the check is sent no path, or cannot be reached"
        return wrong(_PART, "path", words, _cure_of_path(gateway))
    if status in (502, 503, 504):
        words = f"each call ends with {status}: the sidecar cannot be reached, or cannot decide"
        cure = "is `sidecar run` up where the gateway asks it? its /readyz says what is missing"
        return wrong(_PART, "question", words, cure)
    if status == 404:
        words = "404 without a token: either there is nothing, or the app answers unasked"
        return doubtful(_PART, "question", words, "name a page that is there in --gateway-url")
    words = f"a call without a token passes ({status}): the gateway does not ask for it"
    cure = (
        f"have it ask before each call: {_files(gateway)}; or name a page in --gateway-url that is"
        " neither in `http.public` nor a sign-in page"
    )
    return wrong(_PART, "question", words, cure)


def _cure_of_path(gateway: Gateway) -> str:
    match gateway:
        case Gateway.NGINX:
            line = "`proxy_set_header X-Original-URI $request_uri;` where it asks the sidecar"
        case Gateway.NONE:
            line = "name the gateway in `http.gateway`: with `none` no path is believed"
        case Gateway.ENVOY:
            line = "`path_prefix: /v1/ext_authz` in the ext_authz filter"
        case _:
            line = "set X-Forwarded-Uri and X-Forwarded-Method where it asks the sidecar"
    return f"{line}, {_files(gateway)}"


def _differs(plain: GatewayReply, reply: GatewayReply) -> bool:
    return not reply.trouble and reply.status != plain.status


def _paths(
    plain: GatewayReply, replies: Mapping[str, GatewayReply], gateway: Gateway
) -> Iterator[Diagnosis]:
    heard = [name for name in _PATHS if _differs(plain, replies[name])]
    if heard:
        names = " and ".join(heard)
        status = replies[heard[0]].status
        words = (
            f"the client's own {names} reaches the check ({plain.status} becomes {status}): clients"
            " choose the path they are judged by"
        )
        cure = f"have it set {names} anew, or taken away, where it asks: {_files(gateway)}"
        yield wrong(_PART, "path", words, cure)
    else:
        yield right(_PART, "path", "what a client says of its path makes no difference")


def _dot(reply: GatewayReply, gateway: Gateway) -> Diagnosis:
    if reply.trouble or reply.status >= 400:
        words = f"a path with dot segments is refused ({reply.trouble or reply.status})"
        return right(_PART, "dot segments", words)
    words = f"a path with dot segments passes without a token ({reply.status})"
    cure = f"have it ask for every path, not by location: {_files(gateway)}"
    return wrong(_PART, "dot segments", words, cure)


def _forged(plain: GatewayReply, reply: GatewayReply, gateway: Gateway) -> Diagnosis:
    name = "forged identity"
    if MARK in reply.text or (_differs(plain, reply) and reply.status < 400):
        words = f"a client that says X-Sidecar-Decision: allow itself gets {reply.status}"
        cure = f"have X-Sidecar-* of clients taken away: {_files(gateway)}"
        return wrong(_PART, name, words, cure)
    return right(_PART, name, "X-Sidecar-* of a client's own opens nothing")


def _with_token(replies: Mapping[str, GatewayReply], gateway: Gateway) -> Iterator[Diagnosis]:
    plain = replies["token"]
    if plain.status in _REFUSED:
        words = f"with the token, too, the answer is {plain.status}"
        cure = "see what is said of the token; does the gateway pass Authorization to the check?"
        yield doubtful(_PART, "token", words, cure)
        return
    if plain.trouble or plain.status >= 500:
        words = f"with the token it fails: {plain.trouble or plain.status}"
        yield wrong(_PART, "token", words, "is the app behind it up?")
        return
    yield right(_PART, "token", f"with the token it passes ({plain.status})")
    if MARK in replies["token-forged"].text:
        words = "the app gets X-Sidecar-Subject or its kin from the client itself"
        cure = f"have it set each X-Sidecar-* anew, also to nothing: {_files(gateway)}"
        yield wrong(_PART, "forged identity to the app", words, cure)
    override = replies["token-override"]
    if MARK in override.text or _differs(plain, override):
        words = f"{_OVERRIDES[0]} or its kin reaches the app: it may run another method than judged"
        cure = f"have {', '.join(_OVERRIDES)} taken away: {_files(gateway)}"
        yield wrong(_PART, "method override", words, cure)
    else:
        yield right(_PART, "method override", "method overrides of a client's own change nothing")
