"""A synchronous client of the local socket, of the standard library alone.

    with LocalClient() as sidecar:
        decision = sidecar.check(token, context="c1")
        if not decision.allowed:
            return decision.status, {"WWW-Authenticate": decision.www_authenticate}

It speaks the protocol of the manual's "local socket": one JSON object a line, replies in order. It
connects when first used, and once again where the daemon closed a connection that lay idle. One
client is for one thread at a time.
"""

import json
import os
import socket
from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Self

DEFAULT_PATH = "/run/sidecar/sidecar.sock"
LONGEST_LINE = 65536
WINDOW = 64
"""How many events are under way at once; small enough for the replies to fit any socket buffer."""

_LONGEST_REPLY = 1 << 20
_MARGIN = 1.0


class Refused(Exception):  # noqa: N818 - named by what happened
    """The sidecar answered that it will not: whoever sent the request must act.

    `error` is the code (`invalid_event`, `invalid_token`, ...), `field` what is to blame, if any;
    `status` and `www_authenticate` what the app should answer where a check was refused; `reply`
    the whole answer.
    """

    def __init__(self, reply: Mapping[str, Any]) -> None:
        self.reply = dict(reply)
        self.error = str(reply.get("error", "refused"))
        self.field = str(reply.get("field", ""))
        self.message = str(reply.get("message", ""))
        self.status = int(reply.get("status", 503))
        self.www_authenticate = str(reply.get("www_authenticate", ""))
        parts = (self.error, self.field, self.message)
        super().__init__(": ".join(part for part in parts if part))


class Unreachable(Exception):  # noqa: N818 - named by what happened
    """There is no sidecar at the socket, or it is too slow: the environment must recover.

    `hint` says what to do next.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Reason:
    """Why: the policy that asks, the signal that caused it, and both in words."""

    policy: str
    signal: str
    text: str


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer to a check. `status` and `www_authenticate` are what the app should answer."""

    decision: str
    status: int
    session: str = ""
    subject: str = ""
    www_authenticate: str = ""
    acr_values: str = ""
    max_age: int | None = None
    reasons: tuple[Reason, ...] = ()
    step_up_pending: bool = False
    message: str = ""
    reply: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def allowed(self) -> bool:
        """Whether the call may pass."""
        return self.decision == "allow"


@dataclass(frozen=True, slots=True)
class Receipt:
    """An event is durable. `settled`: None unless it was asked to wait for every sidecar."""

    id: str
    duplicate: bool = False
    spooled: bool = False
    settled: bool | None = None
    reply: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)


class LocalClient:
    """A connection to the sidecar at `path` (default: `SIDECAR_SOCKET`, else the usual place).

    `timeout` is in seconds, for connecting and for each reply. Every method raises `Unreachable`,
    and those that can be refused raise `Refused`.
    """

    def __init__(self, path: str = "", timeout: float = 5.0) -> None:
        self.path = path or os.environ.get("SIDECAR_SOCKET", "") or DEFAULT_PATH
        self._timeout = timeout
        self._socket: socket.socket | None = None
        self._buffer = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; the next call opens another."""
        if self._socket is not None:
            self._socket.close()
        self._socket, self._buffer = None, b""

    def ping(self) -> None:
        """Return if the sidecar answers."""
        self._ask({"op": "ping"})

    def check(  # noqa: PLR0913 - the fields of the request
        self,
        token: str,
        *,
        context: str = "",
        method: str = "",
        host: str = "",
        path: str = "",
        ip: str = "",
        user_agent: str = "",
    ) -> Decision:
        """May a call with this token pass? Raises `Refused` for a token that is not believed."""
        asked = {"context": context, "method": method, "host": host, "path": path}
        asked |= {"ip": ip, "user_agent": user_agent}
        given = {name: value for name, value in asked.items() if value}
        return _decision(self._ask({"op": "check", "token": token, **given}))

    def event(
        self, event: Mapping[str, Any], *, wait_everywhere: bool = False, timeout: float = 5.0
    ) -> Receipt:
        """Push an event; returns once it is durable.

        With `wait_everywhere` once every live sidecar has taken it, or after `timeout` seconds.
        """
        request: dict[str, Any] = {**event, "op": "event"}
        if not wait_everywhere:
            return _receipt(self._ask(request))
        request |= {"wait": "everywhere", "timeout": timeout}
        return _receipt(self._ask(request, timeout + _MARGIN))

    def events(
        self, events: Iterable[Mapping[str, Any]], window: int = WINDOW
    ) -> Generator[Receipt | Refused, None, None]:
        """Push many, `window` under way at once; gives what became of each, in their order."""
        coming = iter(events)
        while batch := [_encoded(event) for event in islice(coming, window)]:
            self._send(b"".join(line for line in batch if isinstance(line, bytes)))
            settled = False
            try:
                for line in batch:
                    if isinstance(line, Refused):
                        yield line
                        continue
                    reply = self._receive()
                    yield _receipt(reply) if reply.get("ok") else Refused(reply)
                settled = True
            finally:
                if not settled:  # replies that nobody reads would answer the next request
                    self.close()

    def _ask(self, request: Mapping[str, Any], timeout: float | None = None) -> Mapping[str, Any]:
        self._send(_line(request))
        reply = self._receive(timeout)
        if not reply.get("ok"):
            raise Refused(reply)
        return reply

    def _send(self, data: bytes) -> None:
        if self._socket is not None and _is_closed(self._socket):
            self.close()
        connection = self._socket or self._connect()
        try:
            connection.settimeout(self._timeout)
            connection.sendall(data)
        except OSError as error:
            self.close()
            raise self._unreachable(error) from error

    def _connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(self._timeout)
        try:
            connection.connect(self.path)
        except OSError as error:
            connection.close()
            raise self._unreachable(error) from error
        self._socket = connection
        return connection

    def _receive(self, timeout: float | None = None) -> Mapping[str, Any]:
        line = self._read_line(timeout or self._timeout)
        try:
            reply = json.loads(line)
        except ValueError:
            reply = None
        if not isinstance(reply, dict):
            self.close()
            raise Unreachable(f"what answers at {self.path} is no sidecar")
        return reply

    def _read_line(self, timeout: float) -> bytes:
        connection = self._socket
        if connection is None:
            raise Unreachable(f"the connection to {self.path} is closed")
        try:
            connection.settimeout(timeout)
            while b"\n" not in self._buffer and len(self._buffer) < _LONGEST_REPLY:
                chunk = connection.recv(65536)
                if not chunk:
                    raise ConnectionResetError("the sidecar closed the connection")
                self._buffer += chunk
        except OSError as error:
            self.close()
            raise self._unreachable(error) from error
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    def _unreachable(self, error: OSError) -> Unreachable:
        match error:
            case FileNotFoundError():
                hint = (
                    "Start one with `sidecar run`, or name its socket with --socket or "
                    "SIDECAR_SOCKET."
                )
                return Unreachable(f"no sidecar socket at {self.path}", hint)
            case ConnectionRefusedError():
                hint = "The daemon that made this socket is gone: start it again."
                return Unreachable(f"nobody listens at {self.path}", hint)
            case PermissionError():
                hint = "Join the socket's group (socket.group), or ask as its owner."
                return Unreachable(f"no permission to use {self.path}", hint)
            case TimeoutError():
                hint = "It may be overloaded or stopped: its /readyz and log say more."
                return Unreachable(f"the sidecar at {self.path} did not answer in time", hint)
            case _:
                return Unreachable(f"{self.path}: {error.strerror or error}")


def _is_closed(connection: socket.socket) -> bool:
    """Whether the daemon has closed an idle connection.

    It is asked before anything is sent, so that no request is ever sent twice.
    """
    try:
        connection.settimeout(0)
        return not connection.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    except OSError:
        return True


def _encoded(event: Mapping[str, Any]) -> bytes | Refused:
    try:
        return _line({**event, "op": "event"})
    except Refused as refused:
        return refused


def _line(request: Mapping[str, Any]) -> bytes:
    line = json.dumps(request, separators=(",", ":"), allow_nan=False).encode() + b"\n"
    if len(line) > LONGEST_LINE:
        reply = {"error": "too_large", "message": f"a request has at most {LONGEST_LINE} bytes"}
        raise Refused(reply)
    return line


def _decision(reply: Mapping[str, Any]) -> Decision:
    reasons = tuple(
        Reason(str(why.get("policy", "")), str(why.get("signal", "")), str(why.get("text", "")))
        for why in reply.get("reasons", ())
    )
    return Decision(
        decision=reply.get("decision", "deny"),
        status=reply.get("status", 403),
        session=reply.get("session", ""),
        subject=reply.get("subject", ""),
        www_authenticate=reply.get("www_authenticate", ""),
        acr_values=reply.get("acr_values", ""),
        max_age=reply.get("max_age"),
        reasons=reasons,
        step_up_pending=reply.get("step_up_pending", False),
        message=reply.get("message", ""),
        reply=reply,
    )


def _receipt(reply: Mapping[str, Any]) -> Receipt:
    return Receipt(
        id=str(reply.get("id", "")),
        duplicate=reply.get("duplicate", False),
        spooled=reply.get("spooled", False),
        settled=reply.get("settled"),
        reply=reply,
    )
