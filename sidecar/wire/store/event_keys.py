"""The keys of events: their ids within all sources, and the fields that say they have counted."""

import functools
from urllib.parse import quote

from sidecar.domain.facts.signal import Signal

_FIELD = b"event:"


def event_key(signal: Signal) -> str:
    """Return an event's id within all sources: ids are each source's own."""
    return key_of_event(signal.source, signal.stamp.id)


def key_of_event(source: str, event: str) -> str:
    """Return the id within all sources of an event that a source calls so."""
    return f"{_quoted(source)}/{event}" if source else event


@functools.lru_cache(maxsize=1024)
def _quoted(source: str) -> str:
    """Return a source's name as it stands in keys; sources are few, their events many."""
    return quote(source, safe=":")


def event_field(event: str) -> bytes:
    """Return the field that records that an event, by its key, has counted."""
    return _FIELD + event.encode()


def event_of_field(field: bytes) -> str:
    """Undo `event_field`; empty for another field."""
    return field[len(_FIELD) :].decode(errors="replace") if field.startswith(_FIELD) else ""
