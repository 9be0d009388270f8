"""Versions of one object, where exports of several days are given together.

The same content twice is one object. Of versions that differ the one that was modified last counts.
Where that is not known none may be enforced, nor what refers to them.
"""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sidecar.entra.conversion.strengths import BUILT_IN
from sidecar.entra.export import Exported
from sidecar.entra.graph_objects import ContextReference
from sidecar.entra.ledger import Effect, is_transport

_SAME = "the same object was given before"
_OLDER = "another version of it, which was modified later, was given, too, and counts"
_WHICH = "versions of it that differ were given, and no modifiedDateTime says which is the last"
_MODIFIED, _CREATED = "modifiedDateTime", "createdDateTime"
_BARE = ("RiskLevels", "disableResilienceDefaults")
_NEVER = datetime.min.replace(tzinfo=UTC)


def current(exported: Sequence[Exported]) -> list[Exported]:
    """Take the kind from each object that is given twice or in a later version, and note why."""
    versions: dict[tuple[type, str], dict[str, list[int]]] = {}
    for number, each in enumerate(exported):
        own = each.raw.get("id")
        if each.shape is not None and isinstance(own, str) and own:
            key = (type(each.shape), own.lower())
            versions.setdefault(key, {}).setdefault(_content(each.raw), []).append(number)
    set_aside: dict[int, str] = {}
    for found in versions.values():
        set_aside |= dict.fromkeys((n for same in found.values() for n in same[1:]), _SAME)
        firsts = [same[0] for same in found.values()]
        if len(firsts) > 1:
            set_aside |= _older(firsts, exported)
    return [_without(each, set_aside.get(number)) for number, each in enumerate(exported)]


def _older(firsts: Sequence[int], exported: Sequence[Exported]) -> dict[int, str]:
    """Return the versions that another one replaces; a loss for each where that is not known."""
    times = {number: _time(exported[number].raw) for number in firsts}
    known = [time for time in times.values() if time is not None]
    last = max(known, default=None)
    if len(known) == len(firsts) and known.count(max(known)) == 1:
        return {number: _OLDER for number, time in times.items() if time != last}
    for number in firsts:
        each = exported[number]
        if _matters(each):
            each.ledger.lose(f"{each.ledger.at}.id", _WHICH, Effect.WEAKER)
    return {}


def _matters(each: Exported) -> bool:
    """Return whether versions can differ: contexts and built-in strengths cannot."""
    built_in = str(each.raw.get("id")).lower() in BUILT_IN
    return not built_in and not isinstance(each.shape, ContextReference)


def _without(each: Exported, why: str | None) -> Exported:
    if why is None:
        return each
    each.ledger.note(each.ledger.at, why)
    return each._replace(shape=None)


def _content(raw: dict[str, Any]) -> str:
    return json.dumps(_own(raw), sort_keys=True)


def _own(raw: Any) -> Any:
    """Return the value without what says nothing: the transport's, null, and what is merely off.

    One version of Graph writes them, another one does not.
    """
    if isinstance(raw, dict):
        own = ((key, value) for key, value in raw.items() if not is_transport(key))
        written = ((key, value) for key, value in own if value is not None)
        return {key: _own(value) for key, value in written if value or not key.endswith(_BARE)}
    return [_own(each) for each in raw] if isinstance(raw, list) else raw


def _time(raw: dict[str, Any]) -> datetime | None:
    """Return when it was modified last; null is before any time, and None: it does not say."""
    time = raw.get(_MODIFIED) or raw.get(_CREATED)
    if time is None and _MODIFIED in raw:
        return _NEVER
    try:
        found = datetime.fromisoformat(time) if isinstance(time, str) else None
    except ValueError:
        return None
    return found.replace(tzinfo=UTC) if found is not None and found.tzinfo is None else found
