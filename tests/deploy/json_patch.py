"""Applies the `add` operations of a JSON patch (RFC 6902), as an API server does."""

import copy
from typing import Any


def applied(document: Any, patch: list[dict[str, Any]]) -> Any:
    """Return a copy of the document with all that is added."""
    done = copy.deepcopy(document)
    for operation in patch:
        assert operation.keys() == {"op", "path", "value"}
        assert operation["op"] == "add"
        *parents, last = operation["path"].removeprefix("/").split("/")
        place = done
        for key in parents:
            place = place[int(key)] if isinstance(place, list) else place[key]
        value = copy.deepcopy(operation["value"])
        if isinstance(place, list):
            place.insert(len(place) if last == "-" else int(last), value)
        else:
            assert last not in place, "nothing is replaced"
            place[last] = value
    return done
