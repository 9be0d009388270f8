"""The daemon's credentials at the store: read from their files for each new connection."""

import threading
from collections.abc import Callable

from redis.credentials import CredentialProvider

from sidecar.adapters.tokens.secrets import SecretFile
from sidecar.wire.settings.settings import StoreSettings
from sidecar.wire.store.address import StoreAddress

OnSecret = Callable[[str, str], None]
"""Is called with the key of a secret's file, and why it cannot be read; "": it can again."""


def _ignore(field: str, reason: str) -> None:
    """Do nothing."""


class StoreCredentials:
    """The credentials of the store, and of its sentinels. Shared by all links, in all threads.

    A password whose file cannot be read holds as it last was: the server says whether it is good.
    """

    def __init__(self, settings: StoreSettings, on_secret: OnSecret = _ignore) -> None:
        self._on_secret = on_secret
        self._lock = threading.Lock()
        self._files: dict[str, SecretFile] = {}
        self._settings = settings

    def replace(self, settings: StoreSettings) -> bool:
        """Show these from now on; return whether they are others than before."""
        before, self._settings = self._settings, settings
        return _shown(before) != _shown(settings)

    def of_store(self, address: StoreAddress) -> CredentialProvider:
        """Return what connections to the store ask."""
        return _Provider(lambda: self._store(address))

    def of_sentinels(self) -> CredentialProvider:
        """Return what connections to sentinels ask."""
        return _Provider(self._sentinel)

    def _store(self, address: StoreAddress) -> tuple[str, ...]:
        settings = self._settings
        username = settings.username or address.username
        password = self._password("password", settings.password_file, settings.password)
        password = password or address.password
        if username:
            return username, password
        return (password,) if password else ()

    def _sentinel(self) -> tuple[str, ...]:
        settings = self._settings
        path, given = settings.sentinel_password_file, settings.sentinel_password
        password = self._password("sentinel_password", path, given)
        return (password,) if password else ()

    def _password(self, name: str, path: str, given: str) -> str:
        """Return the password as its file now says; else as it was read with the configuration."""
        if not path:
            return given
        with self._lock:
            file = self._files.get(name)
            if file is None or file.path != path:
                field = f"store.{name}_file"
                file = SecretFile(path, lambda reason: self._on_secret(field, reason))
                self._files[name] = file
        return file.current() or given


def _shown(settings: StoreSettings) -> tuple[str, ...]:
    return settings.username, settings.password, settings.sentinel_password


class _Provider(CredentialProvider):
    """The credential provider that redis-py asks at each new connection."""

    def __init__(self, current: Callable[[], tuple[str, ...]]) -> None:
        self._current = current

    def get_credentials(self) -> tuple[str, ...]:  # type: ignore[override] # () is none at all
        return self._current()
