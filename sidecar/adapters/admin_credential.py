"""The admin credential as it now is: given in the configuration, or in a file of its own."""

from collections.abc import Callable

from sidecar.adapters.secrets import SecretFile
from sidecar.service.answers import Unavailable
from sidecar.wire.settings import Admin


class AdminCredential:
    """Gives the credential at each request, by the settings as they now are.

    `on_secret` is told the key of its file, and why that cannot be read; "": it can again.
    """

    def __init__(
        self, settings: Callable[[], Admin], on_secret: Callable[[str, str], None]
    ) -> None:
        self._settings = settings
        self._on_secret = on_secret
        self._file: SecretFile | None = None

    def __call__(self) -> str:
        """Return it; empty: none is configured. Raises `Unavailable` where it cannot be read."""
        admin = self._settings()
        if not admin.token_file:
            return admin.token
        if self._file is None or self._file.path != admin.token_file:
            self._file = SecretFile(
                admin.token_file,
                lambda reason: self._on_secret("admin.token_file", reason),
                kept=False,
            )
        found = self._file.current()
        if not found:
            raise Unavailable("the admin credential cannot be read: see the log")
        return found
