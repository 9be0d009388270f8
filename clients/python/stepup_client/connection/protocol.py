"""The local socket's protocol, without I/O: request lines out, replies in.

The synchronous, asyncio and trio clients share it, so that they are one logic. It is one JSON
object a line, at most 64 KiB; one reply line for each request line, in order.

Each request has a `ref` that its reply repeats. So a reply that belongs to another request (two
processes or threads read one connection, or a reply was left unread) is an error, never an answer.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

DEFAULT_PATH = "/run/sidecar/sidecar.sock"
LONGEST_LINE = 65536
LONGEST_REPLY = 1 << 20
_STATUS = {"invalid_token": 401, "not_allowed": 403} | dict.fromkeys(
    ("overloaded", "unavailable", "refused"), 503
)
"""The HTTP status of a refusal that names none; of any other code it is 400."""

_numbers = count(1)


class Refused(Exception):  # noqa: N818 - named by what happened
    """The sidecar answered that it will not: whoever sent the request must act.

    `error` is the code (`invalid_event`, `invalid_token`, ...), `field` what is to blame, if any;
    `status`, `www_authenticate` and `headers` what the app should answer where a check was refused;
    `reply` the whole answer.
    """

    def __init__(self, reply: Mapping[str, Any]) -> None:
        self.reply = dict(reply)
        self.error = str(reply.get("error", "refused"))
        self.field = str(reply.get("field", ""))
        self.message = str(reply.get("message", ""))
        self.status = _whole(reply.get("status"), _STATUS.get(self.error, 400))
        self.retry_after = _whole(reply.get("retry_after"), 1)
        self.www_authenticate = str(reply.get("www_authenticate", ""))
        parts = (self.error, self.field, self.message)
        super().__init__(": ".join(part for part in parts if part))

    @property
    def headers(self) -> dict[str, str]:
        """Return the fields of the app's answer: the challenge, and `Retry-After` with a 503."""
        retry = {"Retry-After": str(max(1, self.retry_after))} if self.status == 503 else {}
        return _challenge(self.www_authenticate) | retry


class Unreachable(Exception):  # noqa: N818 - named by what happened
    """There is no sidecar at the socket, or it is too slow: the environment must recover.

    Nothing is known then: a check was not decided, and an event may or may not have been taken
    (with an `id` it may safely be sent again). `hint` says what to do next.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class Stale(Unreachable):
    """A connection that had lain idle broke before it gave a byte: another may be better."""


class Mismatched(Unreachable):
    """The reply was to another request, so that nothing is known of this one.

    The connection is dropped. Somebody else has used it: another process, or another thread.
    """


@dataclass(frozen=True)
class Reason:
    """Reason of a decision: the policy that asks, the signal that caused it, and both in words."""

    policy: str
    signal: str
    text: str


@dataclass(frozen=True)
class Decision:
    """The answer to a check. `status` and `www_authenticate` are what the app should answer.

    `assurance` names the level that the call's own token shows. `decided` is false where nobody was
    asked: the sidecar was gone, and the app is configured to let such calls pass.
    """

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
    assurance: str = ""
    decided: bool = True

    @property
    def allowed(self) -> bool:
        """Return whether the call may pass."""
        return self.decision == "allow"

    @property
    def headers(self) -> dict[str, str]:
        """Return the fields of the app's answer: `WWW-Authenticate`, where there is a challenge."""
        return _challenge(self.www_authenticate)


@dataclass(frozen=True)
class Receipt:
    """An event is durable. `settled`: None unless it was asked to wait for every sidecar."""

    id: str
    duplicate: bool = False
    spooled: bool = False
    settled: bool | None = None
    reply: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)


@dataclass(frozen=True)
class Change:
    """A session's standing became `step_up`, `revoked` or `clear`."""

    session: str
    standing: str
    contexts: tuple[str, ...] = ()
    reasons: tuple[Reason, ...] = ()


def named_path(path: str = "") -> str:
    """Return the path that was asked for, else `SIDECAR_SOCKET`, else an empty one."""
    return path or os.environ.get("SIDECAR_SOCKET", "")


def usual_path() -> str:
    """Return where a daemon listens whose socket nothing names.

    It is so at the moment only: look each time.

    A daemon that cannot write to `/run/sidecar` listens in its user's `XDG_RUNTIME_DIR`, if nobody
    else can write there, where anybody could answer in its place. Who asks may be another user than
    the daemon, so that what is there comes before what could be written.
    """
    usual, directory = Path(DEFAULT_PATH), Path(os.environ.get("XDG_RUNTIME_DIR", ""))
    own = directory / usual.name
    if not _is_private(directory) or _is_there(usual):
        return str(usual)
    if _is_there(own) or not os.access(usual.parent, os.W_OK | os.X_OK):
        return str(own)
    return str(usual)


def _is_private(directory: Path) -> bool:
    """Return whether only its owner can write there."""
    try:
        mode = directory.stat().st_mode
    except OSError:
        return False
    return directory.is_absolute() and not mode & (stat.S_IWGRP | stat.S_IWOTH)


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # in a directory that is closed to us
        return False


# Requests


def encoded(request: Mapping[str, Any]) -> bytes:
    """Return a request line; raise `Refused` if the daemon would not take or could not read it."""
    try:
        text = json.dumps(request, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
        line = text.encode() + b"\n"
    except ValueError as error:  # of the codec, too
        message = "numbers are finite, and text has no half of a surrogate pair"
        raise _unsendable("invalid_json", message) from error
    if len(line) > LONGEST_LINE:
        raise _unsendable("too_large", f"a request has at most {LONGEST_LINE} bytes")
    return line


def _unsendable(error: str, message: str) -> Refused:
    return Refused({"error": error, "message": message, "status": 400})


def referred(request: Mapping[str, Any]) -> tuple[bytes, str]:
    """Return a request line with a `ref` of its own, and the `ref`; raises as `encoded`.

    No two requests of a process have the same one, nor have those of a process and its forks.
    """
    ref = f"{os.getpid():x}-{next(_numbers):x}"
    return encoded({**request, "ref": ref}), ref


# Replies


class Lines:
    """Bytes in, lines out."""

    def __init__(self) -> None:
        self._unread = b""

    def feed(self, data: bytes) -> None:
        """Take what was received. Raises ConnectionResetError for none: the other end closed."""
        if not data:
            raise ConnectionResetError("the sidecar closed the connection")
        self._unread += data

    @property
    def is_empty(self) -> bool:
        """Return whether nothing is left over."""
        return not self._unread

    def next(self) -> bytes | None:
        """Return the next whole line without its end, or None if more must be received."""
        if b"\n" not in self._unread:
            if len(self._unread) < LONGEST_REPLY:
                return None
            line, self._unread = self._unread, b""
            return line
        line, _, self._unread = self._unread.partition(b"\n")
        return line


def decoded(line: bytes, path: str) -> Mapping[str, Any]:
    """Read a reply; raise `Unreachable` for what no sidecar would say."""
    try:
        reply = json.loads(line)
    except (ValueError, RecursionError):
        reply = None
    if not isinstance(reply, dict):
        raise Unreachable(f"what answers at {path} is no sidecar")
    return reply


def matched(reply: Mapping[str, Any], ref: str, path: str) -> Mapping[str, Any]:
    """Return the reply, without its `ref`, if it is to the request that has this one.

    Raises `Mismatched` if it is to another.

    A refusal without any `ref` concerns the whole connection (too many of them are open, the line
    was too long): raises it as `Refused`.
    """
    if reply.get("ref") == ref:
        return {name: value for name, value in reply.items() if name != "ref"}
    if "ref" not in reply and reply.get("ok") is False:
        raise Refused(reply)
    raise Mismatched(
        f"what came from {path} answers another request",
        "Have a client for each process and each watch, or a PooledClient for many threads.",
    )


def accepted(reply: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the reply if it is no refusal, else raise `Refused`."""
    if not reply.get("ok"):
        raise Refused(reply)
    return reply


def decision_of(reply: Mapping[str, Any]) -> Decision:
    """Read the reply to a check. What is no clear permission is none."""
    decision = _text(reply, "decision") or "deny"
    age = reply.get("max_age")
    return Decision(
        decision=decision,
        status=_whole(reply.get("status"), 403),
        session=_text(reply, "session"),
        subject=_text(reply, "subject"),
        www_authenticate=_text(reply, "www_authenticate"),
        acr_values=_text(reply, "acr_values"),
        max_age=age if isinstance(age, int) else None,
        reasons=_reasons(reply),
        step_up_pending=reply.get("step_up_pending") is True,
        message=_text(reply, "message"),
        assurance=_text(reply, "assurance"),
        reply=reply,
    )


def receipt_of(reply: Mapping[str, Any]) -> Receipt:
    """Read the reply to an event."""
    return Receipt(
        id=_text(reply, "id"),
        duplicate=reply.get("duplicate") is True,
        spooled=reply.get("spooled") is True,
        settled=reply.get("settled"),
        reply=reply,
    )


def change_of(line: Mapping[str, Any]) -> Change | None:
    """Read a line of a watch; None for what a newer sidecar may say besides."""
    if line.get("event") != "standing":
        return None
    contexts = tuple(str(name) for name in _list(line, "contexts"))
    return Change(_text(line, "session"), _text(line, "standing"), contexts, _reasons(line))


def unreachable(path: str, error: OSError) -> Unreachable:
    """Translate an error of the socket: what it means, and what to do."""
    if isinstance(error, FileNotFoundError):
        hint = "Start one with `sidecar run`, or name its socket with --socket or SIDECAR_SOCKET."
        return Unreachable(f"no sidecar socket at {path}", hint)
    if isinstance(error, ConnectionRefusedError):
        hint = "The daemon that made this socket is gone: start it again."
        return Unreachable(f"nobody listens at {path}", hint)
    if isinstance(error, PermissionError):
        hint = "Join the socket's group (socket.group), or ask as its owner."
        return Unreachable(f"no permission to use {path}", hint)
    # A full backlog of a unix socket is EAGAIN at once where nobody waits for it; event loops take
    # that for a beginning, and find out when they send. A time-out of a socket is no TimeoutError
    # before Python 3.10.
    is_late = isinstance(error, (TimeoutError, socket.timeout, BlockingIOError))
    if is_late or error.errno == errno.ENOTCONN:
        hint = "It may be overloaded or stopped: its /readyz and log say more."
        return Unreachable(f"the sidecar at {path} did not answer in time", hint)
    return Unreachable(f"{path}: {error.strerror or str(error) or type(error).__name__}")


def _reasons(reply: Mapping[str, Any]) -> tuple[Reason, ...]:
    return tuple(
        Reason(str(why.get("policy", "")), str(why.get("signal", "")), str(why.get("text", "")))
        for why in _list(reply, "reasons")
        if isinstance(why, dict)
    )


def _challenge(www_authenticate: str) -> dict[str, str]:
    return {"WWW-Authenticate": www_authenticate} if www_authenticate else {}


def _text(reply: Mapping[str, Any], name: str) -> str:
    value = reply.get(name, "")
    return value if isinstance(value, str) else ""


def _list(reply: Mapping[str, Any], name: str) -> list[Any]:
    value = reply.get(name)
    return value if isinstance(value, list) else []


def _whole(value: object, otherwise: int) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else otherwise
