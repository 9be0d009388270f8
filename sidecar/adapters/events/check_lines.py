"""Plain check lines of the local socket, read in one step.

Nearly all lines are checks, and nearly all of these have nothing about them that two readers could
read differently. Those are read here, by a decoder that knows their members. Any other line is left
to `socket_lines.decode_line`, which says what is wrong with it: what is read here is read there
alike (`tests/adapters/events/test_check_lines.py`).

Pure; it stands on this floor because `Call` belongs to the services.
"""

from functools import lru_cache
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from sidecar.domain.values.address import canonical
from sidecar.service.ports.calls import NOWHERE, Call, TokenPresentation, Via
from sidecar.wire.events.socket_lines import (
    CHECK_TEXTS,
    MAX_IP,
    MAX_REF,
    REF_BOUND,
    CheckRequest,
    Ref,
)
from sidecar.wire.http.gateway_calls import MAX_CONTEXTS, SHORT, InvalidCall, contexts_of
from sidecar.wire.routes.readings import PathInvalid, normalise
from sidecar.wire.traces.trace_context import MAX_PARENT, SentContext

KEPT = 4096
"""Spellings of paths and contexts whose meaning is remembered, the latest used."""

_BACKSLASH, _DELETE = 0x5C, 0x7F
"""Bytes as numbers are looked for faster than as bytes. The decoder refuses the controls below."""

_Token = Annotated[str, Meta(max_length=CHECK_TEXTS["token"])]
_Method = Annotated[str, Meta(max_length=CHECK_TEXTS["method"])]
_Host = Annotated[str, Meta(max_length=CHECK_TEXTS["host"])]
_Path = Annotated[str, Meta(max_length=CHECK_TEXTS["path"])]
_Agent = Annotated[str, Meta(max_length=CHECK_TEXTS["user_agent"])]
_Proof = Annotated[str, Meta(max_length=CHECK_TEXTS["dpop"])]
_Certificate = Annotated[str, Meta(max_length=CHECK_TEXTS["certificate"])]
_Parent = Annotated[str, Meta(max_length=MAX_PARENT)]
_Context = Annotated[str, Meta(max_length=SHORT)]  # a longer one would be remembered, too
_Contexts = Annotated[list[_Context], Meta(max_length=MAX_CONTEXTS)]
_Address = Annotated[str, Meta(max_length=MAX_IP)]
_RefText = Annotated[str, Meta(max_length=MAX_REF)]
_RefNumber = Annotated[int, Meta(ge=1 - REF_BOUND, le=REF_BOUND - 1)]


class _CheckLine(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """The members of a check line; empty: absent."""

    op: Literal["check"]
    token: _Token = ""
    context: _Context | _Contexts = ""
    method: _Method = ""
    host: _Host = ""
    path: _Path = ""
    ip: _Address = ""
    user_agent: _Agent = ""
    dpop: _Proof = ""
    certificate: _Certificate = ""
    traceparent: _Parent = ""
    ref: _RefText | _RefNumber | float | bool | msgspec.UnsetType | None = msgspec.UNSET


_decode = msgspec.json.Decoder(_CheckLine).decode
_normalised = lru_cache(KEPT)(normalise)


def call_of(request: CheckRequest, via: Via = NOWHERE) -> Call:
    """Return the call that a request is about."""
    # An app that shows neither has checked the binding itself, or its gateway has.
    is_shown = bool(request.dpop or request.certificate)
    return Call(
        request.token,
        request.contexts,
        request.method,
        request.host,
        request.path,
        request.ip,
        request.user_agent,
        TokenPresentation(request.dpop or None, request.certificate) if is_shown else None,
        via=via,
        trace=request.trace,
    )


def plain_call(line: bytes, via: Via = NOWHERE) -> tuple[Call, Ref] | None:
    """Return the call of a plain check line without its end, and what its sender wants back.

    None: it is no such line. A plain line is ASCII without escapes and control characters, names no
    member twice, and nothing in it is out of bounds.

    A member that is named twice is found by counting. Without escapes each text has two quotation
    marks, and so has each name; one that is named again makes more of them than there should be,
    whatever its value was. So does a member that is there and empty, which is not counted.
    """
    if not line.isascii() or _BACKSLASH in line or _DELETE in line:
        return None
    try:
        found = _decode(line)
        token, method, host, path = found.token, found.method, found.host, found.path
        ip, agent, dpop, certificate = found.ip, found.user_agent, found.dpop, found.certificate
        context, ref, parent = found.context, found.ref, found.traceparent
        empty = (not token) + (not method) + (not host) + (not path) + (not ip) + (not agent)
        empty += (not dpop) + (not certificate) + (not parent)
        quotes = 40 - 4 * empty  # of `op` and of nine texts
        if isinstance(context, list):
            quotes += 2 + 2 * len(context)
        elif context:
            quotes += 4
        if ref is not msgspec.UNSET:
            quotes += 4 if isinstance(ref, str) else 2
        if line.count(b'"') != quotes:
            return None
        if path:
            path = _normalised(path) if len(path) <= SHORT else normalise(path)
        contexts = _contexts(context if isinstance(context, str) else tuple(context))
    except (ValueError, InvalidCall, PathInvalid):
        return None
    if ip:
        ip = canonical(ip)
        if not ip:
            return None
    shown = TokenPresentation(dpop or None, certificate) if dpop or certificate else None
    sent = SentContext(parent) if parent else None
    return Call(token, contexts, method, host, path, ip, agent, shown, 0.0, "", via, sent), ref


@lru_cache(KEPT)
def _contexts(named: str | tuple[str, ...]) -> frozenset[str]:
    """Return the contexts that a line names; raises `InvalidCall`."""
    return frozenset(contexts_of((named,) if isinstance(named, str) else named))
