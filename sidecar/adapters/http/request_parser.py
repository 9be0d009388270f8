"""HTTP/1.1 requests out of bytes, on httptools, strictly (RFC 9112).

A request that two programs may read differently ("smuggling") is refused, and the connection is
not read any further. llhttp already refuses bare line feeds, folded lines, white space before a
colon, control characters, several or odd `Content-Length`; the rest is refused here.
"""

import re
from collections import deque
from typing import NamedTuple

import httptools

from sidecar.adapters.http.handlers import AtOnce
from sidecar.wire.http.messages import Request, Response
from sidecar.wire.http.problems import Problem, problem

_HOST = re.compile(rb"[A-Za-z0-9._~!$&'()*+,=:\[\]%-]*")
_ABSOLUTE = re.compile(rb"https?://([^/?#]+)([/?].*)?", re.IGNORECASE | re.DOTALL)
_NO_REPEATS: dict[bytes, tuple[bytes, ...]] = {}

IDLE, HEAD, BODY = range(3)
"""Where the parser is: between requests, in a header section, in a body."""

MOST, LONGEST = 512, 4096
"""Requests that are remembered, and bytes of each."""
SEEN = 4096
"""Requests of which it is known that they came once."""


class Exchange(NamedTuple):
    """A whole request, and what of it concerns the connection."""

    request: Request
    keep_alive: bool
    http_1_0: bool


class KnownRequest(NamedTuple):
    """A request that came whole and alone, and what answers it."""

    exchange: Exchange
    at_once: AtOnce


class KnownRequests:
    """Remembers requests as they were read, by their bytes and by whom they came from.

    A client, and a gateway on its behalf, often asks the same again byte by byte; then nothing has
    to be parsed, and what the request describes is known, too. Only what the bytes and the
    configuration say is kept, never an answer.

    So tokens are kept as they came, where the verifier keeps digests: a call is judged by its token
    each time, which a digest cannot stand for, and to key these by one would hide nothing of what
    they lead to. They are few, and are forgotten again and again (`LeanServer`).
    """

    def __init__(self) -> None:
        self._known: dict[tuple[bytes, str, int | None], KnownRequest] = {}
        self._seen = set[int]()
        self.find = self._known.get

    def keep(self, data: bytes, known: KnownRequest) -> None:
        """Remember a request by its bytes, if they come again: most of some clients never do.

        To hold what is seen once would cost more than to read it. Where there are too many, all
        begin anew.
        """
        request, keep_alive, _ = known.exchange
        if len(data) > LONGEST or not keep_alive:
            return
        key = (data, request.peer, request.uid)
        mark = hash(key)
        if mark not in self._seen:
            if len(self._seen) >= SEEN:
                self._seen.clear()
            self._seen.add(mark)
            return
        if len(self._known) >= MOST:
            self._known.clear()
        self._known[key] = known

    def forget(self) -> None:
        """Begin anew."""
        self._known.clear()
        self._seen.clear()


class _Fault(Exception):  # noqa: N818 - leaves the parser at once; never leaves this module
    """The request is refused."""


class RequestParser:
    """Fed with bytes, fills `ready` with whole requests. `fault` is the answer that ends it all."""

    def __init__(
        self, peer: str, max_header_bytes: int, max_body_bytes: int, uid: int | None = None
    ) -> None:
        self.ready: deque[Exchange] = deque()
        self.fault: Response | None = None
        self.phase = IDLE
        self.wants_continue = False
        self._peer = peer
        self._uid = uid
        self._max_head = max_header_bytes
        self._max_body = max_body_bytes
        self._quiet = 0
        self._moved = False
        self._size = 0
        self._parser = httptools.HttpRequestParser(self)
        self._clear()

    def close(self) -> None:
        """Let go of the parser, which holds this one: else the two wait for the collector."""
        del self._parser

    def feed(self, data: bytes) -> None:
        """Parse; never raises. After a `fault` nothing more is taken."""
        self._moved = False
        while data and self.fault is None:
            try:
                self._parser.feed_data(data)
                break
            except httptools.HttpParserUpgrade as upgrade:
                # An upgrade may be ignored (RFC 9110, section 7.8); the request before is whole.
                data = data[upgrade.args[0] :]
                self._parser = httptools.HttpRequestParser(self)
            except httptools.HttpParserError:
                if self.fault is None:
                    self.fault = problem(Problem.INVALID_REQUEST, "it is not well-formed HTTP/1.1")
        # Only what the parser holds back itself can grow unseen: a long name, value or extension.
        self._quiet = 0 if self._moved else self._quiet + len(data)
        if self._quiet > self._max_head and self.fault is None:
            self.fault = problem(Problem.HEADERS_TOO_LARGE)

    def pass_over(self) -> None:
        """Note that a whole request has come which needs no parsing."""
        self._quiet = 0

    def _clear(self) -> None:
        self._target = b""
        self._headers: dict[bytes, bytes] = {}
        self._repeated = _NO_REPEATS
        self._body: list[bytes] = []
        self._size = 0

    def _refuse(self, kind: Problem, detail: str = "") -> None:
        self.fault = problem(kind, detail)
        raise _Fault

    # What httptools calls

    def on_message_begin(self) -> None:
        """Begin a request."""
        self.phase = HEAD
        self._moved = True
        self._clear()

    def on_url(self, part: bytes) -> None:
        """Take the target, or a part of it."""
        self._target += part
        if len(self._target) > self._max_head:
            self._refuse(Problem.HEADERS_TOO_LARGE)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header field; one after the body is a trailer, which nobody here wants."""
        if self.phase == BODY:
            return
        self._size += len(name) + len(value) + 4
        if self._size > self._max_head:
            self._refuse(Problem.HEADERS_TOO_LARGE)
        name = name.lower()
        value = value.rstrip(b" \t")
        if name not in self._headers:
            self._headers[name] = value
            return
        if self._repeated is _NO_REPEATS:
            self._repeated = {}
        before = self._repeated.get(name) or (self._headers[name],)
        self._repeated[name] = (*before, value)

    def on_headers_complete(self) -> None:
        """Refuse the header section, which is whole now, or go on to the body."""
        headers = self._headers
        if len(self._target) + self._size > self._max_head:
            self._refuse(Problem.HEADERS_TOO_LARGE)
        version = self._parser.get_http_version()
        if version not in ("1.1", "1.0"):
            self._refuse(Problem.WRONG_VERSION)
        self._http_1_0 = version == "1.0"
        self._method = self._parser.get_method().decode("ascii")
        self._keep_alive = self._parser.should_keep_alive()
        host = headers.get(b"host")
        if b"host" in self._repeated or (host is None and not self._http_1_0):
            self._refuse(Problem.INVALID_REQUEST, "it must have one Host")
        self._host = host or b""
        self._check_target()
        if not _HOST.fullmatch(self._host):
            self._refuse(Problem.INVALID_REQUEST, "its host is not a host")
        self._check_body()
        self.phase = BODY
        self._moved = True

    def on_body(self, part: bytes) -> None:
        """Take a part of the body."""
        self._moved = True
        self.wants_continue = False
        self._size += len(part)
        if self._size > self._max_body:
            self._refuse(Problem.BODY_TOO_LARGE)
        self._body.append(part)

    def on_message_complete(self) -> None:
        """Note that the request is whole."""
        self.phase = IDLE
        self.wants_continue = False
        self._moved = True
        request = Request(
            self._method,
            self._target,
            self._host,
            self._headers,
            b"".join(self._body) if self._body else b"",
            self._peer,
            self._repeated,
            self._uid,
        )
        self.ready.append(Exchange(request, self._keep_alive, self._http_1_0))

    # What is refused

    def _check_target(self) -> None:
        """Refuse targets but origin form and `*` (RFC 9112, section 3.2)."""
        target = self._target
        if target.startswith(b"/"):
            return
        absolute = _ABSOLUTE.fullmatch(target)
        if absolute:
            # Section 3.2.2: the target's authority replaces the Host.
            self._host = absolute[1]
            rest = absolute[2] or b"/"
            self._target = rest if rest.startswith(b"/") else b"/" + rest
        elif target != b"*" or self._method != "OPTIONS":
            self._refuse(Problem.INVALID_REQUEST, "its target is neither a path nor a URL")

    def _check_body(self) -> None:
        headers = self._headers
        self._size = 0  # from here on it counts the body
        length = headers.get(b"content-length")
        coding = headers.get(b"transfer-encoding")
        if coding is not None:
            if length is not None or self._http_1_0:
                self._refuse(Problem.INVALID_REQUEST, "its length is given in more than one way")
            if coding.lower() != b"chunked" or b"transfer-encoding" in self._repeated:
                self._refuse(Problem.UNKNOWN_CODING)
        elif length is not None and int(length) > self._max_body:
            self._refuse(Problem.BODY_TOO_LARGE)
        has_body = coding is not None or bool(length and int(length))
        if has_body and b"upgrade" in headers and self._parser.should_upgrade():
            # llhttp takes the body for the other protocol, and we would take it for a request.
            self._refuse(Problem.INVALID_REQUEST, "it has a body and asks for an upgrade")
        expectation = headers.get(b"expect")
        if expectation is not None and not self._http_1_0:
            if expectation.lower() != b"100-continue":
                self._refuse(Problem.EXPECTATION)
            self.wants_continue = has_body
