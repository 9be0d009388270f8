"""The credentials of operators as they now are: given in the configuration, or in files."""

import hmac
from collections.abc import Callable, Iterable
from typing import NamedTuple

from sidecar.adapters.tokens.secrets import SecretFile
from sidecar.wire.settings.admin import ADMIN, Role
from sidecar.wire.settings.settings import Admin


class Credential(NamedTuple):
    """An operator's credential, and what they may do; `text` empty: it cannot be read."""

    operator: str
    text: str
    role: Role = Role.ADMIN


_LEAST = (*Role,)
"""The roles, the one that may do the least first."""


def sole(text: str) -> tuple[Credential, ...]:
    """Return credentials of this one alone; none where it is empty."""
    return (Credential(ADMIN, text),) if text else ()


class AdminCredentials:
    """Gives the credentials at each request, by the settings as they now are.

    `on_secret` gets the key of a file, and why that cannot be read; "": it can again.
    """

    def __init__(
        self, settings: Callable[[], Admin], on_secret: Callable[[str, str], None]
    ) -> None:
        self._settings = settings
        self._on_secret = on_secret
        self._files: dict[str, SecretFile] = {}

    def __call__(self) -> tuple[Credential, ...]:
        """Return all that are configured."""
        admin = self._settings()
        found = []
        if admin.token or admin.token_file:
            text = self._text("admin", admin.token, admin.token_file)
            found.append(Credential(ADMIN, text))
        for one in admin.operators:
            text = self._text(f"admin.operators.{one.name}", one.token, one.token_file)
            found.append(Credential(one.name, text, one.rights))
        return tuple(found)

    def _text(self, key: str, given: str, path: str) -> str:
        """Return a credential as a header has it; empty where its file cannot be read."""
        if not path:
            return given.strip()
        known = self._files.get(key)
        if known is None or known.path != path:
            field = f"{key}.token_file"
            known = SecretFile(path, lambda reason: self._on_secret(field, reason), kept=False)
            self._files[key] = known
        return known.current()


def holder_of(shown: str, credentials: Iterable[Credential]) -> Credential | None:
    """Return whose credential is `shown`; None: nobody's.

    Each is compared, whichever fits, so that the time says nothing. Of several who share one it is
    who may do the least.
    """
    found: Credential | None = None
    given = shown.encode("utf-8", "surrogateescape")
    for one in credentials:
        fits = hmac.compare_digest(given, one.text.encode()) and one.text
        if fits and (found is None or _LEAST.index(one.role) < _LEAST.index(found.role)):
            found = one
    return found
