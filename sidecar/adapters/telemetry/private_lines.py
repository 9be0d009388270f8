"""Log lines about people where identifiers are keyed: pseudonyms, and no free text.

Fields are known by their names, which is why all log lines of the daemon go through here: a name of
somebody stands in one of these fields or nowhere.
"""

from collections.abc import Callable, MutableMapping
from typing import Any

from sidecar.wire.privacy.privacy_keys import PrivacyKey
from sidecar.wire.privacy.pseudonyms import PseudonymKind, pseudonyms_by
from sidecar.wire.settings.privacy import Identifiers, Privacy

_KINDS = {
    "subject": PseudonymKind.USER,
    "user": PseudonymKind.USER,
    "session": PseudonymKind.SESSION,
    "device": PseudonymKind.DEVICE,
    "address": PseudonymKind.ADDRESS,
    "ip": PseudonymKind.ADDRESS,
}
_UNNAMED = {PseudonymKind.ADDRESS}
"""What belongs to no namespace."""

_FREE_TEXT = {
    "session-marked": ("reason",),
    "session-would-be-marked": ("reason",),
    "mark-cleared": ("reason",),
    "session-revoked": ("reason",),
    "checked": ("reasons", "explanation"),
    "operator-act": ("reason", "detail"),
}
"""Fields that quote what was said of somebody, by the line that has them."""

_ANYWHERE = ("label",)
"""Text of a sender's own, in any line."""

Hide = Callable[[MutableMapping[str, Any]], None]
"""Take out of a line's fields what names somebody."""


def hiding(privacy: Privacy) -> Hide | None:
    """Return what is to be done with each line; None where names may stand in it."""
    if privacy.identifiers is not Identifiers.KEYED or not privacy.keys:
        return None
    named = pseudonyms_by(PrivacyKey(privacy.keys[0].encode()))

    def hide(fields: MutableMapping[str, Any]) -> None:
        for name in (*_FREE_TEXT.get(fields["event"], ()), *_ANYWHERE):
            fields.pop(name, None)
        for name, kind in _KINDS.items():
            value = fields.get(name)
            if value:
                namespace = "" if kind in _UNNAMED else str(fields.get("issuer", ""))
                fields[name] = named(kind, namespace, str(value))

    return hide
