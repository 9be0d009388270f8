"""Masks of spans: of a person they have nothing but what `traces.masks` names.

The forms are those of the log of decisions, under the same keys, so that a span and a record of the
same session have the same pseudonym or digest.
"""

import msgspec

from sidecar.wire.decision_log.masks import MASKABLE, Masks
from sidecar.wire.decision_log.settings import Mask
from sidecar.wire.settings.privacy import Identifiers
from sidecar.wire.settings.settings import Settings

NAMES = ("user", "session", "device", "address", "issuer")
"""The fields that `traces.masks` may name."""


def masks_of(settings: Settings) -> Masks:
    """Return how names are written in spans."""
    nothing = dict.fromkeys(MASKABLE, Mask.DROP)
    masks = {**nothing, **settings.traces.masks}
    decisions = msgspec.structs.replace(settings.decision_log, masks=masks)
    return Masks(decisions, settings.privacy)


def names_events(settings: Settings) -> bool:
    """Return whether spans name events by their ids, which their senders choose."""
    return settings.privacy.identifiers is not Identifiers.KEYED
