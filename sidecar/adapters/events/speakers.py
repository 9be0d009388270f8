"""The sources behind requests: peers by their uid, others by the credential that they show.

A credential's file is looked at with each use (`secrets`); one that is gone or cannot be read
counts for nobody. Credentials are compared in constant time, each with all.
"""

import hmac
import socket
import struct
from collections.abc import Callable
from time import monotonic
from typing import Protocol

from sidecar.adapters.events.guesses import GuessLimit
from sidecar.adapters.listening.seats import uid_owner
from sidecar.adapters.tokens.secrets import SecretFile
from sidecar.domain.sources.source import Source
from sidecar.service.observations.observations import SecretRead
from sidecar.service.ports.calls import Overloaded
from sidecar.wire.events.sources import local_source, sources_of
from sidecar.wire.http.messages import Request
from sidecar.wire.settings.settings import Settings

_PEER = struct.Struct("3i")  # struct ucred: pid, uid, gid


class _Option(Protocol):
    def getsockopt(self, level: int, option: int, size: int, /) -> bytes:
        """Return an option of the socket."""


def uid_of(stream: _Option) -> int | None:
    """Return the uid of a unix socket's other end; None where the system does not say."""
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:
        return None
    uid: int = _PEER.unpack(stream.getsockopt(socket.SOL_SOCKET, option, _PEER.size))[1]
    return uid


class Speakers:
    """Names the source of whoever speaks, by the settings as they now are.

    `on_secret` is called for a credential that cannot be read, and for one that can again;
    `on_wrong` for each that is nobody's, with who showed it.
    """

    def __init__(
        self,
        settings: Callable[[], Settings],
        on_secret: Callable[[SecretRead], None] = lambda _read: None,
        on_wrong: Callable[[str], None] = lambda _owner: None,
    ) -> None:
        self._settings = settings
        self._on_wrong = on_wrong
        self._guesses = GuessLimit(monotonic)
        self._on_secret = on_secret
        self._known: Settings | None = None
        self._credentials: dict[str, SecretFile] = {}

    def _refresh(self) -> None:
        settings = self._settings()
        if settings is self._known:
            return
        self._known = settings
        self._local = local_source(settings)
        self._sources = sources_of(settings)
        self._uids = {uid: one.name for one in settings.sources for uid in one.uids}
        before = self._credentials
        self._credentials = {
            one.name: self._credential(before.get(one.name), one.name, one.token_file)
            for one in settings.sources
            if one.token_file
        }

    def _credential(self, known: SecretFile | None, name: str, path: str) -> SecretFile:
        """Return the credential of a source; the one that is known, where its file is the same."""
        if known is not None and known.path == path:
            return known

        def say(reason: str) -> None:
            self._on_secret(SecretRead(field=f"sources.{name}.token_file", reason=reason))

        return SecretFile(path, say, kept=False)

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
        shown = credential.strip().encode("utf-8", "surrogatepass")
        found = ""
        for name, known in self._credentials.items():
            wanted = known.current().encode()
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
        """Return whether a local peer may speak without a credential, at whichever socket."""
        allowed = self._settings().socket.allowed_uids
        return bool(request.peer) or allowed is None or request.uid in allowed

    def source(self, name: str) -> Source:
        """Return the powers of a source."""
        self._refresh()
        return self._sources.of(name)
