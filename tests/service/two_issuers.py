"""Two issuers, each with users of its own."""

from typing import Any

import msgspec

from sidecar.wire.settings.settings import Issuer, Tokens
from tests.service.memory import SETTINGS

OURS, THEIRS = "https://i.example", "https://j.example"


def issuers(*names: str, **of: Any) -> Any:
    known = tuple(Issuer(issuer=name, audiences=("app",), **of) for name in names)
    return msgspec.structs.replace(SETTINGS, tokens=Tokens(issuers=known))
