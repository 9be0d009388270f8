"""Masks of the log of decisions: what of a record is written as it is, as a digest, or not.

Where identifiers are keyed (`privacy.identifiers`), users, sessions, devices and addresses are
pseudonyms as in every other log line, and what was said of them in words is left out.
"""

from collections.abc import Callable, Mapping

from sidecar.wire.decision_log.fields import FIELDS, Masking
from sidecar.wire.decision_log.settings import DecisionLogSettings, Mask
from sidecar.wire.privacy.privacy_keys import PrivacyKey
from sidecar.wire.privacy.pseudonyms import PseudonymKind, pseudonym, pseudonyms_by
from sidecar.wire.settings.privacy import Identifiers, Privacy

Written = Callable[[str, str], str]
"""Returns what is written of a namespace and a name in it; empty: nothing."""

MASKABLE = {one.name: one.masking for one in FIELDS if one.masking is not None}
"""The fields that may be masked."""


class Masks:
    """The form in which each field is written that may be masked."""

    def __init__(self, settings: DecisionLogSettings, privacy: Privacy) -> None:
        self._kept_text = True
        self._named: dict[str, Written] = {}
        keyed = privacy.identifiers is Identifiers.KEYED and bool(privacy.keys)
        privacy_key = PrivacyKey(privacy.keys[0].encode()) if keyed else None
        mask_key = PrivacyKey(settings.mask_key.encode()) if settings.mask_key else None
        for name, masking in MASKABLE.items():
            mask = mask_of(name, settings.masks)
            self._named[name] = _written(name, mask, masking, privacy_key, mask_key)
        self._kept = frozenset(
            name
            for name, masking in MASKABLE.items()
            if mask_of(name, settings.masks) is not Mask.DROP and not (keyed and masking.is_text)
        )

    def name(self, field: str, namespace: str, value: str) -> str:
        """Return what is written of a name; empty: nothing."""
        return self._named[field](namespace, value) if value else ""

    def keeps(self, field: str) -> bool:
        """Return whether anything of a field is written."""
        return field in self._kept


def mask_of(field: str, masks: Mapping[str, Mask]) -> Mask:
    """Return how a field is written."""
    return masks.get(field, MASKABLE[field].default)


def _written(
    name: str, mask: Mask, masking: Masking, privacy: PrivacyKey | None, key: PrivacyKey | None
) -> Written:
    kind = masking.pseudonym
    if mask is Mask.DROP or (mask is Mask.HASH and key is None):
        return lambda _namespace, _value: ""
    if mask is Mask.HASH and key is not None:
        return _hashed(kind, name, key)
    if kind is not None and privacy is not None:
        named = pseudonyms_by(privacy)
        return lambda namespace, value: named(kind, _namespace_of(kind, namespace), value)
    return lambda _namespace, value: value


def _hashed(kind: PseudonymKind | None, name: str, key: PrivacyKey) -> Written:
    if kind is not None:
        named = pseudonyms_by(key)
        return lambda namespace, value: named(kind, _namespace_of(kind, namespace), value)
    # A name of nobody: its field keeps it apart from the same text in another one.
    return lambda _, value: "h:" + pseudonym(key, PseudonymKind.ADDRESS, name, value)[2:]


def _namespace_of(kind: PseudonymKind, namespace: str) -> str:
    return "" if kind is PseudonymKind.ADDRESS else namespace
