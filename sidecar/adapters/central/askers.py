"""Says who asks at the central listener: by the credential that it shows, or its certificate.

A credential's file is looked at with each request; one that is gone or cannot be read counts for
nobody. Credentials are compared in constant time, each with all.
"""

import hmac
from collections.abc import Callable, Iterable

from sidecar.adapters.tokens.secrets import SecretFile
from sidecar.wire.central.settings import AskerSettings

HEADER = "x-sidecar-credential"


class Askers:
    """Knows gateways, by the settings as they now are.

    `on_secret` gets the key of a file, and why that cannot be read; "": it can again.
    """

    def __init__(
        self,
        settings: Callable[[], tuple[AskerSettings, ...]],
        on_secret: Callable[[str, str], None],
    ) -> None:
        self._settings = settings
        self._on_secret = on_secret
        self._files: dict[str, SecretFile] = {}

    def by_certificate(self, names: Iterable[str]) -> str:
        """Return whose a verified certificate with these names is; empty: nobody's."""
        shown = set(names)
        for one in self._settings():
            if not shown.isdisjoint(one.certificate_names):
                return one.name
        return ""

    def by_credential(self, credential: str) -> str:
        """Return whose credential this is; empty: nobody's."""
        shown = credential.strip().encode("utf-8", "surrogateescape")
        found = ""
        for one in self._settings():
            wanted = self._file(one).current().encode() if one.token_file else b""
            if hmac.compare_digest(shown, wanted) and wanted:
                found = one.name
        return found

    def _file(self, asker: AskerSettings) -> SecretFile:
        known = self._files.get(asker.name)
        if known is None or known.path != asker.token_file:
            field = f"central.askers.{asker.name}.token_file"
            path = asker.token_file
            known = SecretFile(path, lambda reason: self._on_secret(field, reason), kept=False)
            self._files[asker.name] = known
        return known
