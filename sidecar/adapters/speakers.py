"""Who speaks at a door: peers by their uid, others by the credential that they show.

A credential's file is looked at with each use, and read again when it has changed; one that is gone
or cannot be read counts for nobody. Credentials are compared in constant time, each with all.
"""

import hmac
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Protocol

from sidecar.adapters.guesses import Guesses
from sidecar.adapters.seats import uid_owner
from sidecar.domain.source import Source
from sidecar.service.answers import Overloaded
from sidecar.service.observations import Told
from sidecar.wire.http_messages import Request
from sidecar.wire.secret_files import read_secret
from sidecar.wire.settings import Settings
from sidecar.wire.sources import local_source, sources_of

_PEER = struct.Struct("3i")  # struct ucred: pid, uid, gid


class _Option(Protocol):
    def getsockopt(self, level: int, option: int, size: int, /) -> bytes:
        """Return an option of the socket."""


def uid_of(stream: _Option) -> int | None:
    """Return the uid of a unix socket's other end; None where the system does not tell it."""
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:
        return None
    uid: int = _PEER.unpack(stream.getsockopt(socket.SOL_SOCKET, option, _PEER.size))[1]
    return uid


class _Credential:
    """A file that holds one, as it was when it last changed."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._seen: tuple[int, ...] = ()
        self._text = b""
        self.trouble = ""

    def current(self) -> bytes:
        """Return the credential; empty where there is none that could be shown."""
        try:
            status = Path(self._path).stat()
            seen = (status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_size)
            if seen != self._seen:
                text = read_secret(self._path, _read)
                self._text, self._seen = text.encode(), seen
            self.trouble = ""
        except (OSError, ValueError) as error:
            self._text, self._seen = b"", ()
            self.trouble = getattr(error, "strerror", None) or str(error)
        return self._text


def _read(path: str) -> str:
    return Path(path).read_text(encoding="utf-8")


class Speakers:
    """Names the source of whoever speaks, by the settings as they now are.

    `on_trouble` is told, once, of a credential that cannot be read; `on_wrong` of each that is
    nobody's, with who showed it.
    """

    def __init__(
        self,
        settings: Callable[[], Settings],
        on_trouble: Callable[[Told], None] = lambda _trouble: None,
        on_wrong: Callable[[str], None] = lambda _owner: None,
    ) -> None:
        self._settings = settings
        self._on_wrong = on_wrong
        self._guesses = Guesses(monotonic)
        self._on_trouble = on_trouble
        self._known: Settings | None = None
        self._troubled: set[str] = set()

    def _refresh(self) -> None:
        settings = self._settings()
        if settings is self._known:
            return
        self._known = settings
        self._local = local_source(settings)
        self._sources = sources_of(settings)
        self._uids = {uid: one.name for one in settings.sources for uid in one.uids}
        self._credentials = {
            one.name: _Credential(one.token_file) for one in settings.sources if one.token_file
        }

    def peer(self, uid: int | None) -> str:
        """Return the source that a local peer is; None for a uid: it is not known."""
        self._refresh()
        return self._local if uid is None else self._uids.get(uid, self._local)

    def shown(self, credential: str, uid: int | None, address: str = "") -> str:
        """Return the source whose credential somebody shows; empty: it is nobody's.

        Raises `Overloaded` for who has shown too many wrong ones: then those of a uid are not
        looked at; of an address, which others may share, a right one still is.
        """
        owner = address or uid_owner(uid)
        spent = not self._guesses.left(owner)
        name = "" if spent and not address else self.bearer(credential)
        if name:
            return name
        self._on_wrong(owner)
        if spent:
            raise Overloaded
        self._guesses.wrong(owner)
        return ""

    def bearer(self, credential: str) -> str:
        """Return the source whose credential this is; empty: nobody's."""
        self._refresh()
        shown = credential.encode("utf-8", "surrogatepass")
        found = ""
        for name, known in self._credentials.items():
            wanted = known.current()
            self._note(name, known.trouble)
            if hmac.compare_digest(shown, wanted) and wanted:
                found = name
        return found

    def caller(self, request: Request) -> str:
        """Return who sent a request over HTTP: by its credential, else as a local peer.

        Empty: the credential that it shows is nobody's, or it shows none and its uid is not among
        those that `socket.allowed_uids` lets in. Raises `Overloaded`, as `shown` does.
        """
        authorization = request.headers.get(b"authorization")
        if authorization is None:
            return self.peer(request.uid) if self._is_let_in(request) else ""
        scheme, _, credential = authorization.partition(b" ")
        if scheme.lower() != b"bearer" or b"authorization" in request.repeated:
            return ""
        text = credential.strip().decode("utf-8", "surrogateescape")
        return self.shown(text, request.uid, request.peer)

    def _is_let_in(self, request: Request) -> bool:
        """Whether a local peer may speak without a credential, by whichever socket it comes."""
        allowed = self._settings().socket.allowed_uids
        return bool(request.peer) or allowed is None or request.uid in allowed

    def source(self, name: str) -> Source:
        """Return the powers of a source."""
        self._refresh()
        return self._sources.of(name)

    def _note(self, name: str, trouble: str) -> None:
        if not trouble:
            self._troubled.discard(name)
        elif name not in self._troubled:
            self._troubled.add(name)
            fields: dict[str, str | int | float | bool] = {
                "source": name,
                "field": "token_file",
                "reason": trouble,
            }
            self._on_trouble(Told(event="secret-not-read", fields=fields))
