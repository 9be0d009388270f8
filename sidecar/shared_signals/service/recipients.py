"""Recipients of our events: their credentials, and their part of the configuration."""

import hashlib
import hmac
from collections.abc import Callable, Iterator, Mapping

import msgspec

from sidecar.wire.settings.transmitter import Recipient


class Access(msgspec.Struct, frozen=True):
    """A recipient's secrets as they now are: its credentials, and the header we push with."""

    credentials: tuple[bytes, ...] = ()
    authorization: str = ""

    def __repr__(self) -> str:
        """Return the name of the type alone: the secrets stay out of logs."""
        return "Access()"


class Recipients:
    """The configured recipients by name; `access` gives their secrets as they now are."""

    def __init__(
        self, recipients: tuple[Recipient, ...], access: Callable[[], Mapping[str, Access]]
    ) -> None:
        self._by_name = {recipient.name: recipient for recipient in recipients}
        self._access = access

    def __iter__(self) -> Iterator[Recipient]:
        """Return an iterator over all of them."""
        return iter(self._by_name.values())

    def get(self, name: str) -> Recipient | None:
        """Return the recipient of this name."""
        return self._by_name.get(name)

    def authorization(self, name: str) -> str:
        """Return the header with which its fixed stream is pushed to; empty: none."""
        access = self._access().get(name)
        return access.authorization if access else ""

    def known_by(self, credential: bytes) -> Recipient | None:
        """Return whose bearer credential this is; None: nobody's.

        All are compared, digest by digest in constant time: how long it takes shows nothing.
        """
        given = hashlib.sha256(credential).digest()
        found: Recipient | None = None
        for name, access in self._access().items():
            for known in access.credentials:
                if hmac.compare_digest(given, hashlib.sha256(known).digest()):
                    found = self._by_name.get(name)
        return found
