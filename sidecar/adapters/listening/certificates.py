"""A listener's own certificate, as its files now are."""

from __future__ import annotations

import ssl
from collections.abc import Callable

from sidecar.adapters.listening.tcp_listeners import UnusableCertificate
from sidecar.adapters.tokens.secrets import FileStamp, stamp_of
from sidecar.domain.values.causes import words_of


def _ignore(reason: str) -> None:
    """Do nothing."""


class Certificate:
    """A certificate and its key in files, looked at with each handshake.

    One that changes is taken up for new connections, while those that are open go on. One that
    cannot be used is not: the old one stays, and `on_state` gets the reason, once; and "" once a
    new one can. A key that does not fit is what an updater leaves for a moment between two files.
    `context` is what a listener uses: it hands each connection on to the certificate of the moment.
    """

    def __init__(
        self,
        certificate: str,
        key: str,
        on_state: Callable[[str], None] = _ignore,
        *,
        client_authorities: str = "",
    ) -> None:
        """Load the certificate. Raises `UnusableCertificate`.

        Where `client_authorities` is a file of authorities, clients are asked for a certificate;
        they may have none, and one that none of these signed ends the handshake.
        """
        self._files = (certificate, key, *filter(None, (client_authorities,)))
        self._on_state = on_state
        self._is_failing = False
        try:
            self._seen = self._look()
            self._current = self._read()
            self.context = self._read()
        except OSError as error:
            raise UnusableCertificate(certificate, key, error) from error
        self.context.sni_callback = self._hand_on

    def _look(self) -> tuple[FileStamp, ...]:
        return tuple(map(stamp_of, self._files))

    def _read(self) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        certificate, key, *authorities = self._files
        context.load_cert_chain(certificate, key)
        for file in authorities:
            context.load_verify_locations(file)
            context.verify_mode = ssl.CERT_OPTIONAL
        return context

    def _hand_on(
        self, connection: ssl.SSLObject | ssl.SSLSocket, _name: str | None, _: ssl.SSLContext
    ) -> None:
        """Give a handshake the current certificate, whether the client names a host or not."""
        try:
            seen = self._look()
            if seen != self._seen:
                self._current, self._seen = self._read(), seen
            self._say("")
        except OSError as error:  # ssl.SSLError is one
            self._say(words_of(error))
        connection.context = self._current

    def _say(self, reason: str) -> None:
        if bool(reason) is not self._is_failing:
            self._is_failing = bool(reason)
            self._on_state(reason)
